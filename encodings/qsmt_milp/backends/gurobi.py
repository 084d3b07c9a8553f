"""Gurobi: a commercial solver for mixed-integer programs, in doubles.

The licence that comes with the package from PyPI takes models of up to 2000 variables and 2000 rows. Such a
Gurobi is available; a larger model is `too_large` for it, and goes to another solver.

Its presolve is left off, its numerics are careful, and its rows have smaller terms than those of others: else it took
violations of networks of 10 bits for impossible (benchmarks/results/claims.md).
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from importlib import import_module
from math import isinf
from typing import Any

from qsmt.solver.base import Answer, Limits, Optimum, Status
from qsmt_milp.floats import FloatModel, highest, to_floats, too_wide
from qsmt_milp.model import Model

TOLERANCE = 1e-9
"""Of integrality and of rows: the least that Gurobi takes."""

LARGEST = 8
"""The power of two that no term of a row exceeds (see `to_floats`)."""

WIDEST = 24
"""The power of two up to which terms of its rows may go (see `too_wide`): at 2**31, a maximum was too low."""

TOO_LARGE = 10010
"""The error number of a model beyond the licence."""

FREE_SIZE = 2000
"""How many variables, and how many rows, a size-limited licence takes."""


class GurobiBackend:
    """Gurobi through gurobipy."""

    name = "gurobi"
    trust = "milp:gurobi"
    exact = False

    def available(self) -> str | None:
        return _session()[1]

    def too_large(self, model: Model) -> str | None:
        """None, or that the licence takes no model of this size, or that claims about such have been wrong."""
        if max(len(model.variables), len(model.rows)) <= FREE_SIZE or has_full_licence():
            return too_wide(model, WIDEST)
        return _over_the_limit(model)

    def solve(self, model: Model, limits: Limits) -> Answer:
        environment, reason = _session()
        if reason is not None:
            return Answer(Status.UNKNOWN, reason=reason)
        gurobipy = import_module("gurobipy")
        try:
            floats = to_floats(model, LARGEST)
            with _loaded(gurobipy, environment, floats, _options(limits) | _stop(floats)) as solver:
                solver.optimize()
                return _interpreted(gurobipy, solver, model)
        except gurobipy.GurobiError as error:
            return Answer(Status.UNKNOWN, reason=_explained(error, model))

    def maximize(self, model: Model, limits: Limits) -> Optimum:
        """From the model's start, where it has one."""
        environment, reason = _session()
        if reason is not None:
            return Optimum(reason=reason)
        gurobipy = import_module("gurobipy")
        try:
            with _loaded(gurobipy, environment, to_floats(model, LARGEST), _options(limits)) as solver:
                solver.update()
                variables = solver.getVars()
                for i, value in model.start.items():
                    variables[i].Start = float(value)
                solver.optimize()
                answer = _interpreted(gurobipy, solver, model)
                return Optimum(highest(model, solver.ObjBound, LARGEST), answer.assignment, answer.reason)
        except gurobipy.GurobiError as error:
            return Optimum(reason=_explained(error, model))


@cache
def _session() -> tuple[Any, str | None]:
    """A quiet environment, which holds the licence, or why there is none."""
    try:
        gurobipy = import_module("gurobipy")
    except ImportError as error:
        return None, f"gurobipy cannot be imported ({error})"
    try:
        environment = gurobipy.Env(empty=True)
        environment.setParam("OutputFlag", 0)
        environment.start()
    except gurobipy.GurobiError as error:
        return None, f"Gurobi does not start ({error})"
    return environment, None


@cache
def has_full_licence() -> bool:
    """Is there a Gurobi that takes models of any size? There is no way to know but to try."""
    environment, reason = _session()
    if reason is not None:
        return False
    gurobipy = import_module("gurobipy")
    try:
        with gurobipy.Model(env=environment) as probe:
            probe.addMVar(FREE_SIZE + 1)
            probe.optimize()
    except gurobipy.GurobiError:
        return False
    return True


def _loaded(gurobipy: Any, environment: Any, model: FloatModel, options: dict[str, Any]) -> Any:
    solver = gurobipy.Model(env=environment)
    for option, value in options.items():
        solver.setParam(option, value)
    kinds = ["I" if integer else "C" for integer in model.integer]
    variables = solver.addMVar(
        len(kinds), lb=model.lower, ub=model.upper, obj=model.objective, vtype=kinds
    ).tolist()
    solver.ModelSense = gurobipy.GRB.MAXIMIZE
    for columns, values, low, high in model.rows():
        row = gurobipy.LinExpr(values, [variables[i] for i in columns])
        sense = "=" if low == high else "<" if isinf(low) else ">"
        solver.addLConstr(row, sense, high if isinf(low) else low)
    return solver


def _options(limits: Limits) -> dict[str, Any]:
    return {
        "TimeLimit": limits.wall_s,
        "Threads": limits.threads,
        "Seed": limits.seed,
        "FeasibilityTol": TOLERANCE,
        "IntFeasTol": TOLERANCE,
        "OptimalityTol": TOLERANCE,
        "MIPGap": 0.0,
        "Presolve": 0,
        "NumericFocus": 3,
        "DualReductions": 0,  # "infeasible" then means infeasible, not "infeasible or unbounded"
    }


def _stop(model: FloatModel) -> dict[str, Any]:
    """Options that end the search as soon as the question is decided."""
    return {"SolutionLimit": 1} if model.enough is None else {"BestObjStop": model.enough}


def _interpreted(gurobipy: Any, solver: Any, model: Model) -> Answer:
    if solver.SolCount:
        values = (v.X for v in solver.getVars())
        return Answer(Status.SAT, {v.name: Fraction(x) for v, x in zip(model.variables, values, strict=True)})
    if solver.Status == gurobipy.GRB.INFEASIBLE:
        return Answer(Status.UNSAT)
    reasons = {gurobipy.GRB.TIME_LIMIT: "the time limit", gurobipy.GRB.NUMERIC: "numerical trouble"}
    return Answer(
        Status.UNKNOWN, reason=f"Gurobi ended with {reasons.get(solver.Status, f'status {solver.Status}')}"
    )


def _explained(error: Any, model: Model) -> str:
    return _over_the_limit(model) if error.errno == TOO_LARGE else f"Gurobi failed ({error})"


def _over_the_limit(model: Model) -> str:
    size = f"{len(model.variables)} variables and {len(model.rows)} rows"
    return f"a model of {size} is over the limit of this Gurobi licence"
