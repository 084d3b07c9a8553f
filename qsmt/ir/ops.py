"""The kernel: the few ops that every frontend lowers to, and every consumer has a rule for.

`Op` is a closed union. A new op is one dataclass here and one rule per consumer.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import ExactArray, IntArray, RealTensor, exact_array
from qsmt.arith.requantize import Requantization, RequantKind
from qsmt.ir.types import Accumulator, TensorType


@dataclass(frozen=True, slots=True)
class Value:
    """The result of one op, or the network's input; defined once."""

    name: str
    type: TensorType

    @property
    def size(self) -> int:
        return self.type.size


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    """A named parameter: real numbers, or codes of a fixed-point type."""

    name: str
    type: TensorType
    data: RealTensor | IntArray

    @property
    def codes(self) -> IntArray:
        """The integers of a fixed-point constant."""
        assert not isinstance(self.data, RealTensor), f"@{self.name} is real"
        return self.data

    @property
    def reals(self) -> RealTensor:
        """The numbers of a real constant."""
        assert isinstance(self.data, RealTensor), f"@{self.name} is fixed-point"
        return self.data


@dataclass(frozen=True)
class Affine:
    """`out = weight @ x + bias` on the values that the operands stand for.

    On reals: as it says. On codes: `out` is an accumulator whose scale divides the scale of the
    products and of the bias, so that the result is an exact integer (see `integers`).
    """

    out: Value
    x: Value
    weight: Const
    bias: Const

    @cached_property
    def integers(self) -> tuple[ExactArray, ExactArray]:
        """The weight (m, n) and bias (m,) in units of the accumulator, as Python integers of any size.

        `acc = weight @ codes + bias` over the integers. Only for an op on codes.
        """
        acc, x = self.out.type.element, self.x.type.element
        weight, bias = self.weight.type.element, self.bias.type.element
        assert isinstance(acc, Accumulator), f"%{self.out.name} is not an accumulator"
        assert isinstance(x, Fixed) and isinstance(weight, Fixed) and isinstance(bias, Fixed)
        products = weight.scale * x.scale / acc.scale
        return _times(self.weight.codes, products), _times(self.bias.codes, bias.scale / acc.scale)


@dataclass(frozen=True, slots=True)
class Relu:
    """`out = max(x, 0)`; the type stays."""

    out: Value
    x: Value


@dataclass(frozen=True, slots=True)
class Clamp:
    """`out = min(max(x, lower), upper)`; the type stays.

    The limits are in units of the element type: real numbers, or codes. None means no limit.
    """

    out: Value
    x: Value
    lower: Fraction | None
    upper: Fraction | None


@dataclass(frozen=True, slots=True)
class Requantize:
    """An accumulator (or code) rounded to the fixed-point type of `out`; the value changes by the noise."""

    out: Value
    x: Value
    kind: RequantKind
    overflow: Overflow

    @property
    def rule(self) -> Requantization:
        target = self.out.type.element
        assert isinstance(target, Fixed), f"%{self.out.name} is not fixed-point"
        return Requantization(self.kind, self.overflow, target)


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """`out = max(x, slope * x)` with `slope` between 0 and 1; on reals only, alone between two affine ops."""

    out: Value
    x: Value
    slope: Fraction


@dataclass(frozen=True, slots=True)
class Curve:
    """`out = function(x)`, elementwise; on reals only, alone between two affine ops."""

    out: Value
    x: Value
    function: Function


Op: TypeAlias = Affine | Relu | Clamp | Requantize | LeakyRelu | Curve

ALONE = (LeakyRelu, Curve)
"""The ops that stand alone between two affine ops: they are no clamps, and consumers bound each in its own way."""


def label(op: Op) -> str:
    """What an op does, for a message."""
    return str(op.function) if isinstance(op, Curve) else type(op).__name__


def _times(codes: IntArray, factor: Fraction) -> ExactArray:
    assert factor.denominator == 1, "the accumulator's scale is too coarse"
    return exact_array((int(c) * factor.numerator for c in codes.ravel().tolist()), np.shape(codes))
