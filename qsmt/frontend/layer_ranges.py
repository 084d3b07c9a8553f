"""No overflow, no saturation: properties of a layer's accumulator, as constraints of a network that ends there.

A network cut off behind the affine op of a layer has that layer's accumulators as outputs; made wide enough, they hold
every sum. Everything before is as it was, with every wrap and rounding.

    no-overflow    the sum lies within the accumulator's declared range
    no-saturation  what the layer's requantization makes of the sum is no larger than the largest code of its format;
                   and no smaller than the smallest, unless that is zero: there, clipping is the ReLU itself
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from qsmt.arith.fixed import Fixed
from qsmt.arith.requantize import Requantization, staircase
from qsmt.errors import MalformedProblem
from qsmt.frontend.combined import Cases, OutputInequality
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Affine, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, TensorType
from qsmt.ir.verify import accumulator_range, verify


@dataclass(frozen=True, slots=True)
class LayerProperty:
    """A network whose outputs are a layer's accumulators, and the cases that may not happen."""

    layer: int
    network: Network
    cases: Cases


def no_overflow(network: Network, chosen: tuple[int, ...] | None) -> tuple[LayerProperty, ...]:
    """One property per chosen layer.

    Raises:
        MalformedProblem: there is no such layer, or no accumulator.
    """
    found = []
    for index, layer in _chosen(network, chosen):
        kind = _accumulator(network, layer)
        ends = (Fraction(kind.max + 1), 1), (Fraction(kind.min - 1), -1)
        found.append(_property(network, index, layer, [(v * kind.scale, side) for v, side in ends]))
    return tuple(found)


def no_saturation(network: Network, chosen: tuple[int, ...] | None) -> tuple[LayerProperty, ...]:
    """One property per chosen layer that requantizes; an exact output layer has nothing to saturate.

    Raises:
        MalformedProblem: there is no such layer, or none that requantizes.
    """
    found = []
    for index, layer in _chosen(network, chosen):
        kind, rule = _accumulator(network, layer), _rule(layer)
        if rule is not None:
            low, high = accumulator_range(layer.affine, *_ends(layer))
            ends = [(v * kind.scale, side) for v, side in _saturating(rule, low, high)]
            found.append(_property(network, index, layer, ends))
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


def _ends(layer: Layer) -> tuple[int, int]:
    kind = layer.affine.x.type.element
    assert isinstance(kind, Fixed)
    return kind.min, kind.max


def _rule(layer: Layer) -> Requantization | None:
    return next((op.rule for op in layer.activation if isinstance(op, Requantize)), None)


def _saturating(rule: Requantization, low: int, high: int) -> Iterator[tuple[Fraction, int]]:
    """From which sums on, upwards and downwards, the rounded result is outside the format."""
    least, greatest = rule.target.min, rule.target.max

    def beyond(acc: int) -> int:
        return int(rule.unbounded(acc) > greatest)

    def above(acc: int) -> int:
        return int(rule.unbounded(acc) >= least)

    first = staircase(beyond, low, high)
    if first.first:
        yield Fraction(low), 1
    elif first.thresholds:
        yield Fraction(first.thresholds[0]), 1
    if rule.target.signed:
        last = staircase(above, low, high)
        if not last.first:
            yield Fraction(last.thresholds[0] - 1 if last.thresholds else high), -1
    if not first.first and not first.thresholds:
        yield Fraction(high + 1), 1  # out of reach: a layer that cannot saturate is proved like any other


def _property(network: Network, index: int, layer: Layer, ends: list[tuple[Fraction, int]]) -> LayerProperty:
    """Each neuron's sum reaches no end; `ends` are values of the accumulator, with the side on which it ends."""
    cases = tuple(
        (OutputInequality.of({}, {i: Fraction(side)}, side * end, strict=False),)
        for i in range(layer.pre.size)
        for end, side in ends
    )
    return LayerProperty(index, _cut(network, layer), cases)


def _cut(network: Network, layer: Layer) -> Network:
    """The network up to the affine op of a layer, whose accumulator holds every sum."""
    position = network.ops.index(layer.affine)
    low, high = accumulator_range(layer.affine, *_ends(layer))
    kind = layer.pre.type.element
    assert isinstance(kind, Accumulator)
    bits = max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1
    wide = Accumulator(max(bits, 2), kind.scale, AccumulatorOverflow.EXACT)
    out = Value(layer.pre.name, TensorType(layer.pre.type.shape, wide))
    last: Affine = replace(layer.affine, out=out)
    return verify(replace(network, ops=(*network.ops[:position], last)))
