"""Requantization: how an exact accumulator becomes the next narrow integer.

Two kinds are the rounding of a rational multiple of the accumulator:

    SHIFT(s, rounding)       round(acc / 2**s)        research tools, legacy CMSIS, ap_fixed
    RATIONAL(p/q, rounding)  round(acc * p/q)         the mathematical ideal

The others are what the kernels of runtimes compute (qsmt.arith.runtime_kinds, docs/semantics.md).

With saturation all of them are monotone in `acc` (a table if its codes are). A monotone map onto n-bit
integers is fixed by its at most 2**n - 1 thresholds, which bisection finds on the exact rule: the
`Staircase`. It needs no theory of the rule, so every consumer can fall back on it. Even the noise of a
runtime's kind, how far its result may be from the exact multiple, is read off its thresholds. A table that is
not monotone is a staircase that also goes down: `Pieces`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from qsmt.arith.fixed import Fixed, Overflow, Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.rounding import Rounding, noise_bounds, round_ratio
from qsmt.arith.runtime_kinds import DoubleAway, DoubleUp, F32Mul, F64Mul, Hull, RuntimeKind, SingleUp
from qsmt.arith.table import Table

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

    @property
    def nominal(self) -> Fraction:
        return self.multiplier

    def rounded(self, acc: int) -> int:
        return _rounded_multiple(acc, self.multiplier, self.rounding)

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

    @property
    def nominal(self) -> Fraction:
        return self.multiplier

    def rounded(self, acc: int) -> int:
        return _rounded_multiple(acc, self.multiplier, self.rounding)

    def __str__(self) -> str:
        return f"rational {self.multiplier}, {self.rounding}"


def _rounded_multiple(acc: int, multiplier: Fraction, rounding: Rounding) -> int:
    return int(round_ratio(acc * multiplier.numerator, multiplier.denominator, rounding))


ExactKind: TypeAlias = Shift | Rational
RequantKind: TypeAlias = ExactKind | RuntimeKind
RUNTIME_KINDS = (F32Mul, F64Mul, DoubleAway, DoubleUp, SingleUp, Table, Hull, Ideal)


@dataclass(frozen=True, slots=True)
class Requantization:
    """From accumulator to code: a kind, and what happens to a result outside the target format."""

    kind: RequantKind
    overflow: Overflow
    target: Fixed | Quantized

    def unbounded(self, acc: int) -> int:
        """The rounded result before overflow."""
        return self.kind.rounded(acc)

    def apply(self, acc: int) -> int:
        """The exact result: the rule that defines this requantization."""
        return self.target.overflow(self.unbounded(acc), self.overflow)

    @property
    def exact(self) -> ExactKind:
        """The kind, which is the rounding of an exact multiple."""
        kind = self.exact_kind
        assert kind is not None, f"{self.kind} is not the rounding of an exact multiple"
        return kind

    @property
    def exact_kind(self) -> ExactKind | None:
        """The kind, if it is the rounding of an exact multiple; consumers have closed forms for those."""
        return None if isinstance(self.kind, RUNTIME_KINDS) else self.kind

    def noise(self) -> tuple[Fraction, Fraction]:
        """Bounds of `unbounded(acc) - acc * multiplier`, in units of the result, for an exact kind."""
        return noise_bounds(self.exact.multiplier.denominator, self.exact.rounding)

    def overflows(self, low: int, high: int) -> bool:
        """Can an accumulator in [low, high] leave the target's range?"""
        return not (self.target.fits(self.unbounded(low)) and self.target.fits(self.unbounded(high)))

    @property
    def table(self) -> Table | None:
        """The kind, if it is a table."""
        return self.kind if isinstance(self.kind, Table) else None

    def is_monotone(self, low: int, high: int) -> bool:
        """Is `apply` monotone on [low, high]? Wrapping and zeroing are not once they happen, nor are some tables."""
        if self.table is not None and not self.table.is_monotone:
            return False
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

    @property
    def pieces(self) -> Pieces:
        return Pieces(tuple(range(self.first, self.first + len(self.thresholds) + 1)), self.thresholds)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A map that is constant piece by piece: `values[k]` where k thresholds are reached; one value more than those."""

    values: tuple[int, ...]
    thresholds: tuple[int, ...]

    def __call__(self, acc: int) -> int:
        return self.values[bisect_right(self.thresholds, acc)]


def pieces(rule: Callable[[int], int], table: Table | None, low: int, high: int, *, by: int = 1) -> Pieces:
    """The pieces of `rule` on the integers of [low, high], each of which stands for `by` accumulators.

    The rule is monotone, or it is that of a table: then it can only change where the table does.
    """
    if table is None or table.is_monotone:
        return staircase(rule, low, high).pieces
    values, thresholds = [rule(low)], list[int]()
    for start in table.starts:
        at = -(-start // by)
        if low < at <= high and rule(at) != values[-1]:
            values.append(rule(at))
            thresholds.append(at)
    return Pieces(tuple(values), tuple(thresholds))


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
