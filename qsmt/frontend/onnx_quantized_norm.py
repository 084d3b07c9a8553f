"""Batch normalization that was left in a quantized graph: a factor and an offset for each channel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith.real import FloatArray, RealTensor
from qsmt.arith.single import rounded
from qsmt.frontend.onnx_code_tensors import Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_arithmetic import check_narrow, dequantized_constant
from qsmt.frontend.onnx_quantized_rules import (
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    singles,
)
from qsmt.frontend.onnx_quantized_sums import as_sums, moved_sums
from qsmt.frontend.onnx_windows import normalization
from qsmt.frontend.runtimes import Runtime

NORMALIZING = QuantizedOperators()

ROUNDINGS = 16
"""More than any way has to compute it: the sum, the root, its inverse, the factor, two products, two sums."""


@NORMALIZING.rule(
    "BatchNormalization", inputs=range(5, 6), attributes="epsilon momentum training_mode spatial"
)
def _batch_normalization(call: QuantizedCall) -> Tensor:
    x = call.tensor(0)
    if not call.node.integer("spatial", 1) or call.node.integer("training_mode", 0):
        call.node.refuse("normalizes in another way than by stored statistics per channel")
    if not isinstance(x, Floats | Sums):
        call.refuse_float("it is applied to something else than a tensor that was just dequantized")
    parameters = [_parameter(call, i) for i in range(1, 5)]
    if len(x.shape) < 2 or any(p.shape != (x.shape[1],) for p in parameters):
        shapes = ", ".join(str(list(p.shape)) for p in parameters)
        call.node.fail(f"normalizes shape {list(x.shape)} with parameters of shapes {shapes}")
    scale, bias, mean, variance = (RealTensor.of_floats(p) for p in parameters)
    epsilon = call.node.number("epsilon")
    shift = call.node.real("epsilon", float(np.float32(1e-5)) if epsilon is None else epsilon)
    try:
        factor, offset = normalization(scale, bias, mean, variance, shift)
    except ValueError as error:
        call.node.fail(str(error))
    channels = np.broadcast_to(np.arange(x.shape[1]).reshape(-1, *(1,) * (len(x.shape) - 2)), x.shape).ravel()
    sizes = [
        abs(b) + abs(m * f) for b, m, f in zip(bias.fractions, mean.fractions, factor.fractions, strict=True)
    ]
    factors, offsets, spread = (
        [Fraction(values[c]) for c in channels] for values in (factor.fractions, offset.fractions, sizes)
    )
    sums = x if isinstance(x, Sums) else as_sums(call, x)
    loose = moved_sums(call, sums, factors, offsets, roundings=ROUNDINGS, sizes=spread)
    if isinstance(x, Sums) or call.runtime is Runtime.IDEAL:
        return loose
    return _on_codes(call, x, factors, offsets, spread, loose)


def _parameter(call: QuantizedCall, position: int) -> FloatArray:
    operand = call.tensor(position)
    if isinstance(operand, QuantizedConstant):
        return dequantized_constant(call, operand)
    if not isinstance(operand, Constant) or not isinstance(operand.values, RealTensor):
        call.node.refuse("has parameters that are not constant numbers")
    try:
        return singles(operand.values)
    except ValueError as error:
        call.node.refuse(str(error))


def _on_codes(
    call: QuantizedCall,
    x: Floats,
    factors: list[Fraction],
    offsets: list[Fraction],
    sizes: list[Fraction],
    loose: Sums,
) -> Floats:
    """Between the ends of the tables lies what any order of the few float operations gives.

    The exact value, here to a few units of a double, is off by at most ROUNDINGS * 2**-24 of the sum of the sizes of
    its terms, and by the same of the factor, which is itself the nearest single to what is defined.
    """
    check_narrow(call, x)
    call.lowering.spend(2 * len(factors) * x.table[0].shape[1])
    factor, offset, size = (np.array(list(map(float, v)))[:, None] for v in (factors, offsets, sizes))
    table = x.table[0]
    middle = table * factor + offset
    error = (np.abs(table * factor) + size) * (ROUNDINGS * 2.0**-24) + 2.0**-140
    ends = rounded(middle - error), rounded(middle + error)
    if not np.isfinite(ends).all():
        call.node.refuse("has results beyond single precision")
    return replace(x, table=ends, factor=tuple(factors), offset=tuple(offsets), is_plain=False, loose=loose)
