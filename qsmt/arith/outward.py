"""Outward rounding: what makes a float computation a proof.

The model is Higham's (Accuracy and Stability of Numerical Algorithms, ch. 3): a sum of n products of
doubles, in any order, with or without fused multiply-add, is off by at most

    gamma_n * sum |a_i| |b_i|  +  n * eta,     gamma_n = n u / (1 - n u),  u = 2**-53,

where eta = 2**-1074 covers underflow. The bound itself is computed in floats too; since all its terms
are nonnegative, it can be short by at most a factor 1 - gamma, which `inflate` gives back.
"""

from __future__ import annotations

from fractions import Fraction
from math import inf, nextafter

import numpy as np

from qsmt.arith.real import FloatArray

UNIT_ROUNDOFF = 2.0**-53
SMALLEST = 2.0**-1074


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
    """An upper bound of a sum of `terms` nonnegative products whose float value is given."""
    return up(nonnegative * (1.0 + 2.0 * gamma(terms + 2)) + terms * SMALLEST)


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
