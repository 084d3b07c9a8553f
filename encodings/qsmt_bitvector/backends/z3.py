"""z3 on a QF_BV script, in a context of its own, so that a long-lived worker does not grow."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from qsmt.solver.base import Answer, Limits, Status
from qsmt_bitvector.smtlib import Script


class Z3:
    """Microsoft's z3 (package z3-solver)."""

    name = "z3"
    trust = "smt:z3"
    exact = True

    def available(self) -> str | None:
        """None, or that the package is missing."""
        try:
            import z3  # noqa
        except ImportError as error:
            return f"z3-solver cannot be imported: {error}"
        return None

    def solve(self, model: Script, limits: Limits) -> Answer:
        """Decide the script within z3's own time limit."""
        import z3

        context = z3.Context()
        solver = z3.SolverFor("QF_BV", ctx=context)
        solver.set("timeout", max(1, int(limits.wall_s * 1000)))
        solver.set("random_seed", limits.seed)
        solver.from_string(model.body)
        found = solver.check()
        if found == z3.sat:
            return Answer(Status.SAT, _values(solver.model(), model.variables))
        if found == z3.unsat:
            return Answer(Status.UNSAT)
        return Answer(Status.UNKNOWN, reason=solver.reason_unknown())


def _values(found: Any, names: tuple[str, ...]) -> dict[str, Fraction]:
    values = {d.name(): found[d] for d in found.decls()}
    return {name: Fraction(values[name].as_long()) for name in names if name in values}
