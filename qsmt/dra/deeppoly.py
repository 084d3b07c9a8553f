"""DeepPoly (Singh et al., POPL 2019): affine bounds of each layer in terms of the inputs, batched.

Every activation is held between two lines; to bound a layer, its affine form is substituted backwards
through all lines and affine maps down to the input, where it is evaluated on the box. Only upper forms
`rows . x + constant` are computed: a lower bound is the upper bound of the negated neuron.

**Rounding.** The coefficients need no exactness: a rounded form is sound if its constant makes up for
it. For a layer h = act(W x + b) with lines s and t, an exact row a and |x| <= M,

    a . h  <=  sum_j |a_j| s_j (W x + b)_j + |a_j| t_j          (upper line where a_j > 0, else lower)

and the computed row fl(fl(a s) W) differs from (a s) W, as a function on |x| <= M, by at most
gamma_{m+2} |a s| (|W| M), plus the error of W, plus underflow. So each neuron j carries one penalty
`p_j = (gamma_{m+2} + relative) (|W| M)_j + residue_j sum(M) + error of b_j` and one step adds to the
constant the two products

    (a+) . (t + s (b + p))  +  (a-) . (t' + s' (b - p)),

a+ and a- the positive and negative part of the row. Both vectors are widened by gamma of their
own magnitude, which covers the rounding of that very product. Sums of constants are rounded up; what
underflow can add is a few denormals per step (`tiny`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import SMALLEST, add_up, gamma, inflate, step
from qsmt.arith.real import FloatArray
from qsmt.dra.affine import AffineMap
from qsmt.dra.domain import Limits, cut, negated, outward, plus
from qsmt.facts import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """`clamp(z) <= slope * z + intercept` on an interval of z; the slope is in [0, 1]."""

    slope: FloatArray
    intercept: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedLayer:
    """One layer, ready to be substituted into the rows of the layers after it; arrays (boxes, m)."""

    linear: AffineMap
    upper_slope: FloatArray
    lower_slope: FloatArray
    upper_constant: FloatArray
    lower_constant: FloatArray
    tiny: FloatArray  # (boxes, 1)


def lines_around(z: Interval, limits: Limits, noise: tuple[float, float] = (0.0, 0.0)) -> tuple[Line, Line]:
    """A line above clamp(z + noise), and one above its negation as a function of -z."""
    upper = _noisy(z, limits, noise[1])
    return upper, _noisy(negated(z), limits.negated, -noise[0])


def relax(linear: AffineMap, lines: tuple[Line, Line], x: Interval) -> RelaxedLayer:
    """The layer between lines, given bounds of what it reads."""
    upper, lower = lines
    magnitude = _magnitude(x)
    rows = len(linear.bias)
    sums = magnitude @ linear.absolute
    penalty = form_error(linear, magnitude, gamma(rows + 2) * sums)
    total = magnitude.sum(axis=-1, keepdims=True) + sums.sum(axis=-1, keepdims=True)
    return RelaxedLayer(
        linear,
        upper.slope,
        lower.slope,
        _constant(upper, linear.bias, penalty),
        -_constant(lower, -linear.bias, penalty),
        inflate(SMALLEST * (2 * rows + rows * total), rows + linear.terms),
    )


def form(linear: AffineMap, below: Sequence[RelaxedLayer], read: Interval) -> tuple[FloatArray, FloatArray]:
    """Upper bounds `rows . x + constant` of `linear(h)`, then of its negation, over the inputs.

    h is the last of the layers `below` and bounded by `read`.
    """
    weight = linear.weight
    error = form_error(linear, _magnitude(read), np.zeros(len(weight)))
    rows = np.concatenate([weight, -weight])[None]
    constant = add_up(np.concatenate([linear.bias, -linear.bias]), np.concatenate([error, error], axis=-1))
    for layer in reversed(below):
        rows, constant = _substitute(rows, constant, layer)
    return rows, constant


def bounds(linear: AffineMap, below: Sequence[RelaxedLayer], x: Interval, read: Interval) -> Interval:
    """Bounds of the same, on a box of the input."""
    return concretized(*form(linear, below, read), x)


def concretized(rows: FloatArray, constant: FloatArray, x: Interval) -> Interval:
    """Bounds of forms that are followed by those of their negations."""
    constant = add_up(constant, _product(rows, _widened(x.upper), -_widened(-x.lower)))
    constant = add_up(constant, np.array(SMALLEST * 4 * x.upper.shape[-1]))
    m = constant.shape[-1] // 2
    return outward(-constant[:, m:], constant[:, :m])


def line_above(z: Interval, limits: Limits) -> Line:
    """A line above the clamp on z: the chord where it is convex, else the better of its two pieces."""
    slope = _slope(z, limits)
    corners = [Interval(z.lower, z.lower), Interval(z.upper, z.upper)]
    for low, high in ((limits.lower_down, limits.lower_up), (limits.upper_down, limits.upper_up)):
        if np.isfinite(low) and np.isfinite(high):
            corners.append(Interval(cut(np.array(low), z), cut(np.array(high), z)))
    gaps = [_gap(at, slope, limits) for at in corners]
    return Line(slope, np.maximum.reduce(gaps))


def _noisy(z: Interval, limits: Limits, noise: float) -> Line:
    if noise == 0.0:
        return line_above(z, limits)
    moved = np.array(noise)
    line = line_above(plus(z, Interval(moved, moved)), limits)
    shift = line.slope * moved
    return Line(line.slope, add_up(line.intercept, shift + np.where(shift == 0.0, 0.0, step(shift))))


def _slope(z: Interval, limits: Limits) -> FloatArray:
    low, high = limits.lower_down, limits.upper_up
    top = np.minimum(z.upper, high)
    chord = (top - low) / (top - z.lower)
    concave = (z.upper <= high) | (high - z.lower >= z.upper - high)
    slope = np.where(z.lower >= low, concave, chord)
    constant = (z.upper <= low) | (z.lower >= high) | ~np.isfinite(slope)
    return np.where(constant, 0.0, np.minimum(np.maximum(slope, 0.0), 1.0))


def _gap(at: Interval, slope: FloatArray, limits: Limits) -> FloatArray:
    """An upper bound of clamp(z) - slope * z for the points of `at`."""
    product = np.where(slope == 0.0, 0.0, slope * at.lower)
    below = np.where((slope == 0.0) | (slope == 1.0), product, product - step(product))
    return add_up(limits.up(at.upper), -below)


def _magnitude(x: Interval) -> FloatArray:
    return np.maximum(np.abs(x.lower), np.abs(x.upper))


def form_error(linear: AffineMap, magnitude: FloatArray, rounding: FloatArray) -> FloatArray:
    """How far `linear` can be from the form that is computed with, on |x| <= magnitude; (boxes, m)."""
    error = rounding + linear.offset
    if linear.relative:
        error = error + linear.relative * (magnitude @ linear.absolute)
    if linear.residue.any():
        error = error + linear.residue * magnitude.sum(axis=-1, keepdims=True)
    return inflate(error, linear.terms + 8)


def _constant(line: Line, bias: FloatArray, penalty: FloatArray) -> FloatArray:
    """`t + s (b + p)`, widened for its own rounding and for that of the product it enters."""
    magnitude = np.abs(line.intercept) + line.slope * (np.abs(bias) + penalty)
    value = line.intercept + line.slope * bias + line.slope * penalty
    return value + gamma(2 * len(bias) + 16) * magnitude


def _widened(ends: FloatArray) -> FloatArray:
    return ends + gamma(2 * ends.shape[-1] + 16) * np.abs(ends)


def _substitute(rows: FloatArray, constant: FloatArray, layer: RelaxedLayer) -> tuple[FloatArray, FloatArray]:
    """One layer backwards: rows over its outputs become rows over its inputs."""
    positive, negative = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
    added = _matvec(positive, layer.upper_constant) + _matvec(negative, layer.lower_constant)
    constant = add_up(add_up(constant, added), layer.tiny)
    sloped = positive * layer.upper_slope[:, None, :]
    sloped += negative * layer.lower_slope[:, None, :]
    return sloped @ layer.linear.weight, constant


def _product(rows: FloatArray, upper: FloatArray, lower: FloatArray) -> FloatArray:
    """The greatest value of the rows on a box whose ends are widened."""
    return _matvec(np.maximum(rows, 0.0), upper) + _matvec(np.minimum(rows, 0.0), lower)


def _matvec(rows: FloatArray, vectors: FloatArray) -> FloatArray:
    """(boxes, m, n) times (boxes, n)."""
    product: FloatArray = np.matmul(rows, vectors[..., None])[..., 0]
    return product
