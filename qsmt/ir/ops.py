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
from qsmt.arith.fixed import Fixed, Format, Overflow, Quantized
from qsmt.arith.noise import noise_of
from qsmt.arith.real import ExactArray, IntArray, RealTensor, exact_array
from qsmt.arith.requantize import RUNTIME_KINDS, Requantization, RequantKind
from qsmt.arith.runtime_kinds import RuntimeKind
from qsmt.arith.table import Table
from qsmt.arith.units import Unit, each
from qsmt.ir.types import Accumulator, Real, TensorType, units_of


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
        products, biases = self.ratios
        return _times(self.weight.codes, products), _times(self.bias.codes, biases)

    @property
    def ratios(self) -> tuple[list[Fraction], list[Fraction]]:
        """The units of each row's products, and of its bias, in units of the accumulator."""
        acc, x, rows = self.out.type.element, self.x.type.element, self.out.size
        weight, bias = self.weight.type.element, self.bias.type.element
        assert isinstance(acc, Accumulator), f"%{self.out.name} is not an accumulator"
        assert isinstance(x, Format) and not isinstance(weight, Real) and not isinstance(bias, Real)
        units = [each(unit, rows) for unit in (acc.units, units_of(weight), units_of(bias))]
        triples = list(zip(*units, strict=True))
        return [w * x.scale / a for a, w, _ in triples], [b / a for a, _, b in triples]


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
class PerNeuron:
    """A runtime's kind for each neuron, all of one class: parameters that are quantized per channel."""

    kinds: tuple[RuntimeKind, ...]


@dataclass(frozen=True)
class Requantize:
    """An accumulator (or code) rounded to the format of `out`; the value changes by the noise."""

    out: Value
    x: Value
    kind: RequantKind | PerNeuron
    overflow: Overflow

    @property
    def target(self) -> Fixed | Quantized:
        target = self.out.type.element
        assert isinstance(target, Fixed | Quantized), f"%{self.out.name} holds no codes"
        return target

    @property
    def rule(self) -> Requantization:
        """The rule of all neurons, of an op that has one kind."""
        assert not isinstance(self.kind, PerNeuron), f"%{self.out.name} has a rule for each neuron"
        return Requantization(self.kind, self.overflow, self.target)

    @cached_property
    def rules(self) -> tuple[Requantization, ...]:
        """The rule of each neuron."""
        if not isinstance(self.kind, PerNeuron):
            return (self.rule,) * self.out.size
        made = {kind: Requantization(kind, self.overflow, self.target) for kind in set(self.kind.kinds)}
        return tuple(made[kind] for kind in self.kind.kinds)

    @property
    def runtime_kinds(self) -> tuple[RuntimeKind, ...]:
        """The kinds, one or one for each neuron, if they are those of a runtime; else none."""
        if isinstance(self.kind, PerNeuron):
            return self.kind.kinds
        return (self.kind,) if isinstance(self.kind, RUNTIME_KINDS) else ()

    @property
    def ratio(self) -> Unit:
        """The unit of the operand in units of the result: what the rule should multiply by."""
        source = self.x.type.element
        assert not isinstance(source, Real), f"%{self.x.name} holds no codes"
        units, unit = units_of(source), self.target.scale
        return tuple(u / unit for u in units) if isinstance(units, tuple) else units / unit

    @cached_property
    def noise(self) -> tuple[Fraction, Fraction]:
        """`(low, high)`: the result is the operand's value, plus a noise in this range, saturated; in units of
        the result. For an exact kind it holds before saturation too. Only where the rule is monotone.
        """
        kinds, source = self.runtime_kinds, self.x.type.element
        if not kinds:
            return self.rule.noise()
        assert not isinstance(source, Real)
        ratios, count = each(self.ratio, self.out.size), self.out.size
        all_kinds = kinds if len(kinds) == count else kinds * count
        return noise_of(all_kinds, ratios, self.limits, (source.min, source.max))

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest result that overflow, or a table, leaves."""
        low, high = self.target.min, self.target.max
        if self.overflow is Overflow.SATURATE_SYMMETRIC and self.target.signed:
            low = -high
        tables = [kind.codes for kind in self.runtime_kinds if isinstance(kind, Table)]
        if tables:
            least, most = min(map(min, tables)), max(map(max, tables))
            return min(max(least, low), high), max(min(most, high), low)
        return low, high


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


def _times(codes: IntArray, factors: list[Fraction]) -> ExactArray:
    """Rows of codes, or codes, times the factor of each."""
    assert all(f.denominator == 1 for f in factors), "the accumulator's scale is too coarse"
    row = int(np.prod(np.shape(codes)[1:], dtype=object))
    flat = codes.ravel().tolist()
    return exact_array((c * factors[i // row].numerator for i, c in enumerate(flat)), np.shape(codes))
