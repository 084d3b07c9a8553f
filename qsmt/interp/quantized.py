"""The exact meaning of an integer network: Python integers, rule by rule. An oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.arith.real import ExactArray, exact_array
from qsmt.arith.runtime_kinds import Hull
from qsmt.arith.table import Table
from qsmt.interp.reference import Enclosed
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real

Rule: TypeAlias = Callable[..., ExactArray]
RULES: Rules[Rule] = Rules("the exact interpreter of integer networks")


def run_codes(network: Network, codes: ExactArray) -> ExactArray:
    """Output codes (points, m) of input codes (points, n), all Python integers; of a network without hulls."""
    assert network.is_exact, f"@{network.name} is known between bounds only"
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


def enclose(network: Network, points: Sequence[Sequence[Fraction]]) -> Enclosed:
    """The values of the outputs; between bounds, where a hull leaves them open."""
    if network.is_exact or not points:
        return Enclosed(run(network, points))
    kind = network.output.type.element
    assert not isinstance(kind, Real), f"@{network.name} is not an integer network"
    codes = np.array([[int(v) for v in point] for point in points], dtype=object)
    low, high = _bounds(network, codes)
    half = kind.scale / 2
    middle = [tuple(v * half for v in row) for row in (low + high).tolist()]
    return Enclosed(middle, [tuple(v * half for v in row) for row in (high - low).tolist()])


def _bounds(network: Network, codes: ExactArray) -> tuple[ExactArray, ExactArray]:
    """The least and the greatest output codes, by intervals; every op but a sum and a table is monotone."""
    low = high = codes
    for op in network.ops:
        match op:
            case Affine():
                low, high = _sum_bounds(op, low, high)
            case Requantize() if any(isinstance(kind, Hull) for kind in op.runtime_kinds):
                low, high = _hull_bounds(op, low, 0), _hull_bounds(op, high, 1)
            case Requantize() if any(isinstance(kind, Table) for kind in op.runtime_kinds):
                low, high = _table_bounds(op, low, high)
            case _:
                low, high = RULES[type(op)](op, low), RULES[type(op)](op, high)
    return low, high


def _sum_bounds(op: Affine, low: ExactArray, high: ExactArray) -> tuple[ExactArray, ExactArray]:
    weight, bias = op.integers
    positive, negative = np.maximum(weight, 0).T, np.minimum(weight, 0).T
    least, most = low @ positive + high @ negative + bias, high @ positive + low @ negative + bias
    kind = op.out.type.element
    if isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP:
        wraps = (least < kind.min) | (most > kind.max)
        return np.where(wraps, kind.min, least), np.where(wraps, kind.max, most)
    return least, most


def _hull_bounds(op: Requantize, x: ExactArray, end: int) -> ExactArray:
    hulls = [rule.kind for rule in op.rules]
    assert all(isinstance(kind, Hull) for kind in hulls)
    rows = [
        op.target.saturated(kind.bounds(v)[end])
        for row in x
        for kind, v in zip(hulls, row, strict=True)
        if isinstance(kind, Hull)
    ]
    return exact_array(rows, x.shape)


def _table_bounds(op: Requantize, low: ExactArray, high: ExactArray) -> tuple[ExactArray, ExactArray]:
    tables = [rule.kind for rule in op.rules]
    found = [
        tuple(map(op.target.saturated, kind.image(a, b)))
        for row in zip(low, high, strict=True)
        for kind, a, b in zip(tables, *row, strict=True)
        if isinstance(kind, Table)
    ]
    assert len(found) == low.size
    least, greatest = zip(*found, strict=True)
    return exact_array(least, low.shape), exact_array(greatest, low.shape)


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
