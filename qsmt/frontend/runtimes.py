"""The runtimes whose arithmetic a quantized file can be read with: how each scales an accumulator.

A quantized model file has no single integer semantics, so the runtime is an input of the question
(docs/semantics.md says what was measured). Given the single-precision scales of a layer, each runtime makes
its own multiplier, and rounds in its own way:

    onnxruntime-unfused           a QDQ layer is executed in float: anything that any order of summation gives
    onnxruntime, tflite-xnnpack   fl(fl(s_x * s_w) / s_y), single precision throughout
    tflite-ruy                    31-bit multiplier, two roundings, the second one half up
    tflite-reference              double precision: a dense layer multiplies doubles, a convolution by 31 bits
    cmsis-nn                      31-bit multiplier, two roundings (gemmlowp)
    ideal                         the exact sum times the exact ratio, rounded as the file says, or half to even

A 31-bit multiplier is made of s_x * s_w / s_y in double precision. Of a dense layer whose weights have one scale,
TFLite and TFLite Micro round s_x * s_w to single precision first (GetQuantizedConvolutionMultipler, kernel_util.cc).
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from math import frexp

import numpy as np

from qsmt.arith import single
from qsmt.arith.requantize import Rational, RequantKind
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import DoubleAway, DoubleUp, F32Mul, F64Mul, Hull
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Requantize


class Runtime(StrEnum):
    """Whose integer arithmetic a quantized file means."""

    ONNXRUNTIME = "onnxruntime"
    ONNXRUNTIME_UNFUSED = "onnxruntime-unfused"
    TFLITE_XNNPACK = "tflite-xnnpack"
    TFLITE_RUY = "tflite-ruy"
    TFLITE_REFERENCE = "tflite-reference"
    CMSIS_NN = "cmsis-nn"
    IDEAL = "ideal"

    @property
    def says(self) -> str:
        """One line for reports."""
        return _SAYS[self]

    @property
    def runs_tflite(self) -> bool:
        """Does it execute TFLite's operators? Of those, only the ones of 8 bits are known."""
        return self in (
            Runtime.TFLITE_XNNPACK,
            Runtime.TFLITE_RUY,
            Runtime.TFLITE_REFERENCE,
            Runtime.CMSIS_NN,
        )

    def kind(self, x: Fraction, w: Fraction, y: Fraction, *, dense: bool, per_channel: bool) -> RequantKind:
        """How an accumulator of unit `x * w` becomes a code of unit `y`; all three are single-precision numbers.

        `dense` is a layer that is no convolution, and `per_channel` one whose weights have more than one scale.

        Raises:
            ValueError, OverflowError: the multiplier is beyond what the runtime can represent.
        """
        if self is Runtime.TFLITE_XNNPACK and x * w / y >= XNNPACK_LIMIT:
            raise ValueError(f"{float(x * w / y):.3g} is {XNNPACK_LIMIT} or more, and it runs no such model")
        match self:
            case Runtime.ONNXRUNTIME | Runtime.ONNXRUNTIME_UNFUSED | Runtime.TFLITE_XNNPACK:
                return F32Mul(single.quotient(single.product(float(x), float(w)), float(y)))
            case Runtime.TFLITE_REFERENCE if dense:
                return F64Mul(float(x) * float(w) / float(y))
            case Runtime.TFLITE_REFERENCE | Runtime.TFLITE_RUY | Runtime.CMSIS_NN:
                unit = float(x) * float(w)  # exact: 48 bits
                if dense and not per_channel:
                    unit = single.product(float(x), float(w))
                rounds = DoubleUp if self is Runtime.TFLITE_RUY else DoubleAway
                return rounds(*fixed_point(unit / float(y)))
            case Runtime.IDEAL:
                return Rational(x * w / y, Rounding.HALF_EVEN)


XNNPACK_LIMIT = 256
"""It prepares no layer with a multiplier from here on, and LiteRT does not fall back on other kernels."""

_SAYS = {
    Runtime.ONNXRUNTIME: "fused integer kernels, x86-64",
    Runtime.ONNXRUNTIME_UNFUSED: "graph optimization off",
    Runtime.TFLITE_XNNPACK: "LiteRT with XNNPACK, x86-64",
    Runtime.TFLITE_RUY: "LiteRT without a delegate, x86-64",
    Runtime.TFLITE_REFERENCE: "LiteRT's reference kernels",
    Runtime.CMSIS_NN: "31-bit multipliers, rounded twice, as in TFLite Micro",
    Runtime.IDEAL: "exact sums and multipliers, which no runtime has",
}


def remarks(network: Network) -> tuple[str, ...]:
    """What a user should know of how a quantized file was read; nothing of a network that spells itself out."""
    if network.runtime not in list(Runtime) or network.is_real:
        return ()
    runtime = Runtime(network.runtime)
    says = f"quantized network as {runtime} runs it: {runtime.says}"
    if runtime not in (Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED):
        return (says,)
    floats = [op for op in network.ops if isinstance(op, Requantize) and _is_hull(op)]
    if floats:
        names = ", ".join(f"%{op.out.name}" for op in floats[:3]) + (", …" if len(floats) > 3 else "")
        return (says, f"computed in float, so for every order of summation: {names}")
    saturating = sum(_saturates_pairs(op) for op in network.ops if isinstance(op, Affine))
    where = "" if saturating == 1 else "s"
    note = f"not on CPUs without VNNI: there, sums in {saturating} layer{where} may saturate at 16 bits"
    return (says, note) if saturating else (says,)


def _is_hull(op: Requantize) -> bool:
    return any(isinstance(kind, Hull) for kind in op.runtime_kinds)


def _saturates_pairs(op: Affine) -> bool:
    """May two products of unsigned and signed bytes exceed 16 bits? vpmaddubsw adds them in pairs, saturating.

    Of whatever order the weights have in memory: the two largest of one sign.
    """
    weight = op.weight.codes
    if weight.shape[1] < 2 or np.abs(weight).max(initial=0) > BYTE:
        return False
    extremes = np.sort(weight, axis=1)
    most, least = extremes[:, -2:].clip(0).sum(axis=1).max(), extremes[:, :2].clip(None, 0).sum(axis=1).min()
    return bool(255 * most > 2**15 - 1 or 255 * least < -(2**15))


BYTE = 128
"""Weights of 8 bits; a table's factors are larger."""


def fixed_point(multiplier: float) -> tuple[int, int]:
    """`(q, e)` with multiplier ~ q * 2**(e - 31), as TFLite's QuantizeMultiplier computes them."""
    fraction, exponent = frexp(multiplier)
    q = int(fraction * 2**31 + 0.5)  # exact: a double has 53 bits
    return (q, exponent) if q < 2**31 else (q // 2, exponent + 1)
