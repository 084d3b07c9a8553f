"""Activation functions that are no clamp: enclosures in rationals, and in doubles with proved errors.

    tanh        (1 - exp(-2x)) / (1 + exp(-2x))
    sigmoid     1 / (1 + exp(-x))
    hard_swish  x min(max(x/6 + 1/2, 0), 1), exactly rational

**In rationals** (`enclosure`): exp(t) for 0 <= t <= `FAR` is the Taylor series of exp(t / 2**k), squared k times, in
integers over 2**WORK; every operation is rounded down for one end and up for the other.

**In doubles** (`bounds`). No library's exp is trusted. For -708 <= x <= 0, n = rint(x / log 2) and log 2 = HI + LO,

    exp(x) = 2**n exp(r),    r = (x - n HI) - n LO.

HI has 32 bits and |n| <= 1022, so n HI is exact; if n is not 0, x lies between half of n HI and twice of it, so the
first difference is exact too (Sterbenz). Hence r is off by at most 0.4 u, u = 2**-53, and |r| <= 0.35. Horner's
scheme for the terms up to r**13 / 13!, whose coefficients are rounded once, is off by at most gamma_27 exp(0.35),
which is less than 39 u (Higham, Accuracy and Stability of Numerical Algorithms, section 5.1); what is cut off is less
than 0.1 u, and exp(r) > 0.7. In all, the relative error is below 57 u < `EXP_ERROR`. Multiplying by 2**n is exact,
since the result is at least 2**-1022.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import factorial

import numpy as np

from qsmt.arith.outward import SMALLEST, down, up
from qsmt.arith.real import FloatArray


class Function(StrEnum):
    """An elementwise function of real numbers."""

    TANH = "tanh"
    SIGMOID = "sigmoid"
    HARD_SWISH = "hard_swish"

    @property
    def is_rational(self) -> bool:
        """Is the value at a rational number one?"""
        return self is Function.HARD_SWISH


STEEPEST = {Function.TANH: 1.0, Function.SIGMOID: 0.25, Function.HARD_SWISH: 1.5}
"""The greatest size of each derivative."""

# --- rationals ------------------------------------------------------------------------------------------

PRECISION = 128
"""Binary places of enclosures in rationals."""

WORK = PRECISION + 40
"""Places of intermediate results: the squarings lose 15, the series less than 8."""

FAR = 100
"""exp(-FAR) is less than 2**-144: from here on, both functions are their limit, less at most 2**-PRECISION."""

_SMALL = 8
"""The series is for arguments up to 2**-_SMALL."""


def hard_swish(x: Fraction) -> Fraction:
    """The exact value."""
    return x * min(max(x / 6 + Fraction(1, 2), Fraction(0)), Fraction(1))


def enclosure(function: Function, x: Fraction) -> tuple[Fraction, Fraction]:
    """Rationals around the value at `x`; equal where the value is known exactly."""
    if function is Function.HARD_SWISH:
        value = hard_swish(x)
        return value, value
    low, high = scaled_enclosure(function, x.numerator, x.denominator)
    return Fraction(low, 2**PRECISION), Fraction(high, 2**PRECISION)


def scaled_enclosure(function: Function, numerator: int, denominator: int) -> tuple[int, int]:
    """The same for tanh or sigmoid at a ratio, in units of 2**-PRECISION; `denominator` > 0."""
    one = 1 << PRECISION
    if function is Function.TANH:
        low, high = _logistic(2 * abs(numerator), denominator)
        low, high = 2 * low - one, 2 * high - one
        return (low, high) if numerator >= 0 else (-high, -low)
    low, high = _logistic(abs(numerator), denominator)
    return (low, high) if numerator >= 0 else (one - high, one - low)


def _logistic(numerator: int, denominator: int) -> tuple[int, int]:
    """1 / (1 + exp(-t)) for a ratio t >= 0, in units of 2**-PRECISION."""
    one = 1 << PRECISION
    if numerator == 0:
        return one // 2, one // 2
    if numerator > FAR * denominator:
        return one - 1, one
    low, high = _exp(numerator, denominator)
    unit = 1 << WORK
    return (low << PRECISION) // (low + unit), -((-high << PRECISION) // (high + unit))


def _exp(numerator: int, denominator: int) -> tuple[int, int]:
    """exp of a ratio between 0 and FAR, in units of 2**-WORK."""
    halvings = _SMALL + max(0, (numerator // denominator).bit_length())
    low = (numerator << WORK) // (denominator << halvings)
    high = _exp_series(low + 1, upper=True)
    low = _exp_series(low, upper=False)
    for _ in range(halvings):
        low = (low * low) >> WORK
        high = -((-high * high) >> WORK)
    return low, high


def _exp_series(x: int, *, upper: bool) -> int:
    """A bound of exp(x) for 0 <= x <= 2**-_SMALL, all in units of 2**-WORK."""
    total = term = 1 << WORK
    n = 0
    while term > 1:
        n += 1
        term = term * x // (n << WORK) + upper
        total += term
    return total + 2 * upper  # what is left is less than twice the last term, which is one unit


# --- doubles --------------------------------------------------------------------------------------------

EXP_ERROR = 2.0**-47
_LOWEST = -708.0
_LOG2_HIGH, _LOG2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_COEFFICIENTS = [1.0 / factorial(k) for k in range(13, -1, -1)]


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Doubles below and above exact values, elementwise."""

    lower: FloatArray
    upper: FloatArray


def bounds(function: Function, x: FloatArray) -> Bounds:
    """Bounds of the values; what is not a number has the ends of the function's range."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return _BOUNDS[function](x)


def slope_bounds(function: Function, x: FloatArray) -> Bounds:
    """Bounds of the derivative of tanh or sigmoid at `x`: exp(-t) / (1 + exp(-t))**2, four times that for tanh."""
    is_tanh = function is Function.TANH
    factor = 4.0 if is_tanh else 1.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        e = _exp_minus(np.abs(x) * (2.0 if is_tanh else 1.0))
        lower = down(factor * down(e.lower / up(up(1.0 + e.lower) ** 2)))
        upper = up(factor * up(e.upper / down(down(1.0 + e.upper) ** 2)))
    return Bounds(np.fmax(lower, 0.0), np.fmin(upper, 0.25 * factor))


def _exp_minus(t: FloatArray) -> Bounds:
    """Bounds of exp(-t) for t >= 0, at most 1; from 708 on they are those of [0, exp(-708)]."""
    x = np.maximum(-t, _LOWEST)
    n = np.rint(x * (1.0 / 0.6931471805599453))
    r = (x - n * _LOG2_HIGH) - n * _LOG2_LOW
    value = np.full_like(r, _COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:
        value *= r
        value += coefficient
    value = np.ldexp(value, np.where(np.isnan(n), 0.0, n).astype(np.int64))
    lower = np.where(-t < _LOWEST, 0.0, down(value * (1.0 - EXP_ERROR)))
    return Bounds(lower, np.minimum(up(value * (1.0 + EXP_ERROR)), 1.0))


def _sigmoid(x: FloatArray) -> Bounds:
    """1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0, with e = exp(-|x|)."""
    e = _exp_minus(np.abs(x))
    positive = x >= 0
    far, near = up(1.0 + e.upper), down(1.0 + e.lower)
    lower = np.where(positive, down(1.0 / far), down(e.lower / up(1.0 + e.lower)))
    upper = np.where(positive, up(1.0 / near), up(e.upper / down(1.0 + e.upper)))
    return Bounds(np.fmax(lower, 0.0), np.fmin(upper, 1.0))


def _tanh(x: FloatArray) -> Bounds:
    """(1 - e) / (1 + e) with e = exp(-2|x|); near zero also |x| - |x|**3 / 3 <= tanh |x| <= |x|."""
    t = np.abs(x)
    e = _exp_minus(2.0 * t)
    lower = down(down(1.0 - e.upper) / up(1.0 + e.upper))
    upper = up(up(1.0 - e.lower) / down(1.0 + e.lower))
    cube = up(up(up(t * t) * t) / 3.0)
    lower = np.fmax(np.fmax(lower, np.where(t < 0.5, down(t - cube), 0.0)), 0.0)
    upper = np.fmin(np.fmin(upper, t), 1.0)
    unknown, negative = np.isnan(x), x < 0
    low = np.where(negative, -upper, lower)
    return Bounds(np.where(unknown, -1.0, low), np.where(negative, -lower, upper))


def _hard_swish(x: FloatArray) -> Bounds:
    """x (x + 3) / 6 between -3 and 3: three roundings, each of the result's own size."""
    inner = np.minimum(np.maximum(x, -3.0), 3.0)
    value = inner * (inner + 3.0) / 6.0
    error = np.abs(value) * 2.0**-50 + SMALLEST
    exact = ~(np.abs(x) < 3.0)
    passed = np.where(x > 0.0, x, 0.0)
    lower = np.where(exact, passed, down(value - error))
    upper = np.where(exact, passed, up(value + error))
    unknown = np.isnan(x)
    return Bounds(np.where(unknown, -0.375, lower), np.where(unknown, np.inf, upper))


_BOUNDS: dict[Function, Callable[[FloatArray], Bounds]] = {
    Function.TANH: _tanh,
    Function.SIGMOID: _sigmoid,
    Function.HARD_SWISH: _hard_swish,
}
