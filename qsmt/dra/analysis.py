"""Differential reachability: bounds of both networks and of their difference, layer by layer.

An analysis is a reduced product. At every layer each domain of the mode tightens what interval propagation
says of it before the activation; then the activation is applied.

    naive       each network by itself: the reference by DeepPoly, the codes by intervals; subtracted
    interval    also the difference forward,
                d = W' delta + (W' - W) h + (b' - b)        (QEBVerif, CAV 2023, section 4)
    symbolic    both networks by DeepPoly, their forms over the input subtracted    (the same)
    difference  as interval; differences substituted back jointly with the reference; mutual tightening
    best        all of these, each by itself, and `difference` once more, on the intersection of all

No mode of the middle three is always the tightest, and a tighter start can lead to looser relaxations further on,
so `best` keeps every mode's own results.

Soundness: every domain's bounds hold for each x of the box, hence so does their intersection, hence so
do the bounds after the activation (qsmt.dra.activation). No bound is rounded to a format's grid, and
nothing is clipped that the networks themselves do not clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.dra.activation import Before, difference_after
from qsmt.dra.compiled import CompiledLayer, CompiledProblem, compile_network, compile_problem
from qsmt.dra.deeppoly import bounded_layers
from qsmt.dra.domain import BoolArray, Boxes, Mode, minus, scaled, select
from qsmt.dra.domains import (
    Domain,
    alone,
    forward_difference,
    joint,
    mutual,
    output_form,
    subtract,
    symbolic,
)
from qsmt.dra.inputs import InputFacts, input_facts
from qsmt.dra.trace import Pre, Trace
from qsmt.facts import Facts, Interval, LayerFacts, LinearForm
from qsmt.ir.network import Network
from qsmt.problem import Problem

CACHE_BYTES = 2**22
"""Boxes are analysed in groups whose affine forms take about this much, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """Analyses of the same boxes that lie side by side in one batch: numbers `first` to `end`."""

    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first

    def of(self, boxes: int) -> slice:
        """Their part of the batch."""
        return slice(self.first * boxes, self.end * boxes)


@dataclass(frozen=True, slots=True)
class Step:
    """A domain, and the lanes it tightens."""

    domain: Domain
    lanes: Lanes = Lanes(0, 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done at every layer, in this order.

    A lane knows nothing of the others, but the last of several, which knows what all of them have found. They
    are one batch, so that they cost little more than one.
    """

    steps: tuple[Step, ...]
    lanes: Lanes = Lanes(0, 1)


ALL, SYMBOLIC, FORWARD, JOINT = Lanes(0, 4), Lanes(0, 1), Lanes(1, 4), Lanes(2, 4)
"""The lanes of `best`: symbolic, interval (which is never looser than naive), difference, and their product."""

PLANS = {
    Mode.NAIVE: Plan(()),
    Mode.INTERVAL: Plan((Step(forward_difference),)),
    Mode.SYMBOLIC: Plan((Step(symbolic), Step(subtract))),
    Mode.DIFFERENCE: Plan((Step(forward_difference), Step(joint), Step(mutual))),
    Mode.BEST: Plan(
        (
            Step(symbolic, SYMBOLIC),
            Step(subtract, SYMBOLIC),
            Step(forward_difference, FORWARD),
            Step(joint, JOINT),
            Step(mutual, JOINT),
        ),
        ALL,
    ),
}

Traces: TypeAlias = dict[Lanes, Trace]


def analyze(problem: Problem, boxes: Boxes, mode: Mode = Mode.BEST) -> Facts:
    """Bounds on every box of the batch; the leading axis is the box."""
    compiled = compile_problem(problem)
    size = _group_size(compiled)
    groups = [boxes[i : i + size] for i in range(0, len(boxes), size)]
    with np.errstate(all="ignore"):
        return _joined([_analyze_group(compiled, group, PLANS[mode]) for group in groups])


def analyze_region(problem: Problem, mode: Mode = Mode.BEST) -> Facts:
    """Bounds on the problem's whole region."""
    return analyze(problem, Boxes.of_region(problem.region), mode)[0]


def reference_ranges(network: Network, boxes: Boxes, input_scale: Fraction) -> tuple[Interval, ...]:
    """Certified bounds of a real network's layers, each after its activation, on every box."""
    with np.errstate(all="ignore"):
        found = bounded_layers(compile_network(network), scaled(boxes.interval, input_scale))
    return tuple(layer.post for layer in found)


def _analyze_group(problem: CompiledProblem, boxes: Boxes, plan: Plan) -> Facts:
    traces, last = run(problem, input_facts(problem.inputs, boxes), plan), slice(-len(boxes), None)
    layers = tuple(layer[last] for layer in traces[plan.lanes].layers)
    joined = next((step.lanes for step in plan.steps if step.domain is joint), None)
    return Facts(layers, output_form(traces[joined])[last] if joined else None)


def run(problem: CompiledProblem, inputs: InputFacts, plan: Plan) -> Traces:
    """Every layer in every lane; one trace for each group of lanes that a domain works on."""
    boxes = len(inputs.x.lower)
    reference = bounded_layers([layer.reference for layer in problem.layers], inputs.reference)
    spans = (plan.lanes, *(step.lanes for step in plan.steps))
    traces = {lanes: Trace(problem, inputs.repeated(len(lanes)), reference) for lanes in spans}
    for layer in problem.layers:
        facts, known, regular = _activated(layer, _bounded(plan, traces, boxes), len(plan.lanes))
        for lanes, trace in traces.items():
            part = lanes.of(boxes)
            trace.add(facts[part], known[part], regular=regular[part])
    return traces


def _bounded(plan: Plan, traces: Traces, boxes: int) -> Pre:
    """The next layer before its activation."""
    known = alone(traces[plan.lanes])
    for step in plan.steps:
        part = step.lanes.of(boxes)
        known = known.put(part, step.domain(traces[step.lanes], known[part]))
    return known.meet_lanes(len(plan.lanes))


def _activated(layer: CompiledLayer, pre: Pre, lanes: int) -> tuple[LayerFacts, Before, BoolArray]:
    """A layer's facts, from those before its activation; what it reads; and where it obeys its formula."""
    ours, theirs = layer.reference, layer.quantized
    reference, quantized = ours.activation.limits.of(pre.reference), theirs.activated(pre.quantized)
    values = scaled(quantized.interval, theirs.post_unit)
    known = Before(pre.reference, scaled(pre.quantized.interval, theirs.pre_unit), pre.difference, values)
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
