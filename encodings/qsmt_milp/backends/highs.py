"""HiGHS: an open-source solver for mixed-integer programs, in doubles.

Its presolve is left off. Most of the wrong claims of infeasibility that are known of HiGHS come from there,
and on these models, which bounds analysis has already pruned, it gains nothing.
"""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from math import inf
from typing import Any

import numpy as np

from qsmt.solver.base import Answer, Limits, Optimum, Status
from qsmt_milp.floats import FloatModel, highest, to_floats, too_wide
from qsmt_milp.model import Model

TOLERANCE = 1e-9
"""Of integrality and of rows; the least that HiGHS takes is 1e-10."""

REFUSED = "HiGHS does not take the model"

WIDEST = 33
"""The power of two up to which terms of its rows have been tried (see `too_wide`)."""

SMALLEST = 1e-12
"""HiGHS drops coefficients below 1e-9 unless told otherwise; this is the least it can be told."""


class HighsBackend:
    """HiGHS through highspy."""

    name = "highs"
    trust = "milp:highs"
    exact = False

    def available(self) -> str | None:
        try:
            import_module("highspy")
        except ImportError as error:
            return f"highspy cannot be imported ({error})"
        return None

    def too_large(self, model: Model) -> str | None:
        """None, or that the model has terms with which it has not been tried."""
        return too_wide(model, WIDEST)

    def solve(self, model: Model, limits: Limits) -> Answer:
        reason = self.available()
        if reason is not None:
            return Answer(Status.UNKNOWN, reason=reason)
        highspy = import_module("highspy")
        floats = to_floats(model)
        solver = _loaded(highspy, floats, _options(limits) | _stop(floats))
        if solver is None:
            return Answer(Status.UNKNOWN, reason=REFUSED)
        solver.run()
        return _interpreted(highspy, solver, model)

    def maximize(self, model: Model, limits: Limits) -> Optimum:
        """From the model's start, where it has one."""
        reason = self.available()
        if reason is not None:
            return Optimum(reason=reason)
        highspy = import_module("highspy")
        solver = _loaded(highspy, to_floats(model), _options(limits))
        if solver is None:
            return Optimum(reason=REFUSED)
        if model.start:
            places, values = zip(*model.start.items(), strict=True)
            solver.setSolution(
                len(places), np.array(places, dtype=np.int32), np.array(values, dtype=np.float64)
            )
        solver.run()
        return _optimum(highspy, solver, model)


def _loaded(highspy: Any, floats: FloatModel, options: dict[str, Any]) -> Any:
    """A solver with the model, ready to run; None if it does not take the model."""
    solver = _quiet(highspy)
    for option, value in options.items():
        solver.setOptionValue(option, value)
    if solver.passModel(_program(highspy, floats)) == highspy.HighsStatus.kError:
        return None
    highspy.Highs.resetGlobalScheduler(True)  # its threads are those of the process's first run
    return solver


def _quiet(highspy: Any) -> Any:
    """A solver that prints nothing: the class announces itself as soon as it can call back, so it may not."""
    return type("Quiet", (highspy.Highs,), {"enableCallbacks": highspy.Highs.silent})()


def _options(limits: Limits) -> dict[str, Any]:
    return {
        "time_limit": float(limits.wall_s),
        "threads": limits.threads,
        "parallel": "on" if limits.threads > 1 else "off",
        "random_seed": limits.seed,
        "presolve": "off",
        "primal_feasibility_tolerance": TOLERANCE,
        "dual_feasibility_tolerance": TOLERANCE,
        "mip_feasibility_tolerance": TOLERANCE,
        "small_matrix_value": SMALLEST,
        "mip_rel_gap": 0.0,
        "mip_abs_gap": 0.0,
    }


def _stop(model: FloatModel) -> dict[str, Any]:
    """Options that end the search as soon as the question is decided; the objective is turned around."""
    return {"mip_max_improving_sols": 1} if model.enough is None else {"objective_target": -model.enough}


def _program(highspy: Any, model: FloatModel) -> Any:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(model.lower), len(model.row_lower)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = -model.objective, model.lower, model.upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = model.starts.astype(np.int32)
    lp.a_matrix_.index_ = model.columns.astype(np.int32)
    lp.a_matrix_.value_ = model.values
    kinds = highspy.HighsVarType
    lp.integrality_ = [kinds.kInteger if integer else kinds.kContinuous for integer in model.integer]
    return lp


def _interpreted(highspy: Any, solver: Any, model: Model) -> Answer:
    status, info = solver.getModelStatus(), solver.getInfo()
    if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
        values = solver.getSolution().col_value
        pairs = zip(model.variables, values, strict=True)
        return Answer(Status.SAT, {variable.name: Fraction(value) for variable, value in pairs})
    if status == highspy.HighsModelStatus.kInfeasible:
        return Answer(Status.UNSAT)
    return Answer(Status.UNKNOWN, reason=f"HiGHS ended with {solver.modelStatusToString(status)!r}")


def _optimum(highspy: Any, solver: Any, model: Model) -> Optimum:
    """Its objective is the negative one. A program without integers has no dual bound but its value."""
    status, info = solver.getModelStatus(), solver.getInfo()
    mixed = any(v.integer for v in model.variables)
    solved = status == highspy.HighsModelStatus.kOptimal
    bound = info.mip_dual_bound if mixed else info.objective_function_value if solved else -inf
    values = None
    if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
        pairs = zip(model.variables, solver.getSolution().col_value, strict=True)
        values = {variable.name: Fraction(value) for variable, value in pairs}
    reason = None if solved else f"HiGHS ended with {solver.modelStatusToString(status)!r}"
    return Optimum(highest(model, -bound), values, reason)
