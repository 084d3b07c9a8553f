"""A bound of the outputs' difference for any multipliers: the Lagrangian dual of the layers' coupling.

Let (d_j, z_j) be the difference and the reference value of hidden neuron j before its activation, and (phi_j, R_j)
after it. For a row (a, b) over a layer's (phi, R) and any numbers (alpha, beta),

    sum_j a_j phi_j + b_j R_j
        <=  sum_j max over H_j of [a_j phi + b_j R - alpha_j d - beta_j z]   +   sum_j alpha_j d_j + beta_j z_j,

where H_j is the neuron's hexagon (qsmt.dra.hexagon), and d = V delta + G h + g, z = W h + bias turn the last sum
into a row (alpha V, alpha G + beta W) over what the layer reads: the (phi, R) of the layer before it, or the
input, where the row is evaluated on the box. The bound is jointly convex in all multipliers, and its
least value is that of the convex relaxation in which each neuron is held in the hull of its graph over H_j.

A neuron whose (phi, R) are affine over H_j, up to an interval, needs neither vertices nor a search:

    phi in phi_d d + phi_z z + [..],   R in r_z z + [..]:     alpha = phi_d a,   beta = phi_z a + r_z b.

This covers neurons that pass a value on or are constant; and with all slopes zero those that do not obey
their formula, or of which some bound is not finite: they keep nothing but their bounds after the activation.
All others are *curved*.

**Rounding** (`certified`). The multipliers are taken as the doubles they are, so they need no exactness. What
is computed differs from the right-hand side by at most

* |alpha_j| P(d)_j + |beta_j| P(z)_j: the row over what the layer reads, as a function on its known magnitudes
  (qsmt.dra.pairs, whose K covers the same matrix products), where beta = b - a is itself rounded once;
* per maximum, `Vertices.margin` per unit of |a| + |b| + |alpha| + |beta| for the points, and as much again for
  the four products and their sum: their terms are at most 2 size each, gamma_8 times that is less than 32 u size;
* gamma_n times the absolute terms for every sum of n terms, and a few denormals (`tiny`).

Each step adds all of it to the constant, rounded up. Where anything is not a number, the bound is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from qsmt.arith.outward import SMALLEST, UNIT_ROUNDOFF, add_down, add_up, gamma, inflate
from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra.compiled import Side
from qsmt.dra.domain import BoolArray, minus, select
from qsmt.dra.held import Held
from qsmt.dra.hexagon import Hexagons, vertices
from qsmt.dra.inputs import InputFacts
from qsmt.dra.pairs import Form, Maps, greatest, over_x
from qsmt.dra.planes import quantized_passes
from qsmt.facts import Interval, LayerFacts

Z, D, PHI, R = range(4)
"""What is known of a deciding point, in this order."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """How (phi, R) follow (d, z) where they do: `phi_d d + phi_z z` and `r_z z`; zero where they do not."""

    phi_d: FloatArray
    phi_z: FloatArray
    r_z: FloatArray

    def multipliers(self, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
        return a * self.phi_d, a * self.phi_z + b * self.r_z


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A hidden layer: its maps, and its neurons; only those that can matter are in it."""

    weight: FloatArray  # (m, n)
    gap: FloatArray
    reference: FloatArray
    gap_bias: FloatArray  # (m,)
    bias: FloatArray
    d_error: FloatArray  # (m,): P(d)
    z_error: FloatArray
    tiny: float
    passage: Passage  # (m,); all zero for curved neurons, and so are phi and r
    phi: Interval
    r: Interval
    curved: IntArray
    side: Side  # the quantized network's
    columns: slice  # of the curved neurons among those of all layers


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The first layer over the inputs, for the search: d = difference y, z = reference y, y in a box."""

    difference: FloatArray  # (m, inputs)
    reference: FloatArray
    middle: FloatArray  # (inputs,)
    radius: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Dual:
    """All hidden layers, first to last, and rows over the last one that are to be bounded from above."""

    stages: tuple[Stage, ...]
    rows: Form  # (targets, n) and (targets,)
    inputs: InputFacts
    entry: Entry
    region: Hexagons  # of the curved neurons of all layers, (2, curved)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """The deciding points of the curved neurons of every row; arrays (.., rows, curved).

    `table[0]` decides where a >= 0, `table[1]` where a < 0: (2, 4, points, rows, curved), all in the
    orientation of the networks.
    """

    table: FloatArray
    margin: FloatArray


def points(region: Hexagons) -> Points:
    """The points of hexagons (2, rows, curved)."""
    at = vertices(region)
    table = np.stack([at.z, at.d, at.phi, at.r]).swapaxes(0, 2).swapaxes(1, 2)
    table[1] *= -1.0
    return Points(table, at.margin.max(axis=0))


def passage_of(region: Hexagons) -> tuple[Passage, BoolArray]:
    """The slopes of the neurons whose (phi, R) are affine over their hexagons, and which these are.

    A limit that is no double lies above `floor` and `least`: next to them, a neuron is taken as curved.
    """
    z, floor, ceiling = region.z.lower[0], region.floor[0], region.ceiling[0]
    active = ((z > floor) | ((z == floor) & (floor == 0.0))) & (region.z.upper[0] <= ceiling)
    fixed = ((region.z.upper <= region.floor) | (region.z.lower >= region.ceiling))[0]
    constant = region.constant[0]
    above = add_down(region.s.lower, region.noise) > region.least
    passes = (quantized_passes(region) & above).all(axis=0) & ~constant
    exact = (active | fixed) & (constant | passes)
    active = active & ~fixed & exact
    phi_d = np.where(exact & passes, 1.0, 0.0)
    return Passage(phi_d, phi_d - active, np.where(active, 1.0, 0.0)), exact


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """A hidden layer that has been bounded; arrays (1, m)."""

    maps: Maps
    region: Hexagons
    facts: LayerFacts
    regular: BoolArray
    side: Side
    held: Held | None = None  # where the activation is no clamp


def dual(hidden: Sequence[Hidden], last: Maps, rows: Form, inputs: InputFacts) -> Dual:
    """The dual of hidden layers on one box; the rows read what `last` reads."""
    stages, regions, first = [], [], 0
    for layer, after in zip(hidden, [*(h.maps for h in hidden[1:]), last], strict=True):
        stage, region = _stage(layer, after.kept, first)
        first = stage.columns.stop
        stages.append(stage)
        regions.append(region)
    return Dual(tuple(stages), rows, inputs, _entry(stages[0], inputs), joined(regions))


def _stage(layer: Hidden, kept: IntArray, first: int) -> tuple[Stage, Hexagons]:
    """A layer's neurons that matter, and the hexagons of the curved ones."""
    region = layer.region[:, 0, kept]
    if layer.held is not None:
        return _held_stage(layer, layer.held, kept, first), region[:, np.arange(0)]
    passage, exact = passage_of(region)
    loose = ~layer.regular[0, kept] | ~np.isfinite(region.size).all(axis=0)
    passage = Passage(
        *(np.where(loose | ~exact, 0.0, v) for v in (passage.phi_d, passage.phi_z, passage.r_z))
    )
    curved = np.flatnonzero(~loose & ~exact)
    phi, r = _constants(region, passage, layer.facts, kept)
    for end in (phi.lower, phi.upper, r.lower, r.upper):
        end[curved] = 0.0
    return _made(layer, kept, passage, (phi, r), curved, first), region[:, curved]


def _held_stage(layer: Hidden, how: Held, kept: IntArray, first: int) -> Stage:
    """The same where the activation is no clamp: all neurons follow (d, z) up to an interval."""
    loose = ~layer.regular[0, kept] | ~how.known[0, kept]
    bounds = (layer.facts.difference_post, layer.facts.reference_post, how.phi, how.r)
    after, value, phi, r = (Interval(x.lower[0, kept], x.upper[0, kept]) for x in bounds)
    passage = Passage(*(np.where(loose, 0.0, v[0, kept]) for v in (how.phi_d, how.phi_z, how.r_z)))
    return _made(
        layer, kept, passage, (select(loose, after, phi), select(loose, value, r)), np.arange(0), first
    )


def _made(
    layer: Hidden,
    kept: IntArray,
    passage: Passage,
    constants: tuple[Interval, Interval],
    curved: IntArray,
    first: int,
) -> Stage:
    through = layer.maps
    rounded = 4 * UNIT_ROUNDOFF * through.reach[0, kept] * (passage.phi_z != 0.0)
    return Stage(
        weight=through.weight[kept],
        gap=through.gap[kept],
        reference=through.reference[kept],
        gap_bias=through.gap_bias[kept],
        bias=through.bias[kept],
        d_error=through.d_error[0, kept],
        z_error=add_up(through.z_error[0, kept], rounded),
        tiny=float(through.tiny[0, 0]),
        passage=passage,
        phi=constants[0],
        r=constants[1],
        curved=curved,
        side=layer.side,
        columns=slice(first, first + len(curved)),
    )


def _constants(
    region: Hexagons, passage: Passage, facts: LayerFacts, kept: IntArray
) -> tuple[Interval, Interval]:
    """What is left of phi and R besides their slopes."""
    after, r = (
        Interval(x.lower[0, kept], x.upper[0, kept]) for x in (facts.difference_post, facts.reference_post)
    )
    active, follows = passage.r_z != 0.0, passage.phi_d != 0.0
    zero = Interval(np.zeros_like(r.lower), np.zeros_like(r.lower))
    noise = Interval(-region.noise[1], region.noise[0])
    value = select(follows, noise, Interval(region.least[0], region.most[0]))
    r = select(active, zero, r)
    return select(active | follows, minus(value, r), after), r


def _entry(stage: Stage, inputs: InputFacts) -> Entry:
    """Both networks read multiples of x, and what is left of the difference is a box of its own."""
    x, gap = inputs.x[0], stage.gap * inputs.scale
    reference = stage.reference * inputs.scale
    difference = gap + stage.weight * np.broadcast_to(inputs.drift, inputs.x.lower.shape)[0]
    if inputs.rest is not None:
        own = inputs.rest[0]
        x = Interval(np.concatenate([x.lower, own.lower]), np.concatenate([x.upper, own.upper]))
        difference = np.concatenate([difference, stage.weight], axis=1)
        reference = np.concatenate([reference, 0.0 * stage.weight], axis=1)
    return Entry(difference, reference, 0.5 * x.lower + 0.5 * x.upper, 0.5 * x.upper - 0.5 * x.lower)


def joined(regions: Sequence[Hexagons]) -> Hexagons:
    """Hexagons of several layers, side by side."""

    def side_by_side(name: str) -> FloatArray | Interval:
        parts = [getattr(region, name) for region in regions]
        if isinstance(parts[0], Interval):
            lower, upper = ([getattr(p, end) for p in parts] for end in ("lower", "upper"))
            return Interval(np.concatenate(lower, axis=-1), np.concatenate(upper, axis=-1))
        return np.concatenate(parts, axis=-1)

    return Hexagons(*(side_by_side(field.name) for field in fields(Hexagons)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """What reaches a layer, and its multipliers; arrays (rows, m)."""

    a: FloatArray
    b: FloatArray
    alpha: FloatArray
    beta: FloatArray

    @property
    def size(self) -> FloatArray:
        size: FloatArray = np.abs(self.a) + np.abs(self.b) + np.abs(self.alpha) + np.abs(self.beta)
        return size

    def __getitem__(self, columns: IntArray) -> Slopes:
        return Slopes(self.a[:, columns], self.b[:, columns], self.alpha[:, columns], self.beta[:, columns])

    def heights(self, table: FloatArray) -> FloatArray:
        """The objective at every point: (points, rows, m)."""
        found: FloatArray = self.a * table[PHI]
        found += self.b * table[R]
        found -= self.alpha * table[D]
        found -= self.beta * table[Z]
        return found


def slopes(stage: Stage, a: FloatArray, b: FloatArray, chosen: FloatArray) -> Slopes:
    """The multipliers of a layer: `chosen` (2, rows, all curved) where its neurons are curved."""
    alpha, beta = stage.passage.multipliers(a, b)
    alpha[:, stage.curved], beta[:, stage.curved] = chosen[..., stage.columns]
    return Slopes(a, b, alpha, beta)


def descended(stage: Stage, found: Slopes) -> tuple[FloatArray, FloatArray]:
    """The row over what a layer reads."""
    alpha, beta = found.alpha, found.beta
    return alpha @ stage.weight, alpha @ stage.gap + beta @ stage.reference


def certified(dual: Dual, at: Points, targets: IntArray, chosen: FloatArray) -> FloatArray:
    """Upper bounds of the targets, one per row of points, that hold over the reals."""
    rows = dual.rows
    a, b, constant = rows.delta[targets], rows.h[targets], rows.constant[targets]
    for stage in reversed(dual.stages):
        found = slopes(stage, a, b, chosen)
        constant = _added(stage, at, found, constant)
        a, b = descended(stage, found)
    form = over_x(Form(a[None], b[None], constant[None]), dual.inputs)
    bound = greatest(*form, dual.inputs)[0]
    return np.where(np.isnan(bound), np.inf, bound)


def _added(stage: Stage, at: Points, found: Slopes, constant: FloatArray) -> FloatArray:
    """The constant, with everything that a layer adds to it and that rounding can hide."""
    at_curved, columns = found[stage.curved], stage.columns
    table = np.where(at_curved.a >= 0.0, at.table[0, ..., columns], at.table[1, ..., columns])
    greatest_there = at_curved.heights(table).max(axis=0) if len(stage.curved) else at_curved.a
    alpha, beta = np.abs(found.alpha), np.abs(found.beta)
    value = greatest_there.sum(axis=1) + ends(found.a, stage.phi) + ends(found.b, stage.r)
    value = value + (found.alpha @ stage.gap_bias + found.beta @ stage.bias)
    size = np.abs(greatest_there).sum(axis=1)
    size = size + np.abs(found.a) @ _far(stage.phi) + np.abs(found.b) @ _far(stage.r)
    size = size + alpha @ np.abs(stage.gap_bias) + beta @ np.abs(stage.bias)
    hidden = alpha @ stage.d_error + beta @ stage.z_error
    hidden = hidden + 2.0 * (at_curved.size * at.margin[:, columns]).sum(axis=1)
    terms = 8 * len(stage.bias) + 64
    slack = inflate(hidden + gamma(terms) * size + (stage.tiny + 16 * terms * SMALLEST), terms)
    return add_up(add_up(constant, value), slack)


def ends(rows: FloatArray, x: Interval) -> FloatArray:
    """The greatest value of the rows on a box, rounded."""
    found: FloatArray = np.maximum(rows, 0.0) @ x.upper + np.minimum(rows, 0.0) @ x.lower
    return found


def _far(x: Interval) -> FloatArray:
    return np.maximum(np.abs(x.lower), np.abs(x.upper))
