"""Activations of each code by itself, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsmt.arith.real import RealTensor
from qsmt.frontend import float32
from qsmt.frontend.onnx_code_tensors import Clip, Floats, Sums
from qsmt.frontend.onnx_quantized_arithmetic import check_narrow
from qsmt.frontend.onnx_quantized_convert import dequantized, expect, rounded_floats
from qsmt.frontend.onnx_quantized_rules import MICROSOFT, QuantizedCall, QuantizedOperators, Tensor
from qsmt.frontend.onnx_quantized_sums import as_sums
from qsmt.frontend.onnx_tensor import quoted
from qsmt.frontend.runtimes import Runtime

ELEMENTWISE = QuantizedOperators()

# --- activations --------------------------------------------------------------------------------------------


def _applied(call: QuantizedCall, function: float32.Function, *, is_clip: bool = False) -> Floats:
    """An elementwise function of floats that are known for each code."""
    x = call.tensor(0)
    if not isinstance(x, Floats):
        call.refuse_float("it is applied to something else than a tensor that was just dequantized")
    if call.runtime is Runtime.IDEAL:
        call.node.refuse("is a function of floats, which no integers compute")
    if x.loose is not None and not is_clip:
        call.node.refuse("follows an operation whose rounding is not known")
    check_narrow(call, x)
    fused, separate = x.table
    table = (function(fused)[0], function(separate)[1])
    return replace(x, table=table, is_plain=False, joined=None, clip=None)


@ELEMENTWISE.rule("Relu", inputs=range(1, 2))
def _relu(call: QuantizedCall) -> Tensor:
    return _clipped(call, 0.0, np.inf)


@ELEMENTWISE.rule("Clip", inputs=range(1, 4), attributes="min max")
def _clip(call: QuantizedCall) -> Tensor:
    low, high = (_limit(call, name, at) for name, at in (("min", 1), ("max", 2)))
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    if low > high:
        call.node.fail(f"clips to the empty range [{low}, {high}]")
    return _clipped(call, low, high)


def _limit(call: QuantizedCall, name: str, position: int) -> float | None:
    if call.optional(position) is None:
        return call.node.number(name)
    found = call.constant(position)
    if not isinstance(found.values, RealTensor) or found.values.nearest.size != 1:
        call.node.fail("has a limit that is not one real number")
    return float(found.values.nearest.ravel()[0])


def _clipped(call: QuantizedCall, low: float, high: float) -> Tensor:
    x = call.tensor(0)
    if call.runtime is Runtime.IDEAL and isinstance(x, Floats):
        x = as_sums(call, x)
    if isinstance(x, Sums):
        return replace(x, limits=_composed(x.limits, low, high))
    clipped = _applied(call, float32.clip(low, high), is_clip=True)
    assert isinstance(x, Floats)
    loose = None if x.loose is None else replace(x.loose, limits=_composed(x.loose.limits, low, high))
    return replace(clipped, clip=Clip(low, high, x), loose=loose)


def _composed(limits: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    """The limits of a clip that follows another."""
    return min(max(limits[0], low), high), min(max(limits[1], low), high)


@ELEMENTWISE.rule("LeakyRelu", inputs=range(1, 2), attributes="alpha")
def _leaky_relu(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.leaky_relu(_attribute(call, "alpha", 0.01)))


@ELEMENTWISE.rule("Sigmoid", inputs=range(1, 2))
def _sigmoid(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.sigmoid)


@ELEMENTWISE.rule("Tanh", inputs=range(1, 2))
def _tanh(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.tanh)


@ELEMENTWISE.rule("HardSigmoid", inputs=range(1, 2), attributes="alpha beta")
def _hard_sigmoid(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.hard_sigmoid(_attribute(call, "alpha", 0.2), _attribute(call, "beta", 0.5)))


@ELEMENTWISE.rule("HardSwish", inputs=range(1, 2))
def _hard_swish(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.hard_swish)


@ELEMENTWISE.rule("QLinearSigmoid", inputs=range(4, 6), domains=(MICROSOFT,))
def _qlinear_sigmoid(call: QuantizedCall) -> Tensor:
    return _qlinear_function(call, float32.sigmoid)


@ELEMENTWISE.rule("QLinearLeakyRelu", inputs=range(4, 6), attributes="alpha", domains=(MICROSOFT,))
def _qlinear_leaky_relu(call: QuantizedCall) -> Tensor:
    return _qlinear_function(call, float32.leaky_relu(_attribute(call, "alpha", 0.01)))


def _qlinear_function(call: QuantizedCall, function: float32.Function) -> Tensor:
    x, target = call.codes(0), call.format(3, 4)
    expect(call, x, 1, 2)
    floats = dequantized(x)
    table = floats.table[0]
    both = function(table)
    floats = replace(floats, table=both, is_plain=False)
    return rounded_floats(call, floats, target, call.node.outputs[0])


def _attribute(call: QuantizedCall, name: str, default: float) -> float:
    value = call.node.number(name)
    number = float(np.float32(default)) if value is None else value
    if not np.isfinite(number):
        call.node.fail(f"has the attribute {quoted(name)} with a number that is not finite")
    return number
