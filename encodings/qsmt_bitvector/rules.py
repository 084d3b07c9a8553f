"""What each op does to the linear forms of its operand: one table for each kind of network.

The forms of a layer have one denominator; it is 1 in integer networks, whose forms are codes.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import lcm
from typing import Any, TypeAlias

from qsmt.arith.real import ExactArray
from qsmt.ir.ops import Affine, Clamp, LeakyRelu, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from qsmt_bitvector.linear import Linear, combination, over_one_denominator
from qsmt_bitvector.rounding import clamped, requantized, wrapped
from qsmt_bitvector.widths import Circuit

Rule: TypeAlias = Callable[[Circuit, Any, list[Linear], str], list[Linear]]
REAL: Rules[Rule] = Rules("the bit-vector encoding of real networks")
INTEGER: Rules[Rule] = Rules("the bit-vector encoding of integer networks")


@REAL.register(Affine)
def _real_affine(_: Circuit, op: Affine, x: list[Linear], __: str) -> list[Linear]:
    return products(op, x)


def products(op: Affine, x: list[Linear]) -> list[Linear]:
    """The sums of an op on reals, of forms that have one denominator."""
    (weight, weight_over), (bias, bias_over) = op.weight.reals.scaled, op.bias.reals.scaled
    over = lcm(weight_over * x[0].denominator, bias_over)
    by = over // (weight_over * x[0].denominator)
    return _products(weight * by, bias * (over // bias_over), x, over)


@INTEGER.register(Affine)
def _integer_affine(circuit: Circuit, op: Affine, x: list[Linear], name: str) -> list[Linear]:
    weight, bias = op.integers
    sums = _products(weight, bias, x, 1)
    kind = op.out.type.element
    if isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP:
        return [wrapped(circuit, v, kind.min, kind.max, f"{name}.{i}") for i, v in enumerate(sums)]
    return sums


def _products(weight: ExactArray, bias: ExactArray, x: list[Linear], over: int) -> list[Linear]:
    rows = zip(weight.tolist(), bias.tolist(), strict=True)
    return [combination(row, x, constant, over) for row, constant in rows]


@REAL.register(Relu)
@INTEGER.register(Relu)
def _relu(circuit: Circuit, _: Relu, x: list[Linear], name: str) -> list[Linear]:
    return [clamped(circuit, v, Fraction(0), None, f"{name}.{i}") for i, v in enumerate(x)]


@REAL.register(Clamp)
@INTEGER.register(Clamp)
def _clamp(circuit: Circuit, op: Clamp, x: list[Linear], name: str) -> list[Linear]:
    return [clamped(circuit, v, op.lower, op.upper, f"{name}.{i}") for i, v in enumerate(x)]


@REAL.register(LeakyRelu)
def _leaky_relu(circuit: Circuit, op: LeakyRelu, x: list[Linear], name: str) -> list[Linear]:
    return [leaky(circuit, v, op.slope, f"{name}.{i}") for i, v in enumerate(x)]


def leaky(circuit: Circuit, form: Linear, slope: Fraction, name: str) -> Linear:
    """slope v + (1 - slope) relu(v), for a slope between 0 and 1."""
    relu = clamped(circuit, form, Fraction(0), None, name)
    parts = over_one_denominator([form.scaled(slope), relu.scaled(1 - slope)])
    return combination((1, 1), parts, 0, parts[0].denominator)


@INTEGER.register(Requantize)
def _requantize(circuit: Circuit, op: Requantize, x: list[Linear], name: str) -> list[Linear]:
    pairs = zip(op.rules, x, strict=True)
    return [requantized(circuit, rule, v, f"{name}.{i}") for i, (rule, v) in enumerate(pairs)]
