"""The conformance suite that every encoding must pass: kind of requantization x rounding x overflow.

A cell of the matrix is a few small problems of that form. An encoding and a solver pass a cell if all their
answers are those of enumeration, at bounds just below, at and just above the exact maxima. A hole is a cell
where an encoding refuses to answer; it must say why, and `HOLES` must say so too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from itertools import product
from typing import Any

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Rational
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Encoding, QueryAnswer
from qsmt.engine.judge import Mark, judge
from qsmt.engine.trial import SIDES, Trial, executions, least_step, maximum
from qsmt.facts import Facts
from qsmt.ir.ops import Requantize
from qsmt.problem import Problem
from qsmt.solver.base import Backend, Limits
from tests.support.networks import Recipe, random_problem
from tests.unit.milp.oracle import no_facts, query, tight_facts

LIMITS = Limits(60.0)


class Kind(StrEnum):
    """How a requantization multiplies."""

    SHIFT = "shift"
    RATIO = "power-of-two ratio"
    ODD = "other ratio"


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    kind: Kind
    rounding: Rounding
    overflow: Overflow

    def __str__(self) -> str:
        return f"{self.kind}, {self.rounding}, {self.overflow}"


MATRIX = [Cell(*row) for row in product(Kind, Rounding, Overflow)]

HOLES = {
    ("milp", Overflow.WRAP): "may overflow on this region, where wrap is not monotone",
    ("milp", Overflow.SATURATE_ZERO): "may overflow on this region, where saturate_zero is not monotone",
}
"""Where an encoding may refuse, and what it then says. Only problems that really overflow are refused."""


def problems(cell: Cell) -> list[Problem]:
    """One problem whose hidden codes overflow, and one where they have room."""
    index = MATRIX.index(cell)
    narrow = Recipe(
        sizes=((2, 3, 1), (1, 4, 1), (2, 2, 2, 1))[index % 3],
        hidden=Fixed(index % 2 == 0, 3, 2),
        rounding=cell.rounding,
        overflow=cell.overflow,
        rational=cell.kind is not Kind.SHIFT,
        output=Fixed(True, 3, 1) if index % 4 == 0 else None,
        clip=Fraction(3, 4) if index % 5 == 0 else None,
        reference_frac=3,
        radius=1 + index % 2,
    )
    wide = replace(narrow, hidden=Fixed(narrow.hidden.signed, 8, 2), output=None)
    made = [random_problem(index, narrow), random_problem(1000 + index, wide)]
    return [_multiplied(problem) for problem in made] if cell.kind is Kind.ODD else made


def _multiplied(problem: Problem) -> Problem:
    """With multipliers that are no power of two: each code then means 11/13 of what its type says."""
    ops = (
        replace(op, kind=Rational(op.rule.exact.multiplier * Fraction(11, 13), op.rule.exact.rounding))
        if isinstance(op, Requantize)
        else op
        for op in problem.quantized.ops
    )
    return replace(problem, quantized=replace(problem.quantized, ops=tuple(ops)))


def facts(cell: Cell, problem: Problem) -> Facts:
    """Facts of each origin in turn; analysis trusts types, which the odd multipliers do not follow."""
    sources: list[Callable[[Problem], Facts]] = [tight_facts, no_facts, analyze_region]
    return sources[MATRIX.index(cell) % (2 if cell.kind is Kind.ODD else 3)](problem)


def trials(cell: Cell, problem: Problem) -> Iterator[Trial]:
    """Around the exact maximum of the first output, on either side."""
    executed, known = executions(problem), facts(cell, problem)
    assert executed is not None
    step = least_step(executed)
    for side in SIDES:
        worst = maximum(executed, 0, side)
        for offset in (-step, Fraction(0), step):
            bound = side * worst.difference[0] + offset
            if bound >= 0:
                yield Trial(query(problem, bound, side, known), offset < 0, offset, worst)


def tried(encoding: Encoding, backend: Backend[Any], made: Trial) -> tuple[Mark, str]:
    """What becomes of a trial: a mark, and the reason if it is not "right"."""
    if (refusal := encoding.refuses(made.query)) is not None:
        return Mark.REFUSED, refusal
    encoded = encoding.encode(made.query)
    found = backend.solve(encoded.model, LIMITS)
    witness = encoded.decode(found.assignment) if found.assignment is not None else None
    fidelity = getattr(encoded, "fidelity", encoding.fidelity)
    answer = QueryAnswer(found.status, encoding.name, backend.name, 0.0, witness, found.reason, fidelity)
    judged = judge(made, answer, violated=made.violated)
    return judged.mark, judged.reason


def failures(encoding: Encoding, backend: Backend[Any], cell: Cell) -> list[str]:
    """Everything that is not right in a cell, refusals that `HOLES` allows excepted."""
    hole = HOLES.get((encoding.name.partition("+")[0], cell.overflow))
    found = []
    for problem in problems(cell):
        for made in trials(cell, problem):
            mark, reason = tried(encoding, backend, made)
            allowed = mark is Mark.REFUSED and hole is not None and hole in reason
            if mark is not Mark.RIGHT and not allowed:
                found.append(f"{cell}: {made.query}: {mark}: {reason}")
    return found
