"""The tensors of a quantized graph between a quantizer and the next.

A tensor of codes is a value of the network and, for each element, which element of the value it is, so that
shape operators cost nothing. In between, a float tensor is one of

    Floats   exactly known single-precision numbers, one for each code of the value it comes from
    Sums     a matrix product of codes that no one has rounded yet: it must be quantized next

Codes are centred (qsmt.arith.fixed): padding is 0, and a product of centred codes needs no correction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from math import inf

import numpy as np

from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.units import Unit
from qsmt.ir.ops import Value


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedConstant:
    """A constant and how it is dequantized: centred codes, a scale for all or one for each index of an axis."""

    codes: IntArray
    scales: tuple[Fraction, ...]
    axis: int | None
    signed: bool
    bits: int
    zero_points: tuple[int, ...]
    says_zero: bool  # is the zero point an operand? Some fusions depend on it.
    is_scalar: bool  # and on this: are scale and zero point scalars, not vectors of one?

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def scale(self) -> Fraction:
        assert self.axis is None
        return self.scales[0]


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Element i of the tensor is element `index[i]` of the value."""

    value: Value
    index: IntArray  # in the tensor's shape
    is_paired: bool = False  # did a QuantizeLinear make it, and not only again, with nothing in between?

    @property
    def format(self) -> Quantized:
        kind = self.value.type.element
        assert isinstance(kind, Quantized)
        return kind

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A ReLU or Clip: its limits, and what it was applied to."""

    low: float
    high: float
    before: Floats


class Join(StrEnum):
    """What an integer kernel does to two bytes."""

    ADD = "QLinearAdd"
    MUL = "QLinearMul"


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """A code and a quantized constant, which an integer kernel may join; the constant has the tensor's shape."""

    by: Join
    constant: QuantizedConstant
    is_sure: bool  # will it? Else both ways of computing them must agree.


@dataclass(frozen=True, slots=True, eq=False)
class Floats:
    """What each element is for each code it may come from; with fused multiply-adds, and without.

    `table` has a row for each element of the tensor, or one for all, and a column for each code of the format,
    from the least on. Up to nonlinear functions, the element stands for `factor * code value + offset`. Where `loose`
    sums stand behind it, the tables are the ends of what the element may be, in whatever way it is computed.
    """

    codes: Codes
    table: tuple[FloatArray, FloatArray]
    factor: tuple[Fraction, ...] | None = None  # None: one for all elements
    offset: tuple[Fraction, ...] | None = None  # None: zero for all elements
    says_zero: bool = True  # was the zero point an operand of the DequantizeLinear?
    is_scalar: bool = True  # were that and the scale scalars, not vectors of one?
    is_direct: bool = True  # will onnxruntime see the codes themselves, in a type that its kernels have?
    is_plain: bool = True  # is nothing done to the code but dequantizing it?
    loose: Sums | None = None
    joined: Joined | None = None  # if that alone was done to plain codes
    clip: Clip | None = None  # what was done last, if it was that

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def index(self) -> IntArray:
        return self.codes.index


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """`weight @ value + bias` in integers, row by row; not yet rounded to codes."""

    value: Value
    weight: IntArray  # (elements, size of the value), centred
    bias: IntArray  # (elements,)
    scales: Unit  # of the weights: one, or one for each row
    shape: tuple[int, ...]
    dense: bool  # a matrix product, not a convolution
    averages: int | None = None  # an average of so many codes, which the scales say already
    rest: tuple[
        Fraction, ...
    ] = ()  # what each bias has beyond its integer, in units of the sums; none: nothing
    in_float: str | None = None  # why it is computed in float, if it is
    apart: tuple[Fraction, ...] = ()  # then: how far each bias may be from what is said, in units of the sums
    mass: tuple[
        Fraction, ...
    ] = ()  # then: the sizes of addends that may have cancelled, in units of the sums
    roundings: int = 0  # then: of operations after the sum
    limits: tuple[float, float] = (-inf, inf)  # of activations that must change nothing

    @property
    def index(self) -> IntArray:
        return np.arange(len(self.weight)).reshape(self.shape)

    def rows(self, index: IntArray) -> Sums:
        """The sums with these numbers, in the shape of `index`."""
        flat = index.ravel().tolist()

        def chosen(values: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
            return tuple(values[i] for i in flat) if values else ()

        return replace(
            self,
            weight=self.weight[flat],
            bias=self.bias[flat],
            scales=chosen(self.scales) if isinstance(self.scales, tuple) else self.scales,
            shape=index.shape,
            rest=chosen(self.rest),
            apart=chosen(self.apart),
            mass=chosen(self.mass),
        )
