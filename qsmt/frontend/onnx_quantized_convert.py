"""From float to codes and back: what QuantizeLinear makes of a matrix product, and of functions of single codes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np

from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.single import rounded
from qsmt.frontend.onnx_code_tensors import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_kernels import joined
from qsmt.frontend.onnx_quantized_rules import (
    MICROSOFT,
    PLAIN,
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    Unquantized,
)
from qsmt.frontend.onnx_quantized_sums import as_sums, covers, loosened, rounded_sums
from qsmt.frontend.runtimes import Runtime

CONVERTING = QuantizedOperators()


@CONVERTING.rule(
    "QuantizeLinear", inputs=range(2, 4), attributes="axis saturate", domains=(*PLAIN, MICROSOFT)
)
def _quantize(call: QuantizedCall) -> Tensor:
    target, x, name = call.format(1, 2), call.tensor(0), call.node.outputs[0]
    _check_shapes(call, x)
    match x:
        case Unquantized():
            return Codes(call.lowering.input(target), x.index, is_paired=True)
        case Sums():
            if x.averages is not None and not call.are_scalars(1, 2):
                x = loosened(call, x, "it is quantized with a vector of one scale or zero point")
            return replace(rounded_sums(call, x, target, name), is_paired=True)
        case Floats():
            if x.joined is not None and not call.are_scalars(1, 2):
                x = replace(x, joined=replace(x.joined, is_sure=False))
            made = rounded_floats(call, x, target, name)
            return made if made.value == x.codes.value else replace(made, is_paired=True)
        case Codes() | QuantizedConstant() | Constant():
            call.node.refuse("quantizes something else than a computed float tensor")


def _check_shapes(call: QuantizedCall, x: Tensor) -> None:
    """A ReLU or Clip before it is dropped only if the scale and the zero point are scalars, not vectors of one."""
    limited = x.limits != (-inf, inf) if isinstance(x, Sums) else isinstance(x, Floats) and x.clip is not None
    if call.runtime is Runtime.ONNXRUNTIME and limited and not call.are_scalars(1, 2):
        call.refuse_float("it is quantized with a vector of one scale or zero point after an activation")


@CONVERTING.rule("DequantizeLinear", inputs=range(2, 4), attributes="axis", domains=(*PLAIN, MICROSOFT))
def _dequantize(call: QuantizedCall) -> Tensor:
    x = call.tensor(0)
    if isinstance(x, Constant):
        return call.parameters(0, 1, 2, axis=call.node.integer("axis", 1))
    codes = call.codes(0)
    expect(call, codes, 1, 2)
    return replace(
        dequantized(codes),
        says_zero=call.optional(2) is not None,
        is_scalar=call.are_scalars(1, 2),
        is_direct=codes.is_paired or not codes.format.signed,
    )


def dequantized(codes: Codes) -> Floats:
    """`fl((q - zero) * scale)` of every code."""
    kind = codes.format
    if kind.bits > 8:
        table = np.zeros((1, 1))  # too long to be of use; only matrix products read such a tensor
    else:
        table = rounded(np.arange(kind.min, kind.max + 1, dtype=np.float64)[None, :] * float(kind.scale))
    return Floats(codes, (table, table))


def expect(call: QuantizedCall, codes: Codes, scale: int, zero: int) -> None:
    """The operands that say how a tensor is quantized say what quantized it."""
    kind = codes.format
    default = next(k for k, w in _INTEGERS.items() if w == (kind.signed, kind.bits))
    stated = call.format(scale, zero, default=default)
    if stated != kind:
        call.node.refuse(f"reads {kind} as if it were {stated}")


_INTEGERS = {3: (True, 8), 2: (False, 8), 5: (True, 16), 4: (False, 16), 6: (True, 32), 12: (False, 32)}


LEAST_CLIPPED = Fraction(1, 10**6)
"""onnxruntime compares the limits of a clip and of a format with an absolute tolerance of 1.2e-7."""


def rounded_floats(call: QuantizedCall, floats: Floats, target: Quantized, name: str) -> Codes:
    """The table of codes; refused where it depends on the CPU, or is not known."""
    if floats.is_plain and floats.codes.format == target:
        return floats.codes
    if call.runtime is Runtime.IDEAL:
        return rounded_sums(call, as_sums(call, floats), target, name)
    if call.runtime not in (Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED):
        call.node.refuse(f"rounds a float that {call.runtime} computes in a way that is not known")
    if call.runtime is Runtime.ONNXRUNTIME:
        if floats.is_plain:
            call.node.refuse(
                "quantizes what was just dequantized, which onnxruntime merges", hint="leave one out"
            )
        if floats.clip is not None and target.scale < LEAST_CLIPPED:
            call.node.refuse("follows a clip in steps so small that onnxruntime compares them as if equal")
        if floats.clip is not None and covers((floats.clip.low, floats.clip.high), target):
            return rounded_floats(call, floats.clip.before, target, name)  # onnxruntime drops the clip
    if target.bits > 8 or floats.codes.format.bits > 8:
        call.node.refuse("is an elementwise operation on more than 8 bits, which is not read")
    fused, separate = (quantized(table, target) for table in floats.table)
    if call.runtime is Runtime.ONNXRUNTIME and floats.joined is not None:
        fused = separate = joined(call, floats.codes.format, floats.joined, target, separate)
    return tabulated(call, floats, name, target, (fused, separate))


def quantized(values: FloatArray, target: Quantized) -> IntArray:
    """QuantizeLinear of single-precision numbers, centred."""
    ratio = rounded(values / float(target.scale))
    codes: IntArray = np.clip(np.rint(ratio), target.min, target.max).astype(np.int64)
    return codes


def tabulated(
    call: QuantizedCall, floats: Floats, name: str, target: Quantized, codes: tuple[IntArray, IntArray]
) -> Codes:
    """The map of codes, if it is known; or what it may be."""
    fused, separate = codes
    if not np.array_equal(fused, separate):
        if floats.loose is not None:
            return rounded_sums(call, floats.loose, target, name)
        what = "rounds a tie that depends on whether the CPU has fused multiply-adds"
        call.node.refuse(what, hint="another scale would avoid it")
    return call.lowering.table(floats, name, target, fused)
