"""From float to codes and back: what QuantizeLinear makes of a matrix product, and of functions of single codes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.requantize import RequantKind
from qsmt.arith.runtime_kinds import F32Mul, Hull
from qsmt.arith.single import fused_sums, rounded
from qsmt.frontend.onnx_codes import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_quantized_rules import (
    MICROSOFT,
    PLAIN,
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    Unquantized,
)
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
            return Codes(call.lowering.input(target), x.index)
        case Sums():
            return rounded_sums(call, x, target, name)
        case Floats():
            return rounded_floats(call, x, target, name)
        case Codes() | QuantizedConstant() | Constant():
            call.node.refuse("quantizes something else than a computed float tensor")


def _check_shapes(call: QuantizedCall, x: Tensor) -> None:
    """A ReLU or Clip before it is dropped only if the scale and the zero point are scalars, not vectors of one."""
    limited = x.limits != (-inf, inf) if isinstance(x, Sums) else isinstance(x, Floats) and x.clip is not None
    if call.runtime is not Runtime.ONNXRUNTIME or not limited:
        return
    for position in (1, 2):
        operand = call.optional(position)
        if isinstance(operand, Constant) and operand.shape:
            call.refuse_float("it is quantized with a vector of one scale or zero point after an activation")


@CONVERTING.rule("DequantizeLinear", inputs=range(2, 4), attributes="axis", domains=(*PLAIN, MICROSOFT))
def _dequantize(call: QuantizedCall) -> Tensor:
    x = call.tensor(0)
    if isinstance(x, Constant):
        return call.parameters(0, 1, 2, axis=call.node.integer("axis", 1))
    codes = call.codes(0)
    expect(call, codes, 1, 2)
    return replace(dequantized(codes), says_zero=call.optional(2) is not None)


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


def rounded_sums(call: QuantizedCall, sums: Sums, target: Quantized, name: str) -> Codes:
    source = sums.value.type.element
    assert isinstance(source, Quantized)
    if call.runtime is Runtime.ONNXRUNTIME and max(source.bits, target.bits) != 8:
        what = "has activations of more than 8 bits, which some kernels of onnxruntime quantize again, to 8"
        call.node.refuse(what, hint="--runtime onnxruntime-unfused is known: it computes in float")
    if call.runtime.runs_tflite and (source.bits, target.bits) != (8, 8):
        call.node.refuse(
            f"has activations that are not of 8 bits, which {call.runtime} rounds in another way"
        )
    if not covers(sums.limits, target):
        call.refuse_float(
            "an activation stands between the layer and its QuantizeLinear, which does not cover it"
        )
    if sums.in_float is not None:
        return call.lowering.matrix(sums, name, target, _hulls(call, sums, target))
    scales = sums.scales if isinstance(sums.scales, tuple) else (sums.scales,) * len(sums.weight)
    try:
        made = {s: _kind(call, sums, s, target) for s in set(scales)}
    except (ValueError, OverflowError) as error:
        call.node.refuse(f"needs a multiplier that {call.runtime} does not have: {error}")
    return call.lowering.matrix(sums, name, target, [made[s] for s in scales])


MARGIN = 1 - 2.0**-20
"""Limits that are closer to the ends of a format than this may be compared either way."""


LEAST_CLIPPED = Fraction(1, 10**6)
"""onnxruntime compares the limits of a clip and of a format with an absolute tolerance of 1.2e-7."""


def covers(limits: tuple[float, float], target: Quantized) -> bool:
    """Does saturation in this format do what a clip to these limits does, by so much that a runtime sees it too?"""
    least, most = float(target.min * target.scale), float(target.max * target.scale)
    return limits[0] <= least * MARGIN and limits[1] * MARGIN >= most


OVERFLOW = Fraction(2) ** 126
"""No number of a float execution may come near the largest single, 2**128."""


def _hulls(call: QuantizedCall, sums: Sums, target: Quantized) -> list[RequantKind]:
    """Of each sum, everything that a float execution may give.

    With K terms of at most |x - z| |w| and a bias, K + 6 roundings cover those of the operands, the products, the
    sum in any order, and the division by the scale of the result: gamma_n = n u / (1 - n u), u = 2**-24 (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1).
    """
    source = sums.value.type.element
    assert isinstance(source, Quantized)
    count = len(sums.weight)
    units = sums.scales if isinstance(sums.scales, tuple) else (sums.scales,) * count
    apart = sums.apart or (Fraction(0),) * count
    terms = Fraction(int((sums.weight != 0).sum(axis=1).max()) + 6, 2**24)
    gamma = terms / (1 - terms)
    sizes = np.abs(sums.weight).sum(axis=1) * max(-source.min, source.max) + np.abs(sums.bias)
    made: list[RequantKind] = []
    most = max(-source.min, source.max) * source.scale
    heaviest = np.abs(sums.weight).max(axis=1, initial=0).tolist()
    for unit, weight, size, off in zip(units, heaviest, sizes.tolist(), apart, strict=True):
        if max(most, weight * unit, (size + off) * unit * source.scale) >= OVERFLOW:
            call.node.refuse("has numbers so large that their sum may overflow in single precision")
        multiplier = unit * source.scale / target.scale
        made.append(Hull(multiplier, (gamma * (size + off) + off) * multiplier))
    return made


def _kind(call: QuantizedCall, sums: Sums, scale: Fraction, target: Quantized) -> RequantKind:
    source = sums.value.type.element
    assert isinstance(source, Quantized)
    if sums.averages is not None:
        return F32Mul(
            single.quotient(float(source.scale), single.product(float(target.scale), float(sums.averages)))
        )
    several = isinstance(sums.scales, tuple) and sums.shape[-1] > 1  # of a dense layer, that are its channels
    return call.runtime.kind(source.scale, scale, target.scale, dense=sums.dense, per_channel=several)


def rounded_floats(call: QuantizedCall, floats: Floats, target: Quantized, name: str) -> Codes:
    """The table of codes; refused where it depends on the CPU or is not monotone."""
    if floats.is_plain and floats.codes.format == target:
        return floats.codes
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
    if call.runtime is Runtime.ONNXRUNTIME and floats.added is not None:
        fused = separate = _added(call, floats, target, separate)
    return tabulated(call, floats, name, target, (fused, separate))


def quantized(values: FloatArray, target: Quantized) -> IntArray:
    """QuantizeLinear of single-precision numbers, centred."""
    ratio = rounded(values / float(target.scale))
    codes: IntArray = np.clip(np.rint(ratio), target.min, target.max).astype(np.int64)
    return codes


def tabulated(
    call: QuantizedCall, floats: Floats, name: str, target: Quantized, codes: tuple[IntArray, IntArray]
) -> Codes:
    """The map of codes, if it does not depend on the CPU and is monotone."""
    fused, separate = codes
    if not np.array_equal(fused, separate):
        hint = "another scale would avoid it"
        call.node.refuse("rounds a tie that depends on whether the CPU has fused multiply-adds", hint=hint)
    rising = np.ones(len(fused), dtype=np.bool_)
    if floats.factor is not None:
        rising = np.array([f > 0 for f in floats.factor])
    steps = np.diff(fused, axis=1) * np.where(rising, 1, -1)[:, None]
    if (steps < 0).any():
        call.node.refuse("applies a function that is not monotone on the codes it reads")
    return call.lowering.table(floats, name, target, fused)


# --- sums with a constant --------------------------------------------------------------------------------


def _added(call: QuantizedCall, floats: Floats, target: Quantized, separate: IntArray) -> IntArray:
    """What onnxruntime makes of a code and a quantized constant that are added between DQ and Q.

    Of unsigned bytes a QLinearAdd, whatever the result. Of signed ones a float sum: activations are made unsigned
    before operators are fused and constants are not, so that the types differ. A constant of another type than the
    activation was not measured: then both must be the same.
    """
    assert floats.added is not None
    source, constant = floats.codes.format, floats.added
    fused = qlinear_add(source, constant, _unsigned(target))
    if source.signed != constant.signed and not np.array_equal(fused, separate):
        call.node.refuse("adds a constant of another type, which onnxruntime does in a way that is not known")
    return separate if source.signed else fused


def _unsigned(kind: Quantized) -> Quantized:
    """The format of unsigned bytes that holds the same values."""
    shift = 1 << (kind.bits - 1) if kind.signed else 0
    return Quantized(False, kind.bits, kind.scale, kind.zero_point + shift)


def qlinear_add(source: Quantized, constant: QuantizedConstant, target: Quantized) -> IntArray:
    """MLAS's QLinearAdd: a row for each element of the constant, a column for each code; centred.

    y = RNE(fma(a, r_a, fma(b, r_b, fix))) with stored integers, r = fl(s / s_y) and
    fix = fl(z_y - fma(r_a, z_a, fl(r_b * z_b))).
    """
    ratio = single.quotient(float(source.scale), float(target.scale))
    other = single.quotient(float(constant.scale), float(target.scale))
    zero = constant.zero_points[0]
    inner = single.fused(ratio, float(source.zero_point), single.product(other, float(zero)))
    fix = single.single(Fraction(target.zero_point) - Fraction(inner))
    b = (constant.codes.ravel() + zero).astype(np.float64)[:, None]
    a = np.arange(source.min, source.max + 1, dtype=np.float64)[None, :] + source.zero_point
    a, b = np.broadcast_arrays(a, b)
    offset = fused_sums(b, np.full_like(b, other), np.full_like(b, fix))
    y = np.rint(fused_sums(a, np.full_like(a, ratio), offset)) - target.zero_point
    codes: IntArray = np.clip(y, target.min, target.max).astype(np.int64)
    return codes
