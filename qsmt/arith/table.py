"""Tables: what a runtime computes in float on each code by itself, as a map of codes.

Monotone or not: a hard swish falls before it rises. What other kinds of requantization are asked at the two
ends of an interval (qsmt.arith.runtime_kinds), a table must be asked of everything between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qsmt.arith.real import IntArray

LARGEST = 2**60
"""No number of a table is larger: arrays of 64-bit integers hold them all, and their distances from accumulators."""


@dataclass(frozen=True, slots=True)
class Table:
    """`codes[floor((acc - first) / step)]`; beyond its ends, the code at the end.

    Accumulators are `first` plus multiples of `step`: an elementwise operation on a code, which a runtime
    computes in float, is one code for each code that it reads. A step other than 1 leaves room for a constant
    that is added in between and is no multiple of the code's unit.
    """

    first: int
    step: int
    codes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.codes or self.step == 0:
            raise ValueError("a table has at least one code, and a step that is not zero")
        last = self.first + len(self.codes) * self.step
        if max(map(abs, (self.first, last, self.step, *self.codes))) > LARGEST:
            raise ValueError("a table has no number beyond 2**60")

    @property
    def nominal(self) -> None:
        """It need not be near a multiple."""

    @property
    def widest(self) -> int:
        """How many bits an accumulator may have."""
        return 48

    def index(self, acc: int) -> int:
        """Which of the codes it is."""
        return min(max((acc - self.first) // self.step, 0), len(self.codes) - 1)

    def rounded(self, acc: int) -> int:
        return self.codes[self.index(acc)]

    def image(self, low: int, high: int) -> tuple[int, int]:
        """The least and the greatest code of the accumulators in [low, high]."""
        start, end = sorted((self.index(low), self.index(high)))
        codes = self.codes[start : end + 1]
        return min(codes), max(codes)

    @property
    def is_monotone(self) -> bool:
        return list(self.codes) == sorted(self.codes, reverse=self.step < 0)

    @property
    def starts(self) -> tuple[int, ...]:
        """The accumulators from which on it may be another code than before, in ascending order."""
        indices = range(1, len(self.codes))
        if self.step > 0:
            return tuple(self.first + i * self.step for i in indices)
        return tuple(self.first + i * self.step + 1 for i in reversed(indices))

    @staticmethod
    def stacked(kinds: Sequence[Table]) -> Callable[[IntArray], IntArray]:
        """The rule of many tables, for accumulators (..., tables)."""
        index, codes, rows = _index(kinds), _codes(kinds), np.arange(len(kinds))

        def rule(acc: IntArray) -> IntArray:
            found: IntArray = codes[rows, index(acc)]
            return found

        return rule

    @staticmethod
    def images(kinds: Sequence[Table]) -> Callable[[IntArray, IntArray], tuple[IntArray, IntArray]]:
        """`image` of many tables, for ends (..., tables).

        By the extreme codes of all runs of 2**k entries: two runs, which may overlap, cover any range.
        """
        index, codes, rows = _index(kinds), _codes(kinds), np.arange(len(kinds))
        least, greatest = _runs(codes, np.minimum), _runs(codes, np.maximum)

        def rule(low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
            ends = index(low), index(high)
            start, end = np.minimum(*ends), np.maximum(*ends)
            level = np.frexp(end - start + 1)[1] - 1
            last = end - (1 << level) + 1
            return (
                np.minimum(least[level, rows, start], least[level, rows, last]),
                np.maximum(greatest[level, rows, start], greatest[level, rows, last]),
            )

        return rule

    def __str__(self) -> str:
        return f"table {self.first}, {self.step}, [{', '.join(map(str, self.codes))}]"


def _index(kinds: Sequence[Table]) -> Callable[[IntArray], IntArray]:
    first, step = (np.array([getattr(k, name) for k in kinds], dtype=np.int64) for name in ("first", "step"))
    longest = max(len(kind.codes) for kind in kinds)

    def index(acc: IntArray) -> IntArray:
        found: IntArray = np.clip((acc - first) // step, 0, longest - 1)
        return found

    return index


def _codes(kinds: Sequence[Table]) -> IntArray:
    """A row for each table, its last code repeated."""
    longest = max(len(kind.codes) for kind in kinds)
    return np.array([(*k.codes, *k.codes[-1:] * (longest - len(k.codes))) for k in kinds], dtype=np.int64)


def _runs(codes: IntArray, extreme: np.ufunc) -> IntArray:
    """Entry [k, row, i] is the extreme of the codes from i on, of 2**k or as many as there are."""
    levels, size = [codes], 1
    while 2 * size <= codes.shape[1]:
        shorter = levels[-1]
        levels.append(
            np.concatenate([extreme(shorter[:, :-size], shorter[:, size:]), shorter[:, -size:]], axis=1)
        )
        size *= 2
    return np.stack(levels)
