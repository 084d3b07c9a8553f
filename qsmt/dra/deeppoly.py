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

    (a+) . (t + s b + |s| p)  +  (a-) . (t' + s' b - |s'| p),

a+ and a- the positive and negative part of the row. Both vectors are widened by gamma of their
own magnitude, which covers the rounding of that very product. Sums of constants are rounded up; what
underflow can add is a few denormals per step (`tiny`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import SMALLEST, add_up, gamma, inflate, raised, raised_twice, step
from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra.affine import AffineMap
from qsmt.dra.compiled import Side
from qsmt.dra.domain import Clamps, Limits, both, cut, mirrored, mirrored_rows, pair, paired, plus
from qsmt.dra.tabulated import Tabulated
from qsmt.facts import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """`activation(z) <= slope * z + intercept` on an interval of z, and the same of the negated neuron.

    Arrays (2, boxes, m).
    """

    slope: FloatArray
    intercept: FloatArray

    def repeated(self, count: int) -> Lines:
        """The same batch so many times, one copy after the other."""
        if count == 1:
            return self
        return Lines(
            np.concatenate([self.slope] * count, axis=1), np.concatenate([self.intercept] * count, axis=1)
        )


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedLayer:
    """One layer, ready to be substituted into the rows of the layers after it; arrays (boxes, m)."""

    linear: AffineMap
    upper_slope: FloatArray
    lower_slope: FloatArray
    upper_constant: FloatArray
    lower_constant: FloatArray
    tiny: FloatArray  # (boxes, 1)


def lines_around(z: Interval, limits: Limits, noise: tuple[float, float] = (0.0, 0.0)) -> Lines:
    """A line above clamp(z + noise) and one above its negation as a function of -z.

    The chord where the clamp is convex, else the better of its two pieces.
    """
    z = both(z)
    clamp = Clamps.of(limits, z.lower)
    shift = paired(noise[1], -noise[0], z.lower)
    if noise != (0.0, 0.0):
        z = plus(z, Interval(shift, shift))
    slope = _slope(z, clamp)
    lows = highs = np.stack([z.lower, z.upper, cut(clamp.low_down, z), cut(clamp.high_down, z)])
    if not limits.are_doubles:
        highs = np.stack([z.lower, z.upper, cut(clamp.low_up, z), cut(clamp.high_up, z)])
    intercept = _gap(Interval(lows, highs), slope, clamp).max(axis=0)
    if noise != (0.0, 0.0):
        intercept = raised(intercept + raised(slope * shift))
    return Lines(slope, intercept)


def lines_of(side: Side, z: Interval) -> Lines:
    """The same for a layer's activation, whatever it is."""
    if side.shape is not None:
        return Lines(*side.shape.lines(z))
    if side.table is not None:
        return _table_lines(side.table, z)
    return lines_around(z, side.activation.limits, side.activation.noise)


def _table_lines(table: Tabulated, s: Interval) -> Lines:
    """A line above T(w) = f(w) + error as a function of s: that of f over w, and through it that of w over s.

    Where f falls, an upper bound of f needs a lower one of w.
    """
    w = table.read(s)
    steep, high = table.shape.lines(w)
    inner, error = lines_around(s, table.inner.limits, table.inner.noise), table.error(w)
    rises, size = steep >= 0.0, np.abs(steep)
    slope = steep * np.where(rises, inner.slope, inner.slope[::-1])
    moved = raised(size * np.where(rises, inner.intercept, inner.intercept[::-1]))
    lost = raised(step(slope) * _magnitude(s))
    added = raised(high + pair(error.upper, -error.lower))
    return Lines(slope, raised(raised(moved + added) + lost))


def relax(linear: AffineMap, lines: Lines, x: Interval) -> RelaxedLayer:
    """The layer between lines, given bounds of what it reads."""
    magnitude = _magnitude(x)
    rows = len(linear.bias)
    sums = magnitude @ linear.absolute
    penalty = form_error(linear, magnitude, gamma(rows + 2) * sums)
    total = magnitude.sum(axis=-1, keepdims=True) + sums.sum(axis=-1, keepdims=True)
    constant = _constant(lines, np.stack([linear.bias, -linear.bias])[:, None], penalty)
    return RelaxedLayer(
        linear,
        lines.slope[0],
        lines.slope[1],
        constant[0],
        -constant[1],
        inflate(2 * SMALLEST * (2 * rows + rows * total), rows + linear.terms),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """Upper forms `rows . x + constant`, (boxes or 1, 2m, n) and (..., 2m): of neurons, then of their negations."""

    rows: FloatArray
    constant: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class BoundedLayer:
    """A layer of one real network: bounds before and after its activation, relaxation, form over the input."""

    pre: Interval
    post: Interval
    lines: Lines
    relaxed: RelaxedLayer
    form: Form


def bounded_layers(sides: Sequence[Side], x: Interval) -> list[BoundedLayer]:
    """All layers of a real network that reads x, each substituted back to the input."""
    read, below, found = x, list[RelaxedLayer](), list[BoundedLayer]()
    for side in sides:
        over_input = form(side.linear, below, read)
        pre = side.affine(read).interval.meet(mirrored(greatest(over_input, x)))
        lines = lines_of(side, pre)
        below.append(relax(side.linear, lines, read))
        read = side.image(pre)
        found.append(BoundedLayer(pre, read, lines, below[-1], over_input))
    return found


def form(
    linear: AffineMap, below: Sequence[RelaxedLayer], read: Interval, neurons: IntArray | None = None
) -> Form:
    """Upper bounds `rows . x + constant` of `linear(h)`, then of its negation, over the inputs.

    h is the last of the layers `below` and bounded by `read`. All neurons, or the chosen ones.
    """
    if linear.is_zero:
        count, first = (
            2 * len(linear.bias if neurons is None else neurons),
            below[0].linear if below else linear,
        )
        return Form(np.zeros((1, count, first.weight.shape[1])), np.zeros((1, count)))
    error = form_error(linear, _magnitude(read), np.zeros(len(linear.weight)))
    rows, bias = linear.mirrored, linear.bias
    if neurons is not None and len(neurons) < len(bias):
        rows, bias, error = rows[mirrored_rows(neurons, len(bias))], bias[neurons], error[..., neurons]
    constant = add_up(np.concatenate([bias, -bias]), np.concatenate([error, error], axis=-1))
    found = rows[None]
    for layer in reversed(below):
        found, constant = _substitute(found, constant, layer)
    return Form(found, constant)


def greatest(form: Form, x: Interval) -> FloatArray:
    """The greatest values of forms on a box, (boxes, rows)."""
    constant = raised(form.constant + _product(form.rows, _widened(x.upper), -_widened(-x.lower)))
    return raised(constant + SMALLEST * 4 * x.upper.shape[-1])


def _slope(z: Interval, clamp: Clamps) -> FloatArray:
    low, high = clamp.low_down, clamp.high_up
    top = np.minimum(z.upper, high)
    chord = (top - low) / (top - z.lower)
    concave = (z.upper <= high) | (high - z.lower >= z.upper - high)
    slope = np.where(z.lower >= low, concave, chord)
    constant = (z.upper <= low) | (z.lower >= high) | ~np.isfinite(slope)
    return np.where(constant, 0.0, np.minimum(np.maximum(slope, 0.0), 1.0))


def _gap(at: Interval, slope: FloatArray, clamp: Clamps) -> FloatArray:
    """An upper bound of clamp(z) - slope * z for the points of `at`."""
    product = np.where(slope == 0.0, 0.0, slope * at.lower)
    below = np.where((slope == 0.0) | (slope == 1.0), product, product - step(product))
    return add_up(clamp.up(at.upper), -below)


def _magnitude(x: Interval) -> FloatArray:
    return np.maximum(np.abs(x.lower), np.abs(x.upper))


def form_error(linear: AffineMap, magnitude: FloatArray, rounding: FloatArray) -> FloatArray:
    """How far `linear` can be from the form that is computed with, on |x| <= magnitude; (boxes, m)."""
    error = rounding + linear.offset
    if linear.relative:
        error = error + linear.relative * (magnitude @ linear.absolute)
    if linear.has_residue:
        error = error + linear.residue * magnitude.sum(axis=-1, keepdims=True)
    return inflate(error, linear.terms + 8)


def _constant(lines: Lines, bias: FloatArray, penalty: FloatArray) -> FloatArray:
    """`t + s (b + p)`, widened for its own rounding and for that of the product it enters; (2, boxes, m)."""
    steepness = np.abs(lines.slope)
    magnitude = np.abs(lines.intercept) + steepness * (np.abs(bias) + penalty)
    value = lines.intercept + lines.slope * bias + steepness * penalty
    return value + gamma(2 * bias.shape[-1] + 16) * magnitude


def _widened(ends: FloatArray) -> FloatArray:
    return ends + gamma(2 * ends.shape[-1] + 16) * np.abs(ends)


def _substitute(rows: FloatArray, constant: FloatArray, layer: RelaxedLayer) -> tuple[FloatArray, FloatArray]:
    """One layer backwards: rows over its outputs become rows over its inputs."""
    positive, negative = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
    added = _matvec(positive, layer.upper_constant) + _matvec(negative, layer.lower_constant)
    constant = raised_twice(constant + added + layer.tiny)
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
