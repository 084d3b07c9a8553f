"""The mathematical ideal of a requantization whose sums are no multiples of their own unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.rounding import ROUND, Rounding, round_fraction


@dataclass(frozen=True, slots=True)
class Ideal:
    """`round((acc + offset) * multiplier)`, exactly.

    The offset, less than one unit, is what a bias has beyond a multiple of the unit of the sums. Without one, and
    of all neurons alike, this is `qsmt.arith.requantize.Rational`.
    """

    multiplier: Fraction
    offset: Fraction
    rounding: Rounding

    def __post_init__(self) -> None:
        if self.multiplier <= 0 or abs(self.offset) >= 1:
            raise ValueError(
                "an ideal rounding has a positive multiplier, and an offset of less than one unit"
            )

    @property
    def nominal(self) -> Fraction:
        return self.multiplier

    @property
    def widest(self) -> int:
        """How many bits an accumulator may have."""
        return 62

    def rounded(self, acc: int) -> int:
        return round_fraction((acc + self.offset) * self.multiplier, self.rounding)

    @staticmethod
    def stacked(kinds: Sequence[Ideal]) -> Callable[[IntArray], IntArray]:
        """The rule of many kinds, for accumulators (..., kinds); saturated far beyond every format.

        In doubles, between two ends that contain the exact value: both are rounded exactly, and roundings are
        monotone. Where they differ, rationals decide. The value has four roundings of 2**-53, of |acc| + 1 times the
        multiplier at most, and underflows by less than 2**-1000.
        """
        factor, offset = (
            np.array([float(getattr(k, name)) for k in kinds]) for name in ("multiplier", "offset")
        )
        round_all = _by_column([kind.rounding for kind in kinds])

        def rule(acc: IntArray) -> IntArray:
            value = (acc + offset) * factor
            doubt = (np.abs(acc) + 1.0) * factor * 2.0**-49 + 2.0**-1000
            low, high = round_all(value - doubt), round_all(value + doubt)
            found: IntArray = np.clip(low, -LARGEST, LARGEST).astype(np.int64)
            for place in np.argwhere((low != high) & (np.abs(value) < LARGEST)):
                kind = kinds[int(place[-1]) % len(kinds)]
                found[tuple(place)] = min(max(kind.rounded(int(acc[tuple(place)])), -LARGEST), LARGEST)
            return found

        return rule

    def __str__(self) -> str:
        return f"ideal {self.multiplier}, offset {self.offset}, {self.rounding}"


def _by_column(roundings: Sequence[Rounding]) -> Callable[[FloatArray], FloatArray]:
    """The rounding of each column; nearly always one for all."""
    first, *others = dict.fromkeys(roundings)
    columns = {kind: np.array([r is kind for r in roundings]) for kind in others}

    def rule(values: FloatArray) -> FloatArray:
        found = ROUND[first](values)
        for kind, where in columns.items():
            found = np.where(where, ROUND[kind](values), found)
        return found

    return rule


LARGEST = 2**40
"""Codes beyond this are all the same: every format saturates long before."""
