"""A query decided with the reference in few bits, and in more of them only where that is not enough.

Each step is a formula that the query implies (see `surrogate`): if it has no solution, the query has none.
A solution is one of the query if the exact formula, on that one input, says so: there all terms are constants,
and the formula is one too. Else the next step has more bits; the last one is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from time import monotonic

from qsmt.encoding import Query
from qsmt.solver.base import Answer, Backend, Limits, Status
from qsmt_bitvector.formula import inputs, script, violates
from qsmt_bitvector.smtlib import Script, decode

STEPS = (12, 16, 20, None)
"""Fractional bits of the reference, step by step; None is exact."""

LEAST_S = 0.05
"""A step that is begun gets this much time."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """A query as several scripts, made when they are needed."""

    query: Query

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        """The codes of x; a variable that the solver left open may take any value."""
        return decode(inputs(self.query), assignment)

    def steps(self) -> Iterator[Script]:
        """The scripts, coarse to exact."""
        return (script(self.query, bits) for bits in STEPS)

    def holds(self, assignment: Mapping[str, Fraction]) -> bool:
        """Is this a solution of the query itself?"""
        return violates(self.query, self.decode(assignment))


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
        end, found = monotonic() + limits.wall_s, Answer(Status.UNKNOWN, reason="there was no step to take")
        for step in model.steps():
            left = replace(limits, wall_s=max(end - monotonic(), LEAST_S))
            found = self.solver.solve(step, left)
            if found.assignment is None or model.holds(found.assignment):
                return found
        return Answer(Status.UNKNOWN, reason=f"{self.name} has a solution of the exact formula that is none")
