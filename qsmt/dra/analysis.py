"""Differential reachability: bounds of both networks and of their difference, layer by layer.

An analysis is a reduced product. At every layer each domain of the mode tightens what interval propagation
says of it before the activation; then the activation is applied.

    naive       interval propagation of both networks, subtracted
    interval    the reference by DeepPoly; the difference forward,
                d = W' delta + (W' - W) h + (b' - b)        (QEBVerif, CAV 2023, section 4)
    symbolic    both networks by DeepPoly, their forms over the input subtracted    (the same)
    difference  differences substituted back jointly with the reference, and mutual tightening
    best        all of these, each by itself, and a last run of all domains that starts from their intersection
    optimized   after `best`, multipliers and cases that are searched for (qsmt.dra.optimized), box by box

No mode of the middle three is always the tightest, and a tighter start can lead to looser relaxations further on,
so `best` keeps every mode's own results.

Soundness: every domain's bounds hold for each x of the box, hence so does their intersection, hence so
do the bounds after the activation (qsmt.dra.activation). No bound is rounded to a format's grid, and
nothing is clipped that the networks themselves do not clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from qsmt.dra.activation import difference_after
from qsmt.dra.compiled import CompiledLayer, CompiledProblem, compile_network, compile_problem
from qsmt.dra.deeppoly import RelaxedLayer, bounds, lines_around, relax
from qsmt.dra.domain import DEFAULT_EFFORT, BoolArray, Boxes, Effort, Mode, minus, scaled, select
from qsmt.dra.domains import (
    Domain,
    deeppoly_reference,
    forward_difference,
    interval_images,
    joint,
    mutual,
    subtract,
    symbolic,
)
from qsmt.dra.inputs import InputFacts, input_facts
from qsmt.dra.optimized import Optimizer
from qsmt.dra.trace import Pre, Trace, before
from qsmt.facts import Facts, Interval, LayerFacts, LinearForm
from qsmt.ir.network import Network
from qsmt.problem import Problem

CACHE_BYTES = 2**22
"""Boxes are analysed in groups whose affine forms take about this much, so that they stay in the cache."""

DOMAINS: dict[Mode, tuple[Domain, ...]] = {
    Mode.NAIVE: (),
    Mode.INTERVAL: (deeppoly_reference, subtract, forward_difference),
    Mode.SYMBOLIC: (symbolic, subtract),
    Mode.DIFFERENCE: (deeppoly_reference, subtract, forward_difference, joint, mutual),
}
"""What each mode adds to interval propagation. The first can be run alone; `best` is made of them."""

PRODUCT: tuple[Domain, ...] = (deeppoly_reference, subtract, forward_difference, joint, mutual)


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
    compiled = compile_problem(problem)
    size = 1 if mode is Mode.OPTIMIZED else _group_size(compiled)
    groups = [boxes[i : i + size] for i in range(0, len(boxes), size)]
    with np.errstate(all="ignore"):
        if mode is Mode.OPTIMIZED:
            return _joined([_optimized(compiled, group, outputs, effort) for group in groups])
        return _joined([_analyze_group(compiled, group, mode) for group in groups])


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
    x = read = scaled(boxes.interval, input_scale)
    below: list[RelaxedLayer] = []
    found: list[Interval] = []
    with np.errstate(all="ignore"):
        for side in compile_network(network):
            pre = side.affine(read).interval.meet(bounds(side.linear, below, x, read))
            below.append(relax(side.linear, lines_around(pre, side.activation.limits), read))
            read = side.activation.limits.of(pre)
            found.append(read)
    return tuple(found)


def traces(problem: CompiledProblem, inputs: InputFacts, mode: Mode) -> list[Trace]:
    """The runs of a mode; the last one knows what the others have found."""
    if mode is not Mode.BEST:
        return [_run(problem, inputs, DOMAINS[mode])]
    alone = [_run(problem, inputs, domains) for domains in DOMAINS.values()]
    return [*alone, _run(problem, inputs, PRODUCT, alone)]


def _analyze_group(problem: CompiledProblem, boxes: Boxes, mode: Mode) -> Facts:
    last = traces(problem, input_facts(problem.inputs, boxes), mode)[-1]
    return Facts(tuple(last.layers), last.form)


def _optimized(problem: CompiledProblem, box: Boxes, outputs: Sequence[int] | None, effort: Effort) -> Facts:
    inputs, optimizer = input_facts(problem.inputs, box), Optimizer.begun(outputs, effort)
    best = traces(problem, inputs, Mode.BEST)[-1]
    last = _run(problem, inputs, (*PRODUCT, optimizer, mutual), [best])
    return Facts(tuple(last.layers), last.form)


def _run(
    problem: CompiledProblem, inputs: InputFacts, domains: Sequence[Domain], others: Sequence[Trace] = ()
) -> Trace:
    """All layers by these domains, each layer starting from what other runs know of it."""
    trace = Trace(problem, inputs)
    for i, layer in enumerate(problem.layers):
        known = interval_images(trace)
        for other in others:
            known = known.meet(other.pre[i])
        for domain in domains:
            known = domain(trace, known)
        facts, regular = _activated(layer, known)
        for other in others:
            facts = facts.meet(other.layers[i])
        trace.pre.append(known)
        trace.layers.append(facts)
        trace.regular.append(regular)
    return trace


def _activated(layer: CompiledLayer, known: Pre) -> tuple[LayerFacts, BoolArray]:
    """A layer's facts, from those before its activation; and where it obeys its formula."""
    ours, theirs = layer.reference, layer.quantized
    post = theirs.activated(known.quantized)
    facts = LayerFacts(
        reference_pre=known.reference,
        quantized_pre=known.quantized.interval,
        difference_pre=known.difference,
        reference_post=ours.activation.limits.of(known.reference),
        quantized_post=post.interval,
        difference_post=known.difference,
    )
    after = difference_after(before(layer, facts), theirs.activation, ours.activation)
    naive = minus(scaled(post.interval, theirs.post_unit), facts.reference_post)
    return facts.after(select(post.regular, after, naive)), post.regular


def _group_size(problem: CompiledProblem) -> int:
    """How many boxes are analysed at once: their largest forms, of two sides and two rows a neuron."""
    largest = max(4 * layer.reference.linear.weight.size for layer in problem.layers)
    return max(1, CACHE_BYTES // (8 * largest))


def _joined(groups: Sequence[Facts]) -> Facts:
    """The facts of all groups, as those of one batch."""
    if len(groups) == 1:
        return groups[0]
    layers = tuple(_joined_layer(layers) for layers in zip(*(g.layers for g in groups), strict=True))
    forms = [g.form for g in groups if g.form is not None]
    columns = ([getattr(f, name) for f in forms] for name in LinearForm.__slots__)
    return Facts(layers, LinearForm(*map(np.concatenate, columns)) if forms else None)


def _joined_layer(layers: Sequence[LayerFacts]) -> LayerFacts:
    def joined(name: str) -> Interval:
        parts: list[Interval] = [getattr(layer, name) for layer in layers]
        return Interval(np.concatenate([p.lower for p in parts]), np.concatenate([p.upper for p in parts]))

    return LayerFacts(*map(joined, LayerFacts.__slots__))
