"""z3 on a QF_BV script.

Making a context takes longer than deciding a small query in it, and a context keeps what it has seen; so each
serves a number of queries, and a long-lived worker does not grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from qsmt.solver.base import Answer, Limits, Status
from qsmt_bitvector.backends import milliseconds, missing
from qsmt_bitvector.smtlib import Script

USES = 50
"""Queries per context."""


def _contexts() -> Iterator[Any]:
    import z3

    while True:
        context = z3.Context()
        for _ in range(USES):
            yield context


CONTEXTS = _contexts()


class Z3:
    """z3, from the package z3-solver."""

    name = "z3"
    trust = "smt:z3"
    exact = True

    def available(self) -> str | None:
        """None, or that the package is missing."""
        return missing("z3", "z3-solver")

    def solve(self, model: Script, limits: Limits) -> Answer:
        """Decide the script within z3's own time limit."""
        import z3

        solver = z3.SolverFor("QF_BV", ctx=next(CONTEXTS))
        solver.set("timeout", milliseconds(limits))
        solver.set("random_seed", limits.seed)
        solver.from_string(model.body)
        found = solver.check()
        if found == z3.sat:
            return Answer(Status.SAT, _values(solver.model(), model.variables))
        if found == z3.unsat:
            return Answer(Status.UNSAT)
        return Answer(Status.UNKNOWN, reason=f"z3 gave up: {solver.reason_unknown()}")


def _values(found: Any, names: tuple[str, ...]) -> dict[str, Fraction]:
    """The values of the variables that z3 cared about; the others are free."""
    values = {declared.name(): found[declared] for declared in found.decls()}
    return {name: Fraction(values[name].as_long()) for name in names if name in values}
