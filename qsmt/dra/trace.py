"""What an analysis has found so far, layer by layer: all that a domain may build on.

The relaxations of a layer are made once, when a domain first asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qsmt.arith.outward import float_down
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.units import Unit, inverse
from qsmt.dra.activation import Before
from qsmt.dra.compiled import CompiledLayer, CompiledProblem
from qsmt.dra.curved import curved_planes, relation
from qsmt.dra.deeppoly import BoundedLayer, Lines, RelaxedLayer, lines_of, relax
from qsmt.dra.domain import BoolArray, both, scaled, select
from qsmt.dra.hexagon import Hexagons, hexagons
from qsmt.dra.inputs import InputFacts
from qsmt.dra.interval import Ranged
from qsmt.dra.pairs import Maps, RelaxedPair, maps, relax_pair
from qsmt.dra.planes import Planes, planes
from qsmt.facts import Interval, LayerFacts


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

    def meet_quantized(self, found: Interval, *, unit: Unit, integral: bool) -> Pre:
        """The same for the quantized values, `found` in real units; codes are integers."""
        codes = scaled(found, inverse(unit))
        if integral:
            codes = Interval(np.ceil(codes.lower), np.floor(codes.upper))
        met = self.quantized.interval.meet(codes)
        kept = select(self.quantized.regular, met, self.quantized.interval)
        return replace(self, quantized=Ranged(kept, self.quantized.regular))

    def __getitem__(self, boxes: slice) -> Pre:
        quantized = Ranged(self.quantized.interval[boxes], self.quantized.regular[boxes])
        return Pre(self.reference[boxes], quantized, self.difference[boxes])

    def meet(self, facts: LayerFacts) -> Pre:
        """What is known of the same layer from another analysis too."""
        quantized = Ranged(self.quantized.interval.meet(facts.quantized_pre), self.quantized.regular)
        return Pre(
            self.reference.meet(facts.reference_pre), quantized, self.difference.meet(facts.difference_pre)
        )

    def meet_lanes(self, lanes: int) -> Pre:
        """Of several analyses of the same boxes: the last one, met with all of them."""
        if lanes == 1:
            return self
        regular = self.quantized.regular.copy()
        size = len(regular) // lanes
        regular[-size:] = regular.reshape(lanes, size, -1).any(axis=0)
        quantized = Ranged(self.quantized.interval.meet_lanes(lanes), regular)
        return Pre(self.reference.meet_lanes(lanes), quantized, self.difference.meet_lanes(lanes))

    @staticmethod
    def joined(parts: Sequence[Pre]) -> Pre:
        """Parts of a batch, one after the other."""
        if len(parts) == 1:
            return parts[0]
        quantized = Ranged(
            Interval.joined([part.quantized.interval for part in parts]),
            np.concatenate([part.quantized.regular for part in parts]),
        )
        reference = Interval.joined([part.reference for part in parts])
        return Pre(reference, quantized, Interval.joined([part.difference for part in parts]))


@dataclass(slots=True, eq=False)
class Trace:
    """The layers that are done; `next` is the one to be bounded."""

    problem: CompiledProblem
    inputs: InputFacts
    reference_alone: list[BoundedLayer]  # all layers of the reference by itself, once per box
    layers: list[LayerFacts] = field(default_factory=list)
    known: list[Before] = field(default_factory=list)
    regular: list[BoolArray] = field(default_factory=list)  # where a quantized layer obeys its formula
    varying: IntArray = field(default_factory=lambda: np.arange(0))
    """The neurons of the next layer that are worth a domain's work: the others put out one value."""
    form: tuple[FloatArray, FloatArray] | None = (
        None  # of the latest difference before its activation, over x
    )
    _quantized: list[RelaxedLayer] = field(default_factory=list)
    _pairs: list[RelaxedPair] = field(default_factory=list)
    _maps: list[Maps] = field(default_factory=list)

    def add(self, facts: LayerFacts, known: Before, *, regular: BoolArray) -> None:
        """The next layer is done; `known` says in real units what its activation reads."""
        self.layers.append(facts)
        self.known.append(known)
        self.regular.append(regular)

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
        return self.known[i - 1].quantized_post

    def relaxed_quantized(self) -> list[RelaxedLayer]:
        """The quantized network's layers so far, in real units, between lines."""
        for i in range(len(self._quantized), len(self.layers)):
            layer = self.problem.layers[i]
            self._quantized.append(relax(layer.real, self._quantized_lines(i), self.quantized_read(i)))
        return self._quantized

    def relaxed_pairs(self) -> list[RelaxedPair]:
        """The layers of both networks so far, between planes."""
        for i in range(len(self._pairs), len(self.layers)):
            self._pairs.append(relax_pair(self.maps(i), self.planes(i), self.reference_lines(i)))
        return self._pairs

    def reference_lines(self, i: int) -> Lines:
        """Around the reference's activation of layer i."""
        alone = self.reference_alone[i]
        return alone.lines.repeated(len(self.layers[i].reference_pre.lower) // len(alone.pre.lower))

    def maps(self, i: int) -> Maps:
        """The affine maps of layer i, if all layers before it are relaxed."""
        if i == len(self._maps):
            kept: IntArray = self._pairs[i - 1].kept if i else np.arange(self.inputs.x.lower.shape[-1])
            read = (self.difference_read(i), self.reference_read(i))
            self._maps.append(maps(self.problem.layers[i], read, kept))
        return self._maps[i]

    def hexagons(self, i: int) -> Hexagons:
        """Where the activation of layer i is evaluated."""
        layer = self.problem.layers[i]
        step = float_down(layer.quantized.post_unit) if layer.quantized.is_integer else 0.0
        return hexagons(self.known[i], layer.quantized.activation, layer.reference.activation, step=step)

    def _quantized_lines(self, i: int) -> Lines:
        """Where a neuron does not obey its formula, its bounds are its lines."""
        known, regular = self.known[i], self.regular[i]
        found = lines_of(self.problem.layers[i].quantized, known.quantized)
        if regular.all():
            return found
        ends = both(known.quantized_post).upper
        return Lines(np.where(regular, found.slope, 0.0), np.where(regular, found.intercept, ends))

    def planes(self, i: int) -> Planes:
        """Around the difference that layer i makes; where a neuron does not obey its formula, its bounds."""
        after, regular = self.layers[i].difference_post, self.regular[i]
        found = (
            self._curved_planes(i) if self.problem.layers[i].is_curved else planes(self.hexagons(i), after)
        )
        if regular.all():
            return found
        flat = np.stack([after.upper, after.lower])
        alpha, beta = (np.where(regular, v, 0.0) for v in (found.alpha, found.beta))
        return Planes(alpha, beta, np.where(regular, found.gamma, flat))

    def _curved_planes(self, i: int) -> Planes:
        layer, known = self.problem.layers[i], self.known[i]
        related = relation(known, layer.reference, layer.quantized)
        theirs = lines_of(layer.quantized, known.quantized)
        return curved_planes(known, self.layers[i].difference_post, related, self.reference_lines(i), theirs)
