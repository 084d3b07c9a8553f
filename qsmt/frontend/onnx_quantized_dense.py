"""Matrix products of codes: dense layers in QDQ and in QOperator form."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import IntArray
from qsmt.frontend.onnx_codes import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_convert import expect, rounded_sums
from qsmt.frontend.onnx_quantized_rules import (
    MICROSOFT,
    PLAIN,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    Unquantized,
)
from qsmt.frontend.onnx_tensor import quoted
from qsmt.frontend.runtimes import Runtime

DENSE = QuantizedOperators()


@DENSE.rule("Gemm", inputs=range(2, 4), attributes="alpha beta transA transB")
def _gemm(call: QuantizedCall) -> Tensor:
    _check_gemm(call)
    x, weight = plain(call, 0), quantized_weights(call, 1)
    beta = call.node.number("beta")
    if beta not in (None, 1.0):
        call.refuse_float(f"beta is {beta}, not 1")
    sums = _product(call, x, weight, transposed=bool(call.node.integer("transB", 0)))
    bias = None if call.optional(2) is None else quantized_operand(call, 2)
    return with_bias(call, sums, bias)


def _check_gemm(call: QuantizedCall) -> None:
    if call.node.number("alpha") not in (None, 1.0):
        call.refuse_float(f"alpha is {call.node.number('alpha')}, not 1")
    if call.node.integer("transA", 0):
        call.node.refuse("transposes its first operand")


@DENSE.rule("MatMul", inputs=range(2, 3))
def _matmul(call: QuantizedCall) -> Tensor:
    return _product(call, plain(call, 0), quantized_weights(call, 1), transposed=False)


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


def quantized_weights(call: QuantizedCall, position: int) -> QuantizedConstant:
    weight = quantized_operand(call, position)
    if call.runtime is Runtime.ONNXRUNTIME and weight.bits != 8:
        call.refuse_float(f"there is no integer kernel for weights of {weight.bits} bits")
    return weight


def _product(call: QuantizedCall, x: Codes, weight: QuantizedConstant, *, transposed: bool) -> Sums:
    """`x @ weight` (or its transpose), for codes (..., k) and a matrix."""
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


def with_bias(call: QuantizedCall, sums: Sums, bias: QuantizedConstant | None) -> Sums:
    """A dequantized bias: fused kernels add its integers, and never look at its scale."""
    if bias is None:
        return sums
    if bias.bits != 32 or not bias.signed or any(bias.zero_points):
        call.refuse_float("its bias is not a 32-bit integer with zero point 0")
    kind = sums.value.type.element
    assert isinstance(kind, Quantized)
    units = sums.scales if isinstance(sums.scales, tuple) else (sums.scales,)
    expected = [Fraction(single.product(float(kind.scale), float(s))) for s in units]
    count = len(sums.weight)
    if bias.codes.size not in (1, sums.shape[-1]) or bias.codes.size != bias.codes.shape[-1]:
        call.node.fail(f"adds a bias of shape {list(bias.shape)} to {list(sums.shape)}")
    given = list(bias.scales) * (len(expected) // len(bias.scales) if len(bias.scales) == 1 else 1)
    given = given * (len(expected) // max(len(given), 1)) if len(given) < len(expected) else given
    if len(given) != len(expected) and len(set(expected)) == 1:
        expected = expected * len(given)
    if given != expected:
        call.node.refuse(
            f"adds a bias of scale {float(given[0])!r}, not {float(expected[0])!r} (that of the input times that "
            "of the weights, in single precision), which integer kernels do not look at",
            hint="quantize the bias with the scale that the kernel assumes",
        )
    return replace(
        sums, bias=np.tile(np.broadcast_to(bias.codes.ravel(), sums.shape[-1:]), count // sums.shape[-1])
    )


def int32_bias(call: QuantizedCall, position: int, count: int) -> IntArray:
    values, kind = call.integers(position)
    if kind != 6:
        call.node.fail("has a bias that is not of 32-bit integers")
    if values.size not in (1, count):
        call.node.fail(f"has a bias of shape {list(values.shape)} for {count} sums")
    return np.broadcast_to(values.ravel(), (count,)).copy()
