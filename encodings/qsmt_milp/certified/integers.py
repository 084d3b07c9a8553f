"""A program in integers, as the search and the check of its certificates both read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm

from qsmt_milp.certified.tree import Split
from qsmt_milp.floats import scale
from qsmt_milp.model import THRESHOLD, Exact, Model

Box = tuple[list[int], list[int]]
"""Lower and upper ends of all variables, in units of 1/`Exactly.unit`."""


@dataclass(frozen=True, slots=True)
class IntegerRow:
    """A row multiplied by a positive number, so that all of it is integers; None: no limit."""

    terms: tuple[tuple[int, int], ...]
    lower: int | None
    upper: int | None
    over: int  # divided by this, it is scaled as the solver in doubles sees it


@dataclass(frozen=True, slots=True)
class Exactly:
    """A model in integers: its question is whether the objective can exceed `bound`."""

    rows: tuple[IntegerRow, ...]
    objective: IntegerRow
    bound: int  # in units of the objective
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    integer: tuple[bool, ...]
    unit: int  # variables' ends are integers over this
    conditions: tuple[IntegerRow, ...]  # the rows, and that the objective is at least the bound
    inputs: int  # the first so many variables determine all others
    readers: tuple[tuple[int, ...], ...]  # the conditions that each variable is in

    @property
    def box(self) -> Box:
        """The ends of all variables."""
        return list(self.lower), list(self.upper)


def exactly(model: Model) -> Exactly:
    """The model in integers, without the threshold's row. Integer variables get integer ends."""
    ends = [_ends(v.lower, v.upper, integer=v.integer) for v in model.variables]
    unit = lcm(*(Fraction(end).denominator for pair in ends for end in pair))
    reach = [v.modulus for v in model.variables]
    goal = _row(model.objective.terms, model.bound - model.objective.constant, None, reach)
    assert goal.lower is not None
    rows = tuple(_row(r.terms, r.lower, r.upper, reach) for r in model.rows if r.name != THRESHOLD)
    return Exactly(
        rows=rows,
        objective=goal,
        bound=goal.lower,
        lower=tuple(int(low * unit) for low, _ in ends),
        upper=tuple(int(high * unit) for _, high in ends),
        integer=tuple(v.integer for v in model.variables),
        unit=unit,
        conditions=(*rows, goal),
        inputs=model.inputs,
        readers=_readers((*rows, goal), len(ends)),
    )


def _readers(rows: Sequence[IntegerRow], variables: int) -> tuple[tuple[int, ...], ...]:
    found: list[list[int]] = [[] for _ in range(variables)]
    for i, row in enumerate(rows):
        for j, _ in row.terms:
            found[j].append(i)
    return tuple(map(tuple, found))


def _ends(lower: Exact, upper: Exact, *, integer: bool) -> tuple[Exact, Exact]:
    return (ceil(lower), floor(upper)) if integer else (lower, upper)


def _row(
    terms: Mapping[int, Exact], lower: Exact | None, upper: Exact | None, reach: Sequence[Exact]
) -> IntegerRow:
    """The row in integers, scaled about as the solver in doubles sees it."""
    near = scale(terms, reach)
    numbers = [Fraction(v) for v in (*terms.values(), lower, upper) if v is not None]
    over = lcm(1, *((v * near).denominator for v in numbers))
    by = near * over
    return IntegerRow(
        terms=tuple((i, int(c * by)) for i, c in terms.items()),
        lower=None if lower is None else int(lower * by),
        upper=None if upper is None else int(upper * by),
        over=over,
    )


def halves(box: Box, split: Split, unit: int) -> tuple[Box, Box]:
    """The two parts of a box; one of them may be empty, and is then hopeless by itself."""
    lower, upper = box
    below, above = list(upper), list(lower)
    below[split.variable] = min(upper[split.variable], split.at * unit)
    above[split.variable] = max(lower[split.variable], (split.at + 1) * unit)
    return (lower, below), (above, upper)
