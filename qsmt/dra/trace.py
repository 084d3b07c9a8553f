"""What an analysis has found so far, layer by layer: all that a domain may build on.

The relaxations of a layer are made once, when a domain first asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from qsmt.arith.outward import float_down
from qsmt.arith.real import IntArray
from qsmt.dra.activation import Before
from qsmt.dra.compiled import CompiledLayer, CompiledProblem
from qsmt.dra.deeppoly import Line, RelaxedLayer, lines_around, relax
from qsmt.dra.domain import BoolArray, minus, negated, scaled, select
from qsmt.dra.hexagon import Hexagons, hexagons
from qsmt.dra.inputs import InputFacts
from qsmt.dra.interval import Ranged
from qsmt.dra.pairs import Maps, RelaxedPair, maps, relax_pair
from qsmt.dra.planes import Planes, planes
from qsmt.facts import Interval, LayerFacts, LinearForm


@dataclass(frozen=True, slots=True, eq=False)
class Pre:
    """What is known of a layer before its activation."""

    reference: Interval
    quantized: Ranged  # in units of the accumulator
    difference: Interval

    def meet_reference(self, found: Interval) -> Pre:
        return replace(self, reference=self.reference.meet(found))

    def meet_difference(self, found: Interval) -> Pre:
        """Where the accumulator may wrap, `found` is not about the values it holds."""
        met = self.difference.meet(found)
        return replace(self, difference=select(self.quantized.regular, met, self.difference))

    def meet_quantized(self, found: Interval, *, unit: Fraction, integral: bool) -> Pre:
        """The same for the quantized values, `found` in real units; codes are integers."""
        codes = scaled(found, 1 / unit)
        if integral:
            codes = Interval(np.ceil(codes.lower), np.floor(codes.upper))
        met = self.quantized.interval.meet(codes)
        kept = select(self.quantized.regular, met, self.quantized.interval)
        return replace(self, quantized=Ranged(kept, self.quantized.regular))

    def meet(self, other: Pre) -> Pre:
        """Two analyses of the same layer."""
        quantized = Ranged(
            self.quantized.interval.meet(other.quantized.interval),
            self.quantized.regular | other.quantized.regular,
        )
        return Pre(self.reference.meet(other.reference), quantized, self.difference.meet(other.difference))


@dataclass(slots=True, eq=False)
class Trace:
    """The layers that are done; `next` is the one to be bounded."""

    problem: CompiledProblem
    inputs: InputFacts
    layers: list[LayerFacts] = field(default_factory=list)
    pre: list[Pre] = field(default_factory=list)
    regular: list[BoolArray] = field(default_factory=list)  # where a quantized layer obeys its formula
    form: LinearForm | None = None  # of the last layer's difference, before its activation
    _reference: list[RelaxedLayer] = field(default_factory=list)
    _quantized: list[RelaxedLayer] = field(default_factory=list)
    _pairs: list[RelaxedPair] = field(default_factory=list)

    @property
    def next(self) -> CompiledLayer:
        return self.problem.layers[len(self.layers)]

    @property
    def reference(self) -> Interval:
        """What the next layer reads in the reference network."""
        return self.reference_read(len(self.layers))

    @property
    def quantized(self) -> Interval:
        """What the next layer reads in the quantized network, in units of its type."""
        return self.layers[-1].quantized_post if self.layers else self.inputs.quantized

    @property
    def difference(self) -> Interval:
        """Quantized minus reference, of what the next layer reads."""
        return self.difference_read(len(self.layers))

    def reference_read(self, i: int) -> Interval:
        """What layer i reads in the reference network."""
        return self.layers[i - 1].reference_post if i else self.inputs.reference

    def difference_read(self, i: int) -> Interval:
        """The difference that layer i reads."""
        return self.layers[i - 1].difference_post if i else self.inputs.difference

    def quantized_read(self, i: int) -> Interval:
        """What layer i reads in the quantized network, in real units."""
        if i == 0:
            return scaled(self.inputs.quantized, self.problem.inputs.unit)
        return scaled(self.layers[i - 1].quantized_post, self.problem.layers[i - 1].quantized.post_unit)

    def relaxed_reference(self) -> list[RelaxedLayer]:
        """The reference's layers so far, between lines."""
        for i in range(len(self._reference), len(self.layers)):
            side = self.problem.layers[i].reference
            lines = lines_around(self.layers[i].reference_pre, side.activation.limits)
            self._reference.append(relax(side.linear, lines, self.reference_read(i)))
        return self._reference

    def relaxed_quantized(self) -> list[RelaxedLayer]:
        """The quantized network's layers so far, in real units, between lines."""
        for i in range(len(self._quantized), len(self.layers)):
            layer = self.problem.layers[i]
            self._quantized.append(relax(layer.real, self._quantized_lines(i), self.quantized_read(i)))
        return self._quantized

    def relaxed_pairs(self) -> list[RelaxedPair]:
        """The layers of both networks so far, between planes."""
        for i in range(len(self._pairs), len(self.layers)):
            limits = self.problem.layers[i].reference.activation.limits
            lines = lines_around(self.layers[i].reference_pre, limits)
            self._pairs.append(relax_pair(self.maps(i), self._planes(i), lines))
        return self._pairs

    def maps(self, i: int) -> Maps:
        """The affine maps of layer i, if all layers before it are relaxed."""
        kept: IntArray = self._pairs[i - 1].kept if i else np.arange(self.inputs.x.lower.shape[-1])
        return maps(self.problem.layers[i], (self.difference_read(i), self.reference_read(i)), kept)

    def hexagons(self, i: int) -> Hexagons:
        """Where the activation of layer i is evaluated."""
        layer = self.problem.layers[i]
        known = before(layer, self.layers[i])
        step = float_down(layer.quantized.post_unit) if layer.quantized.is_integer else 0.0
        return hexagons(known, layer.quantized.activation, layer.reference.activation, step=step)

    def _quantized_lines(self, i: int) -> tuple[Line, Line]:
        """Where a neuron does not obey its formula, its bounds are its lines."""
        side, layer = self.problem.layers[i].quantized, self.layers[i]
        pre, post = scaled(layer.quantized_pre, side.pre_unit), scaled(layer.quantized_post, side.post_unit)
        upper, lower = lines_around(pre, side.activation.limits, side.activation.noise)
        regular = self.regular[i]
        return _constant_unless(regular, upper, post), _constant_unless(regular, lower, negated(post))

    def _planes(self, i: int) -> Planes:
        """Where a neuron does not obey its formula, its bounds are its planes."""
        after, regular = self.layers[i].difference_post, self.regular[i]
        found = planes(self.hexagons(i), after)
        if regular.all():
            return found
        flat = np.stack([after.upper, after.lower])
        alpha, beta = (np.where(regular, v, 0.0) for v in (found.alpha, found.beta))
        return Planes(alpha, beta, np.where(regular, found.gamma, flat))


def before(layer: CompiledLayer, known: LayerFacts) -> Before:
    """What is known of a layer's activation, in real units."""
    return Before(
        known.reference_pre,
        scaled(known.quantized_pre, layer.quantized.pre_unit),
        known.difference_pre,
        scaled(known.quantized_post, layer.quantized.post_unit),
    )


def subtracted(layer: CompiledLayer, known: Pre) -> Interval:
    """The difference of the two networks' bounds."""
    return minus(scaled(known.quantized.interval, layer.quantized.pre_unit), known.reference)


def _constant_unless(regular: BoolArray, line: Line, bound: Interval) -> Line:
    if regular.all():
        return line
    return Line(np.where(regular, line.slope, 0.0), np.where(regular, line.intercept, bound.upper))
