"""Rounding an array of doubles times a rational to integers: exactly, at the speed of arrays.

`value * factor` is approximated within e, and both ends of [v - e, v + e] are rounded by rules that are
exact on doubles. Rounding is monotone, so where both agree the result is the exact one; where they do
not (near a threshold, or beyond 2**52), Python's rationals decide, element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import FloatArray
from qsmt.arith.rounding import Rounding, round_fraction
from qsmt.facts import Interval

EXACT_INTEGERS = 2.0**52
SAFE_EXPONENT = 900
"""Powers of two up to here neither overflow nor underflow when they meet the code of a 64-bit format."""


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
        rule = ROUND[self.rounding]
        with np.errstate(all="ignore"):
            product = values * float_up(self.factor)
            error = 0.0 if self.is_shift else np.abs(product) * 2.0**-51 + 2.0**-1000
            rounded = rule(product - error)
            known = (rounded == rule(product + error)) & (np.abs(product) < EXACT_INTEGERS)
        out: FloatArray = rounded + 0.0
        for index in np.argwhere(~known):
            out[tuple(index)] = self._exactly(float(values[tuple(index)]), outward)
        return out

    def _exactly(self, value: float, outward: Callable[[Fraction], float]) -> float:
        if np.isinf(value):
            return value
        return outward(Fraction(round_fraction(Fraction(value) * self.factor, self.rounding)))
