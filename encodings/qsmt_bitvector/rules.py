"""What each op does to the linear forms of its operand: one table for each kind of network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, TypeAlias

from qsmt.ir.ops import Affine, Clamp, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from qsmt_bitvector.linear import Linear, combination
from qsmt_bitvector.rounding import clamped, requantized, wrapped
from qsmt_bitvector.widths import Circuit

Rule: TypeAlias = Callable[[Circuit, Any, list[Linear], str], list[Linear]]
REAL: Rules[Rule] = Rules("the bit-vector encoding of real networks")
INTEGER: Rules[Rule] = Rules("the bit-vector encoding of integer networks")


@REAL.register(Affine)
def _real_affine(_: Circuit, op: Affine, x: list[Linear], __: str) -> list[Linear]:
    return _products(op.weight.reals.fractions.tolist(), op.bias.reals.fractions.tolist(), x)


@INTEGER.register(Affine)
def _integer_affine(circuit: Circuit, op: Affine, x: list[Linear], name: str) -> list[Linear]:
    weight, bias = op.integers
    sums = _products(weight.tolist(), bias.tolist(), x)
    kind = op.out.type.element
    if isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP:
        return [wrapped(circuit, v, kind.min, kind.max, f"{name}.{i}") for i, v in enumerate(sums)]
    return sums


def _products(
    weight: Iterable[Iterable[Fraction | int]], bias: Iterable[Fraction | int], x: list[Linear]
) -> list[Linear]:
    return [combination(zip(row, x, strict=True), b) for row, b in zip(weight, bias, strict=True)]


@REAL.register(Relu)
@INTEGER.register(Relu)
def _relu(circuit: Circuit, _: Relu, x: list[Linear], name: str) -> list[Linear]:
    return [clamped(circuit, v, Fraction(0), None, f"{name}.{i}") for i, v in enumerate(x)]


@REAL.register(Clamp)
@INTEGER.register(Clamp)
def _clamp(circuit: Circuit, op: Clamp, x: list[Linear], name: str) -> list[Linear]:
    return [clamped(circuit, v, op.lower, op.upper, f"{name}.{i}") for i, v in enumerate(x)]


@INTEGER.register(Requantize)
def _requantize(circuit: Circuit, op: Requantize, x: list[Linear], name: str) -> list[Linear]:
    return [requantized(circuit, op.rule, v, f"{name}.{i}") for i, v in enumerate(x)]
