"""What onnxruntime computes in single precision on each element by itself, bit for bit.

Between a DequantizeLinear and the next QuantizeLinear a value is one of few codes, so whatever is computed on
it in float is a table, if every float operation is known exactly. These are: IEEE operations are what they
are, and the approximations of MLAS are fixed sequences of them. The rational approximations of the logistic
function and of tanh are those of Eigen; MLAS evaluates them by fused multiply-adds where the CPU has FMA3, and
by separate operations where not. Both are computed here; a table for which it matters is refused.

All arrays are float64 arrays of single-precision numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.arith.single import fused_sums, rounded

Function: TypeAlias = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""The results with fused multiply-adds, and without."""
MulAdd: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


def _singles(*values: float) -> list[FloatArray]:
    return [rounded(np.array(value)) for value in values]


_SIGMOID_ODD = _singles(
    4.37031012579801e-11,
    1.15627324459942e-07,
    6.08574864600143e-05,
    8.51377133304701e-03,
    2.48287947061529e-01,
)
_SIGMOID_EVEN = _singles(
    6.10247389755681e-13,
    5.76102136993427e-09,
    6.29106785017040e-06,
    1.70198817374094e-03,
    1.16817656904453e-01,
    9.93151921023180e-01,
)
_TANH_ODD = _singles(
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_EVEN = _singles(1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)


def _separate(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    return rounded(rounded(a * b) + c)


def _horner(square: FloatArray, coefficients: list[FloatArray], mul_add: MulAdd) -> FloatArray:
    value = np.broadcast_to(coefficients[0], square.shape)
    for coefficient in coefficients[1:]:
        value = mul_add(value, square, np.broadcast_to(coefficient, square.shape))
    return value


def _rational(x: FloatArray, odd: list[FloatArray], even: list[FloatArray], mul_add: MulAdd) -> FloatArray:
    square = rounded(x * x)
    numerator = rounded(_horner(square, odd, mul_add) * x)
    return rounded(numerator / _horner(square, even, mul_add))


def sigmoid(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """MLAS's logistic function: never below 0, sometimes one step above 1."""
    inside = np.clip(x, -18.0, 18.0)
    fused, separate = (
        np.maximum(rounded(_rational(inside, _SIGMOID_ODD, _SIGMOID_EVEN, how) + 0.5), 0.0)
        for how in (fused_sums, _separate)
    )
    return fused, separate


def tanh(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """MLAS's hyperbolic tangent."""
    inside = np.clip(x, -9.0, 9.0)
    fused, separate = (_rational(inside, _TANH_ODD, _TANH_EVEN, how) for how in (fused_sums, _separate))
    return fused, separate


def leaky_relu(slope: float) -> Function:
    return _same(lambda x: np.where(x >= 0, x, rounded(x * slope)))


def clip(low: float, high: float) -> Function:
    return _same(lambda x: np.clip(x, low, high))


def hard_sigmoid(alpha: float, beta: float) -> Function:
    """`max(0, min(1, alpha * x + beta))`, the product rounded before the sum."""
    return _same(lambda x: np.clip(rounded(rounded(x * alpha) + beta), 0.0, 1.0))


def hard_swish(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`x * HardSigmoid(x)` with alpha = fl(1/6), beta = 1/2."""
    gate, _ = hard_sigmoid(float(rounded(np.array(1 / 6))), 0.5)(x)
    return _same(lambda v: rounded(v * gate))(x)


def _same(function: Callable[[FloatArray], FloatArray]) -> Function:
    """A function that has no sum of a product in it."""

    def both(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        value = function(x)
        return value, value

    return both
