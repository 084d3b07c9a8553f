"""How the kernels of real runtimes requantize: kinds that are not the rounding of an exact multiple.

    F32MUL(m)           RNE(fl(fl(acc) * m)), single precision     onnxruntime, LiteRT with XNNPACK
    F64MUL(m)           round half away of double(acc * m)         LiteRT's reference FULLY_CONNECTED
    DOUBLE_AWAY(q, e)   SRDHM, then a shift that rounds half away  gemmlowp, TFLM, CMSIS-NN
    DOUBLE_UP(q, e)     SRDHM, then a shift that rounds half up    LiteRT without a delegate (ruy)
    SINGLE_UP(q, e)     (acc * q + 2**(30 - e)) >> (31 - e)        TFLITE_SINGLE_ROUNDING
    HULL(M, d)          anything between RNE(acc * M - d) and RNE(acc * M + d): a relation
    TABLE(first, ...)   any map of codes, monotone or not: what a runtime computes in float on each code by itself
    IDEAL(M, o, R)      R((acc + o) * M), exactly: the ideal that runtimes approximate

SRDHM(a, q) = (a * q + 2**30) >> 31, the saturating rounding doubling high multiplication. Each kind has two
forms: `rounded(acc)` on Python integers, which defines it, and `stacked`, the same for arrays of integers.
Codes are centred: zero points are added after rounding and saturation, and take no part in either. Which
runtime does what was measured (docs/semantics.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import copysign
from typing import TypeAlias

import numpy as np

from qsmt.arith import single
from qsmt.arith.ideal import Ideal
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.table import Table

ArrayRule: TypeAlias = Callable[[IntArray], IntArray]
"""From accumulators (..., n) to rounded codes of the same shape; 64-bit integers."""

WORD = 32
"""The kernels accumulate in 32 bits."""

LARGEST_CODE = 2.0**40
"""Arrays hold no rounded code beyond this: all formats saturate long before, and floats may be infinite."""


def _integers(values: FloatArray) -> IntArray:
    """Doubles that are integers, as such."""
    return np.clip(values, -LARGEST_CODE, LARGEST_CODE).astype(np.int64)


def _half_away(value: float) -> int:
    whole = int(abs(value))
    away = whole + (abs(value) - whole >= 0.5)  # the difference is exact
    return away if value >= 0 else -away


@dataclass(frozen=True, slots=True)
class F32Mul:
    """`RNE(fl(fl(acc) * factor))`; `factor` is a positive single."""

    factor: float

    def __post_init__(self) -> None:
        if not (single.is_single(self.factor) and self.factor > 0):
            raise ValueError(f"{self.factor} is not a positive number of single precision")

    @property
    def nominal(self) -> Fraction:
        """What it multiplies by, but for its roundings."""
        return Fraction(self.factor)

    @property
    def widest(self) -> int:
        """How many bits an accumulator may have."""
        return WORD

    def rounded(self, acc: int) -> int:
        try:
            return round(single.product(single.single(acc), self.factor))
        except OverflowError:  # an infinity, which saturates
            return int(copysign(LARGEST_CODE, acc))

    @staticmethod
    def stacked(kinds: Sequence[F32Mul]) -> ArrayRule:
        factors = np.array([kind.factor for kind in kinds])
        return lambda acc: _integers(
            np.rint(single.products(single.rounded(acc.astype(np.float64)), factors))
        )

    def __str__(self) -> str:
        return f"f32mul {self.factor.hex()}"


@dataclass(frozen=True, slots=True)
class F64Mul:
    """`acc * factor` in double precision, rounded half away from zero."""

    factor: float

    def __post_init__(self) -> None:
        if not (0 < self.factor < float("inf")):
            raise ValueError(f"{self.factor} is not a positive number")

    @property
    def nominal(self) -> Fraction:
        return Fraction(self.factor)

    @property
    def widest(self) -> int:
        return WORD

    def rounded(self, acc: int) -> int:
        return _half_away(float(acc) * self.factor)

    @staticmethod
    def stacked(kinds: Sequence[F64Mul]) -> ArrayRule:
        factors = np.array([kind.factor for kind in kinds])

        def rule(acc: IntArray) -> IntArray:
            value = np.abs(acc * factors)
            whole = np.floor(value)
            return _integers(np.copysign(whole + (value - whole >= 0.5), acc))

        return rule

    def __str__(self) -> str:
        return f"f64mul {self.factor.hex()}"


@dataclass(frozen=True, slots=True)
class _FixedPoint:
    """A multiplier `q * 2**(e - 31)` with 2**30 <= q < 2**31."""

    q: int
    e: int

    def __post_init__(self) -> None:
        if not 2**30 <= self.q < 2**31:
            raise ValueError(f"{self.q} is not a 31-bit multiplier from 2**30 on")
        if not -31 <= self.e <= 30:
            raise ValueError(f"{self.e} is not an exponent from -31 to 30")

    @property
    def nominal(self) -> Fraction:
        return self.q * Fraction(2) ** (self.e - 31)

    @property
    def widest(self) -> int:
        """How many bits an accumulator may have: shifted left, it is still of 32 bits."""
        return WORD - self.left

    @property
    def left(self) -> int:
        return max(self.e, 0)

    @property
    def right(self) -> int:
        return max(-self.e, 0)

    def high(self, acc: int) -> int:
        return ((acc << self.left) * self.q + (1 << 30)) >> 31


def _parameters(kinds: Sequence[_FixedPoint]) -> tuple[IntArray, IntArray, IntArray]:
    return (
        np.array([kind.q for kind in kinds], dtype=np.int64),
        np.array([kind.left for kind in kinds], dtype=np.int64),
        np.array([kind.right for kind in kinds], dtype=np.int64),
    )


def _high(acc: IntArray, q: IntArray, left: IntArray) -> IntArray:
    """SRDHM; `acc << left` has at most 32 bits (`widest`), so that nothing leaves 64 bits."""
    return ((acc << left) * q + 2**30) >> 31


@dataclass(frozen=True, slots=True)
class DoubleAway(_FixedPoint):
    """SRDHM, then a right shift that rounds halves away from zero."""

    def rounded(self, acc: int) -> int:
        high = self.high(acc)
        mask = (1 << self.right) - 1
        return (high >> self.right) + ((high & mask) > (mask >> 1) + (high < 0))

    @staticmethod
    def stacked(kinds: Sequence[DoubleAway]) -> ArrayRule:
        q, left, right = _parameters(kinds)
        mask = (1 << right) - 1

        def rule(acc: IntArray) -> IntArray:
            high = _high(acc, q, left)
            return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))

        return rule

    def __str__(self) -> str:
        return f"double_away {self.q}, {self.e}"


@dataclass(frozen=True, slots=True)
class DoubleUp(_FixedPoint):
    """SRDHM, then a right shift that rounds halves up."""

    def rounded(self, acc: int) -> int:
        return (self.high(acc) + ((1 << self.right) >> 1)) >> self.right

    @staticmethod
    def stacked(kinds: Sequence[DoubleUp]) -> ArrayRule:
        q, left, right = _parameters(kinds)
        half = (1 << right) >> 1
        return lambda acc: (_high(acc, q, left) + half) >> right

    def __str__(self) -> str:
        return f"double_up {self.q}, {self.e}"


@dataclass(frozen=True, slots=True)
class SingleUp(_FixedPoint):
    """One multiplication, one shift that rounds halves up."""

    def rounded(self, acc: int) -> int:
        return (acc * self.q + (1 << (30 - self.e))) >> (31 - self.e)

    @staticmethod
    def stacked(kinds: Sequence[SingleUp]) -> ArrayRule:
        q = np.array([kind.q for kind in kinds], dtype=np.int64)
        shift = np.array([31 - kind.e for kind in kinds], dtype=np.int64)

        return lambda acc: (acc * q + (1 << (shift - 1))) >> shift

    def __str__(self) -> str:
        return f"single_up {self.q}, {self.e}"


@dataclass(frozen=True, slots=True)
class Hull:
    """Any code between `RNE(acc * multiplier - slack)` and `RNE(acc * multiplier + slack)`: not a function.

    What a sum is rounded to that a runtime computes in float, in an order that is not known: `slack` covers
    every order of summation, with fused multiply-adds and without.
    """

    multiplier: Fraction
    slack: Fraction

    def __post_init__(self) -> None:
        if self.multiplier <= 0 or self.slack < 0:
            raise ValueError("a hull has a positive multiplier, and a slack that is not negative")

    @property
    def nominal(self) -> Fraction:
        return self.multiplier

    @property
    def widest(self) -> int:
        return 62

    def rounded(self, acc: int) -> int:
        """The middle one, of no meaning by itself."""
        return round(acc * self.multiplier)

    def bounds(self, acc: int) -> tuple[int, int]:
        """The least and the greatest code."""
        value = acc * self.multiplier
        return round(value - self.slack), round(value + self.slack)

    @staticmethod
    def stacked(kinds: Sequence[Hull]) -> ArrayRule:
        raise TypeError(f"{kinds[0]} is not a function")

    def __str__(self) -> str:
        return f"hull {self.multiplier}, {self.slack}"


RuntimeKind: TypeAlias = F32Mul | F64Mul | DoubleAway | DoubleUp | SingleUp | Table | Hull | Ideal

ImageRule: TypeAlias = Callable[[IntArray, IntArray], tuple[IntArray, IntArray]]
"""From the least and the greatest accumulators to the least and the greatest codes of all between them."""


def is_monotone(kind: RuntimeKind) -> bool:
    """Does a greater accumulator never give a smaller code?"""
    return not isinstance(kind, Table) or kind.is_monotone


def stacked(kinds: Sequence[RuntimeKind]) -> ArrayRule:
    """The rule of kinds of one class, one per neuron or one for all."""
    return type(kinds[0]).stacked(kinds)  # type: ignore[arg-type]


def images(kinds: Sequence[RuntimeKind]) -> ImageRule:
    """The codes of intervals of accumulators: between those of the ends, unless a table is not monotone."""
    tables = [kind for kind in kinds if isinstance(kind, Table)]
    if not all(kind.is_monotone for kind in tables):
        return Table.images(tables)
    least, greatest = _bounds(kinds)
    return lambda low, high: (least(low), greatest(high))


def _bounds(kinds: Sequence[RuntimeKind]) -> tuple[ArrayRule, ArrayRule]:
    """The least and the greatest result: twice the same rule, but for hulls, which are widened by a little."""
    hulls = [kind for kind in kinds if isinstance(kind, Hull)]
    if not hulls:
        return stacked(kinds), stacked(kinds)
    factors = np.array([float(kind.multiplier) for kind in hulls])
    slacks = np.array([float(kind.slack) * (1 + 2.0**-50) + 2.0**-1000 for kind in hulls])

    def bound(side: int) -> ArrayRule:
        def rule(acc: IntArray) -> IntArray:
            value = acc * factors
            return _integers(np.rint(value + side * (slacks + np.abs(value) * 2.0**-50)))

        return rule

    return bound(-1), bound(1)
