"""Differential reachability: bounds of both networks and of their difference, layer by layer.

An analysis is a reduced product. At every layer each domain of the mode tightens what interval propagation
says of it before the activation; then the activation is applied.

    naive       each network by itself: the reference by DeepPoly, the codes by intervals; subtracted
    interval    also the difference forward,
                d = W' delta + (W' - W) h + (b' - b)        (QEBVerif, CAV 2023, section 4)
    symbolic    both networks by DeepPoly, their forms over the input subtracted    (the same)
    difference  as interval; differences substituted back jointly with the reference; mutual tightening
    best        symbolic and difference, each by itself, and difference once more on their intersection
    optimized   after `best`, multipliers and cases that are searched for (qsmt.dra.optimized), box by box

Every step of `difference` is at least as tight as that of `interval`, and that as `naive`, and the steps are monotone;
so `best` contains all modes. Relaxations are not: a tighter start can lead to looser ones further on, so `best` keeps
each mode's own results.

Soundness: every domain's bounds hold for each x of the box, hence so does their intersection, hence so
do the bounds after the activation (qsmt.dra.activation). No bound is rounded to a format's grid, and
nothing is clipped that the networks themselves do not clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from qsmt.dra.activation import Before, difference_after
from qsmt.dra.compiled import CompiledLayer, CompiledProblem, compile_network, compile_problem
from qsmt.dra.curved import difference_of_values, relation
from qsmt.dra.deeppoly import bounded_layers
from qsmt.dra.domain import DEFAULT_EFFORT, BoolArray, Boxes, Effort, Mode, minus, scaled, select
from qsmt.dra.domains import (
    Domain,
    alone,
    form_range,
    forward_difference,
    joint,
    mutual,
    output_form,
    subtract,
    symbolic,
    varying,
)
from qsmt.dra.inputs import InputFacts, input_facts
from qsmt.dra.optimized import Optimizer
from qsmt.dra.trace import Pre, Trace
from qsmt.facts import Facts, Interval, LayerFacts, LinearForm
from qsmt.ir.network import Network
from qsmt.problem import Problem

CACHE_BYTES = 2**22
"""Boxes are analysed in groups whose affine forms take about this much, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Group:
    """What tightens a layer before its activation, in this order, in how many lanes side by side.

    A lane is an analysis of all boxes that knows nothing of the others; only the last of several knows what all
    of them have found. All lanes are one batch, so that they cost little more than one.
    """

    domains: tuple[Domain, ...]
    lanes: int = 1


_DIFFERENCE = (forward_difference, joint, mutual)

PLANS: dict[Mode, tuple[Group, ...]] = {
    Mode.NAIVE: (Group(()),),
    Mode.INTERVAL: (Group((forward_difference,)),),
    Mode.SYMBOLIC: (Group((symbolic, subtract)),),
    Mode.DIFFERENCE: (Group(_DIFFERENCE),),
    Mode.BEST: (Group((symbolic, subtract)), Group(_DIFFERENCE, lanes=2)),
}
"""`best`: symbolic, difference (whose every step contains one of interval and naive), and the product of both."""


def analyze(
    problem: Problem,
    boxes: Boxes,
    mode: Mode = Mode.BEST,
    *,
    outputs: Sequence[int] | None = None,
    effort: Effort = DEFAULT_EFFORT,
) -> Facts:
    """Bounds on every box of the batch; the leading axis is the box.

    The mode `optimized` takes some effort for each box, all of it for the chosen outputs, or for all.
    """
    compiled, optimized = compile_problem(problem), mode is Mode.OPTIMIZED
    size = 1 if optimized else _group_size(compiled)
    groups = [boxes[i : i + size] for i in range(0, len(boxes), size)]
    with np.errstate(all="ignore"):
        if optimized:
            return joined([_optimized(compiled, group, outputs, effort) for group in groups])
        return joined([_analyze_group(compiled, group, PLANS[mode]) for group in groups])


def analyze_region(
    problem: Problem,
    mode: Mode = Mode.BEST,
    *,
    outputs: Sequence[int] | None = None,
    effort: Effort = DEFAULT_EFFORT,
) -> Facts:
    """Bounds on the problem's whole region."""
    return analyze(problem, Boxes.of_region(problem.region), mode, outputs=outputs, effort=effort)[0]


def reference_ranges(network: Network, boxes: Boxes, input_scale: Fraction) -> tuple[Interval, ...]:
    """Certified bounds of a real network's layers, each after its activation, on every box."""
    with np.errstate(all="ignore"):
        found = bounded_layers(compile_network(network), scaled(boxes.interval, input_scale))
    return tuple(layer.post for layer in found)


def _optimized(problem: CompiledProblem, box: Boxes, outputs: Sequence[int] | None, effort: Effort) -> Facts:
    best, optimizer = _analyze_group(problem, box, PLANS[Mode.BEST]), Optimizer.begun(outputs, effort)
    return _analyze_group(problem, box, [Group((*_DIFFERENCE, optimizer, mutual))], best.layers)


def _analyze_group(
    problem: CompiledProblem, boxes: Boxes, plan: Sequence[Group], given: Sequence[LayerFacts] = ()
) -> Facts:
    whole, *_, joined = run(problem, input_facts(problem.inputs, boxes), plan, given)
    last = slice(-len(boxes), None)
    layers = [layer[last] for layer in whole.layers]
    if joined.form is None:
        return Facts(tuple(layers), None)
    form = output_form(joined)
    if problem.layers[
        -1
    ].is_active:  # substituted through the activation, a form may be tighter than planes over it
        outputs = layers[-1].difference_post.meet(form_range(joined)[last])
        layers[-1] = replace(layers[-1], difference_post=outputs)
    return Facts(tuple(layers), form[last])


def run(
    problem: CompiledProblem, inputs: InputFacts, plan: Sequence[Group], given: Sequence[LayerFacts] = ()
) -> list[Trace]:
    """All layers in all lanes, each starting from what is given: the trace of all of them, then that of each group."""
    reference = bounded_layers([layer.reference for layer in problem.layers], inputs.reference)
    lanes = [group.lanes for group in plan]
    whole, *parts = (Trace(problem, inputs.repeated(n), reference) for n in (sum(lanes), *lanes))
    parts = parts if len(parts) > 1 else [whole]
    ends = np.cumsum([0, *lanes]) * len(inputs.x.lower)
    spans = [slice(*pair) for pair in pairwise(ends.tolist())]
    for i, layer in enumerate(problem.layers):
        known = alone(whole).meet(given[i]) if given else alone(whole)
        chosen = varying(whole, known)
        for trace in parts:
            trace.varying = chosen
        tighter = [_tightened(g, t, known[s]) for g, t, s in zip(plan, parts, spans, strict=True)]
        facts, read, regular = _activated(layer, Pre.joined(tighter).meet_lanes(sum(lanes)), sum(lanes))
        facts = facts.meet(given[i]) if given else facts
        whole.add(facts, read, regular=regular)
        for trace, span in zip(parts if len(parts) > 1 else (), spans, strict=False):
            trace.add(facts[span], read[span], regular=regular[span])
    return [whole, *parts]


def _tightened(group: Group, trace: Trace, known: Pre) -> Pre:
    for domain in group.domains:
        known = domain(trace, known)
    return known


def _activated(layer: CompiledLayer, pre: Pre, lanes: int) -> tuple[LayerFacts, Before, BoolArray]:
    """A layer's facts, from those before its activation; what it reads; and where it obeys its formula."""
    ours, theirs = layer.reference, layer.quantized
    reference, quantized = ours.image(pre.reference), theirs.activated(pre.quantized)
    values = scaled(quantized.interval, theirs.post_unit)
    known = Before(pre.reference, scaled(pre.quantized.interval, theirs.pre_unit), pre.difference, values)
    if layer.is_curved:
        after = difference_of_values(known, reference, relation(known, ours, theirs))
    else:
        after = difference_after(known, theirs.activation, ours.activation)
    after = select(quantized.regular, after, minus(values, reference)).meet_lanes(lanes)
    facts = LayerFacts(
        pre.reference, pre.quantized.interval, pre.difference, reference, quantized.interval, after
    )
    return facts, known, quantized.regular


def _group_size(problem: CompiledProblem) -> int:
    """How many boxes are analysed at once: their largest forms, of two sides and two rows a neuron."""
    largest = max(4 * layer.reference.linear.weight.size for layer in problem.layers)
    return max(1, CACHE_BYTES // (8 * largest))


def joined(groups: Sequence[Facts]) -> Facts:
    """The facts of groups of boxes as those of one batch; with linear forms if every group has them."""
    if len(groups) == 1:
        return groups[0]
    layers = tuple(_joined_layer(layers) for layers in zip(*(g.layers for g in groups), strict=True))
    forms = [g.form for g in groups if g.form is not None]
    columns = ([getattr(f, name) for f in forms] for name in LinearForm.__slots__)
    return Facts(layers, LinearForm(*map(np.concatenate, columns)) if len(forms) == len(groups) else None)


def _joined_layer(layers: Sequence[LayerFacts]) -> LayerFacts:
    def joined(name: str) -> Interval:
        return Interval.joined([getattr(layer, name) for layer in layers])

    return LayerFacts(*map(joined, LayerFacts.__slots__))
