"""Interval images of affine maps, in doubles, valid over the reals.

A map `x -> W x + b` is held as doubles with a bound of their error: W is off by at most
`relative * |nearest|` elementwise and, where that would be large (a cancelled or subnormal weight), by
`residue`, the greatest such error of its row. The image of an interval is computed from its centre c and
radius r, with two matrix products. For |x - c| <= r and m = |c| + r,

    |W x + b - fl(W c + b)|  <=  |W| r  +  (gamma_{n+1} + relative) |W| m  +  residue * sum(m)  +  offset,

where `offset` holds gamma_{n+1} |b|, the error of b, and underflow (qsmt.arith.outward). All terms are
nonnegative, so their own rounding is a factor, which `inflate` covers. An integer map whose sums stay
below 2**52 is computed without any rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from qsmt.arith.fixed import Fixed
from qsmt.arith.outward import SMALLEST, SMALLEST_NORMAL, gamma, inflate, raised, two_sum, up
from qsmt.arith.real import ExactArray, FloatArray, RealTensor, frozen
from qsmt.arith.units import each
from qsmt.dra.domain import mirrored
from qsmt.facts import Interval
from qsmt.ir.ops import Const
from qsmt.ir.types import Real, units_of

EXACT_LIMIT = 2.0**52
"""Integers below this may be doubled and are still doubles."""

FOLDABLE = 2.0**-32
"""Up to this relative error, the error of a weight is counted as if it were rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Approximation:
    """Doubles `nearest` that stand for exact numbers, elementwise at most `radius` away."""

    nearest: FloatArray
    radius: FloatArray

    @property
    def is_zero(self) -> bool:
        """Are all the numbers zero, exactly?"""
        return not (self.nearest.any() or self.radius.any())

    def minus(self, other: Approximation) -> Approximation:
        """The difference; its rounding error is a double too, so that an exact one has radius zero."""
        difference, error = two_sum(self.nearest, -other.nearest)
        radius = np.abs(error) + self.radius + other.radius
        return Approximation(difference, np.where(radius == 0, 0.0, inflate(radius, 3)))


def of_integers(values: ExactArray | npt.NDArray[np.int64]) -> Approximation:
    """Integers of any size."""
    nearest = values.astype(np.float64)
    exact = np.abs(nearest) < 2.0**53
    return Approximation(nearest, np.where(exact, 0.0, np.spacing(np.abs(nearest))))


def of_const(const: Const) -> Approximation:
    """The real numbers that a constant stands for."""
    kind = const.type.element
    if isinstance(kind, Real):
        return Approximation(const.reals.nearest, const.reals.radius)
    codes = of_integers(const.codes)
    if not isinstance(kind, Fixed):
        return _times(codes, each(units_of(kind), len(codes.nearest)))
    nearest, radius = np.ldexp(codes.nearest, -kind.frac), np.ldexp(codes.radius, -kind.frac)
    subnormal = (codes.nearest != 0) & (np.abs(nearest) < SMALLEST_NORMAL)
    return Approximation(nearest, np.where(subnormal, radius + SMALLEST, radius))


def _times(codes: Approximation, scales: Sequence[Fraction]) -> Approximation:
    """Rows of codes, or codes, times the scale of each; exact where 53 bits hold the product."""
    shape = (len(scales), *(1,) * (codes.nearest.ndim - 1))
    nearest = np.array([float(s) for s in scales]).reshape(shape)
    bits = [s.numerator.bit_length() if _is_double(s) else 64 for s in scales]
    room = np.array([2.0 ** max(0, 53 - b) for b in bits]).reshape(shape)
    product = codes.nearest * nearest
    normal = np.abs(product) >= SMALLEST_NORMAL
    exact = (codes.nearest == 0) | ((codes.radius == 0) & (np.abs(codes.nearest) <= room) & normal)
    rounding = np.abs(product) * 2.0**-51 + codes.radius * nearest + SMALLEST  # of the scale and the product
    return Approximation(product, np.where(exact, 0.0, inflate(rounding, 4)))


def _is_double(value: Fraction) -> bool:
    return Fraction(float(value)) == value


def difference_of(a: Const, b: Const) -> Approximation:
    """`a - b`; of two rationals that are not doubles exactly, so that equal ones leave no error."""
    found = of_const(a).minus(of_const(b))
    if not (isinstance(a.type.element, Real) and isinstance(b.type.element, Real)):
        return found
    both = (a.reals.radius > 0) & (b.reals.radius > 0)
    if not both.any():
        return found
    exact = RealTensor.of_fractions(a.reals.fractions[both] - b.reals.fractions[both], (int(both.sum()),))
    nearest, radius = found.nearest.copy(), found.radius.copy()
    nearest[both], radius[both] = exact.nearest, exact.radius
    return Approximation(nearest, radius)


@dataclass(frozen=True, slots=True, eq=False)
class AffineMap:
    """`x -> W x + b`, prepared for batches of intervals; n inputs, m outputs."""

    weight: FloatArray  # (m, n)
    mirrored: FloatArray  # (2m, n), the weight and its negation
    transposed: FloatArray  # (n, m), contiguous
    absolute: FloatArray  # |W| transposed, (n, m), contiguous
    relative: float
    residue: FloatArray  # (m,)
    has_residue: bool
    bias: FloatArray  # (m,)
    offset: FloatArray  # (m,)
    is_zero: bool  # the map to zero, exactly
    reach: tuple[float, float] | None = None  # of integers: the largest row sum of |W|, the largest |b|

    @property
    def terms(self) -> int:
        """How many products and summands one output has."""
        return int(self.weight.shape[1]) + 1

    def image(self, x: Interval) -> Interval:
        """Bounds of W x + b."""
        if self.is_zero:
            zero = np.zeros((*x.lower.shape[:-1], len(self.bias)))
            return Interval(zero, zero)
        if self._is_exact_on(x):
            return self._exact_image(x)
        center = 0.5 * x.lower + 0.5 * x.upper
        radius = raised(np.maximum(x.upper - center, center - x.lower))
        value = center @ self.transposed + self.bias
        error = self._spread(radius, np.abs(center) + radius)
        return mirrored(raised(np.concatenate([error + value, error - value], axis=-1)))

    def _spread(self, radius: FloatArray, magnitude: FloatArray) -> FloatArray:
        slack = gamma(self.terms + 2) + self.relative
        spread = (radius + slack * magnitude + SMALLEST) @ self.absolute + self.offset
        if self.has_residue:
            spread = spread + self.residue * magnitude.sum(axis=-1, keepdims=True)
        return inflate(spread, self.terms + 8)

    def _is_exact_on(self, x: Interval) -> bool:
        if self.reach is None:
            return False
        largest = max(-float(x.lower.min(initial=0.0)), float(x.upper.max(initial=0.0)))
        return largest * self.reach[0] + self.reach[1] < EXACT_LIMIT

    def _exact_image(self, x: Interval) -> Interval:
        twice = (x.lower + x.upper) @ self.transposed + 2.0 * self.bias
        spread = (x.upper - x.lower) @ self.absolute
        return Interval((twice - spread) * 0.5, (twice + spread) * 0.5)


def affine_map(weight: Approximation, bias: Approximation | None = None) -> AffineMap:
    """The map with this weight; without a bias, the linear map."""
    m, n = weight.nearest.shape
    zero = np.zeros(m)
    is_zero = weight.is_zero and (bias is None or bias.is_zero)
    offset = zero if is_zero else (n + 1) * SMALLEST + zero
    if bias is not None and not is_zero:
        offset = inflate(gamma(n + 1) * np.abs(bias.nearest) + bias.radius + offset, 4)
    relative, residue = _relative_error(weight)
    return AffineMap(
        weight=frozen(np.ascontiguousarray(weight.nearest)),
        mirrored=frozen(np.concatenate([weight.nearest, -weight.nearest])),
        transposed=frozen(np.ascontiguousarray(weight.nearest.T)),
        absolute=frozen(np.ascontiguousarray(np.abs(weight.nearest).T)),
        relative=relative,
        residue=frozen(residue),
        has_residue=bool(residue.any()),
        bias=frozen(zero if bias is None else bias.nearest),
        offset=frozen(offset),
        is_zero=is_zero,
    )


def integer_map(weight: ExactArray, bias: ExactArray) -> AffineMap:
    """The map of an affine op on codes, in units of the accumulator."""
    approximate = affine_map(of_integers(weight), of_integers(bias))
    row_sum, largest = int(np.abs(weight).sum(axis=1).max()), int(np.abs(bias).max())
    if max(row_sum, largest) >= EXACT_LIMIT:
        return approximate
    return replace(approximate, reach=(float(row_sum), float(largest)))


def _relative_error(weight: Approximation) -> tuple[float, FloatArray]:
    """`(relative, residue)`: together they cover the radius."""
    if not weight.radius.any():
        return 0.0, np.zeros(len(weight.nearest))
    ratio = np.divide(
        weight.radius,
        np.abs(weight.nearest),
        out=np.full(weight.radius.shape, np.inf),
        where=weight.nearest != 0,
    )
    ratio = np.where(weight.radius == 0, 0.0, up(ratio))
    folded = ratio <= FOLDABLE
    return float(ratio[folded].max(initial=0.0)), np.where(folded, 0.0, weight.radius).max(
        axis=1, initial=0.0
    )
