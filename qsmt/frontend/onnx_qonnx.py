"""QONNX: networks whose quantizers are nodes of their own, as Brevitas exports them and FINN and hls4ml read them.

    Quant, IntQuant    clip(round(x / scale + zero point)), as a multiple of the scale again
    BipolarQuant       +scale where x >= 0, else -scale
    Trunc              drops low bits of an integer

(QONNX operator specifications, docs/qonnx-custom-ops, versions 1 and 2.) The reference implementation computes in
single precision, but no chip does: what is meant are integers and scales. So such a network is read as `ideal`: its
sums, biases and normalizations are exact numbers, and a quantizer rounds the exact value. Only parameters, and the
input, are divided by their scale in single precision, as the reference does: their integers are the file's.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray, RealTensor
from qsmt.arith.requantize import RequantKind
from qsmt.arith.rounding import ROUND, Rounding
from qsmt.arith.single import is_single, rounded
from qsmt.arith.table import Table
from qsmt.frontend.onnx_code_tensors import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_convert import dequantized
from qsmt.frontend.onnx_quantized_rules import (
    LEAST_SCALE,
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    Unquantized,
    singles,
)
from qsmt.frontend.onnx_quantized_sums import as_sums, moved_sums, multipliers, rounded_sums
from qsmt.frontend.onnx_rules import QONNX_DOMAINS
from qsmt.frontend.onnx_tensor import quoted

QONNX = QuantizedOperators()

ROUNDINGS = {
    "ROUND": Rounding.HALF_EVEN,
    "HALF_EVEN": Rounding.HALF_EVEN,
    "CEIL": Rounding.CEIL,
    "FLOOR": Rounding.FLOOR,
    "ROUND_TO_ZERO": Rounding.TOWARD_ZERO,
    "DOWN": Rounding.TOWARD_ZERO,
    "UP": Rounding.AWAY,
    "HALF_UP": Rounding.HALF_AWAY,
    "HALF_DOWN": Rounding.HALF_TOWARD_ZERO,
}
"""QONNX's "up" is away from zero."""

MAX_BITS = 24
"""Activations of more bits have sums that no chip forms."""

WIDEST = 32
"""And results of Trunc, which does not clip them."""


@dataclass(frozen=True, slots=True)
class Quantizer:
    """The integers that a quantizer leaves, and how it rounds."""

    bits: int
    signed: bool
    narrow: bool
    rounding: Rounding

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) + self.narrow if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1 - self.narrow

    def format(self, scale: Fraction) -> Quantized:
        """The narrowest format that holds them."""
        return Quantized(self.signed, max(self.bits, 2), scale)


# --- operands ----------------------------------------------------------------------------------------------


def _quantizer(call: QuantizedCall, at: int, *, rounding: str) -> Quantizer:
    """The attributes, and the bit width that is the operand at this position."""
    signed = bool(call.node.integer("signed", 1))
    bits = _whole(call, at, "bit width")
    if not 1 <= bits <= 32 or (bits == 1 and signed):
        hint = "BipolarQuant is for one bit" if bits == 1 else None
        call.node.refuse(f"has {bits} bits{' with a sign' if signed else ''}", hint=hint)
    return Quantizer(bits, signed, bool(call.node.integer("narrow", 0)), _rounding(call, rounding))


def _rounding(call: QuantizedCall, default: str) -> Rounding:
    name = call.node.text("rounding_mode", default).upper()
    if name not in ROUNDINGS:
        call.node.refuse(f"has the rounding mode {quoted(name)}, which is not read")
    return ROUNDINGS[name]


def _numbers(call: QuantizedCall, at: int) -> FloatArray:
    values = call.constant(at).values
    if not isinstance(values, RealTensor):
        return values.astype(np.float64)
    try:
        return singles(values)
    except ValueError as error:
        call.node.refuse(str(error))


def _whole(call: QuantizedCall, at: int, what: str) -> int:
    numbers = _numbers(call, at).ravel()
    if numbers.size != 1 or numbers[0] != np.rint(numbers[0]) or abs(numbers[0]) > 2**16:
        call.node.refuse(f"has a {what} that is not one whole number")
    return int(numbers[0])


def _check_zero(call: QuantizedCall, at: int) -> None:
    if _numbers(call, at).any():
        call.node.refuse("has a zero point that is not zero, which is not read")


def _scales(call: QuantizedCall, at: int) -> FloatArray:
    found = _numbers(call, at)
    if found.size == 0 or found.min() < LEAST_SCALE or not all(map(is_single, found.ravel().tolist())):
        call.node.fail("has a scale that is not a positive normal number of single precision")
    return found


def _scale(call: QuantizedCall, at: int) -> Fraction:
    found = _scales(call, at).ravel()
    if found.size != 1:
        call.node.refuse("quantizes an activation per channel, which is not read")
    return Fraction(found[0])


# --- Quant ---------------------------------------------------------------------------------------------------


@QONNX.rule(
    "Quant", "IntQuant", inputs=range(4, 5), attributes="signed narrow rounding_mode", domains=QONNX_DOMAINS
)
def _quant(call: QuantizedCall) -> Tensor:
    x, quantizer = call.tensor(0), _quantizer(call, 3, rounding="ROUND")
    _check_zero(call, 2)
    if isinstance(x, Constant):
        return _of_constant(call, x, quantizer)
    scale = _scale(call, 1)
    if quantizer.bits > MAX_BITS:
        call.node.refuse(f"makes activations of {quantizer.bits} bits; {MAX_BITS} are read")
    if isinstance(x, Unquantized):
        return _of_input(call, x, quantizer, scale)
    sums = x if isinstance(x, Sums) else as_sums(call, x)
    codes = rounded_sums(
        call, sums, quantizer.format(scale), call.node.outputs[0], rounding=quantizer.rounding
    )
    return dequantized(_within(call, codes, quantizer))


def _within(call: QuantizedCall, codes: Codes, quantizer: Quantizer) -> Codes:
    """Clipping before rounding, as QONNX has it, is clipping after it: both ends are integers."""
    kind, (low, high) = codes.format, (quantizer.low, quantizer.high)
    if (kind.min, kind.max) == (low, high):
        return codes
    return call.lowering.clamp(codes, low, high, f"{call.node.outputs[0]}.clipped")


def _of_input(call: QuantizedCall, x: Unquantized, quantizer: Quantizer, scale: Fraction) -> Floats:
    kind = quantizer.format(scale)
    if quantizer.rounding is not Rounding.HALF_EVEN or (kind.min, kind.max) != (
        quantizer.low,
        quantizer.high,
    ):
        what = "quantizes the input in another way than by rounding half to even to all integers of at least 2 bits"
        call.node.refuse(what)
    return dequantized(Codes(call.lowering.input(kind), x.index))


def _of_constant(call: QuantizedCall, x: Constant, quantizer: Quantizer) -> QuantizedConstant:
    if not isinstance(x.values, RealTensor):
        call.node.fail("quantizes integers")
    try:
        numbers = singles(x.values)
    except ValueError as error:
        call.node.refuse(str(error))
    scales = _scales(call, 1)
    spread = _spread(call, scales, numbers.shape)
    steps = np.clip(rounded(numbers / spread), quantizer.low, quantizer.high)
    codes = ROUND[quantizer.rounding](steps).astype(np.int64)
    return _parameters(call, codes, scales, quantizer.bits, signed=quantizer.signed)


def _spread(call: QuantizedCall, scales: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    try:
        spread: FloatArray = np.broadcast_to(scales, shape)
    except ValueError:
        call.node.fail(f"has scales of shape {list(scales.shape)} for shape {list(shape)}")
    return spread


def _parameters(
    call: QuantizedCall, codes: IntArray, scales: FloatArray, bits: int, *, signed: bool
) -> QuantizedConstant:
    """A constant with one scale, or with one for each index of an axis."""
    axes = [i - scales.ndim for i, extent in enumerate(scales.shape) if extent > 1]
    if len(axes) > 1:
        call.node.refuse(f"has scales of shape {list(scales.shape)}, along several axes")
    axis = codes.ndim + axes[0] if axes else None
    numbers = tuple(map(Fraction, scales.ravel().tolist()))
    return QuantizedConstant(codes, numbers, axis, signed, bits, (0,), says_zero=True, is_scalar=True)


# --- BipolarQuant ------------------------------------------------------------------------------------------


@QONNX.rule("BipolarQuant", inputs=range(2, 3), domains=QONNX_DOMAINS)
def _bipolar_quant(call: QuantizedCall) -> Tensor:
    x = call.tensor(0)
    if isinstance(x, Constant):
        numbers, scales = _numbers(call, 0), _scales(call, 1)
        _spread(call, scales, numbers.shape)
        codes: IntArray = np.where(numbers >= 0, 1, -1)
        return _parameters(call, codes, scales, 2, signed=True)
    target = Quantized(True, 2, _scale(call, 1))
    if isinstance(x, Unquantized):
        call.node.refuse("makes the input bipolar, which is not read")
    sums = x if isinstance(x, Sums) else as_sums(call, x)
    if sums.limits[0] >= 0 or sums.limits[1] < 0:
        call.node.refuse("follows an activation that leaves one sign")
    rest = sums.rest or (Fraction(0),) * len(sums.weight)
    starts = [ceil(-r) for r in rest]  # the least sum that is not negative
    kinds: list[RequantKind] = [Table(start - 1, 1, (-1, 1)) for start in starts]
    return dequantized(call.lowering.matrix(sums, call.node.outputs[0], target, kinds))


# --- Trunc -------------------------------------------------------------------------------------------------


@QONNX.rule("Trunc", inputs=range(5, 7), attributes="rounding_mode signed narrow", domains=QONNX_DOMAINS)
def _trunc(call: QuantizedCall) -> Tensor:
    """Version 1 has five operands and lets the scale be, so that values shrink; version 2 has an output scale."""
    scale, sums = _scale(call, 1), _integers(call)
    _check_zero(call, 2)
    if len(call.operands) == 5:
        return _truncated(call, sums, scale, _whole(call, 3, "bit width") - _whole(call, 4, "bit width"))
    target, quantizer = _scale(call, 4), _quantizer(call, 5, rounding="FLOOR")
    step = target / scale
    if step.denominator != 1 or step.numerator & (step.numerator - 1):
        call.node.refuse("has an output scale that is not a power of two times its scale")
    codes = rounded_sums(
        call, sums, quantizer.format(target), call.node.outputs[0], rounding=quantizer.rounding
    )
    return dequantized(_within(call, codes, quantizer))


def _integers(call: QuantizedCall) -> Sums:
    """The operand as sums, each of which is a multiple of the scale: what is rounded first is an integer already."""
    x, scale = call.tensor(0), _scale(call, 1)
    sums = x if isinstance(x, Sums) else as_sums(call, x)
    steps = multipliers(sums, Quantized(True, 32, scale))
    if sums.rest or any(step.denominator != 1 for step in steps):
        call.node.refuse("truncates numbers that are no multiples of its scale")
    return sums


def _truncated(call: QuantizedCall, sums: Sums, scale: Fraction, dropped: int) -> Floats:
    """Values are divided by a power of two and rounded to multiples of the same scale; nothing is clipped."""
    if not 0 <= dropped <= 32:
        call.node.refuse(f"drops {dropped} bits")
    rounding, count = _rounding(call, "FLOOR"), len(sums.weight)
    smaller = moved_sums(call, sums, [Fraction(1, 1 << dropped)] * count, [Fraction(0)] * count)
    target, name = _holding(call, smaller, scale), call.node.outputs[0]
    return dequantized(rounded_sums(call, smaller, target, name, rounding=rounding))


def _holding(call: QuantizedCall, sums: Sums, scale: Fraction) -> Quantized:
    """A format of this scale in which no sum saturates."""
    kind = sums.value.type.element
    assert isinstance(kind, Quantized)
    sizes = np.abs(sums.weight).sum(axis=1) * max(-kind.min, kind.max) + np.abs(sums.bias)
    steps = multipliers(sums, Quantized(True, 32, scale))
    largest = max(ceil(int(size) * step) for size, step in zip(sizes, steps, strict=True))
    bits = max((largest + 1).bit_length() + 1, 2)
    if bits > WIDEST:
        call.node.refuse(f"leaves integers of {bits} bits; {WIDEST} are read")
    return Quantized(True, bits, scale)
