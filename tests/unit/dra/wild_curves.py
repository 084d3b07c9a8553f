"""Wild problems whose real networks have activations that are no clamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith.curves import Function
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Curve, LeakyRelu, Op, Value
from qsmt.ir.verify import verify
from qsmt.problem import Problem
from tests.unit.dra.wild import Style, wild_pair, wild_problem

Maker = type[LeakyRelu] | type[Curve]

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


def choice(rng: np.random.Generator) -> Function | Fraction | None:
    """A function, the slope of a leaky ReLU, or None: what the layer had."""
    slope = SLOPES[int(rng.integers(len(SLOPES)))]
    kinds: list[Function | Fraction | None] = [*Function, *Function, slope, None]
    return kinds[int(rng.integers(len(kinds)))]


def curved(network: Network, kinds: Sequence[Function | Fraction | None]) -> Network:
    """The network with these activations, layer by layer."""
    ops: list[Op] = []
    x = network.input
    for i, (layer, kind) in enumerate(zip(layers(network), kinds, strict=True)):
        ops += _layer(replace(layer, affine=replace(layer.affine, x=x)), kind, f"c{i}")
        x = ops[-1].out
    return verify(replace(network, ops=tuple(ops)))


def _layer(layer: Layer, kind: Function | Fraction | None, name: str) -> list[Op]:
    if kind is None:
        return [layer.affine, *layer.activation]
    out = Value(name, layer.pre.type)
    op = Curve(out, layer.pre, kind) if isinstance(kind, Function) else LeakyRelu(out, layer.pre, kind)
    return [layer.affine, op]
