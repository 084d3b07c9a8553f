"""Rounding a ratio of integers to an integer, exactly, in every mode that integer networks use.

Each mode is one predicate: given `floor(n/d)` and the remainder, is the result one above the floor?
The functions work on Python integers and, elementwise, on numpy arrays of integers or Python integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np

from qsmt.arith.real import FloatArray


class Rounding(StrEnum):
    """How a value between two integers becomes one of them."""

    FLOOR = "floor"
    CEIL = "ceil"
    TOWARD_ZERO = "toward_zero"
    AWAY = "away"
    HALF_UP = "half_up"  # floor(v + 1/2)
    HALF_DOWN = "half_down"  # ceil(v - 1/2)
    HALF_EVEN = "half_even"
    HALF_AWAY = "half_away"
    HALF_TOWARD_ZERO = "half_toward_zero"


@dataclass(frozen=True, slots=True)
class _Split:
    """`n = floor * d + rest` with `0 <= rest < d`; every field an integer or an array of integers."""

    negative: Any
    floor: Any
    rest: Any
    twice: Any  # sign of 2 * rest - d: below, at, or above the midpoint


_ROUNDS_UP: dict[Rounding, Callable[[_Split], Any]] = {
    Rounding.FLOOR: lambda s: s.rest < 0,
    Rounding.CEIL: lambda s: s.rest > 0,
    Rounding.TOWARD_ZERO: lambda s: (s.rest > 0) & s.negative,
    Rounding.AWAY: lambda s: (s.rest > 0) & (s.negative ^ True),
    Rounding.HALF_UP: lambda s: s.twice >= 0,
    Rounding.HALF_DOWN: lambda s: s.twice > 0,
    Rounding.HALF_EVEN: lambda s: (s.twice > 0) | ((s.twice == 0) & (s.floor % 2 == 1)),
    Rounding.HALF_AWAY: lambda s: (s.twice > 0) | ((s.twice == 0) & (s.negative ^ True)),
    Rounding.HALF_TOWARD_ZERO: lambda s: (s.twice > 0) | ((s.twice == 0) & s.negative),
}


def round_ratio(numerator: Any, denominator: int, rounding: Rounding) -> Any:
    """`numerator / denominator` as an integer; `denominator` > 0. Exact; elementwise on arrays."""
    floor = numerator // denominator
    rest = numerator - floor * denominator
    split = _Split(numerator < 0, floor, rest, 2 * rest - denominator)
    return floor + _ROUNDS_UP[rounding](split)


def round_fraction(value: Fraction, rounding: Rounding) -> int:
    """`value` as an integer."""
    return int(round_ratio(value.numerator, value.denominator, rounding))


def noise_bounds(denominator: int, rounding: Rounding) -> tuple[Fraction, Fraction]:
    """The least and greatest `round(v) - v` over all ratios `v` with this denominator, any sign.

    The bounds are attained. They are the rounding noise that an abstract domain adds.
    """
    last = Fraction(denominator - 1, denominator)
    tie = Fraction(denominator // 2, denominator)  # the largest distance of a nearest rounding
    below = Fraction((denominator - 1) // 2, denominator)  # the largest one that is not a tie
    match rounding:
        case Rounding.FLOOR:
            return -last, Fraction(0)
        case Rounding.CEIL:
            return Fraction(0), last
        case Rounding.TOWARD_ZERO | Rounding.AWAY:
            return -last, last
        case Rounding.HALF_UP:
            return -below, tie
        case Rounding.HALF_DOWN:
            return -tie, below
        case Rounding.HALF_EVEN | Rounding.HALF_AWAY | Rounding.HALF_TOWARD_ZERO:
            return -tie, tie


def floor_offset(denominator: int, rounding: Rounding) -> int | None:
    """`k` such that `round(n/d) = floor((n + k)/d)` for every integer `n`, or None if there is none.

    Encodings turn such a rounding into one shift or one pair of linear rows; the others depend on the
    sign or the parity of the result and go through a staircase of thresholds.
    """
    match rounding:
        case Rounding.FLOOR:
            return 0
        case Rounding.CEIL:
            return denominator - 1
        case Rounding.HALF_UP:
            return denominator // 2
        case Rounding.HALF_DOWN:
            return (denominator - 1) // 2
        case Rounding.TOWARD_ZERO | Rounding.AWAY:
            return 0 if denominator == 1 else None
        case Rounding.HALF_EVEN | Rounding.HALF_AWAY | Rounding.HALF_TOWARD_ZERO:
            # An odd denominator has no ties, and without ties all nearest roundings are one.
            return denominator // 2 if denominator % 2 else None


# --- arrays of doubles ---


def _half(toward: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray], FloatArray]:
    """To nearest, with ties as `toward` says. A fractional part of 1/2 is seen exactly in doubles."""

    def rule(v: FloatArray) -> FloatArray:
        tie = np.abs(v - np.trunc(v)) == 0.5
        return np.where(tie, toward(v), np.rint(v))

    return rule


def _away(v: FloatArray) -> FloatArray:
    return np.copysign(np.ceil(np.abs(v)), v)


ROUND: dict[Rounding, Callable[[FloatArray], FloatArray]] = {
    Rounding.FLOOR: np.floor,
    Rounding.CEIL: np.ceil,
    Rounding.TOWARD_ZERO: np.trunc,
    Rounding.AWAY: _away,
    Rounding.HALF_UP: _half(np.ceil),
    Rounding.HALF_DOWN: _half(np.floor),
    Rounding.HALF_EVEN: np.rint,
    Rounding.HALF_AWAY: _half(_away),
    Rounding.HALF_TOWARD_ZERO: _half(np.trunc),
}
"""Each exact for every double."""
