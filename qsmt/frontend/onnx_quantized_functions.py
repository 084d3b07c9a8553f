"""What is done to each code by itself: additions of constants, and activations, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith.real import FloatArray, RealTensor
from qsmt.arith.single import rounded
from qsmt.frontend import float32
from qsmt.frontend.onnx_codes import Clip, Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_convert import dequantized, expect, qlinear_add, rounded_floats, tabulated
from qsmt.frontend.onnx_quantized_rules import (
    MICROSOFT,
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    Unquantized,
    singles,
)
from qsmt.frontend.onnx_tensor import quoted
from qsmt.frontend.runtimes import Runtime

ELEMENTWISE = QuantizedOperators()

# --- additions of constants -----------------------------------------------------------------------------------


@ELEMENTWISE.rule("Add", inputs=range(2, 3))
def _add(call: QuantizedCall) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if isinstance(a, Floats) and isinstance(b, Floats):
        call.node.refuse("adds two computed tensors; residual connections are not read")
    if isinstance(a, Unquantized):
        return _unchanged(call, a, b)
    x, constant = (a, b) if isinstance(a, Floats) else (b, a)
    if not isinstance(x, Floats):
        call.refuse_float("it adds to something else than a tensor that was just dequantized")
    if not x.is_linear:
        call.node.refuse("adds a constant after an activation, which is not read")
    values, added = _addend(call, constant, x, second=constant is b)
    shape = np.broadcast_shapes(x.shape, values.shape)
    if shape != x.shape:
        call.node.refuse(f"broadcasts a tensor of shape {list(x.shape)} to {list(shape)}")
    numbers = np.broadcast_to(values, shape).ravel()
    fused, separate = (rounded(table + numbers[:, None]) for table in x.table)
    before = x.offset or (Fraction(0),) * numbers.size
    offset = tuple(o + Fraction(v) for o, v in zip(before, numbers.tolist(), strict=True))
    return replace(
        x, table=(fused, separate), offset=offset, is_plain=False, added=added if x.is_plain else None
    )


@ELEMENTWISE.rule("Sub", inputs=range(2, 3))
def _sub(call: QuantizedCall) -> Tensor:
    return _unchanged(call, call.tensor(0), call.tensor(1))


def _unchanged(call: QuantizedCall, x: Tensor, constant: Tensor) -> Tensor:
    """The graph's input, from which nothing is taken: exporters leave such a normalization in."""
    zeros = isinstance(constant, Constant) and not np.any(
        constant.values.nearest if isinstance(constant.values, RealTensor) else constant.values
    )
    if isinstance(x, Unquantized) and zeros and np.broadcast_shapes(x.shape, constant.shape) == x.shape:
        return x
    call.node.refuse(
        "shifts a tensor that is not quantized", hint="shift inputs before they reach the network"
    )


def _addend(
    call: QuantizedCall, constant: Tensor, x: Floats, *, second: bool
) -> tuple[FloatArray, QuantizedConstant | None]:
    """The numbers to be added; and their codes, where an integer kernel may add those."""
    if isinstance(constant, QuantizedConstant):
        values = (
            rounded(constant.codes.astype(np.float64) * float(constant.scale))
            if constant.axis is None
            else None
        )
        if values is None:
            call.node.refuse("adds a constant that is quantized per channel")
        if constant.bits != 8:
            return values, None
        if not second and not (constant.signed and x.codes.format.signed):
            call.node.refuse("adds a computed tensor to a constant", hint="give the constant second")
        return values, replace(constant, codes=np.broadcast_to(constant.codes, x.shape))
    if isinstance(constant, Constant) and isinstance(constant.values, RealTensor):
        return _singles(call, constant.values), None
    call.refuse_float("it adds something else than a constant")


def _singles(call: QuantizedCall, values: RealTensor) -> FloatArray:
    try:
        return singles(values)
    except ValueError as error:
        call.node.refuse(str(error))


@ELEMENTWISE.rule("QLinearAdd", inputs=range(8, 9), domains=(MICROSOFT,))
def _qlinear_add_node(call: QuantizedCall) -> Tensor:
    x = call.tensor(0)
    if not isinstance(x, Codes) or isinstance(call.tensor(3), Codes):
        call.node.refuse("does not add a constant to a quantized tensor, in this order")
    if call.runtime not in (Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED):
        call.node.refuse(f"is a kernel of onnxruntime, not of {call.runtime}")
    expect(call, x, 1, 2)
    constant = call.parameters(3, 4, 5, axis=0)
    if constant.axis is not None:
        call.node.refuse("adds a constant that is quantized per channel")
    target, count = call.format(6, 7), x.index.size
    spread = np.broadcast_to(constant.codes, x.shape)
    offset = tuple(int(c) * constant.scale for c in spread.ravel())
    floats = replace(dequantized(x), offset=offset, is_plain=False)
    codes = qlinear_add(x.format, replace(constant, codes=spread), target)
    return tabulated(call, floats, call.node.outputs[0], target, (codes, codes)) if count else x


# --- activations --------------------------------------------------------------------------------------------


def _applied(call: QuantizedCall, function: float32.Function) -> Floats:
    """An elementwise function of floats that are known for each code."""
    x = call.tensor(0)
    if not isinstance(x, Floats):
        call.refuse_float("it is applied to something else than a tensor that was just dequantized")
    if x.codes.format.bits > 8:
        call.node.refuse("is an elementwise operation on more than 8 bits, which is not read")
    fused, separate = x.table
    return replace(
        x,
        table=(function(fused)[0], function(separate)[1]),
        is_plain=False,
        is_linear=False,
        added=None,
        clip=None,
    )


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
    if isinstance(x, Sums):
        return replace(x, limits=(max(x.limits[0], low), min(x.limits[1], high)))
    clipped = _applied(call, float32.clip(low, high))
    assert isinstance(x, Floats)
    return replace(clipped, clip=Clip(low, high, x))


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
    floats = replace(floats, table=both, is_plain=False, is_linear=False)
    return rounded_floats(call, floats, target, call.node.outputs[0])


def _attribute(call: QuantizedCall, name: str, default: float) -> float:
    value = call.node.number(name)
    number = float(np.float32(default)) if value is None else value
    if not np.isfinite(number):
        call.node.fail(f"has the attribute {quoted(name)} with a number that is not finite")
    return number
