"""Checks a certificate, exactly: integers and `Fraction`s only, no solver, no float.

For a leaf with weights w on rows `low <= a . v <= high` and its box B of the variables:

    k * objective(v)  =  sum_j r_j v_j + sum_i w_i (a_i . v)      where  r = k * objective - sum_i w_i a_i
                     <=  sum_j max over B of r_j v_j + sum_i w_i * (high_i if w_i > 0 else low_i)

for every v that satisfies the rows. If k = 1 and the right side is at most the bound, no solution in the box
exceeds it; if k = 0 and the right side is negative, the box has no solution. A row that has no limit on the
side that its weight needs proves nothing, and makes the leaf invalid. The splits of a tree cover the box of
all variables because the variable that is split is an integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm

from qsmt_milp.certified.tree import SHIFT, Leaf, Split, Tree
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

    @property
    def box(self) -> Box:
        """The ends of all variables."""
        return list(self.lower), list(self.upper)


def exactly(model: Model) -> Exactly:
    """The model in integers, without the threshold's row. Integer variables get integer ends."""
    ends = [_ends(v.lower, v.upper, integer=v.integer) for v in model.variables]
    unit = lcm(*(Fraction(end).denominator for pair in ends for end in pair))
    reach = [v.modulus for v in model.variables]
    goal = _row(model.objective.terms, None, model.bound - model.objective.constant, reach)
    assert goal.upper is not None
    return Exactly(
        rows=tuple(_row(r.terms, r.lower, r.upper, reach) for r in model.rows if r.name != THRESHOLD),
        objective=goal,
        bound=goal.upper,
        lower=tuple(int(low * unit) for low, _ in ends),
        upper=tuple(int(high * unit) for _, high in ends),
        integer=tuple(v.integer for v in model.variables),
        unit=unit,
    )


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


def holds(problem: Exactly, box: Box, leaf: Leaf) -> bool:
    """Does the leaf prove that nothing in the box exceeds the bound?"""
    proved = _greatest(problem, box, leaf)
    if proved is None:
        return False
    if leaf.objective:
        return leaf.objective == 1 and proved <= (problem.bound << SHIFT) * problem.unit
    return proved < 0


def _greatest(problem: Exactly, box: Box, leaf: Leaf) -> int | None:
    """The right side of the inequality above, in units of 2**-SHIFT / unit; None if a row lacks a limit."""
    rest: dict[int, int] = {}
    if leaf.objective:
        rest = {j: c << SHIFT for j, c in problem.objective.terms}
    sides = 0
    for i, weight in leaf.weights.items():
        if weight == 0:
            continue
        row = problem.rows[i]
        limit = row.upper if weight > 0 else row.lower
        if limit is None:
            return None
        sides += weight * limit
        for j, c in row.terms:
            rest[j] = rest.get(j, 0) - weight * c
    lower, upper = box
    return sides * problem.unit + sum(r * (upper[j] if r > 0 else lower[j]) for j, r in rest.items())


def verified(problem: Exactly, tree: Tree) -> bool:
    """Does the whole tree prove that nothing exceeds the bound?"""
    pending = [(tree, problem.box)]
    while pending:
        node, box = pending.pop()
        if isinstance(node, Leaf):
            if not holds(problem, box, node):
                return False
            continue
        if not problem.integer[node.variable]:
            return False
        pending += list(zip((node.below, node.above), halves(box, node, problem.unit), strict=True))
    return True


def halves(box: Box, split: Split, unit: int) -> tuple[Box, Box]:
    """The two parts of a box; one of them may be empty, and is then hopeless by itself."""
    lower, upper = box
    below, above = list(upper), list(lower)
    below[split.variable] = min(upper[split.variable], split.at * unit)
    above[split.variable] = max(lower[split.variable], (split.at + 1) * unit)
    return (lower, below), (above, upper)
