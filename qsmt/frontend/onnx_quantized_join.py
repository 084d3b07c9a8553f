"""Operators with several operands that are codes: onnxruntime's QLinearAdd, QLinearMul and QLinearConcat, and Concat.

The network is a chain, so that what is joined is a tensor of codes and constants, or parts of one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, RealTensor
from qsmt.frontend.onnx_code_tensors import Codes, Floats, Join, QuantizedConstant
from qsmt.frontend.onnx_quantized_arithmetic import dequantized_constant, spread_over
from qsmt.frontend.onnx_quantized_convert import dequantized, expect, quantized, tabulated
from qsmt.frontend.onnx_quantized_kernels import KERNELS
from qsmt.frontend.onnx_quantized_rules import (
    MICROSOFT,
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    singles,
)
from qsmt.frontend.runtimes import Runtime

JOINING = QuantizedOperators()


def _check_runtime(call: QuantizedCall) -> None:
    if call.runtime not in (Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED):
        call.node.refuse(f"is a kernel of onnxruntime, not of {call.runtime}")


# --- a code and a constant ---------------------------------------------------------------------------------


@JOINING.rule("QLinearAdd", inputs=range(8, 9), domains=(MICROSOFT,))
def _qlinear_add(call: QuantizedCall) -> Tensor:
    if not isinstance(call.tensor(0), Codes) or isinstance(call.tensor(3), Codes):
        call.node.refuse("does not add a constant to a quantized tensor, in this order")
    return _with_constant(call, Join.ADD, 0)


@JOINING.rule("QLinearMul", inputs=range(8, 9), domains=(MICROSOFT,))
def _qlinear_mul(call: QuantizedCall) -> Tensor:
    found = [isinstance(call.tensor(i), Codes) for i in (0, 3)]
    if all(found) or not any(found):
        call.node.refuse("does not multiply a quantized tensor with a constant")
    return _with_constant(call, Join.MUL, 3 * found.index(True))


def _with_constant(call: QuantizedCall, join: Join, at: int) -> Tensor:
    """The tensor at this operand, joined with the constant that is the other one."""
    _check_runtime(call)
    x, other = call.codes(at), 3 - at
    expect(call, x, at + 1, at + 2)
    constant, target = call.parameters(other, other + 1, other + 2, axis=0), call.format(6, 7)
    if constant.axis is not None:
        call.node.refuse("has a constant that is quantized per channel")
    if max(x.format.bits, target.bits, constant.bits) > 8:
        call.node.refuse("is an elementwise operation on more than 8 bits, which is not read")
    spread = spread_over(call, constant.codes, x)
    values = tuple(int(c) * constant.scale for c in spread)
    floats = replace(dequantized(x), is_plain=False)
    floats = replace(floats, offset=values) if join is Join.ADD else replace(floats, factor=values)
    codes = KERNELS[join](x.format, replace(constant, codes=spread), target)
    return tabulated(call, floats, call.node.outputs[0], target, (codes, codes))


# --- parts -------------------------------------------------------------------------------------------------


@JOINING.rule("QLinearConcat", inputs=range(5, 1025), attributes="axis", domains=(MICROSOFT,))
def _qlinear_concat(call: QuantizedCall) -> Tensor:
    """A part in the output's format is copied; of any other, each code is dequantized and quantized."""
    _check_runtime(call)
    if (len(call.operands) - 2) % 3:
        call.node.fail(f"has {len(call.operands)} inputs")
    parts: list[Floats | FloatArray] = []
    for at in range(2, len(call.operands), 3):
        x = call.tensor(at)
        if isinstance(x, Codes):
            expect(call, x, at + 1, at + 2)
            parts.append(dequantized(x))
        else:
            parts.append(dequantized_constant(call, call.parameters(at, at + 1, at + 2, axis=0)))
    joined, target = _concatenated(call, parts), call.format(0, 1)
    if _is_copied(joined, target):
        return joined.codes
    table = quantized(joined.table[0], target)
    return tabulated(call, joined, call.node.outputs[0], target, (table, table))


@JOINING.rule("Concat", inputs=range(1, 1025), attributes="axis")
def _concat(call: QuantizedCall) -> Tensor:
    """Of dequantized parts of one tensor, and constants; of constants alone, a constant."""
    operands = [call.tensor(i) for i in range(len(call.operands))]
    constants = [o for o in operands if isinstance(o, Constant)]
    if len(constants) == len(operands):
        return _of_constants(call, constants)
    parts: list[Floats | FloatArray] = []
    for operand in operands:
        match operand:
            case Floats(is_plain=True):
                parts.append(operand)
            case QuantizedConstant():
                parts.append(dequantized_constant(call, operand))
            case Constant(values=RealTensor() as values):
                parts.append(singles(values))
            case _:
                call.node.refuse("joins something else than dequantized parts of one tensor, and constants")
    if call.runtime not in (Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED):
        call.node.refuse(
            f"joins tensors of several formats, which {call.runtime} does in a way that is not known"
        )
    return _concatenated(call, parts)


def _of_constants(call: QuantizedCall, constants: Sequence[Constant]) -> Constant:
    if len({(c.kind, isinstance(c.values, RealTensor)) for c in constants}) > 1:
        call.node.fail("joins tensors of several types")
    axis = _axis(call, len(constants[0].shape))
    _check_frames(call, [c.shape for c in constants], axis)
    if isinstance(constants[0].values, RealTensor):
        numbers = [c.values.nearest for c in constants if isinstance(c.values, RealTensor)]
        return Constant(RealTensor.of_floats(np.concatenate(numbers, axis=axis)), constants[0].kind)
    integers = [c.values for c in constants if not isinstance(c.values, RealTensor)]
    return Constant(np.concatenate(integers, axis=axis), constants[0].kind)


def _axis(call: QuantizedCall, axes: int) -> int:
    axis = call.node.integer("axis", 0)
    if not -axes <= axis < axes:
        call.node.fail(f"names axis {axis} of a tensor with {axes} axes")
    return axis % axes


def _check_frames(call: QuantizedCall, shapes: Sequence[tuple[int, ...]], axis: int) -> None:
    if len({(len(s), s[:axis], s[axis + 1 :]) for s in shapes}) > 1:
        call.node.fail("joins tensors whose shapes do not agree")


def _concatenated(call: QuantizedCall, parts: Sequence[Floats | FloatArray]) -> Floats:
    """The parts side by side, all read from one value; a constant reads an element that it does not depend on."""
    computed = [part for part in parts if isinstance(part, Floats)]
    if len({part.codes.value for part in computed}) != 1:
        call.node.refuse("joins tensors of different layers; branches are not read")
    axis = _axis(call, len(parts[0].shape))
    _check_frames(call, [part.shape for part in parts], axis)
    elements = (p.index if isinstance(p, Floats) else np.zeros(p.shape, dtype=np.int64) for p in parts)
    index = np.concatenate([*elements], axis=axis)
    is_constant = np.concatenate([np.full(p.shape, not isinstance(p, Floats)) for p in parts], axis=axis)
    numbers = [np.zeros(part.shape) if isinstance(part, Floats) else part for part in parts]
    codes, table = Codes(computed[0].codes.value, index), computed[0].table[0]
    if not is_constant.any():
        return Floats(codes, (table, table), is_plain=False)
    call.lowering.spend(index.size * table.shape[1])
    column, fixed = np.concatenate(numbers, axis=axis).ravel(), is_constant.ravel()
    rows = np.where(fixed[:, None], column[:, None], table)
    factor = tuple(Fraction(int(not c)) for c in fixed)
    offset = tuple(map(Fraction, column.tolist()))
    return Floats(codes, (rows, rows), factor=factor, offset=offset, is_plain=False)


def _is_copied(joined: Floats, target: Quantized) -> bool:
    """Are all parts codes of this format already?"""
    return joined.factor is None and joined.codes.format == target
