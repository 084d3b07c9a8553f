"""Outward rounding: what makes a float computation a proof.

The model is Higham's (Accuracy and Stability of Numerical Algorithms, ch. 3): a sum of n products of
doubles, in any order, with or without fused multiply-add, is off by at most

    gamma_n * sum |a_i| |b_i|  +  n * eta,     gamma_n = n u / (1 - n u),  u = 2**-53,

where eta = 2**-1074 covers underflow. The bound itself is computed in floats too; since all its terms
are nonnegative, it can be short by at most a factor 1 - gamma, which `inflate` gives back.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import frexp, inf, nextafter

import numpy as np

from qsmt.arith.real import FloatArray

UNIT_ROUNDOFF = 2.0**-53
SMALLEST = 2.0**-1074
SMALLEST_NORMAL = 2.0**-1022


@lru_cache(maxsize=4096)
def gamma(terms: int) -> float:
    """An upper bound of gamma_n for a sum of `terms` products."""
    if terms >= 2**40:
        raise ValueError("a sum of 2**40 terms or more is not analysed")
    return nextafter(terms * UNIT_ROUNDOFF * (1 + 2.0**-10), inf)


def up(values: FloatArray) -> FloatArray:
    """The next double above: covers one rounding to nearest."""
    return np.nextafter(values, np.inf)


def down(values: FloatArray) -> FloatArray:
    """The next double below: covers one rounding to nearest."""
    return np.nextafter(values, -np.inf)


def inflate(nonnegative: FloatArray, terms: int) -> FloatArray:
    """An upper bound of a sum of `terms` nonnegative products whose float value is given.

    The factor also covers the rounding of this very product and sum, two denormals their underflow.
    """
    return nonnegative * (1.0 + 2.0 * gamma(terms + 4)) + (2 * terms + 2) * SMALLEST


def step(values: FloatArray) -> FloatArray:
    """At least the distance to the next double, at most twice that: many times faster than `nextafter`."""
    size: FloatArray = np.abs(values) * 2.0**-52 + SMALLEST
    return size


def raised(values: FloatArray) -> FloatArray:
    """An upper bound of what was rounded to these values: cheaper than `add_up`, and never exact."""
    return values + step(values)


def raised_twice(values: FloatArray) -> FloatArray:
    """An upper bound of `(a + b) + t` from its double, for t >= 0 of which half would do.

    Both sums are off by at most u |values|, the first by another u t, for which the other half of t makes up.
    """
    return values + (np.abs(values) * 2.0**-51 + 4 * SMALLEST)


def add_up(a: FloatArray, b: FloatArray) -> FloatArray:
    """An upper bound of `a + b`: the sum itself wherever it is exact or rounded up, else the next double.

    The rounding error of a sum is a double, and `two_sum` finds it. Where that fails because something
    overflows, nothing is known, and the result is the next double or infinity.
    """
    total, error = two_sum(a, b)
    bound = np.asarray(total)
    np.nextafter(bound, np.inf, out=bound, where=~(error <= 0.0))
    return np.fmin(bound, np.inf)  # which takes the number where the other is none


def add_down(a: FloatArray, b: FloatArray) -> FloatArray:
    """A lower bound of `a + b`, exact wherever the sum is."""
    return -add_up(-a, -b)


def two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`(fl(a + b), (a + b) - fl(a + b))`, both exact (Knuth, TAOCP 2, 4.2.2, theorem B)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def times_up(values: FloatArray, factor: Fraction) -> FloatArray:
    """An upper bound of `values * factor`, `factor` >= 0; exact for a power of two, where doubles are."""
    if not factor.numerator:
        return np.zeros_like(values)
    low, high, power_of_two = _factor(factor.numerator, factor.denominator)
    if power_of_two and ((exact_product := values * low) / low == values).all():
        return exact_product
    product = np.where(values > 0, values * high, values * low)
    size = np.abs(product)
    exact = power_of_two & (size >= SMALLEST_NORMAL) & (size < np.inf)
    bound = np.where(exact, product, raised(product))
    return np.where(values == 0, 0.0, np.where(np.isnan(bound), np.inf, bound))


@lru_cache(maxsize=1024)
def _factor(numerator: int, denominator: int) -> tuple[float, float, bool]:
    """Doubles around a factor, and whether it is a power of two that is a double."""
    factor = Fraction(numerator, denominator)
    low, high = float_down(factor), float_up(factor)
    return low, high, low == high and frexp(low)[0] == 0.5


def times_down(values: FloatArray, factor: Fraction) -> FloatArray:
    """A lower bound of `values * factor`, `factor` >= 0."""
    return -times_up(-values, factor)


def float_up(value: Fraction) -> float:
    """The least double that is at least `value`."""
    nearest = _nearest(value)
    return nearest if nearest == inf or Fraction(nearest) >= value else nextafter(nearest, inf)


def float_down(value: Fraction) -> float:
    """The greatest double that is at most `value`."""
    return -float_up(-value)


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -float(np.finfo(np.float64).max)
