"""Single precision, exactly: IEEE 754 binary32 operations with round to nearest, ties to even.

The integer kernels of runtimes compute their multipliers and scaled accumulators in single precision; a
verdict about them needs the same bits. Scalars are Python floats that hold a binary32; arrays are float64
arrays of such numbers.

A product of two singles is exact in double precision (48 bits), so rounding it once is the operation. A
sum or a fused multiply-add of singles is first rounded to odd in double precision: rounding that to single
precision is then right, because a double has more than 2 * 24 + 2 bits (Boldo and Melquiond, "Emulation of
FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE ToC 57(4), 2008).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from qsmt.arith.outward import two_sum
from qsmt.arith.real import FloatArray

_BITS = 24
_LEAST_EXPONENT = -149  # of a subnormal's last place
LEAST, GREATEST = Fraction(1, 2**149), Fraction(2) ** 128 - Fraction(2) ** 104
_OVERFLOW = Fraction(2) ** 128 - Fraction(2) ** 103  # rounds to infinity from here on


def single(value: Fraction | int) -> float:
    """The binary32 nearest to a rational.

    Raises:
        OverflowError: it is beyond the largest one.
    """
    exact = Fraction(value)
    if abs(exact) >= _OVERFLOW:
        raise OverflowError(f"{float(exact):.3g} is beyond single precision")
    if exact == 0:
        return 0.0
    exponent = abs(exact.numerator).bit_length() - exact.denominator.bit_length()
    exponent -= abs(exact) < Fraction(2) ** exponent  # now 2**exponent <= |value| < 2**(exponent + 1)
    unit = Fraction(2) ** max(exponent - _BITS + 1, _LEAST_EXPONENT)
    return float(round(exact / unit) * unit)  # Python rounds fractions half to even


def is_single(value: float) -> bool:
    """Is this double a finite binary32?"""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.float32(value))) and float(np.float32(value)) == value


def product(a: float, b: float) -> float:
    """`fl(a * b)` of two singles."""
    return single(Fraction(a) * Fraction(b))


def quotient(a: float, b: float) -> float:
    """`fl(a / b)` of two singles."""
    return single(Fraction(a) / Fraction(b))


def fused(a: float, b: float, c: float) -> float:
    """`fl(a * b + c)` of three singles, rounded once."""
    return single(Fraction(a) * Fraction(b) + Fraction(c))


def rounded(values: FloatArray) -> FloatArray:
    """Doubles rounded to single precision, elementwise; beyond it they are infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def products(a: FloatArray, b: FloatArray) -> FloatArray:
    """`fl(a * b)` of singles, elementwise."""
    return rounded(a * b)


def fused_sums(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """`fl(a * b + c)` of singles, elementwise."""
    total, error = two_sum(a * b, c)
    even = (total.view(np.int64) & 1) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & even, np.nextafter(total, toward), total)
    return rounded(odd)
