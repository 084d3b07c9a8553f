"""Rounding an array of doubles times a rational to integers: exactly, at the speed of arrays.

`value * factor` is approximated within e, and both ends of [v - e, v + e] are rounded by rules that are
exact on doubles. Rounding is monotone, so where both agree the result is the exact one; where they do
not (near a threshold, or beyond 2**52), Python's rationals decide, element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.rounding import ROUND, Rounding, round_fraction
from qsmt.arith.runtime_kinds import ImageRule, RuntimeKind, images
from qsmt.dra.domain import BoolArray
from qsmt.facts import Interval

EXACT_INTEGERS = 2.0**52
SAFE_EXPONENT = 900
"""Powers of two up to here neither overflow nor underflow when they meet the code of a 64-bit format."""


class IntervalRounding(Protocol):
    """What rounds accumulators to codes, before any limit."""

    def of_interval(self, values: Interval) -> Interval:
        """Bounds of the rounded values."""
        ...


@dataclass(frozen=True)
class RuntimeRounding:
    """The rule of a runtime's kernel, or that of each neuron: exact on the integers of `reach`.

    Every accumulator lies in reach; the bounds of one may not.
    """

    kinds: tuple[RuntimeKind, ...]
    reach: tuple[int, int]

    @cached_property
    def _images(self) -> ImageRule:
        return images(self.kinds)

    def of_interval(self, values: Interval) -> Interval:
        least, greatest = self._images(self._ends(np.ceil(values.lower)), self._ends(np.floor(values.upper)))
        return Interval(least.astype(np.float64), greatest.astype(np.float64))

    def _ends(self, values: FloatArray) -> IntArray:
        return np.clip(values, *self.reach).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ScaledRounding:
    """`round(value * factor)`, `factor` > 0. `integral` promises that the values are integers."""

    factor: Fraction
    rounding: Rounding
    integral: bool

    @property
    def is_shift(self) -> bool:
        """Is `value * factor` itself exact in doubles?"""
        top, bottom = self.factor.numerator, self.factor.denominator
        power = (top & (top - 1)) == 0 and (bottom & (bottom - 1)) == 0
        return self.integral and power and max(top, bottom) <= 2**SAFE_EXPONENT

    def of_interval(self, values: Interval) -> Interval:
        """Bounds of the rounded values: exact integers, rounded outward where no double holds them."""
        return Interval(self._ends(values.lower, float_down), self._ends(values.upper, float_up))

    def _ends(self, values: FloatArray, outward: Callable[[Fraction], float]) -> FloatArray:
        infinite = np.isinf(values)
        rounded, known = self._attempt(values)
        known |= infinite
        out: FloatArray = np.where(infinite, values, rounded)
        if known.all():
            return out
        exactly = np.frompyfunc(lambda value: outward(self._exactly(value)), 1, 1)
        out[~known] = exactly(values[~known]).astype(np.float64)
        return out

    def _attempt(self, values: FloatArray) -> tuple[FloatArray, BoolArray]:
        """The rounded values, and where they are known to be exact."""
        rule, factor = ROUND[self.rounding], float_up(self.factor)
        with np.errstate(over="ignore"):
            product = values * factor
        if self.is_shift:
            return rule(product) + 0.0, np.isfinite(product)
        # float_up is off by 2u, the product by u, its ends by u: 4u, doubled; a code cannot underflow
        error = np.abs(product) * 2.0**-50 + (0.0 if self.integral else 2.0**-1000)
        with np.errstate(invalid="ignore", over="ignore"):
            rounded = rule(product - error)
            known = (rounded == rule(product + error)) & (np.abs(product) < EXACT_INTEGERS)
        return rounded + 0.0, known & (2.0**-SAFE_EXPONENT < factor < 2.0**SAFE_EXPONENT)

    def _exactly(self, value: float) -> Fraction:
        return Fraction(round_fraction(Fraction(value) * self.factor, self.rounding))
