"""The domains of an analysis: each bounds a layer before its activation from what the trace knows.

A domain takes what is known of the layer and returns it, tighter. The order in which a mode runs them
(qsmt.dra.analysis) matters for tightness and not for soundness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from qsmt.arith.outward import raised
from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra import deeppoly
from qsmt.dra.domain import minus, mirrored, mirrored_rows, plus, scaled
from qsmt.dra.hexagon import tightened
from qsmt.dra.pairs import Form, greatest, identity, over_x, start, substitute
from qsmt.dra.trace import Pre, Trace
from qsmt.facts import Interval, LinearForm

Domain: TypeAlias = Callable[[Trace, Pre], Pre]


def alone(trace: Trace) -> Pre:
    """Each network by itself: interval propagation, DeepPoly for the reference; their bounds subtracted."""
    layer, deep = trace.next, trace.reference_alone[len(trace.layers)].pre
    reference, quantized = layer.reference.affine(trace.reference), layer.quantized.affine(trace.quantized)
    copies = len(reference.interval.lower) // len(deep.lower)
    bounds = reference.interval.meet(deep.repeated(copies))
    values = scaled(quantized.interval, layer.quantized.pre_unit)
    return Pre(bounds, quantized, minus(values, bounds))


def subtract(trace: Trace, known: Pre) -> Pre:
    """The difference of the two networks' bounds, of which one has become tighter."""
    values = scaled(known.quantized.interval, trace.next.quantized.pre_unit)
    return replace(known, difference=known.difference.meet(minus(values, known.reference)))


def forward_difference(trace: Trace, known: Pre) -> Pre:
    """W' delta + (W' - W) h + (b' - b)."""
    layer = trace.next
    return known.meet_difference(plus(layer.weight.image(trace.difference), layer.gap.image(trace.reference)))


def symbolic(trace: Trace, known: Pre) -> Pre:
    """Both networks by DeepPoly; the upper form of one minus the lower form of the other, and vice versa."""
    layer, i, side = trace.next, len(trace.layers), trace.next.quantized
    ours = trace.reference_alone[i].form
    theirs = deeppoly.form(layer.real, trace.relaxed_quantized(), trace.quantized_read(i), trace.varying)
    values = _bounds(deeppoly.greatest(theirs, trace.quantized_read(0)), trace)
    known = known.meet_quantized(values, unit=side.pre_unit, integral=side.is_integer)
    trace.form = over_x(_subtracted(theirs, ours, trace.varying), trace.inputs)
    return known.meet_difference(_bounds(greatest(*trace.form, trace.inputs), trace))


def joint(trace: Trace, known: Pre) -> Pre:
    """The difference, substituted back jointly with the reference (qsmt.dra.pairs)."""
    below = trace.relaxed_pairs()
    form = start(trace.maps(len(trace.layers)), trace.varying)
    for layer in reversed(below):
        form = substitute(form, layer)
    trace.form = over_x(form, trace.inputs)
    return known.meet_difference(_bounds(greatest(*trace.form, trace.inputs), trace))


def output_form(trace: Trace) -> LinearForm:
    """Forms of the outputs' difference, after the last activation, over x."""
    last = trace.problem.layers[-1]
    if trace.form is None or last.is_active or not trace.regular[-1].all():
        trace.form = _after_activation(trace)
    rows, constant = trace.form
    m, boxes = constant.shape[-1] // 2, len(trace.inputs.x.lower)
    rows, constant = (
        np.broadcast_to(rows, (boxes, *rows.shape[1:])),
        np.broadcast_to(constant, (boxes, 2 * m)),
    )
    return LinearForm(-rows[:, m:], rows[:, :m], -constant[:, m:], constant[:, :m])


def form_range(trace: Trace) -> Interval:
    """Bounds of the outputs' difference by the forms that `output_form` has left."""
    assert trace.form is not None
    return mirrored(greatest(*trace.form, trace.inputs))


def _after_activation(trace: Trace) -> tuple[FloatArray, FloatArray]:
    """The same, substituted back through the last activation."""
    pairs = trace.relaxed_pairs()
    form = identity(trace.layers[-1].difference_post.lower.shape[-1], pairs[-1].kept)
    for layer in reversed(pairs):
        form = substitute(form, layer)
    return over_x(form, trace.inputs)


def mutual(trace: Trace, known: Pre) -> Pre:
    """Reference, difference and quantized values, each cut to what the other two allow."""
    side = trace.next.quantized
    values = scaled(known.quantized.interval, side.pre_unit)
    z, d, s = tightened(known.reference, known.difference, values)
    known = known.meet_quantized(s, unit=side.pre_unit, integral=side.is_integer)
    return replace(known.meet_reference(z), difference=known.difference.meet(d))


def _subtracted(theirs: deeppoly.Form, ours: deeppoly.Form, varying: IntArray) -> Form:
    """A form over the quantized input, plus one of the negated reference, over delta and h.

    The quantized network reads h + delta. `ours` has the rows of all neurons.
    """
    opposite = _opposite(varying, ours.constant.shape[-1] // 2)
    rows = theirs.rows + ours.rows.take(opposite, axis=1)
    return Form(theirs.rows, rows, raised(theirs.constant + ours.constant.take(opposite, axis=-1)))


def _opposite(neurons: IntArray, m: int) -> IntArray:
    """Where the negations of chosen ones of m neurons, and then these themselves, are among all forms."""
    return np.concatenate([neurons + m, neurons])


def _bounds(upper: FloatArray, trace: Trace) -> Interval:
    """Bounds of the next layer's neurons from the greatest values of its varying ones and their negations."""
    m = len(trace.next.gap.bias)
    if len(trace.varying) == m:
        return mirrored(upper)
    every = np.full((len(upper), 2 * m), np.inf)
    every[:, mirrored_rows(trace.varying, m)] = upper
    return mirrored(every)


def varying(trace: Trace, known: Pre) -> IntArray:
    """The next layer's neurons whose values may vary in either network on any box; of the outputs, all."""
    layer, ours, theirs = trace.next, trace.next.reference.activation, trace.next.quantized.activation
    if len(trace.layers) == len(trace.problem.layers) - 1:
        return np.arange(len(layer.gap.bias))
    s, noise = scaled(known.quantized.interval, layer.quantized.pre_unit), theirs.noise
    noisy = Interval(s.lower + noise[0], s.upper + noise[1])
    return np.flatnonzero((ours.limits.varies(known.reference) | theirs.limits.varies(noisy)).any(axis=0))
