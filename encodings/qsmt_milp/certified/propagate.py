"""Bounds that follow from rows, in exact integers: what a split implies for all other variables.

A row `low <= a . v <= high` limits each of its variables by the extremes of the others; an integer's end moves
on to the next integer. That is how a split of an input fixes roundings two layers later, which no linear
relaxation sees. No point that satisfies the rows and exceeds the bound is lost, whichever rows are used and in
whatever order; so a certificate need not say: the check propagates again (Savelsbergh 1994, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from qsmt_milp.certified.integers import Box, Exactly, halves
from qsmt_milp.certified.tree import Split

MOST_VISITS = 2
"""A row is used this often at most: the ends of variables that are no integers may creep on for ever."""

WORTHWHILE = 4
"""An end that is not an integer's moves if it does so by more than the width over 2 to this power."""


def whole(problem: Exactly) -> Box | None:
    """What is left of the box of all variables."""
    return tightened(problem, problem.box, range(len(problem.lower)))


def sides(problem: Exactly, box: Box, split: Split) -> tuple[Box | None, Box | None]:
    """What is left of both parts of a box."""
    below, above = halves(box, split, problem.unit)
    return side(problem, below, split), side(problem, above, split)


def side(problem: Exactly, half: Box, split: Split) -> Box | None:
    """What is left of one part of a box that has been split."""
    crossed = half[0][split.variable] > half[1][split.variable]
    return None if crossed else tightened(problem, half, (split.variable,))


def tightened(problem: Exactly, box: Box, changed: Iterable[int]) -> Box | None:
    """The box, made smaller where the rows that read what has `changed` say so; None: nothing is left of it.

    Rows are used in their order, which is that of the layers; so one visit of each mostly is enough.
    """
    ends = list(box[0]), list(box[1])
    waiting: list[int] = []
    visits: dict[int, int] = {}
    queued: set[int] = set()
    moved: Iterable[int] = changed
    while True:
        for i in (i for j in moved for i in problem.readers[j]):
            if i not in queued and visits.get(i, 0) < MOST_VISITS:
                queued.add(i)
                heappush(waiting, i)
        if not waiting:
            return ends
        i = heappop(waiting)
        queued.discard(i)
        visits[i] = visits.get(i, 0) + 1
        new = list(_implied(problem, i, ends))
        for j, low, high in new:
            ends[0][j], ends[1][j] = low, high
            if low > high:
                return None
        moved = [j for j, _, _ in new]


def _implied(problem: Exactly, i: int, ends: Box) -> Iterator[tuple[int, int, int]]:
    """The variables of row i whose ends move, with their new ends; crossed ends: the row excludes the box."""
    lower, upper = ends
    row, unit = problem.conditions[i], problem.unit
    least = most = 0
    for j, a in row.terms:
        if a > 0:
            least += a * lower[j]
            most += a * upper[j]
        else:
            least += a * upper[j]
            most += a * lower[j]
    below = None if row.upper is None or most <= row.upper * unit else row.upper * unit - least
    above = None if row.lower is None or least >= row.lower * unit else most - row.lower * unit
    if below is None and above is None:
        return
    for j, a in row.terms:
        low, high = lower[j], upper[j]
        rise, fall = (below, above) if a > 0 else (above, below)
        new_low, new_high, creep = low, high, 0
        if problem.integer[j]:
            if rise is not None:
                new_high = min(high, (low + rise // abs(a)) // unit * unit)
            if fall is not None:
                new_low = max(low, -((fall // abs(a) - high) // unit) * unit)
        else:  # rounded outward
            creep = (high - low) >> WORTHWHILE
            if rise is not None:
                new_high = min(high, low - -rise // abs(a))
            if fall is not None:
                new_low = max(low, high + -fall // abs(a))
        if new_low - low > creep or high - new_high > creep or new_low > new_high:
            yield j, new_low, new_high
