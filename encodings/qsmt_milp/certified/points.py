"""All points of the inputs at once: each is excluded by the rows that follow from it, in exact integers.

Where all inputs are integers, a small box of them has few points, and each point fixes everything else: rounding
by rounding, layer by layer, its rows leave one value, or nearly so, and then its objective. Relaxations gain
nothing there, because the true maximum is only a little less than what roundings could add up to.

The integers are of 64 bits, so that all points go through a row together. Numbers that do not fit are rounded
so that rows only become wider: if coefficients are off by at most 1/2 each, a row is by at most half the sum
of the moduli of its variables. Sums are shown not to overflow before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, prod

import numpy as np

from qsmt.arith.real import BoolArray, IntArray
from qsmt_milp.certified.integers import Box, Exactly, IntegerRow

FRACTION = 24
"""Ends of variables are integers over 2 to this power."""

LARGEST = 2**61
"""No sum of a row exceeds it; two of them, which may be subtracted, are within 64 bits."""

MOST_SWEEPS = 8
"""The rows are used so often at most: once per layer, and once more, is what it takes."""


@dataclass(frozen=True, slots=True, eq=False)
class WideRow:
    """`lower <= a . v <= upper`, at least as wide as the row that it stands for; `a` are positive or negative."""

    columns: IntArray
    factors: IntArray
    lower: int
    upper: int


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """A program whose first variables are integer inputs, ready to be tried on many points at once."""

    inputs: int
    rows: tuple[WideRow, ...]
    lower: IntArray
    upper: IntArray
    integer: BoolArray

    @staticmethod
    def of(problem: Exactly) -> Points | None:
        """The program in 64 bits; None if its inputs are no integers, or a variable is too large."""
        if not problem.inputs or not all(problem.integer[: problem.inputs]):
            return None
        lower = [(low << FRACTION) // problem.unit for low in problem.lower]
        upper = [-((-high << FRACTION) // problem.unit) for high in problem.upper]
        modulus = [max(-low, high) for low, high in zip(lower, upper, strict=True)]
        if max(modulus) > LARGEST:
            return None
        rows = (_wide(row, modulus) for row in problem.conditions)
        return Points(
            problem.inputs,
            tuple(row for row in rows if row is not None),
            np.array(lower, dtype=np.int64),
            np.array(upper, dtype=np.int64),
            np.array(problem.integer),
        )

    def excluded(self, problem: Exactly, box: Box) -> bool:
        """Does every point of the inputs' box contradict the rows, or not exceed the bound?"""
        points = _grid(problem, box) << FRACTION
        lower = np.repeat(self.lower[:, None], points.shape[1], axis=1)
        upper = np.repeat(self.upper[:, None], points.shape[1], axis=1)
        lower[: self.inputs] = upper[: self.inputs] = points
        for _ in range(MOST_SWEEPS):
            alive = np.ones(lower.shape[1], dtype=bool)
            moved = [self._use(row, lower, upper, alive) for row in self.rows]
            lower, upper = lower[:, alive], upper[:, alive]
            if not lower.shape[1] or not any(moved):
                break
        return not lower.shape[1]

    def _use(self, row: WideRow, lower: IntArray, upper: IntArray, alive: BoolArray) -> bool:
        """Move the ends of the row's variables; strike out the points that it excludes. Did any end move?"""
        low, high, a = lower[row.columns], upper[row.columns], row.factors[:, None]
        below = row.upper - np.where(a > 0, a * low, a * high).sum(axis=0)
        above = np.where(a > 0, a * high, a * low).sum(axis=0) - row.lower
        alive &= (below >= 0) & (above >= 0)
        size, whole = np.abs(a), self.integer[row.columns][:, None]
        down, up = (_over(np.maximum(rest, 0), size, whole) for rest in (above, below))
        rise, fall = np.where(a > 0, up, down), np.where(a > 0, down, up)
        new_low = np.where(fall < high - low, high - fall, low)
        new_high = np.where(rise < high - low, low + rise, high)
        new_low = np.where(whole, -(-new_low >> FRACTION << FRACTION), new_low)
        new_high = np.where(whole, new_high >> FRACTION << FRACTION, new_high)
        crossed = new_low > new_high
        alive &= ~crossed.any(axis=0)
        lower[row.columns] = np.where(crossed, low, new_low)
        upper[row.columns] = np.where(crossed, high, new_high)
        return bool((new_low > low).any() or (new_high < high).any())


def _over(rest: IntArray, size: IntArray, whole: BoolArray) -> IntArray:
    """What a row leaves over a coefficient's size: how far a variable may move; upward unless it is an integer."""
    moves: IntArray = rest // size + (~whole & (rest % size > 0))
    return moves


def count(problem: Exactly, box: Box) -> int:
    """How many points the inputs, which are integers, have in a box."""
    return prod(len(side) for side in _sides(problem, box))


def _sides(problem: Exactly, box: Box) -> Iterator[range]:
    for low, high in zip(box[0][: problem.inputs], box[1][: problem.inputs], strict=True):
        yield range(low // problem.unit, high // problem.unit + 1)


def _grid(problem: Exactly, box: Box) -> IntArray:
    """All points of the inputs, (inputs, points)."""
    axes = np.meshgrid(*(np.arange(s.start, s.stop) for s in _sides(problem, box)), indexing="ij")
    return np.stack(axes).reshape(problem.inputs, -1).astype(np.int64)


def _wide(row: IntegerRow, modulus: Sequence[int]) -> WideRow | None:
    """The row in 64 bits; None if nothing of it is left.

    It is multiplied by the power of two with which the rounding of its coefficients matters least. Variables that
    are zero throughout are left out: nothing would limit their coefficients.
    """
    terms = [(j, c) for j, c in row.terms if modulus[j]]
    reach = sum(abs(c) * modulus[j] for j, c in terms)
    if sum(modulus[j] for j, _ in terms) > LARGEST:  # twice what rounding may add
        return None
    factor = Fraction(2) ** (LARGEST.bit_length() - 2 - reach.bit_length())
    rounded = [(j, round(c * factor)) for j, c in terms]
    pairs = zip(terms, rounded, strict=True)
    off = sum(abs(c * factor - near) * modulus[j] for (j, c), (_, near) in pairs)
    kept = [(j, c) for j, c in rounded if c]
    if not kept:
        return None
    lower = -LARGEST if row.lower is None else floor((row.lower << FRACTION) * factor - off)
    upper = LARGEST if row.upper is None else ceil((row.upper << FRACTION) * factor + off)
    columns, factors = (np.array(v, dtype=np.int64) for v in zip(*kept, strict=True))
    return WideRow(
        columns, factors, min(max(lower, -LARGEST), LARGEST + 1), max(min(upper, LARGEST), -LARGEST - 1)
    )
