"""Small random networks and problems, made deterministically from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import IntArray, RealTensor
from qsmt.arith.requantize import Rational, Shift
from qsmt.arith.rounding import Rounding
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, Real, TensorType
from qsmt.ir.verify import accumulator_range, verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region


@dataclass(frozen=True)
class Recipe:
    """What a random problem is made of. `reference_frac` keeps the reference's weights coarse dyadics."""

    sizes: tuple[int, ...] = (2, 3, 1)
    input: Fixed = field(default_factory=lambda: Fixed(True, 4, 3))
    weights: Fixed = field(default_factory=lambda: Fixed(True, 4, 2))
    hidden: Fixed = field(default_factory=lambda: Fixed(False, 4, 2))
    rounding: Rounding = Rounding.HALF_UP
    overflow: Overflow = Overflow.SATURATE
    rational: bool = False  # requantize by RATIONAL rather than SHIFT
    reference_frac: int = 4
    input_scale: Fraction | None = None  # default: the input format's
    radius: int = 2
    clip: Fraction | None = None  # the reference clips at this value instead of a plain ReLU
    output: Fixed | None = None  # requantize the output too


def random_problem(seed: int, recipe: Recipe, *, bound: Fraction = Fraction(0)) -> Problem:
    """A problem with random weights: a reference, a quantized network near it, and a grid box."""
    rng = np.random.default_rng(seed)
    reals, codes = [], []
    for n, m in zip(recipe.sizes[:-1], recipe.sizes[1:], strict=True):
        weight = rng.integers(
            -(2**recipe.reference_frac) * 3 // 2, 2**recipe.reference_frac * 3 // 2, (m, n), endpoint=True
        )
        bias = rng.integers(-(2**recipe.reference_frac), 2**recipe.reference_frac, m, endpoint=True)
        reals.append((weight / 2.0**recipe.reference_frac, bias / 2.0**recipe.reference_frac))
        codes.append((_codes(reals[-1][0], recipe.weights), _codes(reals[-1][1], recipe.weights)))
    center = rng.integers(recipe.input.min, recipe.input.max, recipe.sizes[0], endpoint=True)
    lower = np.maximum(center - recipe.radius, recipe.input.min)
    upper = np.minimum(center + recipe.radius, recipe.input.max)
    region = Region(
        InputModel.GRID, tuple(map(Fraction, lower.tolist())), tuple(map(Fraction, upper.tolist()))
    )
    outputs = tuple(range(recipe.sizes[-1]))
    return Problem(
        reference=reference_network(reals, clip=recipe.clip),
        quantized=quantized_network(codes, recipe),
        region=region,
        input_scale=recipe.input_scale or recipe.input.scale,
        claim=ErrorBound(outputs, (bound,) * len(outputs)),
    )


def with_bound(problem: Problem, bound: Fraction) -> Problem:
    """The same problem, asking for this bound on every claimed output."""
    return replace(problem, claim=ErrorBound(problem.claim.outputs, (bound,) * len(problem.claim.outputs)))


def _codes(values: np.ndarray, kind: Fixed) -> IntArray:
    out = np.array([kind.encode(Fraction(float(v)), Rounding.HALF_AWAY) for v in values.flat], dtype=np.int64)
    return out.reshape(values.shape)


def reference_network(
    layers: list[tuple[np.ndarray, np.ndarray]], *, clip: Fraction | None = None
) -> Network:
    """A real network: affine layers with ReLU (or Clip to [0, clip]) between them."""
    value = source = Value("x", TensorType((layers[0][0].shape[1],), Real()))
    ops: list[Op] = []
    for i, (weight, bias) in enumerate(layers):
        out = Value(f"z{i}", TensorType(bias.shape, Real()))
        ops.append(
            Affine(
                out,
                value,
                Const(f"w{i}", TensorType(weight.shape, Real()), RealTensor.of_floats(weight)),
                Const(f"b{i}", TensorType(bias.shape, Real()), RealTensor.of_floats(bias)),
            )
        )
        value = out
        if i < len(layers) - 1:
            value = Value(f"h{i}", out.type)
            ops.append(Relu(value, out) if clip is None else Clamp(value, out, Fraction(0), clip))
    return verify(Network("reference", "real", source, tuple(ops)))


def quantized_network(layers: list[tuple[IntArray, IntArray]], recipe: Recipe) -> Network:
    """An integer network of the recipe's formats; the bias shares the weights' format."""
    kind = recipe.input
    value = source = Value("x", TensorType((layers[0][0].shape[1],), kind))
    ops: list[Op] = []
    for i, (weight, bias) in enumerate(layers):
        affine = _integer_affine(i, value, weight, bias, recipe.weights, kind)
        ops.append(affine)
        value = affine.out
        last = i == len(layers) - 1
        target = recipe.output if last else recipe.hidden
        if target is not None:
            if target.signed and not last:
                value = Value(f"r{i}", value.type)
                ops.append(Relu(value, affine.out))
            out = Value(f"h{i}", TensorType(value.type.shape, target))
            ops.append(Requantize(out, value, _kind(affine, target, recipe), recipe.overflow))
            value, kind = out, target
    return verify(Network("quantized", "ideal", source, tuple(ops)))


def _kind(affine: Affine, target: Fixed, recipe: Recipe) -> Shift | Rational:
    acc = affine.out.type.element
    assert isinstance(acc, Accumulator)
    multiplier = acc.scale / target.scale
    if recipe.rational:
        return Rational(multiplier, recipe.rounding)
    shift = multiplier.denominator.bit_length() - multiplier.numerator.bit_length()
    return Shift(shift, recipe.rounding)


def _integer_affine(i: int, x: Value, weight: IntArray, bias: IntArray, kind: Fixed, source: Fixed) -> Affine:
    scale = Fraction(2) ** -max(kind.frac + source.frac, kind.frac)

    def build(bits: int) -> Affine:
        return Affine(
            Value(f"a{i}", TensorType(bias.shape, Accumulator(bits, scale))),
            x,
            Const(f"w{i}", TensorType(weight.shape, kind), weight),
            Const(f"b{i}", TensorType(bias.shape, kind), bias),
        )

    low, high = accumulator_range(build(64), source.min, source.max)
    return build(max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1)
