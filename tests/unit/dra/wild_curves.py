"""Wild problems whose real networks have activations that are no clamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith.curves import Function, enclosure
from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.table import Table
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Op, Requantize, Value
from qsmt.ir.verify import verify
from qsmt.problem import Problem
from tests.support.any_network import curved
from tests.unit.dra.wild import Style, wild_pair, wild_problem

SLOPES = (Fraction(1, 100), Fraction(1, 2), Fraction(1, 3), Fraction(1, 10**400))


def curved_pair(seed: int, style: Style, *, alike: bool = True) -> Problem:
    """Two real networks of one shape; not `alike`: every third activation of the second is another one."""
    problem, rng = wild_pair(seed, style), np.random.default_rng(seed + 1)
    ours = [choice(rng) for _ in problem.layers]
    theirs = [k if alike or rng.integers(3) else choice(rng) for k in ours]
    return replace(
        problem, reference=curved(problem.reference, ours), quantized=curved(problem.quantized, theirs)
    )


def curved_problem(seed: int, style: Style) -> Problem:
    """A real network with such activations, and an integer network with others."""
    problem, rng = wild_problem(seed, style), np.random.default_rng(seed + 1)
    return replace(problem, reference=curved(problem.reference, [choice(rng) for _ in problem.layers]))


def tabled_problem(seed: int, style: Style) -> Problem:
    """The same, but the integer network reads the reference's functions from tables: good ones, and others."""
    problem, rng = wild_problem(seed, style), np.random.default_rng(seed + 1)
    kinds = [choice(rng) or Function.TANH for _ in problem.layers]
    quantized = with_tables(rng, problem.quantized, kinds)
    return replace(problem, reference=curved(problem.reference, kinds), quantized=quantized)


def with_tables(rng: np.random.Generator, network: Network, kinds: Sequence[Function | Fraction]) -> Network:
    """The integer network with a table after each layer that ends in codes."""
    ops: list[Op] = []
    x = network.input
    for i, (layer, kind) in enumerate(zip(layers(network), kinds, strict=True)):
        ops += [replace(layer.affine, x=x), *layer.activation]
        x = layer.post
        if isinstance(x.type.element, Fixed):
            table = Table(x.type.element.min, 1, _codes(rng, x.type.element, kind))
            ops.append(Requantize(Value(f"t{i}", x.type), x, table, Overflow.SATURATE))
            x = ops[-1].out
    return verify(replace(network, ops=tuple(ops)))


def _codes(rng: np.random.Generator, kind: Fixed, function: Function | Fraction) -> tuple[int, ...]:
    """What the function makes of each code, a fifth of them off by one; one in eight is of another function."""
    function = function if rng.integers(8) else Function.SIGMOID
    read = range(kind.min, kind.max + 1)
    values = [round(_value(function, code * kind.scale) / kind.scale) for code in read]
    off = rng.choice([0, 0, 0, 0, 0, 0, 0, 0, -1, 1], len(values)).tolist()
    return tuple(sorted(min(max(v + d, kind.min), kind.max) for v, d in zip(values, off, strict=True)))


def _value(function: Function | Fraction, x: Fraction) -> Fraction:
    if isinstance(function, Fraction):
        return max(x, function * x)
    return enclosure(function, x)[0]


def choice(rng: np.random.Generator) -> Function | Fraction | None:
    """A function, the slope of a leaky ReLU, or None: what the layer had."""
    slope = SLOPES[int(rng.integers(len(SLOPES)))]
    kinds: list[Function | Fraction | None] = [*Function, *Function, slope, None]
    return kinds[int(rng.integers(len(kinds)))]
