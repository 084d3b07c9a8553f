"""Matrix products of codes: dense layers in QDQ and in QOperator form."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import IntArray, RealTensor
from qsmt.arith.units import each
from qsmt.frontend.onnx_code_tensors import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_convert import expect
from qsmt.frontend.onnx_quantized_rules import (
    MICROSOFT,
    PLAIN,
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    Unquantized,
)
from qsmt.frontend.onnx_quantized_sums import check_word, rounded_sums, unit_of, with_exact_bias
from qsmt.frontend.onnx_tensor import quoted
from qsmt.frontend.runtimes import Runtime

DENSE = QuantizedOperators()


@DENSE.rule("Gemm", inputs=range(2, 4), attributes="alpha beta transA transB")
def _gemm(call: QuantizedCall) -> Tensor:
    _check_gemm(call)
    x, weight = plain(call, 0), quantized_operand(call, 1)
    beta = call.node.number("beta")
    if beta not in (None, 1.0):
        call.refuse_float(f"beta is {beta}, not 1")
    sums = _product(call, x, weight, transposed=bool(call.node.integer("transB", 0)))
    return with_bias(call, replace(sums, in_float=why_float(call, weight)), 2, channels=sums.shape[-1])


def _check_gemm(call: QuantizedCall) -> None:
    if call.node.number("alpha") not in (None, 1.0):
        call.refuse_float(f"alpha is {call.node.number('alpha')}, not 1")
    if call.node.integer("transA", 0):
        call.node.refuse("transposes its first operand")


@DENSE.rule("MatMul", inputs=range(2, 3))
def _matmul(call: QuantizedCall) -> Tensor:
    weight = quantized_operand(call, 1)
    sums = _product(call, plain(call, 0), weight, transposed=False)
    return replace(sums, in_float=why_float(call, weight))


@DENSE.rule("QGemm", inputs=range(9, 10), attributes="alpha transA transB", domains=(MICROSOFT,))
def _qgemm(call: QuantizedCall) -> Tensor:
    _check_gemm(call)
    x, transposed = call.codes(0), bool(call.node.integer("transB", 0))
    expect(call, x, 1, 2)
    weight = call.parameters(3, 4, 5, axis=0 if transposed else 1)
    sums = _product(call, x, weight, transposed=transposed)
    if call.optional(6) is not None:
        sums = replace(sums, bias=int32_bias(call, 6, len(sums.weight)))
    return rounded_sums(call, sums, call.format(7, 8), call.node.outputs[0])


@DENSE.rule("QLinearMatMul", inputs=range(8, 9), domains=(*PLAIN, MICROSOFT))
def _qlinear_matmul(call: QuantizedCall) -> Tensor:
    x = call.codes(0)
    expect(call, x, 1, 2)
    sums = _product(call, x, call.parameters(3, 4, 5, axis=1), transposed=False)
    return rounded_sums(call, sums, call.format(6, 7), call.node.outputs[0])


def plain(call: QuantizedCall, position: int) -> Codes:
    """A float operand that is nothing but dequantized codes."""
    operand = call.tensor(position)
    if isinstance(operand, Floats) and operand.is_plain:
        return operand.codes
    name = quoted(call.node.inputs[position])
    if isinstance(operand, Unquantized):
        call.refuse_float(f"{name} is the graph's input and is not quantized")
    call.refuse_float(f"{name} is not a tensor that was just dequantized")


def quantized_operand(call: QuantizedCall, position: int) -> QuantizedConstant:
    operand = call.tensor(position)
    if isinstance(operand, QuantizedConstant):
        return operand
    call.refuse_float(f"{quoted(call.node.inputs[position])} is not a quantized constant")


def why_float(call: QuantizedCall, weight: QuantizedConstant) -> str | None:
    """Why a runtime computes a QDQ layer with these weights in float; None if it has an integer kernel."""
    if call.runtime is Runtime.ONNXRUNTIME_UNFUSED:
        return "the graph is executed as it is"
    if call.runtime is not Runtime.ONNXRUNTIME:
        return None
    if weight.bits != 8:
        return f"there is no integer kernel for weights of {weight.bits} bits"
    x = call.tensor(0)
    assert isinstance(x, Floats)
    operands = [weight.says_zero, x.says_zero]
    why = None if x.is_direct else "its operand is moved in a way that hides its codes"
    if call.node.op_type == "Gemm" and not all(operands):
        why = "an operand does not say its zero point"
    if call.node.op_type == "MatMul" and weight.axis is not None and not weight.says_zero:
        why = "its weights are quantized per channel and do not say their zero points"
    if why is not None and x.codes.format.signed:
        what = f"reads signed activations, which onnxruntime first makes unsigned, and {why}"
        call.node.refuse(what, hint="write models as onnxruntime.quantization does, with all zero points")
    return why


def check_weight(call: QuantizedCall, weight: QuantizedConstant) -> None:
    """TFLite's kernels for signed bytes have no zero points of weights; unsigned ones are those, shifted by 128."""
    if not call.runtime.runs_tflite:
        return
    if weight.bits != 8:
        call.node.refuse(f"has weights of {weight.bits} bits, which {call.runtime} multiplies in another way")
    if set(weight.zero_points) != {0 if weight.signed else 128}:
        call.node.refuse(f"has weights with a zero point, which {call.runtime} does not have")


def _product(call: QuantizedCall, x: Codes, weight: QuantizedConstant, *, transposed: bool) -> Sums:
    """`x @ weight` (or its transpose), for codes (..., k) and a matrix."""
    check_weight(call, weight)
    if weight.codes.ndim != 2:
        call.node.refuse(f"multiplies with a tensor of shape {list(weight.shape)}, not a matrix")
    if weight.axis is not None and weight.axis != (0 if transposed else 1):
        call.refuse_float("its weights are quantized along the axis that is summed over")
    matrix = weight.codes if transposed else weight.codes.T
    m, k = matrix.shape
    if not x.shape or x.shape[-1] != k:
        call.node.fail(f"multiplies shapes {list(x.shape)} and {list(weight.shape)}, which do not fit")
    columns = x.index.reshape(-1, k)
    rows = len(columns) * m
    call.lowering.spend(rows * x.value.size)
    dense = np.zeros((len(columns), m, x.value.size), dtype=np.int64)
    np.add.at(
        dense,
        (np.arange(len(columns))[:, None, None], np.arange(m)[None, :, None], columns[:, None, :]),
        matrix[None],
    )
    scales = (
        weight.scale
        if weight.axis is None
        else tuple(np.tile(np.array(weight.scales, dtype=object), len(columns)))
    )
    shape = (*x.shape[:-1], m)
    return Sums(x.value, dense.reshape(rows, -1), np.zeros(rows, dtype=np.int64), scales, shape, dense=True)


def with_bias(call: QuantizedCall, sums: Sums, position: int, *, channels: int, inner: int = 1) -> Sums:
    """The sums with the operand at this position added, one number for each channel; left out, it is none.

    Rows are (..., channels, inner). Fused kernels add its integers and never look at its scale; a float execution, and
    the ideal, add what it stands for.
    """
    operand = call.optional(position)
    if operand is None:
        return sums
    values, codes = _bias_operand(call, operand, channels)
    count, scale = len(sums.weight), unit_of(sums)
    rows = [i // inner % channels for i in range(count)]
    values = [values[c] for c in rows]
    if codes is None and sums.in_float is None and call.runtime is Runtime.ONNXRUNTIME:
        sums = replace(sums, in_float="its bias is not a 32-bit integer")
    if sums.in_float is not None or (codes is None and call.runtime is Runtime.IDEAL):
        exact = [v / (u * scale) for v, u in zip(values, each(sums.scales, count), strict=True)]
        return _with_real_bias(call, with_exact_bias(sums, exact), said=not isinstance(operand, Constant))
    if codes is None:
        call.node.refuse(f"has a bias that is not quantized, which {call.runtime} does not have")
    codes = [codes[c] for c in rows]
    _check_scales(call, sums, [v / c if c else None for v, c in zip(values, codes, strict=True)])
    return replace(sums, bias=np.array(codes, dtype=np.int64))


def added_to(call: QuantizedCall, sums: Sums, constant: Constant | QuantizedConstant) -> Sums:
    """The sums before a constant is added, which may become the bias of one layer with them.

    onnxruntime makes a Gemm of a MatMul and an Add: then its bias is as uncertain as that of a Gemm that stays float,
    or, if it is of 32-bit integers, its scale is not looked at.
    """
    if isinstance(constant, Constant):
        check_word(call, sums, more=UNSAID_BIAS)
        return replace(sums, apart=(UNSAID_BIAS,) * len(sums.weight))
    if constant.bits == 32:
        if any(constant.zero_points):
            call.node.refuse("adds a bias with a zero point, which integer kernels do not look at")
        _check_scales(call, sums, [constant.scale] * len(sums.weight))
    return sums


def _with_real_bias(call: QuantizedCall, sums: Sums, *, said: bool) -> Sums:
    """What is known of a bias that is added as the number it stands for."""
    if said or call.runtime is Runtime.IDEAL:
        return sums
    if call.runtime is Runtime.ONNXRUNTIME:
        check_word(call, sums, more=UNSAID_BIAS)
    return replace(sums, apart=(UNSAID_BIAS,) * len(sums.weight))


UNSAID_BIAS = Fraction(2)
"""A bias that is not quantized in the file may be added as it is, or onnxruntime quantizes it: to the scale of the
sums, so that it is off by at most one of their units, whichever way it is rounded."""


def _bias_operand(call: QuantizedCall, operand: Tensor, size: int) -> tuple[list[Fraction], list[int] | None]:
    """What a bias stands for, and its integers if it is quantized to 32 bits as kernels have it."""
    if isinstance(operand, Constant) and isinstance(operand.values, RealTensor):
        shape, flat = operand.shape, [Fraction(v) for v in operand.values.nearest.ravel().tolist()]
        codes = None
    elif isinstance(operand, QuantizedConstant):
        shape, codes = operand.shape, operand.codes.ravel().tolist()
        scales = each(operand.scales if len(operand.scales) > 1 else operand.scales[0], len(codes))
        flat = [c * s for c, s in zip(codes, scales, strict=True)]
        if any(operand.zero_points):
            call.node.refuse("adds a bias with a zero point, which integer kernels do not look at")
        codes = codes if (operand.signed, operand.bits) == (True, 32) else None
    else:
        call.refuse_float("its bias is not a constant")
    if len(flat) not in (1, size) or (shape and len(flat) != shape[-1]):
        call.node.fail(f"adds a bias of shape {list(shape)} to {size} sums")
    repeat = size // len(flat)
    return flat * repeat, codes * repeat if codes is not None else None


def _check_scales(call: QuantizedCall, sums: Sums, given: list[Fraction | None]) -> None:
    """The scale of each bias that is not zero is the one that kernels assume."""
    kind = sums.value.type.element
    assert isinstance(kind, Quantized)
    for scale, unit in zip(given, each(sums.scales, len(sums.weight)), strict=True):
        expected = single.product(float(kind.scale), float(unit))
        if scale is not None and scale != expected:
            what = f"adds a bias of scale {float(scale)!r}, not {expected!r} (that of the input times that of the "
            hint = "quantize the bias with the scale that the kernel assumes"
            call.node.refuse(
                f"{what}weights, in single precision), which integer kernels do not look at", hint=hint
            )


def int32_bias(call: QuantizedCall, position: int, count: int) -> IntArray:
    values, kind = call.integers(position)
    if kind != 6:
        call.node.fail("has a bias that is not of 32-bit integers")
    if values.size not in (1, count):
        call.node.fail(f"has a bias of shape {list(values.shape)} for {count} sums")
    return np.broadcast_to(values.ravel(), (count,)).copy()
