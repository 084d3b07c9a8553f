"""Joint back-substitution: linear forms over differences and reference values, through both networks at once.

A form `A . delta + B . h + constant` over what a layer puts out (difference and reference value) becomes
one over what the layer reads. Through the activation, delta is held between two planes over (d, z) and h
between two lines over z (qsmt.dra.planes, qsmt.dra.deeppoly); through the affine maps,

    d = W' delta + (W' - W) h + (b' - b),        z = W h + b.

Since d and z are substituted together, what the two networks have in common cancels at every layer and
not only in the end. At the input delta is a multiple of x (a grid), a rounding error, or zero.

Only upper forms are computed: a lower bound is the upper bound of the negated neuron. With a plane
`alpha d + beta z + gamma` above and one below, in mean and half-difference form,

    A . delta  <=  (A alpha_mean + |A| alpha_half) . d  +  (A beta_mean + |A| beta_half) . z  +  ...

**Rounding.** As in qsmt.dra.deeppoly, coefficients need no exactness, only constants that make up for
it. A neuron's d and z are computed from rows that are off, as functions on |delta| <= M and |h| <= N, by

    P(d) = K |W'| M + K |W' - W| N + error of the parameters,      P(z) = K |W| N + error of W and b,

per unit of the largest slope that meets them, where K = gamma_k covers the rounding of the slopes' sums
and of the matrix products. `|alpha| P(d) + |beta| P(z)` (and for h, `slope P(z)`) enter the constants'
half-differences, which |A| multiplies. Products of constants are covered by gamma of their own magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from qsmt.arith.outward import SMALLEST, UNIT_ROUNDOFF, add_up, gamma, inflate, raised, raised_twice
from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra.compiled import CompiledLayer
from qsmt.dra.deeppoly import Lines, form_error
from qsmt.dra.domain import BoolArray, mirrored_rows
from qsmt.dra.inputs import InputFacts, middle_of
from qsmt.dra.planes import Planes
from qsmt.facts import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """`delta . A + h . B + constant`, one row per bounded quantity; (boxes or 1, rows, n) and (.., rows)."""

    delta: FloatArray
    h: FloatArray
    constant: FloatArray


WORTH_GATHERING = 0.6
"""Up to this share of the columns, picking them out is cheaper than computing with all of them ..."""

FEW_BOXES = 8
"""... unless there are so few boxes that it is calls that cost."""

Columns: TypeAlias = IntArray | slice


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A coefficient for positive entries of a row and one for negative ones: `mean + half`, `mean - half`.

    Arrays (boxes, 1, columns).
    """

    mean: FloatArray
    half: FloatArray

    def __getitem__(self, columns: Columns | None) -> Spread:
        if columns is None:
            return self
        return Spread(self.mean[..., columns], self.half[..., columns])


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """A layer's affine maps, without the columns of what it reads that cannot matter."""

    kept: IntArray  # those columns
    delta_rows: FloatArray  # (2m, kept), the weight and its negation
    h_rows: FloatArray  # (2m, kept), the gap and its negation
    reference: FloatArray  # (m, kept)
    gap_bias: FloatArray
    bias: FloatArray
    d_error: FloatArray  # (boxes, m): P(d)
    z_error: FloatArray
    reach: FloatArray  # (boxes, m), at least |d| + |z|
    tiny: FloatArray  # (boxes, 1)

    @property
    def weight(self) -> FloatArray:
        """(m, kept)"""
        return self.delta_rows[: len(self.bias)]

    @property
    def gap(self) -> FloatArray:
        """(m, kept)"""
        return self.h_rows[: len(self.bias)]


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedPair:
    """A layer of both networks, ready to be substituted; only the neurons that can matter are in it.

    `curved` are the columns where two different planes meet or z enters in any box, `bent` those where two
    different lines do; everywhere else a coefficient does not depend on the sign of the entry.
    """

    kept: IntArray
    curved: Columns | None
    bent: Columns | None
    alpha: Spread  # mean of all columns, half of the curved ones
    beta: Spread  # of the curved columns
    slope: Spread  # mean of all columns, half of the bent ones
    of_delta: Spread
    of_h: Spread
    weight: FloatArray  # (kept, kept of what it reads)
    gap: FloatArray
    reference: FloatArray
    tiny: FloatArray


def maps(layer: CompiledLayer, read: tuple[Interval, Interval], kept: IntArray) -> Maps:
    """The maps of a layer that reads a difference and a reference value with these bounds."""
    weight, gap, reference = layer.weight, layer.gap, layer.reference.linear
    far, near = map(_magnitude, read)
    rows = len(gap.bias)
    sums = [far @ weight.absolute, near @ gap.absolute, near @ reference.absolute]
    rounding = gamma(rows + 32)
    d_error = form_error(weight, far, rounding * sums[0]) + form_error(gap, near, rounding * sums[1])
    total = 2.0 + np.add.reduce([v.sum(axis=-1, keepdims=True) for v in (far, near, *sums)])
    return Maps(
        kept,
        _take(weight.mirrored, kept),
        _take(gap.mirrored, kept),
        _take(reference.weight, kept),
        gap.bias,
        reference.bias,
        inflate(d_error, 4),
        form_error(reference, near, rounding * sums[2]),
        sums[0] + sums[1] + sums[2] + np.abs(gap.bias) + np.abs(reference.bias),
        inflate(16 * rows * SMALLEST * total, rows + gap.terms + 64),
    )


def relax_pair(through: Maps, planes: Planes, lines: Lines) -> RelaxedPair:
    """The layer between planes, and the reference between a line above it and one above its negation."""
    found = _coefficients(through, planes, lines)
    kept = np.flatnonzero(_any(found != 0))
    alpha, beta, slope, of_delta, of_h = map(_spread, _take(found, kept))
    boxes = found.shape[-2]
    curved = _columns(_any((alpha.half != 0) | (beta.mean != 0) | (beta.half != 0)), boxes)
    bent = _columns(_any(slope.half != 0), boxes)
    return RelaxedPair(
        kept,
        curved,
        bent,
        Spread(alpha.mean, alpha[curved].half),
        beta[curved],
        Spread(slope.mean, slope[bent].half),
        of_delta,
        of_h,
        _rows(through.weight, kept),
        _rows(through.gap, kept),
        _rows(through.reference, kept),
        through.tiny,
    )


def _coefficients(through: Maps, planes: Planes, lines: Lines) -> FloatArray:
    """Upper and lower alpha, beta, slope of the lines, constants of delta and of h: (5, 2, boxes, m)."""
    found = np.empty((5, *planes.alpha.shape))
    found[0], found[1], found[2] = planes.alpha, planes.beta, lines.slope
    alpha, gammas = np.zeros((2, *planes.alpha.shape)), np.empty((2, *planes.alpha.shape))
    alpha[0], gammas[0] = planes.alpha, planes.gamma
    gammas[1, 0], gammas[1, 1] = lines.intercept[0], -lines.intercept[1]
    found[3:] = _constants(through, alpha, found[1:3], gammas)
    return found


def start(through: Maps, neurons: IntArray) -> Form:
    """The differences d of chosen neurons of a layer, and their negations, over what it reads."""
    bias, error = through.gap_bias[neurons], _take(through.d_error, neurons)
    constant = add_up(np.concatenate([bias, -bias]), np.concatenate([error, error], axis=-1))
    both = mirrored_rows(neurons, len(through.bias))
    return Form(_rows(through.delta_rows, both)[None], _rows(through.h_rows, both)[None], constant)


def identity(size: int, kept: IntArray) -> Form:
    """The differences that a layer of so many neurons puts out, and their negations, over those kept."""
    one = np.eye(size)[:, kept]
    both = np.concatenate([one, -one])[None]
    return Form(both, np.zeros_like(both), np.zeros((1, 2 * size)))


def substitute(form: Form, layer: RelaxedPair) -> Form:
    """One layer backwards."""
    delta, h = form.delta, form.h
    delta_size, h_size = np.abs(delta), np.abs(h)
    added = _matvec(delta, layer.of_delta.mean) + _matvec(delta_size, layer.of_delta.half)
    added += _matvec(h, layer.of_h.mean) + _matvec(h_size, layer.of_h.half)
    constant = raised_twice(form.constant + added + layer.tiny)
    d, z = delta * layer.alpha.mean, h * layer.slope.mean
    if layer.bent is not None:
        z[..., layer.bent] += h_size[..., layer.bent] * layer.slope.half
    if layer.curved is not None:
        size = delta_size[..., layer.curved]
        d[..., layer.curved] += size * layer.alpha.half
        z[..., layer.curved] += delta[..., layer.curved] * layer.beta.mean + size * layer.beta.half
    return Form(_times(d, layer.weight), _times(d, layer.gap) + _times(z, layer.reference), constant)


def over_x(form: Form, inputs: InputFacts) -> tuple[FloatArray, FloatArray]:
    """A form over the inputs as `rows . x + constant`."""
    rows, constant = form.h * inputs.scale, form.constant
    magnitude = inputs.magnitude
    error = _matvec(np.abs(form.h), inputs.scale * magnitude)
    if inputs.rest is not None:
        mean, half = middle_of(inputs.rest)
        constant = raised(constant + (_matvec(form.delta, mean) + _matvec(np.abs(form.delta), half)))
    drift = np.broadcast_to(inputs.drift, magnitude.shape)
    if drift.any():
        rows = rows + form.delta * drift[:, None, :]
        error = error + _matvec(np.abs(form.delta), np.abs(drift) * magnitude)
    terms = form.h.shape[-1]
    tiny = SMALLEST * 8 * (terms + magnitude.sum(axis=-1, keepdims=True))
    slack = inflate(8 * UNIT_ROUNDOFF * error + tiny, 2 * terms + 16)
    return rows, raised(constant + slack)


def greatest(rows: FloatArray, constant: FloatArray, inputs: InputFacts) -> FloatArray:
    """The greatest value of forms over x on each box."""
    mean, half = inputs.middle
    value = _matvec(rows, mean) + _matvec(np.abs(rows), half)
    return raised_twice(constant + value + 16 * SMALLEST * rows.shape[-1])


def _constants(through: Maps, alpha: FloatArray, beta: FloatArray, gammas: FloatArray) -> FloatArray:
    """Constants of forms over d and z, upper and lower, after the affine maps; all arrays (.., 2, boxes, m).

    They are widened for every rounding until they are summed.
    """
    alpha_size, beta_size, gamma_size = np.abs(alpha), np.abs(beta), np.abs(gammas)
    value = gammas + alpha * through.gap_bias + beta * through.bias
    size = gamma_size + alpha_size * np.abs(through.gap_bias) + beta_size * np.abs(through.bias)
    alive = np.any(alpha_size + beta_size + gamma_size != 0, axis=-3, keepdims=True)
    penalty = np.max(alpha_size * through.d_error + beta_size * through.z_error, axis=-3, keepdims=True)
    penalty += np.where(alive, 8 * SMALLEST * (1.0 + through.reach), 0.0)
    margin = penalty + gamma(4 * value.shape[-1] + 32) * (np.max(size, axis=-3, keepdims=True) + penalty)
    value[..., :1, :, :] += margin
    value[..., 1:, :, :] -= margin
    return value


def _spread(values: FloatArray) -> Spread:
    """Two coefficients as mean and half-difference, (boxes, 1, m); NaN stays NaN."""
    upper, lower = 0.5 * values[:, :, None, :]
    return Spread(upper + lower, upper - lower)


def _take(matrix: FloatArray, columns: IntArray) -> FloatArray:
    """These columns, in ascending order; the matrix itself if these are all."""
    return matrix if len(columns) == matrix.shape[-1] else matrix.take(columns, axis=-1)


def _rows(matrix: FloatArray, rows: IntArray) -> FloatArray:
    """These rows, in ascending order; the matrix itself if these are all."""
    return matrix if len(rows) == len(matrix) else matrix[rows]


def _any(where: BoolArray) -> BoolArray:
    """In which columns it holds anywhere."""
    return np.asarray(where.any(axis=tuple(range(where.ndim - 1))))


def _columns(where: BoolArray, boxes: int) -> Columns | None:
    """The columns where it holds, if any; all of them if gathering would cost more than it saves."""
    found = np.flatnonzero(where)
    if not len(found):
        return None
    worth = boxes >= FEW_BOXES and len(found) <= WORTH_GATHERING * len(where)
    return found if worth else slice(None)


def _magnitude(x: Interval) -> FloatArray:
    return np.maximum(np.abs(x.lower), np.abs(x.upper))


def _times(rows: FloatArray, matrix: FloatArray) -> FloatArray:
    """(boxes, rows, k) times (k, n), as one product."""
    flat = rows.reshape(prod(rows.shape[:-1]), rows.shape[-1])
    product = flat @ matrix
    return product.reshape(*rows.shape[:-1], matrix.shape[-1])


def _matvec(rows: FloatArray, vectors: FloatArray) -> FloatArray:
    """(boxes, rows, n) times (boxes, 1, n), row by row."""
    if vectors.ndim == 2:
        vectors = vectors[:, None, :]
    product: FloatArray = np.matmul(rows, vectors.transpose(0, 2, 1))[..., 0]
    return product
