"""Convolutions and pools of codes, as rows of an affine map (qsmt.frontend.windows).

Padding is the zero point, which is the centred code 0. A maximum is the same in codes as in reals, whoever
computes it; it is lowered to differences and ReLUs as that of a real network is, so that layers align.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np

from qsmt.arith.real import IntArray
from qsmt.arith.requantize import Shift
from qsmt.arith.rounding import Rounding
from qsmt.frontend.maxima import maxima
from qsmt.frontend.onnx_code_tensors import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_convert import dequantized, expect
from qsmt.frontend.onnx_quantized_dense import (
    check_weight,
    int32_bias,
    plain,
    quantized_operand,
    why_float,
    with_bias,
)
from qsmt.frontend.onnx_quantized_rules import MICROSOFT, PLAIN, QuantizedCall, QuantizedOperators, Tensor
from qsmt.frontend.onnx_quantized_sums import loosened, rounded_sums
from qsmt.frontend.runtimes import Runtime
from qsmt.frontend.windows import Taps, Window, convolution, dense, pooling, window

SLIDING = QuantizedOperators()
_CONV = "auto_pad dilations group kernel_shape pads strides"
_POOL = "auto_pad ceil_mode dilations kernel_shape pads storage_order strides"

EXACTLY = Shift(0, Rounding.FLOOR)
"""A sum that is a code already."""


def _window(call: QuantizedCall, x: Codes, kernel: Sequence[int]) -> Window:
    node = call.node
    if len(x.shape) < 3 or x.shape[0] != 1:
        node.refuse(f"reads shape {list(x.shape)}, not a batch of one with channels and spatial axes")
    try:
        return window(
            x.shape[2:],
            kernel,
            strides=node.integers("strides"),
            dilations=node.integers("dilations"),
            pads=node.integers("pads"),
            auto_pad=node.text("auto_pad", "NOTSET"),
            ceil_mode=bool(node.integer("ceil_mode", 0)),
        )
    except ValueError as error:
        node.fail(str(error))


# --- convolution -------------------------------------------------------------------------------------------


@SLIDING.rule("Conv", inputs=range(2, 4), attributes=_CONV)
def _conv(call: QuantizedCall) -> Tensor:
    x, weight = plain(call, 0), quantized_operand(call, 1)
    sums = replace(_convolved(call, x, weight), in_float=why_float(call, weight))
    return with_bias(call, sums, 2, channels=sums.shape[1], inner=prod(sums.shape[2:]))


@SLIDING.rule("QLinearConv", inputs=range(8, 10), attributes=_CONV, domains=(*PLAIN, MICROSOFT))
def _qlinear_conv(call: QuantizedCall) -> Tensor:
    x = call.codes(0)
    expect(call, x, 1, 2)
    sums = _convolved(call, x, call.parameters(3, 4, 5, axis=0))
    if call.optional(8) is not None:
        bias = int32_bias(call, 8, sums.shape[1])
        sums = replace(sums, bias=np.repeat(bias, prod(sums.shape[2:])))
    return rounded_sums(call, sums, call.format(6, 7), call.node.outputs[0])


def _convolved(call: QuantizedCall, x: Codes, weight: QuantizedConstant) -> Sums:
    check_weight(call, weight)
    kernel, declared = weight.shape[2:], call.node.integers("kernel_shape")
    if len(weight.shape) != len(x.shape) or declared not in (None, kernel) or 0 in weight.shape:
        call.node.fail(f"convolves shape {list(x.shape)} with a weight of shape {list(weight.shape)}")
    if weight.axis not in (None, 0):
        call.refuse_float("its weights are quantized along another axis than that of the channels")
    if weight.axis == 0 and len(set(weight.zero_points)) > 1:
        call.node.refuse("has weights with several zero points")
    groups, over = call.node.integer("group", 1), _window(call, x, kernel)
    _check_kernel(call, len(kernel), groups)
    try:
        taps = convolution(x.shape[1:], weight.shape, over, groups=groups)
    except ValueError as error:
        call.node.fail(str(error))
    each = prod(taps.shape[1:])
    scales = weight.scale if weight.axis is None else tuple(s for s in weight.scales for _ in range(each))
    return _sums(call, x, taps, weight.codes, scales)


def _check_kernel(call: QuantizedCall, axes: int, groups: int) -> None:
    """Of TFLite's kernels, those of integers have two axes; and LiteRT's optimized ones are not one in groups.

    There, a full convolution in groups is that of the reference kernels, and one of single channels rounds as those do
    or as the optimized ones do, by channel and vector length.
    """
    if call.runtime.runs_tflite and axes > 2:
        call.node.refuse(f"has {axes} axes, for which {call.runtime} has no integer kernel")
    if call.runtime is Runtime.TFLITE_RUY and groups > 1:
        call.node.refuse(
            f"has {groups} groups, whose sums {call.runtime} rounds in a way that depends on the CPU"
        )


def _sums(
    call: QuantizedCall, x: Codes, taps: Taps, weight: IntArray, scales: Fraction | tuple[Fraction, ...]
) -> Sums:
    """The rows over the value that the tensor is made of."""
    columns = x.index.ravel()
    call.lowering.spend(len(taps.columns) * x.value.size + taps.columns.size)
    over_tensor = dense(taps, weight, columns.size)
    matrix = np.zeros((len(over_tensor), x.value.size), dtype=np.int64)
    np.add.at(matrix.T, columns, over_tensor.T)
    zeros = np.zeros(len(matrix), dtype=np.int64)
    return Sums(x.value, matrix, zeros, scales, (1, *taps.shape), dense=False)


# --- pools -----------------------------------------------------------------------------------------------------


@SLIDING.rule("MaxPool", inputs=range(1, 2), attributes=_POOL)
def _max_pool(call: QuantizedCall) -> Tensor:
    kernel = call.node.integers("kernel_shape")
    if kernel is None:
        call.node.fail("does not say the shape of its kernel")
    operand = call.tensor(0)
    x = operand if isinstance(operand, Codes) else plain(call, 0)
    return _maximum(call, x, _pool(call, x, _window(call, x, kernel)), floats=isinstance(operand, Floats))


@SLIDING.rule("GlobalMaxPool", inputs=range(1, 2))
def _global_max_pool(call: QuantizedCall) -> Tensor:
    operand = call.tensor(0)
    x = operand if isinstance(operand, Codes) else plain(call, 0)
    taps = _pool(call, x, _window(call, x, x.shape[2:]))
    return _maximum(call, x, taps, floats=isinstance(operand, Floats))


def _pool(call: QuantizedCall, x: Codes, over: Window) -> Taps:
    try:
        return pooling(x.shape[1:], over)
    except ValueError as error:
        call.node.fail(str(error))


def _maximum(call: QuantizedCall, x: Codes, taps: Taps, *, floats: bool) -> Tensor:
    """By differences and ReLUs (qsmt.frontend.maxima), all of them exact in integers."""
    name, lowering = call.node.outputs[0], call.lowering
    found = maxima(taps, x.index.size, nonnegative=lowering.is_nonnegative(x.value))
    kind, columns = x.format, x.index.ravel()
    value = x.value
    for layer in found.layers:
        matrix = np.zeros((len(layer), value.size), dtype=np.int64)
        np.add.at(matrix.T, columns, layer.T.astype(np.int64))
        value = lowering.relu_layer(value, matrix, name, kind)
        columns = np.arange(value.size)
    matrix = np.zeros((len(found.last), value.size), dtype=np.int64)
    np.add.at(matrix.T, columns, found.last.T.astype(np.int64))
    zeros = np.zeros(len(matrix), dtype=np.int64)
    sums = Sums(value, matrix, zeros, Fraction(1), (1, *taps.shape), dense=False)
    pooled = lowering.matrix(sums, name, kind, [EXACTLY])
    if not floats:
        return pooled
    return replace(dequantized(replace(pooled, is_paired=x.is_paired)), is_direct=False)


@SLIDING.rule("AveragePool", inputs=range(1, 2), attributes=f"{_POOL} count_include_pad")
def _average_pool(call: QuantizedCall) -> Tensor:
    return _average(call, plain(call, 0))


@SLIDING.rule(
    "QLinearAveragePool",
    inputs=range(5, 6),
    attributes=f"{_POOL} count_include_pad channels_last",
    domains=(MICROSOFT,),
)
def _qlinear_average_pool(call: QuantizedCall) -> Tensor:
    if call.node.integer("channels_last", 0):
        call.node.refuse("has the channels last")
    x = call.codes(0)
    expect(call, x, 1, 2)
    return rounded_sums(call, _average(call, x), call.format(3, 4), call.node.outputs[0])


def _average(call: QuantizedCall, x: Codes) -> Sums:
    """Sums in float of as many codes as each window holds, whoever executes them, in an order that is not known."""
    kernel, pads = call.node.integers("kernel_shape"), call.node.integers("pads") or ()
    if kernel is None:
        call.node.fail("does not say the shape of its kernel")
    if call.node.integer("count_include_pad", 0) and any(pads):
        call.node.refuse("counts the padding, which is not read")
    taps = _pool(call, x, _window(call, x, kernel))
    counts = taps.inside.sum(axis=1)
    ones = np.ones(taps.columns.shape[1], dtype=np.int64)
    sums = _sums(call, x, taps, ones, tuple(Fraction(1, int(n)) for n in counts))
    return sums if call.runtime is Runtime.IDEAL else replace(sums, in_float="averages are computed in float")


@SLIDING.rule("GlobalAveragePool", inputs=range(1, 2))
def _global_average_pool(call: QuantizedCall) -> Tensor:
    sums, x = _averaged(call, plain(call, 0)), call.tensor(0)
    if call.runtime is Runtime.ONNXRUNTIME_UNFUSED:
        return replace(sums, in_float="the graph is executed as it is")
    seen = isinstance(x, Floats) and x.is_direct and x.is_scalar
    is_loose = call.runtime is Runtime.ONNXRUNTIME and not seen
    return (
        loosened(call, sums, "its operand is moved, or quantized with vectors of one") if is_loose else sums
    )


@SLIDING.rule(
    "QLinearGlobalAveragePool", inputs=range(5, 6), attributes="channels_last", domains=(MICROSOFT,)
)
def _qlinear_global_average_pool(call: QuantizedCall) -> Tensor:
    if call.node.integer("channels_last", 0):
        call.node.refuse("has the channels last")
    x = call.codes(0)
    expect(call, x, 1, 2)
    return rounded_sums(call, _averaged(call, x), call.format(3, 4), call.node.outputs[0])


def _averaged(call: QuantizedCall, x: Codes) -> Sums:
    """An integer sum, scaled by fl(s_x / fl(s_y * count)) (MLAS's QLinearGlobalAveragePool); or the ideal average."""
    if call.runtime not in (Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED, Runtime.IDEAL):
        call.node.refuse(f"averages, which {call.runtime} does in a way that is not known")
    taps = _pool(call, x, _window(call, x, x.shape[2:]))
    count = taps.columns.shape[1]
    sums = _sums(call, x, taps, np.ones(count, dtype=np.int64), Fraction(1, count))
    return replace(sums, averages=count)
