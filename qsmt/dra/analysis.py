"""Differential reachability: bounds of both networks and of their difference, layer by layer.

An analysis is a reduced product. At every layer each domain of the mode bounds the reference or the
difference before the activation from all that is known of the layers before; its bounds are intersected
with those of interval propagation, which is always done; the activation is applied to the result. A
domain is a function of the trace so far, and a mode a row of a table of domains.

    naive     interval propagation of both networks, subtracted
    interval  the reference by DeepPoly; the difference forward,
              d = W' delta + (W' - W) h + (b' - b)        (QEBVerif, CAV 2023, section 4)

Soundness: every domain's bounds hold for each x of the box, hence so does their intersection, hence so
do the bounds after the activation (qsmt.dra.activation). No bound is rounded to a format's grid, and
nothing is clipped that the networks themselves do not clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.dra.activation import Before, difference_after
from qsmt.dra.compiled import CompiledLayer, CompiledProblem, Side, compile_network, compile_problem
from qsmt.dra.deeppoly import RelaxedLayer, bounds, relax
from qsmt.dra.domain import Boxes, Mode, minus, plus, scaled, select
from qsmt.dra.inputs import input_facts
from qsmt.dra.interval import Ranged
from qsmt.dra.trace import Trace
from qsmt.facts import Facts, Interval, LayerFacts
from qsmt.ir.network import Network
from qsmt.problem import Problem

CACHE_BYTES = 2**22
"""Boxes are analysed in groups whose affine forms take about this much, so that they stay in the cache."""

Domain: TypeAlias = Callable[[Trace], Interval]


def analyze(problem: Problem, boxes: Boxes, mode: Mode = Mode.INTERVAL) -> Facts:
    """Bounds on every box of the batch; the leading axis is the box."""
    compiled = compile_problem(problem)
    size = _group_size([layer.reference for layer in compiled.layers])
    groups = [boxes[i : i + size] for i in range(0, len(boxes), size)]
    with np.errstate(all="ignore"):
        return _joined([_analyze_group(compiled, group, _DOMAINS[mode]) for group in groups])


def analyze_region(problem: Problem, mode: Mode = Mode.INTERVAL) -> Facts:
    """Bounds on the problem's whole region."""
    return analyze(problem, Boxes.of_region(problem.region), mode)[0]


def reference_ranges(network: Network, boxes: Boxes, input_scale: Fraction) -> tuple[Interval, ...]:
    """Certified bounds of a real network's layers, each after its activation, on every box."""
    x = read = scaled(boxes.interval, input_scale)
    below: list[RelaxedLayer] = []
    found: list[Interval] = []
    with np.errstate(all="ignore"):
        for side in compile_network(network):
            pre = side.affine(read).interval.meet(bounds(side.linear, below, x, read))
            below.append(relax(side.linear, side.activation.limits, read, pre))
            read = side.activation.limits.of(pre)
            found.append(read)
    return tuple(found)


# --- the domains ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Domains:
    """What a mode adds to interval propagation."""

    reference: tuple[Domain, ...] = ()
    difference: tuple[Domain, ...] = ()


def deeppoly_reference(trace: Trace) -> Interval:
    """The reference's next layer, substituted back to the input."""
    linear, read = trace.next.reference.linear, trace.reference
    return bounds(linear, trace.relaxed_reference(), trace.inputs.reference, read)


def forward_difference(trace: Trace) -> Interval:
    """W' delta + (W' - W) h + (b' - b)."""
    return plus(trace.next.weight.image(trace.difference), trace.next.gap.image(trace.reference))


_DOMAINS = {
    Mode.NAIVE: Domains(),
    Mode.INTERVAL: Domains(reference=(deeppoly_reference,), difference=(forward_difference,)),
}


# --- the reduced product ----------------------------------------------------------------------------


def _analyze_group(problem: CompiledProblem, boxes: Boxes, domains: Domains) -> Facts:
    trace = Trace(problem, input_facts(problem.inputs, boxes))
    for layer in problem.layers:
        reference = layer.reference.affine(trace.reference).interval
        for domain in domains.reference:
            reference = reference.meet(domain(trace))
        quantized = layer.quantized.affine(trace.quantized)
        naive = minus(scaled(quantized.interval, layer.quantized.pre_unit), reference)
        difference = naive
        for domain in domains.difference:
            difference = difference.meet(domain(trace))
        # where the accumulator may wrap, only the naive difference is one of the values themselves
        known = select(quantized.regular, difference, naive)
        trace.layers.append(_activated(layer, reference, quantized, known))
    return Facts(tuple(trace.layers))


def _activated(
    layer: CompiledLayer, reference: Interval, quantized: Ranged, difference: Interval
) -> LayerFacts:
    """A layer's facts, from those before its activation."""
    ours, theirs = layer.reference, layer.quantized
    reference_post = ours.activation.limits.of(reference)
    post = theirs.activated(quantized)
    values = scaled(post.interval, theirs.post_unit)
    before = Before(reference, scaled(quantized.interval, theirs.pre_unit), difference, values)
    after = difference_after(before, theirs.activation, ours.activation)
    return LayerFacts(
        reference_pre=reference,
        quantized_pre=quantized.interval,
        difference_pre=difference,
        reference_post=reference_post,
        quantized_post=post.interval,
        difference_post=select(post.regular, after, minus(values, reference_post)),
    )


def _group_size(sides: Sequence[Side]) -> int:
    largest = max(2 * side.linear.weight.size for side in sides)
    return max(1, CACHE_BYTES // (8 * largest))


def _joined(groups: Sequence[Facts]) -> Facts:
    """The facts of all groups, as those of one batch."""
    if len(groups) == 1:
        return groups[0]
    return Facts(tuple(_joined_layer(layers) for layers in zip(*(g.layers for g in groups), strict=True)))


def _joined_layer(layers: Sequence[LayerFacts]) -> LayerFacts:
    def joined(name: str) -> Interval:
        parts: list[Interval] = [getattr(layer, name) for layer in layers]
        return Interval(np.concatenate([p.lower for p in parts]), np.concatenate([p.upper for p in parts]))

    return LayerFacts(*map(joined, LayerFacts.__slots__))
