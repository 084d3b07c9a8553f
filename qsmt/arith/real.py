"""Real parameters held exactly: doubles where a double is exact, rationals where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
ExactArray: TypeAlias = npt.NDArray[np.object_]  # Python integers, or Fractions


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`array`, read-only from now on; a view of somebody else's memory is copied first."""
    owned = array if array.base is None else array.copy()
    owned.flags.writeable = False
    return owned


def exact_array(values: Iterable[Any], shape: tuple[int, ...]) -> ExactArray:
    """A read-only array of Python objects, in row-major order."""
    out = np.empty(int(np.prod(shape, dtype=object)), dtype=object)
    out[:] = list(values)
    return frozen(out.reshape(shape).copy())


@dataclass(frozen=True, eq=False)
class RealTensor:
    """An array of exact real numbers.

    `nearest` holds the nearest doubles. `rationals` holds the numbers themselves where at least one
    of them is not a double; None says that `nearest` is exact.
    """

    nearest: FloatArray
    rationals: ExactArray | None = field(default=None, repr=False)

    @staticmethod
    def of_floats(values: npt.ArrayLike) -> RealTensor:
        """From finite floats (any precision up to double), which are exact by definition."""
        nearest = np.array(values, dtype=np.float64)
        if not np.isfinite(nearest).all():
            raise ValueError("not a finite number")
        return RealTensor(frozen(nearest))

    @staticmethod
    def of_fractions(values: Iterable[Fraction], shape: tuple[int, ...]) -> RealTensor:
        """From exact rationals within the range of doubles, in row-major order."""
        rationals = exact_array((Fraction(v) for v in values), shape)
        try:
            nearest = np.array([float(v) for v in rationals.flat], dtype=np.float64).reshape(shape)
        except OverflowError:
            raise ValueError("a number beyond the range of doubles") from None
        if all(Fraction(float(f)) == v for f, v in zip(nearest.flat, rationals.flat, strict=True)):
            return RealTensor(frozen(nearest))
        return RealTensor(frozen(nearest), rationals)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.nearest.shape

    @property
    def is_zero(self) -> bool:
        """Are all the numbers zero?"""
        numbers = self.nearest if self.rationals is None else self.rationals
        return not numbers.any()

    @cached_property
    def fractions(self) -> ExactArray:
        """The numbers as `Fraction`s."""
        if self.rationals is not None:
            return self.rationals
        return exact_array((Fraction(float(v)) for v in self.nearest.flat), self.shape)

    @cached_property
    def radius(self) -> FloatArray:
        """An upper bound of |exact - nearest|, elementwise; zero where the double is exact."""
        if self.rationals is None:
            return frozen(np.zeros(self.shape))
        half_ulp = np.spacing(np.abs(self.nearest))  # twice the half: outward, and safe at powers of two
        doubles = exact_array(map(Fraction, self.nearest.ravel().tolist()), self.shape)
        return frozen(np.where(self.rationals == doubles, 0.0, half_ulp))

    @cached_property
    def scaled(self) -> tuple[ExactArray, int]:
        """`(numerators, denominator)`: the numbers as integers over one common denominator."""
        if self.rationals is not None:
            rationals: list[Fraction] = self.rationals.ravel().tolist()
            denominator = lcm(*(v.denominator for v in rationals))
            return exact_array((int(v * denominator) for v in rationals), self.shape), denominator
        return _dyadic(self.nearest)

    def equals(self, other: RealTensor) -> bool:
        """Are these the same numbers in the same shape?"""
        if self.shape != other.shape or not np.array_equal(self.nearest, other.nearest):
            return False
        if self.rationals is None and other.rationals is None:
            return True
        return bool((self.fractions == other.fractions).all())


def _dyadic(values: FloatArray) -> tuple[ExactArray, int]:
    """Doubles as integers over one power of two, which is at least 1."""
    mantissa, exponent = np.frexp(values)
    digits = np.ldexp(mantissa, 53).astype(np.int64)
    power = np.where(digits == 0, 0, exponent.astype(np.int64) - 53)
    trailing = np.where(digits == 0, 0, np.log2(np.maximum(digits & -digits, 1)).astype(np.int64))
    low = min(0, int((power + trailing).min(initial=0)))
    pairs = zip(digits.ravel().tolist(), (power - low).ravel().tolist(), strict=True)
    return exact_array((d << s if s >= 0 else d >> -s for d, s in pairs), values.shape), 1 << -low
