"""ONNX activations that are no clamps (Relu and Clip are in qsmt.frontend.onnx_ops)."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np

from qsmt.arith.curves import Function
from qsmt.arith.real import RealTensor
from qsmt.frontend.onnx_ops import scaled, shifted
from qsmt.frontend.onnx_rules import Call, Operators, Tensor
from qsmt.ir.ops import Clamp, Curve, LeakyRelu, Op, Relu, Value

ACTIVATING = Operators()
_ONE = range(1, 2)


def _attribute(call: Call, name: str, default: float) -> RealTensor:
    """A number; the default is of single precision, as a file's own would be."""
    found = call.node.number(name)
    return call.node.real(name, float(np.float32(default)) if found is None else found)


def _curve(function: Function, call: Call) -> Tensor:
    def op(out: Value, source: Value) -> Op:
        return Curve(out, source, function)

    return call.lowering.activate_alone(call.computed(0), call.node.outputs[0], op)


for _name, _since, _function in (
    ("Tanh", 7, Function.TANH),
    ("Sigmoid", 7, Function.SIGMOID),
    ("HardSwish", 14, Function.HARD_SWISH),
):
    ACTIVATING.rule(_name, inputs=_ONE, since=_since)(partial(_curve, _function))


@ACTIVATING.rule("LeakyRelu", inputs=_ONE, attributes="alpha")
def _leaky_relu(call: Call) -> Tensor:
    x, name = call.computed(0), call.node.outputs[0]
    slope = Fraction(_attribute(call, "alpha", 0.01).nearest.item())
    if not 0 <= slope <= 1:
        call.node.refuse(f"has the slope {float(slope)!r}; slopes from 0 to 1 are read")
    if slope == 1:
        return x
    if slope == 0:
        return call.lowering.activate(x, name, Relu)
    return call.lowering.activate_alone(x, name, lambda out, source: LeakyRelu(out, source, slope))


@ACTIVATING.rule("HardSigmoid", inputs=_ONE, attributes="alpha beta")
def _hard_sigmoid(call: Call) -> Tensor:
    """A linear map and a clip."""
    steepness, shift = _attribute(call, "alpha", 0.2), _attribute(call, "beta", 0.5)
    x = shifted(call, scaled(call, call.computed(0), steepness), shift)

    def op(out: Value, source: Value) -> Op:
        return Clamp(out, source, Fraction(0), Fraction(1))

    return call.lowering.activate(x, call.node.outputs[0], op)
