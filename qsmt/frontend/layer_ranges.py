"""No overflow, no saturation: properties of a layer's accumulator, as constraints of a network that ends there.

A network cut off behind the affine op of a layer has that layer's accumulators as outputs; made wide enough, they hold
every sum. Everything before is as it was, with every wrap and rounding.

    no-overflow    the sum lies within the accumulator's declared range
    no-saturation  what the layer's requantization makes of the sum, or of what a ReLU or a clip before it leaves of
                   the sum, is no larger than the largest code of its format; and no smaller than the smallest,
                   unless that is zero: there, clipping is the ReLU itself
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import takewhile

from qsmt.arith.fixed import Format
from qsmt.arith.requantize import Requantization, staircase
from qsmt.arith.runtime_kinds import Hull
from qsmt.arith.table import Table
from qsmt.arith.units import each
from qsmt.errors import MalformedProblem
from qsmt.frontend.combined import Cases, OutputInequality
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Affine, Clamp, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, TensorType
from qsmt.ir.verify import accumulator_range, verify


@dataclass(frozen=True, slots=True)
class LayerProperty:
    """A network whose outputs are a layer's accumulators, and the cases that may not happen."""

    layer: int
    network: Network
    cases: Cases


Ends = list[tuple[int, int]]
"""The sums from which on a neuron is outside, each with its side: upwards (1) or downwards (-1)."""


def no_overflow(network: Network, chosen: tuple[int, ...] | None) -> tuple[LayerProperty, ...]:
    """One property per chosen layer.

    Raises:
        MalformedProblem: there is no such layer, or no accumulator.
    """
    found = []
    for index, layer in _chosen(network, chosen):
        kind = _accumulator(network, layer)
        ends: Ends = [(kind.max + 1, 1), (kind.min - 1, -1)]
        found.append(_property(network, index, layer, [ends] * layer.pre.size))
    return tuple(found)


def no_saturation(network: Network, chosen: tuple[int, ...] | None) -> tuple[LayerProperty, ...]:
    """One property per chosen layer that requantizes; an exact output layer has nothing to saturate.

    Raises:
        MalformedProblem: there is no such layer, or none that requantizes by a monotone rule.
    """
    found = []
    for index, layer in _chosen(network, chosen):
        rules = _rules(network, layer)
        if rules is not None:
            low, high = accumulator_range(layer.affine, *_codes(layer))
            ends = {
                rule: list(_saturating(_rounded(layer, rule), rule.target, low, high)) for rule in set(rules)
            }
            found.append(_property(network, index, layer, [ends[rule] for rule in rules]))
        elif chosen is not None:
            raise MalformedProblem(
                f"layer {index} of @{network.name} does not requantize, so nothing saturates"
            )
    if not found:
        raise MalformedProblem(f"no layer of @{network.name} requantizes, so nothing saturates")
    return tuple(found)


def _chosen(network: Network, chosen: tuple[int, ...] | None) -> Iterator[tuple[int, Layer]]:
    if network.is_real:
        raise MalformedProblem(f"@{network.name} is a float network: it has no range to leave")
    every = layers(network)
    for index in range(len(every)) if chosen is None else chosen:
        if not index < len(every):
            raise MalformedProblem(f"there is no layer {index}: @{network.name} has {len(every)}, from 0 on")
        yield index, every[index]


def _accumulator(network: Network, layer: Layer) -> Accumulator:
    kind = layer.pre.type.element
    if not isinstance(kind, Accumulator):
        raise MalformedProblem(f"%{layer.pre.name} of @{network.name} is no accumulator")
    return kind


def _codes(layer: Layer) -> tuple[int, int]:
    """The least and the greatest code that the layer can read."""
    kind = layer.affine.x.type.element
    assert isinstance(kind, Format)
    return kind.min, kind.max


def _rules(network: Network, layer: Layer) -> tuple[Requantization, ...] | None:
    """The rule of each neuron that rounds the layer's sums; None if they are not rounded."""
    found = next((op.rules for op in layer.activation if isinstance(op, Requantize)), None)
    if found is not None and any(isinstance(rule.kind, Table | Hull) for rule in found):
        what = f"%{layer.post.name} of @{network.name} is no rounding with one result, so nothing is said of saturation"
        raise MalformedProblem(what)
    if found is not None and _accumulator(network, layer).overflow is AccumulatorOverflow.WRAP:
        what = f"%{layer.pre.name} of @{network.name} may wrap around, so nothing is said of what it saturates to"
        raise MalformedProblem(what, hint='ask for kind = "no-overflow"')
    return found


def _rounded(layer: Layer, rule: Requantization) -> Callable[[int], int]:
    """What becomes of a sum up to its rounding; monotone, as the rule is."""
    before = tuple(takewhile(lambda op: not isinstance(op, Requantize), layer.activation))

    def rounded(acc: int) -> int:
        for op in before:
            lower, upper = (op.lower, op.upper) if isinstance(op, Clamp) else (Fraction(0), None)
            acc = acc if lower is None else max(acc, int(lower))
            acc = acc if upper is None else min(acc, int(upper))
        return rule.unbounded(acc)

    return rounded


def _saturating(
    rounded: Callable[[int], int], target: Format, low: int, high: int
) -> Iterator[tuple[int, int]]:
    """From which sums of [low, high] on, upwards and downwards, the rounded result is outside the format."""
    least, greatest = target.min, target.max

    def beyond(acc: int) -> int:
        return int(rounded(acc) > greatest)

    def above(acc: int) -> int:
        return int(rounded(acc) >= least)

    first = staircase(beyond, low, high)
    # out of reach, if there is none: a layer that cannot saturate is proved like any other
    yield (low if first.first else first.thresholds[0] if first.thresholds else high + 1), 1
    if least < 0:
        last = staircase(above, low, high)
        if not last.first:
            yield (last.thresholds[0] - 1 if last.thresholds else high), -1


def _property(network: Network, index: int, layer: Layer, ends: list[Ends]) -> LayerProperty:
    """No neuron's sum reaches one of its ends."""
    units = each(_accumulator(network, layer).units, layer.pre.size)
    cases = tuple(
        (OutputInequality.of({}, {i: Fraction(side)}, side * end * unit, strict=False),)
        for i, (of_neuron, unit) in enumerate(zip(ends, units, strict=True))
        for end, side in of_neuron
    )
    return LayerProperty(index, _cut(network, layer), cases)


def _cut(network: Network, layer: Layer) -> Network:
    """The network up to the affine op of a layer, whose accumulator holds every sum."""
    position = network.ops.index(layer.affine)
    low, high = accumulator_range(layer.affine, *_codes(layer))
    kind = layer.pre.type.element
    assert isinstance(kind, Accumulator)
    bits = max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1
    wide = Accumulator(max(bits, 2), kind.units, AccumulatorOverflow.EXACT)
    out = Value(layer.pre.name, TensorType(layer.pre.type.shape, wide))
    last: Affine = replace(layer.affine, out=out)
    return verify(replace(network, ops=(*network.ops[:position], last)))
