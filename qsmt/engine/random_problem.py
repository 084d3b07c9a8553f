"""Random small problems for differential testing: every op, rounding, overflow and kind of format occurs.

A problem is a real network and an integer network near it (the same weights, rounded), over a grid of few
points, so that all its inputs can be executed exactly. `random.Random` draws everything, in one order: a
seed names the same problem on every machine. Every third seed names one whose integer network rounds as a runtime
does (qsmt.engine.random_affine); of the others, every twentieth has wide codes, where solvers in doubles go wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import TypeAlias

import numpy as np

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import RealTensor, frozen
from qsmt.arith.requantize import Rational, RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.engine.random_affine import FORMS, affine_problem
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real, TensorType
from qsmt.ir.verify import accumulator_range, verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region

Matrix: TypeAlias = list[list[Fraction]]
Parameters: TypeAlias = tuple[Matrix, list[Fraction]]


class Size(StrEnum):
    """How large random problems are."""

    SMALL = "small"
    MEDIUM = "medium"


@dataclass(frozen=True, slots=True)
class Extent:
    """The ranges that a size draws from."""

    inputs: tuple[int, int]
    hidden_layers: tuple[int, int]
    neurons: tuple[int, int]
    bits: tuple[int, int]
    points: int  # of the grid, at most


EXTENTS = {
    Size.SMALL: Extent((1, 3), (1, 2), (1, 5), (2, 6), 80),
    Size.MEDIUM: Extent((2, 5), (1, 3), (2, 8), (2, 8), 500),
}

INPUTS = (Fixed(True, 4, 3), Fixed(False, 4, 4), Fixed(True, 6, 4))

AFFINE_EVERY = 3
"""One seed in so many names a problem of a runtime's kinds."""

WIDE_EVERY = 20
"""One seed in so many, of the others, names a problem of wide codes."""

WIDE_BITS = (10, 16)
WIDE_INPUTS = (Fixed(True, 10, 9), Fixed(True, 12, 11), Fixed(False, 14, 13))

MOST_AFFINE_INPUTS = 4
"""Of such a problem: its grid has up to four points along each."""

WIDEST_STEP = 6
"""A side of the grid has at most this many steps."""


@dataclass(frozen=True, slots=True)
class Formats:
    """What the integer network of a problem is made of."""

    input: Fixed
    weights: Fixed
    biases: Fixed
    hidden: Fixed
    output: Fixed | None
    overflow: Overflow
    rounding: Rounding
    rational: bool  # requantize by a ratio rather than by a shift
    wraps: bool  # accumulators are two bits narrower than the sums


def random_problem(seed: int, size: Size) -> Problem:
    """The problem of this seed; it claims a difference of 0 at every output."""
    rng, extent = Random(f"{size}/{seed}"), EXTENTS[size]
    sizes = [rng.randint(*extent.inputs)]
    sizes += [rng.randint(*extent.neurons) for _ in range(rng.randint(*extent.hidden_layers))]
    sizes.append(rng.randint(1, 2))
    if seed % AFFINE_EVERY == AFFINE_EVERY - 1:
        sizes[0] = min(sizes[0], MOST_AFFINE_INPUTS)
        return affine_problem(seed, rng.choice(FORMS), sizes=tuple(sizes))
    wide = seed % WIDE_EVERY == WIDE_EVERY - 1
    formats = _formats(rng, WIDE_BITS if wide else extent.bits, WIDE_INPUTS if wide else INPUTS)
    parameters = _parameters(rng, sizes)
    outputs = tuple(range(sizes[-1]))
    return Problem(
        reference=_reference(parameters, rng.choice([None, None, None, Fraction(3, 4), Fraction(1, 3)])),
        quantized=_quantized(parameters, formats),
        region=_region(rng, formats.input, sizes[0], extent.points),
        input_scale=rng.choice([formats.input.scale] * 3 + [Fraction(1, 15), Fraction(2, 7)]),
        claim=ErrorBound(outputs, (Fraction(0),) * len(outputs)),
    )


def _formats(rng: Random, widths: tuple[int, int], inputs: Sequence[Fixed]) -> Formats:
    bits = rng.randint(*widths)
    reads = rng.choice(inputs)
    weights = Fixed(True, bits, bits - 2)
    signed = rng.random() < 0.3
    return Formats(
        input=reads,
        weights=weights,
        biases=rng.choice([weights, Fixed(True, 2 * bits, 2 * bits - 2)]),
        hidden=Fixed(signed, bits, bits - 2 + rng.randint(-1, 1)),
        output=rng.choice([None, None, None, Fixed(True, bits + 1, bits - 2), Fixed(True, 3, 0)]),
        overflow=rng.choice([Overflow.SATURATE] * 6 + list(Overflow)),
        rounding=rng.choice(list(Rounding)),
        rational=rng.random() < 0.3,
        wraps=rng.random() < 0.08,
    )


def _parameters(rng: Random, sizes: list[int]) -> list[Parameters]:
    """Weights of up to 1.5 and biases of up to 1; coarse dyadics, or decimals, or fine dyadics."""
    denominator = rng.choice([4, 8, 16, 16, 32, 10, 100, 2**16])
    biggest = 3 * denominator // 2
    layers: list[Parameters] = []
    for n, m in pairwise(sizes):
        weight = [[Fraction(rng.randint(-biggest, biggest), denominator) for _ in range(n)] for _ in range(m)]
        layers.append(
            (weight, [Fraction(rng.randint(-denominator, denominator), denominator) for _ in range(m)])
        )
    return layers


def _region(rng: Random, kind: Fixed, inputs: int, points: int) -> Region:
    lower, upper = list[Fraction](), list[Fraction]()
    for _ in range(inputs):
        width = rng.randint(0, min(WIDEST_STEP, kind.max - kind.min, points - 1))
        low = rng.randint(kind.min, kind.max - width)
        lower.append(Fraction(low))
        upper.append(Fraction(low + width))
        points //= width + 1
    return Region(InputModel.GRID, tuple(lower), tuple(upper))


# --- the networks ---------------------------------------------------------------------------------------


def _reference(layers: list[Parameters], clip: Fraction | None) -> Network:
    """A real network: affine layers with ReLU, or a clip to [0, clip], between them."""
    value = source = Value("x", TensorType((len(layers[0][0][0]),), Real()))
    ops: list[Op] = []
    for i, (weight, bias) in enumerate(layers):
        out = Value(f"z{i}", TensorType((len(bias),), Real()))
        ops.append(Affine(out, value, _real(f"w{i}", weight), _real(f"b{i}", bias)))
        value = out
        if i < len(layers) - 1:
            value = Value(f"h{i}", out.type)
            ops.append(Relu(value, out) if clip is None else Clamp(value, out, Fraction(0), clip))
    return verify(Network("reference", "real", source, tuple(ops)))


def _quantized(layers: list[Parameters], formats: Formats) -> Network:
    """The integer network; an unsigned hidden format saturates at zero, a signed one follows a ReLU."""
    value = source = Value("x", TensorType((len(layers[0][0][0]),), formats.input))
    ops: list[Op] = []
    for i, (weight, bias) in enumerate(layers):
        last = i == len(layers) - 1
        ops.append(_affine(i, value, (weight, bias), formats))
        value = ops[-1].out
        target = formats.output if last else formats.hidden
        if target is not None and target.signed and not last:
            ops.append(Relu(Value(f"r{i}", value.type), value))
        if target is not None:
            ops.append(_requantize(f"h{i}", ops[-1].out, target, formats))
        value = ops[-1].out
    return verify(Network("quantized", "ideal", source, tuple(ops)))


def _affine(i: int, x: Value, parameters: Parameters, formats: Formats) -> Affine:
    weight, bias = (
        _codes(f"w{i}", parameters[0], formats.weights),
        _codes(f"b{i}", parameters[1], formats.biases),
    )
    source = x.type.element
    assert isinstance(source, Fixed)
    scale = min(formats.weights.scale * source.scale, formats.biases.scale)

    def build(kind: Accumulator) -> Affine:
        return Affine(Value(f"a{i}", TensorType(bias.type.shape, kind)), x, weight, bias)

    low, high = accumulator_range(build(Accumulator(64, scale)), source.min, source.max)
    bits = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1
    if formats.wraps and bits > 3:
        return build(Accumulator(bits - 2, scale, AccumulatorOverflow.WRAP))
    return build(Accumulator(bits, scale))


def _requantize(name: str, x: Value, target: Fixed, formats: Formats) -> Requantize:
    source = x.type.element
    assert isinstance(source, Accumulator)
    kind = _kind(source.scale / target.scale, formats)
    return Requantize(Value(name, TensorType(x.type.shape, target)), x, kind, formats.overflow)


def _kind(multiplier: Fraction, formats: Formats) -> RequantKind:
    if formats.rational:
        return Rational(multiplier, formats.rounding)
    shift = multiplier.denominator.bit_length() - multiplier.numerator.bit_length()
    return Shift(shift, formats.rounding)


def _real(name: str, values: Matrix | list[Fraction]) -> Const:
    array = np.array(values, dtype=object)
    return Const(name, TensorType(array.shape, Real()), RealTensor.of_fractions(array.ravel(), array.shape))


def _codes(name: str, values: Matrix | list[Fraction], kind: Fixed) -> Const:
    array = np.array(values, dtype=object)
    codes = [kind.encode(v, Rounding.HALF_AWAY) for v in array.ravel()]
    return Const(
        name,
        TensorType(array.shape, kind),
        frozen(np.array(codes, dtype=np.int64).reshape(array.shape).copy()),
    )
