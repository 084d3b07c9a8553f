"""The exact meaning of an integer network: Python integers, rule by rule. An oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.arith.real import ExactArray, exact_array
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real

Rule: TypeAlias = Callable[..., ExactArray]
RULES: Rules[Rule] = Rules("the exact interpreter of integer networks")


def run_codes(network: Network, codes: ExactArray) -> ExactArray:
    """Output codes (points, m) of input codes (points, n), all Python integers."""
    for op in network.ops:
        codes = RULES[type(op)](op, codes)
    return codes


def run(network: Network, points: Sequence[Sequence[Fraction]]) -> list[tuple[Fraction, ...]]:
    """The exact values that the output codes stand for, one tuple per point of input codes."""
    if not points:
        return []
    codes = np.array([[int(v) for v in point] for point in points], dtype=object)
    kind = network.output.type.element
    assert not isinstance(kind, Real), f"@{network.name} is not an integer network"
    scale = kind.scale
    return [tuple(code * scale for code in row) for row in run_codes(network, codes).tolist()]


@RULES.register(Affine)
def _affine(op: Affine, x: ExactArray) -> ExactArray:
    weight, bias = op.integers
    acc: ExactArray = x @ weight.T + bias
    kind = op.out.type.element
    if isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP:
        wrapped: ExactArray = (acc - kind.min) % (1 << kind.bits) + kind.min
        return wrapped
    return acc


@RULES.register(Relu)
def _relu(_: Relu, x: ExactArray) -> ExactArray:
    return np.maximum(x, 0)


@RULES.register(Clamp)
def _clamp(op: Clamp, x: ExactArray) -> ExactArray:
    above = x if op.lower is None else np.maximum(x, int(op.lower))
    return above if op.upper is None else np.minimum(above, int(op.upper))


@RULES.register(Requantize)
def _requantize(op: Requantize, x: ExactArray) -> ExactArray:
    columns = [[rule.apply(code) for code in x[:, i]] for i, rule in enumerate(op.rules)]
    return exact_array((code for row in zip(*columns, strict=True) for code in row), x.shape)
