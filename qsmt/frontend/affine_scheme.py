"""Quantizes a real network to 8 bits as ONNX does: scales, zero points, and integers, for a file that says them.

    activations   unsigned, scale and zero point from a range that holds zero; a ReLU is the saturation at zero
    weights       signed and symmetric, one scale for a layer or one for each of its neurons
    biases        32 bits, with the scale that integer kernels assume: fl(s_input * s_weight)

Scales are single-precision numbers, or with `power_of_two` powers of two, whose products and ratios are exact.
What is decided here is a network, not an approximation of an answer: any choice is sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import IntArray
from qsmt.arith.rounding import Rounding, round_fraction
from qsmt.errors import MalformedProblem
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Clamp, Relu

BITS = 8
MOST = 2 ** (BITS - 1) - 1
"""The largest weight; the smallest is its negative."""

LEAST_RANGE = Fraction(1, 2**20)
"""A range that is narrower (a neuron that is always zero) is taken to be this wide."""

MAX_BIAS = 2**30
"""A bias that is larger leaves no room for sums in 32 bits."""


@dataclass(frozen=True, slots=True)
class AffineScheme:
    """What scales are, and of what there is one."""

    power_of_two: bool = False
    per_channel: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DenseLayer:
    """One layer as a file says it: codes, not centred, and the format of its results."""

    weight: IntArray  # (m, n)
    weight_scales: tuple[Fraction, ...]  # one, or m
    bias: IntArray  # (m,)
    bias_scales: tuple[Fraction, ...]
    output: Quantized


@dataclass(frozen=True, slots=True, eq=False)
class DenseNetwork:
    """A network of dense layers in 8 bits."""

    input: Quantized
    layers: tuple[DenseLayer, ...]


Range = tuple[Fraction, Fraction]


def quantize_affine(
    network: Network, scheme: AffineScheme, *, inputs: Range, outputs: Sequence[Range]
) -> DenseNetwork:
    """The 8-bit network; `inputs` and, for each layer, `outputs` are the ranges that formats hold.

    Raises:
        MalformedProblem: the network has a layer that 8-bit formats cannot do.
    """
    kind = first = _format(inputs, scheme)
    made = []
    for i, (layer, reach) in enumerate(zip(layers(network), outputs, strict=True)):
        _check_activation(i, layer)
        made.append(_layer(i, layer, scheme, kind, _format(_limited(layer, reach), scheme)))
        kind = made[-1].output
    return DenseNetwork(first, tuple(made))


def _check_activation(i: int, layer: Layer) -> None:
    if any(not isinstance(op, Relu | Clamp) for op in layer.activation):
        what = f"layer {i} has an activation that is no clamp"
        raise MalformedProblem(what, where="quantize", hint="read are networks with ReLU or Clip")


def _limited(layer: Layer, reach: Range) -> Range:
    """The range, cut to what the layer's clamps leave."""
    low, high = reach
    for op in layer.activation:
        lower, upper = (op.lower, op.upper) if isinstance(op, Clamp) else (Fraction(0), None)
        low, high = (v if lower is None else max(v, lower) for v in (low, high))
        low, high = (v if upper is None else min(v, upper) for v in (low, high))
    return low, high


def _format(reach: Range, scheme: AffineScheme) -> Quantized:
    """The unsigned format that holds a range and zero."""
    low, high = min(reach[0], Fraction(0)), max(reach[1], Fraction(0))
    scale = _scale(max(high - low, LEAST_RANGE) / (2**BITS - 1), scheme)
    zero = min(max(round_fraction(-low / scale, Rounding.HALF_EVEN), 0), 2**BITS - 1)
    return Quantized(False, BITS, scale, zero)


def _scale(least: Fraction, scheme: AffineScheme) -> Fraction:
    """A scale of at least about this: the nearest single, or the next power of two."""
    if not scheme.power_of_two:
        return Fraction(single.single(least))
    power = least.numerator.bit_length() - least.denominator.bit_length() - 1
    while Fraction(2) ** power < least:
        power += 1
    return Fraction(2) ** power


def _layer(i: int, layer: Layer, scheme: AffineScheme, source: Quantized, target: Quantized) -> DenseLayer:
    weight, bias = layer.affine.weight.reals.fractions, layer.affine.bias.reals.fractions
    rows = [max((abs(v) for v in row), default=Fraction(0)) for row in weight]
    largest = rows if scheme.per_channel else [max(rows)]
    scales = tuple(_scale(max(v, LEAST_RANGE) / MOST, scheme) for v in largest)
    each = scales if scheme.per_channel else scales * len(rows)
    units = tuple(Fraction(single.product(float(source.scale), float(s))) for s in each)
    codes = [[_code(v / s, MOST) for v in row] for row, s in zip(weight, each, strict=True)]
    offsets = [_code(v / u, MAX_BIAS) for v, u in zip(bias, units, strict=True)]
    if max(map(abs, offsets)) == MAX_BIAS:
        what = f"layer {i} has a bias that is too large beside its weights"
        raise MalformedProblem(what, where="quantize", hint="scale its inputs or its weights")
    return DenseLayer(
        np.array(codes, dtype=np.int64),
        scales,
        np.array(offsets, dtype=np.int64),
        units if scheme.per_channel else units[:1],
        target,
    )


def _code(value: Fraction, most: int) -> int:
    return min(max(round_fraction(value, Rounding.HALF_EVEN), -most), most)
