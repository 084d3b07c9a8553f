"""A query decided with the reference in few bits, and in more of them only where that is not enough.

Each step is a formula that the query implies (see `surrogate`): if it has no solution, the query has none.
A solution is one of the query if the exact formula, on that one input, says so: there all terms are constants,
and the formula is one too. Else the next step has more bits: so many that this input, by what it misses the
bound, may not be a solution again. The last step is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import monotonic

from qsmt.encoding import Query
from qsmt.solver.base import Answer, Backend, Limits, Status
from qsmt_bitvector.formula import inputs, missing, script
from qsmt_bitvector.smtlib import Script, decode

STEPS = (12, 16, 20)
"""Fractional bits of the reference, step by step, before all of them are used."""

LEAST_S = 0.05
"""A step that is begun gets this much time."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """A query as several scripts, each made when it is needed first: several solvers may ask for it."""

    query: Query
    _made: dict[int | None, Script] = field(default_factory=dict, repr=False, compare=False)

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        """The codes of x; a variable that the solver left open may take any value."""
        return decode(inputs(self.query), assignment)

    def script(self, bits: int | None) -> Script:
        """With so many fractional bits of the reference; None: exactly."""
        if bits not in self._made:
            self._made[bits] = script(self.query, bits)
        return self._made[bits]

    def missed(self, assignment: Mapping[str, Fraction]) -> Fraction | None:
        """By how much a solution of a script is no solution of the query; None if it is one."""
        return missing(self.query, self.decode(assignment))


class Refining:
    """A solver of scripts as a solver of refinements: all steps share its time."""

    def __init__(self, solver: Backend[Script]) -> None:
        self.solver = solver
        self.name, self.trust, self.exact = solver.name, solver.trust, solver.exact

    def available(self) -> str | None:
        """None, or why the solver cannot be used."""
        return self.solver.available()

    def solve(self, model: Refinement, limits: Limits) -> Answer:
        """Decide the query: the first step without a solution, or with one that is real, decides it."""
        end = monotonic() + limits.wall_s
        step: int | None = STEPS[0]
        while True:
            made = model.script(step)
            left = replace(limits, wall_s=max(end - monotonic(), LEAST_S))
            found = self.solver.solve(made, left)
            if found.assignment is None or (missed := model.missed(found.assignment)) is None:
                return found
            if step is None:
                return Answer(
                    Status.UNKNOWN, reason=f"{self.name} has a solution of the exact formula that is none"
                )
            step = next_step(step, made.slack, missed=missed)


def next_step(bits: int, slack: Fraction, *, missed: Fraction) -> int | None:
    """The first step whose slack, which halves with every bit, is less than what the last solution missed by."""
    later = (more for more in STEPS if more > bits)
    return next((more for more in later if slack / 2 ** (more - bits) < missed), None)
