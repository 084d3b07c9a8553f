"""Random well-typed networks made of everything the IR has: every op, type, rounding and overflow.

Unlike `tests.support.networks`, these need not mean anything; they are there to be printed, checked and
executed. `random.Random` makes them, so that a seed names one on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import RealTensor, frozen
from qsmt.arith.requantize import Rational, RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Affine, Clamp, Const, Curve, LeakyRelu, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real, TensorType
from qsmt.ir.verify import accumulator_range, verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region

TAME = [Fraction(n, d) for n in range(-5, 6) for d in (1, 2, 8)]
WILD = [
    *(Fraction(v) for v in (0.1, -0.7, 1e-300, 1e300, 2.0**-1074, 2.0**53 + 2, -(2.0**80))),
    *(Fraction(1, 3), Fraction(-22, 7), Fraction(10**40, 3), Fraction(1, 10**350)),
]


def real_network(seed: int, *, wild: bool = True, sizes: Sequence[int] | None = None) -> Network:
    """A real network; `wild`: with weights of all magnitudes, and with some that are not doubles."""
    rng = Random(seed)
    pool = TAME + WILD if wild else TAME
    sizes = sizes or [rng.randint(1, 4) for _ in range(rng.randint(2, 4))]
    x = source = Value("x", TensorType((sizes[0],), Real()))
    ops: list[Op] = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        weight, bias = _reals(rng, f"w{i}", (m, n), pool), _reals(rng, f"b{i}", (m,), pool)
        ops.append(Affine(Value(f"z{i}", TensorType((m,), Real())), x, weight, bias))
        for k in range(rng.randint(0, 2)):
            ops.append(_activation(rng, f"h{i}.{k}", ops[-1].out, pool))
        x = ops[-1].out
    return verify(Network(f"real/{seed}", "real", source, tuple(ops)))


def _reals(rng: Random, name: str, shape: tuple[int, ...], pool: Sequence[Fraction]) -> Const:
    numbers = [rng.choice(pool) for _ in range(int(np.prod(shape)))]
    return Const(name, TensorType(shape, Real()), RealTensor.of_fractions(numbers, shape))


def _activation(rng: Random, name: str, x: Value, pool: Sequence[Fraction]) -> Relu | Clamp:
    out = Value(name, x.type)
    if rng.random() < 0.5:
        return Relu(out, x)
    low, high = sorted((rng.choice(pool), rng.choice(pool)))
    return Clamp(out, x, rng.choice([None, low]), rng.choice([None, high]))


def curved_network(seed: int, functions: Sequence[Function] = tuple(Function)) -> Network:
    """A real network in which most activations are one of these functions or a leaky ReLU."""
    rng, network = Random(f"curves/{seed}"), real_network(seed)
    kinds: list[Kind] = [*functions, Fraction(1, 100), Fraction(1, 3), Fraction(1, 10**350), None]
    return curved(network, [rng.choice(kinds) for _ in layers(network)])


Kind = Function | Fraction | None
"""A function, the slope of a leaky ReLU, or what the layer had."""


def curved(network: Network, kinds: Sequence[Kind]) -> Network:
    """The network with these activations, layer by layer."""
    ops: list[Op] = []
    x = network.input
    for i, (layer, kind) in enumerate(zip(layers(network), kinds, strict=True)):
        ops += _layer(replace(layer, affine=replace(layer.affine, x=x)), kind, f"c{i}")
        x = ops[-1].out
    return verify(replace(network, ops=tuple(ops)))


def _layer(layer: Layer, kind: Kind, name: str) -> list[Op]:
    if kind is None:
        return [layer.affine, *layer.activation]
    out = Value(name, layer.pre.type)
    op = Curve(out, layer.pre, kind) if isinstance(kind, Function) else LeakyRelu(out, layer.pre, kind)
    return [layer.affine, op]


def integer_network(seed: int) -> Network:
    """An integer network: exact and wrapping accumulators, both kinds of requantization."""
    rng = Random(seed)
    x = source = Value("x", TensorType((rng.randint(1, 4),), _format(rng)))
    ops: list[Op] = []
    depth = rng.randint(1, 3)
    for i in range(depth):
        ops.append(_affine(rng, i, x))
        ops += _on_codes(rng, f"p{i}", ops[-1].out)
        if i < depth - 1 or rng.random() < 0.5:
            ops.append(_requantize(rng, f"h{i}", ops[-1].out))
            ops += _on_codes(rng, f"q{i}", ops[-1].out)
        x = ops[-1].out
    return verify(Network(f"integer/{seed}", "ideal", source, tuple(ops)))


def _format(rng: Random) -> Fixed:
    return Fixed(rng.random() < 0.6, rng.randint(1, 7), rng.randint(-2, 8))


def _affine(rng: Random, i: int, x: Value) -> Affine:
    weights, biases = _format(rng), _format(rng)
    source = x.type.element
    assert isinstance(source, Fixed)
    coarsest = min(weights.scale * source.scale, biases.scale)
    scale = coarsest / rng.choice([1, 1, 2, 3, 8])
    shape = (rng.randint(1, 4), x.size)
    weight, bias = _codes(rng, f"w{i}", shape, weights), _codes(rng, f"b{i}", shape[:1], biases)

    def build(kind: Accumulator) -> Affine:
        return Affine(Value(f"a{i}", TensorType(shape[:1], kind)), x, weight, bias)

    low, high = accumulator_range(build(Accumulator(1, scale)), source.min, source.max)
    needed = max(high.bit_length(), (~low if low < 0 else low).bit_length()) + 1
    if rng.random() < 0.6:
        return build(Accumulator(needed + rng.choice([0, 0, 5]), scale))
    return build(Accumulator(max(1, needed - rng.randint(0, 3)), scale, AccumulatorOverflow.WRAP))


def _codes(rng: Random, name: str, shape: tuple[int, ...], kind: Fixed) -> Const:
    data = np.array([rng.randint(kind.min, kind.max) for _ in range(int(np.prod(shape)))], dtype=np.int64)
    return Const(name, TensorType(shape, kind), frozen(data.reshape(shape).copy()))


def _on_codes(rng: Random, name: str, x: Value) -> list[Op]:
    """Perhaps an op that keeps the type."""
    choice = rng.random()
    if choice < 0.5:
        return []
    if choice < 0.75:
        return [Relu(Value(name, x.type), x)]
    kind = x.type.element
    assert not isinstance(kind, Real)
    low, high = sorted((rng.randint(-40, 40), rng.randint(-40, 40)))
    low, high = min(low, kind.max), max(high, kind.min)
    limits = rng.choice([None, Fraction(low)]), rng.choice([None, Fraction(high)])
    return [Clamp(Value(name, x.type), x, *limits)]


def _requantize(rng: Random, name: str, x: Value) -> Requantize:
    source = x.type.element
    assert not isinstance(source, Real)
    target = _format(rng)
    if rng.random() < 0.8:  # a few bits are dropped: ties and both ends of the range are met
        binary = source.scale.denominator.bit_length() - source.scale.numerator.bit_length()
        target = Fixed(rng.random() < 0.8, rng.randint(2, 9), binary - rng.randint(-1, 3))
    kind = _kind(rng, source.scale / target.scale)
    return Requantize(Value(name, TensorType(x.type.shape, target)), x, kind, rng.choice(list(Overflow)))


def _kind(rng: Random, multiplier: Fraction) -> RequantKind:
    rounding = rng.choice(list(Rounding))
    shift = multiplier.denominator.bit_length() - multiplier.numerator.bit_length()
    if Fraction(2) ** -shift == multiplier and rng.random() < 0.7:
        return Shift(shift, rounding)
    return Rational(multiplier, rounding)


def codes_of(network: Network, seed: int, *, count: int = 12) -> list[tuple[Fraction, ...]]:
    """Input codes of an integer network: random ones, and both ends of the format."""
    kind = network.input.type.element
    assert isinstance(kind, Fixed)
    rng, n = Random(seed), network.input.size
    points = [tuple(Fraction(rng.randint(kind.min, kind.max)) for _ in range(n)) for _ in range(count)]
    return [*points, (Fraction(kind.min),) * n, (Fraction(kind.max),) * n]


def reals_of(network: Network, seed: int, *, count: int = 6) -> list[tuple[Fraction, ...]]:
    """Inputs of a real network, of all magnitudes."""
    rng = Random(seed)
    return [tuple(rng.choice(TAME + WILD) for _ in range(network.input.size)) for _ in range(count)]


def any_problem(seed: int, *, model: InputModel, wild: bool = True) -> Problem:
    """An integer network beside an unrelated real one of the same shape, on the integer one's whole format."""
    rng, network = Random(seed), integer_network(seed)
    sizes = [network.input.size, *(layer.pre.size for layer in layers(network))]
    kind = network.input.type.element
    assert isinstance(kind, Fixed)
    scale = kind.scale * rng.choice([Fraction(1), Fraction(4), Fraction(1, 3), Fraction(256, 255)])
    factor = Fraction(1) if model is InputModel.GRID else kind.scale / scale
    return Problem(
        reference=real_network(seed, wild=wild, sizes=sizes),
        quantized=network,
        region=Region(model, (kind.min * factor,) * sizes[0], (kind.max * factor,) * sizes[0]),
        input_scale=scale,
        claim=ErrorBound(tuple(range(sizes[-1])), (Fraction(1),) * sizes[-1]),
    )
