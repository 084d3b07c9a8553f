"""SCIP: an open-source solver for mixed-integer programs, in doubles. An extra: `pip install qsmt[scip]`.

Its wheels have no exact mode, so its answers are numerical claims like those of the others.
"""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from typing import Any

from qsmt.solver.base import Answer, Limits, Optimum, Status
from qsmt_milp.floats import FloatModel, highest, to_floats, too_wide
from qsmt_milp.model import Model

TOLERANCE = 1e-9
"""Of rows, integrality and reduced costs."""

EPSILON = 1e-11
"""Below this SCIP takes numbers for equal; it has to be less than the tolerance."""

WIDEST = 20
"""The power of two up to which terms of its rows may go (see `too_wide`): at 2**23, a maximum was too low."""

LONGEST_S, MOST_SEEDS = 1e19, 2**31
"""What its parameters hold."""


class ScipBackend:
    """SCIP through pyscipopt."""

    name = "scip"
    trust = "milp:scip"
    exact = False

    def available(self) -> str | None:
        try:
            import_module("pyscipopt")
        except ImportError as error:
            return f"pyscipopt cannot be imported ({error})"
        return None

    def too_large(self, model: Model) -> str | None:
        """None, or that the model has terms with which its claims have been wrong."""
        return too_wide(model, WIDEST)

    def solve(self, model: Model, limits: Limits) -> Answer:
        reason = self.available()
        if reason is not None:
            return Answer(Status.UNKNOWN, reason=reason)
        scip, floats = import_module("pyscipopt"), to_floats(model)
        solver, variables = _loaded(scip, floats, _options(limits) | _stop(floats))
        solver.optimize()
        return _interpreted(solver, model, variables)

    def maximize(self, model: Model, limits: Limits) -> Optimum:
        """From the model's start, where it has one."""
        reason = self.available()
        if reason is not None:
            return Optimum(reason=reason)
        solver, variables = _loaded(import_module("pyscipopt"), to_floats(model), _options(limits))
        if model.start:
            begun = solver.createPartialSol()
            for i, value in model.start.items():
                solver.setSolVal(begun, variables[i], float(value))
            solver.addSol(begun)
        solver.optimize()
        answer = _interpreted(solver, model, variables)
        return Optimum(highest(model, solver.getDualbound()), answer.assignment, answer.reason)


def _loaded(scip: Any, floats: FloatModel, options: dict[str, Any]) -> tuple[Any, list[Any]]:
    """A solver with the model, and its variables."""
    solver = scip.Model()
    solver.hideOutput()
    for option, value in options.items():
        solver.setParam(option, value)
    return solver, _put(scip, solver, floats)


def _options(limits: Limits) -> dict[str, Any]:
    return {
        "limits/time": max(0.0, min(limits.wall_s, LONGEST_S)),
        "limits/memory": float(limits.memory_mib),
        "limits/gap": 0.0,
        "randomization/randomseedshift": limits.seed % MOST_SEEDS,
        "presolving/maxrounds": 0,  # with it, one maximum of 2,400 random ones came out too low by a third
        "numerics/epsilon": EPSILON,
        "numerics/feastol": TOLERANCE,
        "numerics/dualfeastol": TOLERANCE,
    }


def _stop(model: FloatModel) -> dict[str, Any]:
    """Options that end the search as soon as the question is decided."""
    return {"limits/solutions": 1} if model.enough is None else {"limits/primal": model.enough}


def _put(scip: Any, solver: Any, model: FloatModel) -> list[Any]:
    """The variables and rows; the variables in the model's order."""
    columns = zip(model.lower.tolist(), model.upper.tolist(), model.integer, strict=True)
    variables = [solver.addVar(lb=a, ub=b, vtype="I" if integer else "C") for a, b, integer in columns]
    for places, values, low, high in model.rows():
        terms = scip.quicksum(c * variables[i] for i, c in zip(places, values, strict=True))
        solver.addCons(scip.ExprCons(terms, lhs=_finite(low), rhs=_finite(high)))
    goal = scip.quicksum(c * variables[i] for i, c in enumerate(model.objective.tolist()) if c)
    solver.setObjective(goal, "maximize")
    return variables


def _finite(side: float) -> float | None:
    return side if abs(side) != float("inf") else None


def _interpreted(solver: Any, model: Model, variables: list[Any]) -> Answer:
    status = solver.getStatus()
    if solver.getNSols():
        best = solver.getBestSol()
        pairs = zip(model.variables, variables, strict=True)
        values = {known.name: Fraction(solver.getSolVal(best, variable)) for known, variable in pairs}
        return Answer(Status.SAT, values)
    if status == "infeasible":
        return Answer(Status.UNSAT)
    return Answer(Status.UNKNOWN, reason=f"SCIP ended with {_words(status)}")


def _words(status: str) -> str:
    return {"timelimit": "its time limit", "memlimit": "its memory limit"}.get(status, f"status {status!r}")
