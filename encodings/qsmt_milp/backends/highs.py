"""HiGHS: an open-source solver for mixed-integer programs, in doubles.

Its presolve is left off. Most of the wrong claims of infeasibility that are known of HiGHS come from there,
and on these models, which bounds analysis has already pruned, it gains nothing.
"""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np

from qsmt.solver.base import Answer, Limits, Status
from qsmt_milp.floats import FloatModel, to_floats
from qsmt_milp.model import Model

TOLERANCE = 1e-9
"""Of integrality and of rows; the least that HiGHS takes is 1e-10."""

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

    def solve(self, model: Model, limits: Limits) -> Answer:
        reason = self.available()
        if reason is not None:
            return Answer(Status.UNKNOWN, reason=reason)
        highspy = import_module("highspy")
        solver = _quiet(highspy)
        floats = to_floats(model)
        for option, value in (_options(limits) | _stop(floats)).items():
            solver.setOptionValue(option, value)
        if solver.passModel(_program(highspy, floats)) == highspy.HighsStatus.kError:
            return Answer(Status.UNKNOWN, reason="HiGHS does not take the model")
        highspy.Highs.resetGlobalScheduler(True)  # its threads are those of the process's first run
        solver.run()
        return _interpreted(highspy, solver, model)


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
