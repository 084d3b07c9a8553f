"""What onnxruntime's integer kernels make of a code and a quantized constant."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.single import fused_sums, rounded
from qsmt.frontend.onnx_code_tensors import Join, Joined, QuantizedConstant
from qsmt.frontend.onnx_quantized_rules import QuantizedCall


def joined(
    call: QuantizedCall, source: Quantized, found: Joined, target: Quantized, separate: IntArray
) -> IntArray:
    """What onnxruntime makes of a code and a quantized constant that are joined between DQ and Q.

    Of unsigned bytes a QLinearAdd or QLinearMul, whatever the result. Of signed ones a float operation, `separate`:
    activations are made unsigned before operators are fused and constants are not, so that the types differ. For a
    constant of another type than the activation, for what is moved, and for what is quantized in vectors of one, both
    must be the same.
    """
    fused = KERNELS[found.by](source, found.constant, _unsigned(target))
    is_sure = found.is_sure and source.signed == found.constant.signed
    if not is_sure and not np.array_equal(fused, separate):
        call.node.refuse(
            "has a constant of another form, which onnxruntime treats in a way that is not known"
        )
    return separate if source.signed else fused


def _unsigned(kind: Quantized) -> Quantized:
    """The format of unsigned bytes that holds the same values."""
    shift = 1 << (kind.bits - 1) if kind.signed else 0
    return Quantized(False, kind.bits, kind.scale, kind.zero_point + shift)


def qlinear_add(source: Quantized, constant: QuantizedConstant, target: Quantized) -> IntArray:
    """MLAS's QLinearAdd: a row for each element of the constant, a column for each code; centred.

    y = RNE(fma(a, r_a, fma(b, r_b, fix))) with stored integers, r = fl(s / s_y) and
    fix = fl(z_y - fma(r_a, z_a, fl(r_b * z_b))).

    Raises:
        OverflowError: as below.
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
    return _saturated(np.rint(fused_sums(a, np.full_like(a, ratio), offset)), target)


def qlinear_mul(source: Quantized, constant: QuantizedConstant, target: Quantized) -> IntArray:
    """MLAS's QLinearMul: a row for each element of the constant, a column for each code; centred.

    y = RNE(fl(fl(a b r) + z_y)) with centred integers, whose product is exact, and r = fl(fl(s_a s_b) / s_y): the zero
    point is added before the sum is rounded, so that ties go by what is stored.

    Raises:
        OverflowError: a result does not fit the 32-bit integer that it is converted to before it saturates.
    """
    ratio = single.quotient(single.product(float(source.scale), float(constant.scale)), float(target.scale))
    products = (
        constant.codes.ravel()[:, None] * np.arange(source.min, source.max + 1, dtype=np.int64)[None, :]
    )
    y = np.rint(rounded(rounded(products.astype(np.float64) * ratio) + target.zero_point))
    return _saturated(y, target)


def _saturated(stored: FloatArray, target: Quantized) -> IntArray:
    """Centred codes of numbers that are converted to 32-bit integers before they saturate."""
    if (np.abs(stored) >= 2.0**31).any():
        raise OverflowError(f"{np.abs(stored).max():.3g} is beyond 32 bits")
    codes: IntArray = np.clip(stored - target.zero_point, target.min, target.max).astype(np.int64)
    return codes


KERNELS = {Join.ADD: qlinear_add, Join.MUL: qlinear_mul}
