"""Random problems of every shape the IR allows, for the soundness tests; deterministic in their seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise, product

import numpy as np

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import IntArray, RealTensor
from qsmt.arith.requantize import Rational, Shift
from qsmt.arith.rounding import Rounding
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real, TensorType
from qsmt.ir.verify import accumulator_range, verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region

Generator = np.random.Generator
Limits = tuple[Fraction | None, Fraction | None]


@dataclass(frozen=True)
class Style:
    """What is fixed of a wild problem; the rest is random."""

    sizes: tuple[int, ...] = (2, 3, 3, 2)
    rounding: Rounding = Rounding.HALF_UP
    overflow: Overflow = Overflow.SATURATE
    rational: bool = False
    model: InputModel = InputModel.GRID
    exponent: int = 0  # the layers' weights have magnitudes from 2**-exponent to 2**exponent
    radius: int = 2
    thirds: bool = False  # reference parameters that are not doubles
    bits: int = 5
    wraps: bool = True  # a few accumulators wrap


@dataclass(frozen=True)
class Parameters:
    """A real affine layer, `unit * weight` and `unit * bias_unit * bias`, whose outputs are about `size`."""

    weight: IntArray
    bias: IntArray
    unit: Fraction
    bias_unit: Fraction
    size: Fraction

    def number(self, code: int, *, bias: bool = False) -> Fraction:
        return code * self.unit * (self.bias_unit if bias else 1)


def wild_problem(seed: int, style: Style) -> Problem:
    """A reference, an integer network near it, an input relation that does not fit exactly, a box."""
    rng = np.random.default_rng(seed)
    kind = Fixed(bool(rng.integers(2)), style.bits, int(rng.integers(0, 6)))
    parameters = _parameters(rng, style)
    input_scale = kind.scale * Fraction(int(rng.integers(3, 6)), int(rng.integers(3, 6)))
    return Problem(
        reference=_real_network(parameters, [_limits(rng, p.size) for p in parameters]),
        quantized=_integer_network(rng, style, kind, parameters=parameters),
        region=_region(rng, style, kind, input_scale=input_scale),
        input_scale=input_scale,
        claim=ErrorBound((0,), (Fraction(1),)),
    )


def wild_pair(seed: int, style: Style) -> Problem:
    """Two real networks of one shape: the second is the first, disturbed and in part pruned."""
    rng = np.random.default_rng(seed)
    parameters = _parameters(rng, style)
    activations = [_limits(rng, p.size) for p in parameters]
    lower = [Fraction(int(v), 7) for v in rng.integers(-20, 20, style.sizes[0])]
    return Problem(
        reference=_real_network(parameters, activations),
        quantized=_real_network([_disturbed(rng, p) for p in parameters], activations),
        region=Region(InputModel.CONTINUOUS, tuple(lower), tuple(v + style.radius for v in lower)),
        input_scale=Fraction(2, 3),
        claim=ErrorBound((0,), (Fraction(1),)),
    )


def points_of(problem: Problem, seed: int, most: int) -> list[tuple[Fraction, ...]]:
    """Inputs of the region: all of a small grid, else corners, random points, and ties of the quantizer."""
    rng, region = np.random.default_rng(seed), problem.region
    count = region.points
    if region.lower == region.upper:
        return [region.lower]
    if count is not None and count <= most:
        return list(product(*map(_integers, region.lower, region.upper)))
    axes = [_coordinates(rng, problem, i) for i in range(problem.input_size)]
    picks = [rng.integers(0, len(axis), most).tolist() for axis in axes]
    rows = zip(*picks, strict=True)
    return [tuple(axis[i] for axis, i in zip(axes, row, strict=True)) for row in rows]


def _integers(low: Fraction, high: Fraction) -> list[Fraction]:
    return [Fraction(v) for v in range(int(low), int(high) + 1)]


def _coordinates(rng: Generator, problem: Problem, i: int) -> list[Fraction]:
    low, high = problem.region.lower[i], problem.region.upper[i]
    if problem.region.model is InputModel.GRID:
        return _integers(low, high)
    inside = [low + (high - low) * Fraction(int(v), 1000) for v in rng.integers(0, 1001, 12)]
    kind = problem.quantized.input.type.element
    if not isinstance(kind, Fixed):
        return [low, high, *inside]
    per_code, tiny = kind.scale / problem.input_scale, Fraction(1, 2**70)
    first = int(low / per_code)
    ties = [(first + k + Fraction(1, 2)) * per_code for k in range(-2, 12)]
    near = [t + d for t in ties for d in (Fraction(0), tiny, -tiny)]
    return [low, high, *inside, *(t for t in near if low <= t <= high)]


def _region(rng: Generator, style: Style, kind: Fixed, *, input_scale: Fraction) -> Region:
    shares = rng.integers(0, 1000, style.sizes[0], endpoint=True).tolist()
    center = [kind.min + (kind.max - kind.min) * share // 1000 for share in shares]
    if style.model is InputModel.GRID:
        lower = [Fraction(max(c - style.radius, kind.min)) for c in center]
        upper = [Fraction(min(c + style.radius, kind.max)) for c in center]
        return Region(style.model, tuple(lower), tuple(upper))
    # a box of reals may leave the format, in part or as a whole: it saturates
    center = [c + int(rng.integers(-2, 3)) * style.radius for c in center]
    per_code = kind.scale / input_scale
    ends = [((c - style.radius) * per_code, (c + style.radius) * per_code) for c in center]
    return Region(style.model, tuple(e[0] for e in ends), tuple(e[1] for e in ends))


def _parameters(rng: Generator, style: Style) -> list[Parameters]:
    shapes = list(pairwise(style.sizes))
    powers = [int(v) for v in rng.integers(-style.exponent, style.exponent + 1, len(shapes))]
    sums = list(accumulate(powers))
    denominator = 3 * 2**4 if style.thirds else 2**6

    def layer(shape: tuple[int, int], power: int, total: int) -> Parameters:
        n, m = shape
        return Parameters(
            weight=rng.integers(-denominator, denominator, (m, n), endpoint=True),
            bias=rng.integers(-denominator, denominator, m, endpoint=True),
            unit=Fraction(2) ** power / denominator,
            bias_unit=Fraction(2) ** (total - power),
            size=Fraction(2) ** total,
        )

    return list(map(layer, shapes, powers, sums))


def _disturbed(rng: Generator, p: Parameters) -> Parameters:
    def some(values: IntArray) -> IntArray:
        changed = values + rng.integers(-1, 2, values.shape)
        return np.where(rng.integers(4, size=values.shape) == 0, 0, changed)

    return Parameters(some(p.weight), some(p.bias), p.unit, p.bias_unit, p.size)


def _limits(rng: Generator, size: Fraction) -> list[Limits]:
    """The clamps of a real activation; (0, None) is a ReLU."""
    c = size * Fraction(int(rng.integers(1, 8)), 5)
    kinds: list[list[Limits]] = [
        [(Fraction(0), None)],
        [(Fraction(0), None)],
        [(Fraction(0), c)],
        [(None, c)],
        [(-c, None)],
        [(-c, c / 2)],
        [(Fraction(0), None), (c / 3, c)],
        [],
    ]
    return kinds[int(rng.integers(len(kinds)))]


# --- networks ---------------------------------------------------------------------------------------


def _real_network(parameters: Sequence[Parameters], activations: Sequence[Sequence[Limits]]) -> Network:
    value = source = Value("x", TensorType((parameters[0].weight.shape[1],), Real()))
    ops: list[Op] = []
    for i, (p, limits) in enumerate(zip(parameters, activations, strict=True)):
        m, n = p.weight.shape
        weight = RealTensor.of_fractions(map(p.number, p.weight.ravel().tolist()), (m, n))
        bias = RealTensor.of_fractions((p.number(c, bias=True) for c in p.bias.tolist()), (m,))
        out = Value(f"z{i}", TensorType((m,), Real()))
        consts = (Const(f"w{i}", TensorType((m, n), Real()), weight), Const(f"b{i}", out.type, bias))
        ops.append(Affine(out, value, *consts))
        value = out
        for k, (low, high) in enumerate(limits):
            out = Value(f"h{i}_{k}", value.type)
            relu = low == 0 and high is None
            ops.append(Relu(out, value) if relu else Clamp(out, value, low, high))
            value = out
    return verify(Network("reference", "real", source, tuple(ops)))


def _integer_network(
    rng: Generator, style: Style, kind: Fixed, *, parameters: Sequence[Parameters]
) -> Network:
    value = source = Value("x", TensorType((style.sizes[0],), kind))
    ops: list[Op] = []
    for i, p in enumerate(parameters):
        ops.append(_integer_affine(rng, style, value, parameters=p))
        value = ops[-1].out
        last = i == len(parameters) - 1
        for op in _chain(rng, style, value, size=p.size, optional=last):
            ops.append(op)
            value = op.out
    return verify(Network("quantized", "ideal", source, tuple(ops)))


def _power(size: Fraction) -> int:
    return size.numerator.bit_length() - size.denominator.bit_length()


def _integer_affine(rng: Generator, style: Style, x: Value, *, parameters: Parameters) -> Affine:
    source, p, name = x.type.element, parameters, x.name
    assert isinstance(source, Fixed)
    weights = Fixed(True, style.bits, int(rng.integers(1, max(style.bits, 2))) - _power(p.size / p.bias_unit))
    frac = weights.frac + source.frac
    biases = Fixed(True, min(style.bits + 8, 63), frac - int(rng.integers(0, 3)))
    scale = Fraction(2) ** -frac / (3 if style.rational and rng.integers(2) else 1)
    weight = _codes([p.number(c) for c in p.weight.ravel().tolist()], weights).reshape(p.weight.shape)
    bias = _codes([p.number(c, bias=True) for c in p.bias.tolist()], biases)

    def build(kind: Accumulator) -> Affine:
        return Affine(
            Value(f"a_{name}", TensorType(bias.shape, kind)),
            x,
            Const(f"w_{name}", TensorType(weight.shape, weights), weight),
            Const(f"b_{name}", TensorType(bias.shape, biases), bias),
        )

    low, high = accumulator_range(build(Accumulator(9, scale)), source.min, source.max)
    bits = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1
    if style.wraps and rng.integers(4) == 0:
        return build(Accumulator(max(2, bits - 1), scale, AccumulatorOverflow.WRAP))
    return build(Accumulator(bits, scale))


def _codes(values: Sequence[Fraction], kind: Fixed) -> IntArray:
    return np.array([kind.encode(v, Rounding.HALF_AWAY) for v in values], dtype=np.int64)


def _chain(rng: Generator, style: Style, x: Value, *, size: Fraction, optional: bool) -> list[Op]:
    """A quantized activation: requantizations between ReLUs and clamps."""
    target = Fixed(bool(rng.integers(2)), style.bits, int(rng.integers(0, style.bits)) - _power(size))
    wide = Fixed(True, min(style.bits + 6, 64), target.frac + int(rng.integers(-1, 4)))
    c = Fraction(1 + int(rng.integers(2 ** min(style.bits, 62))))
    builder = _Chain(style, x)
    to, relu = builder.requantize(target), builder.relu
    chains: list[list[Callable[[], None]]] = [
        [to],
        [relu, to],
        [to, relu],
        [builder.clamp(-c, 2 * c), to, builder.clamp(None, Fraction(c // 2))],
        [builder.requantize(wide), relu, to],
        [builder.clamp(None, 3 * c), relu, to],
    ]
    if optional:
        chains += [[], [], [relu], [builder.clamp(-c, c)]]
    for build in chains[int(rng.integers(len(chains)))]:
        build()
    return builder.ops


class _Chain:
    """Appends ops to a value."""

    def __init__(self, style: Style, x: Value) -> None:
        self._style, self._x = style, x
        self.ops: list[Op] = []

    def _out(self, kind: Fixed | None = None) -> tuple[Value, Value]:
        x = self.ops[-1].out if self.ops else self._x
        return Value(f"{self._x.name}_{len(self.ops)}", TensorType(x.type.shape, kind or x.type.element)), x

    def relu(self) -> None:
        self.ops.append(Relu(*self._out()))

    def clamp(self, low: Fraction | None, high: Fraction | None) -> Callable[[], None]:
        return lambda: self.ops.append(Clamp(*self._out(), low, high))

    def requantize(self, target: Fixed) -> Callable[[], None]:
        def append() -> None:
            out, x = self._out(target)
            source = x.type.element
            assert not isinstance(source, Real)
            multiplier, rounding = source.scale / target.scale, self._style.rounding
            shift = -_power(multiplier)
            exact = multiplier == Fraction(2) ** -shift and not self._style.rational
            kind = Shift(shift, rounding) if exact else Rational(multiplier, rounding)
            self.ops.append(Requantize(out, x, kind, self._style.overflow))

        return append
