"""Gurobi."""

def has_full_licence() -> bool:
    return False

class GurobiBackend:
    name = "gurobi"
