"""Requantization: how an exact accumulator becomes the next narrow integer.

Two kinds, each the rounding of a rational multiple of the accumulator (the measured runtimes'
conventions are tabulated in docs/semantics.md):

    SHIFT(s, rounding)       round(acc / 2**s)        research tools, legacy CMSIS, ap_fixed
    RATIONAL(p/q, rounding)  round(acc * p/q)         the mathematical ideal

Both are monotone in `acc`. A monotone map onto n-bit integers is fixed by its at most 2**n - 1
thresholds, which bisection finds on the exact rule: the `Staircase`. It needs no theory of the rule,
so every consumer can fall back on it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.rounding import Rounding, noise_bounds, round_ratio

MAX_SHIFT = 4096
"""No two formats are further apart; and 2**MAX_SHIFT is still a number that can be written down."""


@dataclass(frozen=True, slots=True)
class Shift:
    """`round(acc / 2**shift)`; a negative shift multiplies and is exact."""

    shift: int
    rounding: Rounding

    def __post_init__(self) -> None:
        if abs(self.shift) > MAX_SHIFT:
            raise ValueError(f"a requantization shifts by at most {MAX_SHIFT} bits")

    @property
    def multiplier(self) -> Fraction:
        return Fraction(2) ** -self.shift

    def __str__(self) -> str:
        return f"shift {self.shift}, {self.rounding}"


@dataclass(frozen=True, slots=True)
class Rational:
    """`round(acc * multiplier)` with an exact positive rational."""

    multiplier: Fraction
    rounding: Rounding

    def __post_init__(self) -> None:
        if self.multiplier <= 0:
            raise ValueError(f"a requantization multiplier is positive, not {self.multiplier}")

    def __str__(self) -> str:
        return f"rational {self.multiplier}, {self.rounding}"


RequantKind: TypeAlias = Shift | Rational


@dataclass(frozen=True, slots=True)
class Requantization:
    """From accumulator to code: a kind, and what happens to a result outside the target format."""

    kind: RequantKind
    overflow: Overflow
    target: Fixed

    def unbounded(self, acc: int) -> int:
        """The rounded result before overflow."""
        m = self.kind.multiplier
        return int(round_ratio(acc * m.numerator, m.denominator, self.kind.rounding))

    def apply(self, acc: int) -> int:
        """The exact result: the rule that defines this requantization."""
        return self.target.overflow(self.unbounded(acc), self.overflow)

    def noise(self) -> tuple[Fraction, Fraction]:
        """Bounds of `unbounded(acc) - acc * multiplier`, in units of the result."""
        return noise_bounds(self.kind.multiplier.denominator, self.kind.rounding)

    def overflows(self, low: int, high: int) -> bool:
        """Can an accumulator in [low, high] leave the target's range?"""
        return not (self.target.fits(self.unbounded(low)) and self.target.fits(self.unbounded(high)))

    def is_monotone(self, low: int, high: int) -> bool:
        """Is `apply` monotone on [low, high]? Wrapping and zeroing are not once they happen."""
        saturates = self.overflow in (Overflow.SATURATE, Overflow.SATURATE_SYMMETRIC)
        return saturates or not self.overflows(low, high)

    def staircase(self, low: int, high: int) -> Staircase:
        """The thresholds of `apply` on [low, high], which must be monotone there."""
        if not self.is_monotone(low, high):
            raise ValueError(f"{self} is not monotone on [{low}, {high}]")
        return staircase(self.apply, low, high)

    def __str__(self) -> str:
        return f"{self.kind}, {self.overflow}"


@dataclass(frozen=True, slots=True)
class Staircase:
    """A monotone integer map on an interval: `first`, plus one for each threshold that is reached.

    A step higher than one repeats its threshold.
    """

    first: int
    thresholds: tuple[int, ...]

    def __call__(self, acc: int) -> int:
        return self.first + bisect_right(self.thresholds, acc)


def staircase(rule: Callable[[int], int], low: int, high: int) -> Staircase:
    """The staircase of a monotone `rule` on the integers of [low, high], by bisection."""
    first, last = rule(low), rule(high)
    thresholds: list[int] = []
    start = low
    for level in range(first + 1, last + 1):
        start = _reaches(rule, level, low=start, high=high)
        thresholds.append(start)
    return Staircase(first, tuple(thresholds))


def _reaches(rule: Callable[[int], int], level: int, *, low: int, high: int) -> int:
    """The least integer of [low, high] where a monotone rule that ends there is at least `level`.

    Not `bisect_left` of a range: an accumulator may be wider than the ranges that Python can index.
    """
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rule(middle) >= level else (middle + 1, high)
    return low
