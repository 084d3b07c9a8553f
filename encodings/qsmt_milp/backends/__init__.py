"""The solvers; each imports its library only when it is used."""
