"""The domains of an analysis: each bounds a layer before its activation from what the trace knows.

A domain takes what is known of the layer and returns it, tighter. The order in which a mode runs them
(qsmt.dra.analysis) matters for tightness and not for soundness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra import deeppoly
from qsmt.dra.activation import difference_after
from qsmt.dra.compiled import CompiledLayer
from qsmt.dra.domain import minus, outward, plus, scaled, select
from qsmt.dra.interval import Ranged
from qsmt.dra.pairs import Form, greatest, over_x, start, substitute
from qsmt.dra.trace import Trace, before
from qsmt.facts import Interval, LayerFacts, LinearForm


@dataclass(frozen=True, slots=True, eq=False)
class Pre:
    """What is known of a layer before its activation."""

    reference: Interval
    quantized: Ranged  # in units of the accumulator
    difference: Interval

    def meet_difference(self, found: Interval) -> Pre:
        """Where the accumulator may wrap, `found` is not about the values it holds."""
        met = self.difference.meet(found)
        return replace(self, difference=select(self.quantized.regular, met, self.difference))

    def meet_quantized(self, found: Interval, *, unit: Fraction) -> Pre:
        """The same for the quantized values, `found` in real units; codes are integers."""
        codes = scaled(found, 1 / unit)
        met = self.quantized.interval.meet(Interval(np.ceil(codes.lower), np.floor(codes.upper)))
        kept = select(self.quantized.regular, met, self.quantized.interval)
        return replace(self, quantized=Ranged(kept, self.quantized.regular))

    def meet_reference(self, found: Interval) -> Pre:
        return replace(self, reference=self.reference.meet(found))

    def meet(self, other: Pre) -> Pre:
        """Two analyses of the same layer."""
        quantized = Ranged(
            self.quantized.interval.meet(other.quantized.interval),
            self.quantized.regular | other.quantized.regular,
        )
        return Pre(self.reference.meet(other.reference), quantized, self.difference.meet(other.difference))


Domain: TypeAlias = Callable[[Trace, Pre], Pre]


def interval_images(trace: Trace) -> Pre:
    """Every network by itself."""
    layer = trace.next
    reference, quantized = layer.reference.affine(trace.reference), layer.quantized.affine(trace.quantized)
    values = scaled(quantized.interval, layer.quantized.pre_unit)
    return Pre(reference.interval, quantized, minus(values, reference.interval))


def subtract(trace: Trace, known: Pre) -> Pre:
    """The difference of the two networks' bounds."""
    values = scaled(known.quantized.interval, trace.next.quantized.pre_unit)
    return replace(known, difference=known.difference.meet(minus(values, known.reference)))


def deeppoly_reference(trace: Trace, known: Pre) -> Pre:
    """The reference's next layer, substituted back to the input."""
    linear, below = trace.next.reference.linear, trace.relaxed_reference()
    return known.meet_reference(deeppoly.bounds(linear, below, trace.inputs.reference, trace.reference))


def forward_difference(trace: Trace, known: Pre) -> Pre:
    """W' delta + (W' - W) h + (b' - b)."""
    layer = trace.next
    found = plus(layer.weight.image(trace.difference), layer.gap.image(trace.reference))
    return known.meet_difference(found)


def symbolic(trace: Trace, known: Pre) -> Pre:
    """Both networks by DeepPoly; then an upper form of one minus a lower form of the other, and vice versa."""
    layer, done = trace.next, len(trace.layers)
    ours = deeppoly.form(layer.reference.linear, trace.relaxed_reference(), trace.reference)
    read = trace.quantized_read(done)
    theirs = deeppoly.form(layer.real, trace.relaxed_quantized(), read)
    inputs = trace.inputs
    known = known.meet_reference(deeppoly.concretized(*ours, inputs.reference))
    values = deeppoly.concretized(*theirs, trace.quantized_read(0))
    if layer.quantized.is_integer:
        known = known.meet_quantized(values, unit=layer.quantized.pre_unit)
    return known.meet_difference(_subtracted(trace, theirs, ours))
