"""ONNX operators that slide windows over images or sequences, and batch normalization: all affine, but for MaxPool."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt, prod

import numpy as np

from qsmt.arith.real import RealTensor
from qsmt.frontend.maxima import maxima
from qsmt.frontend.onnx_affine import Computed, Full
from qsmt.frontend.onnx_exact import Array, is_single, negated, product, rearranged, scalar, total
from qsmt.frontend.onnx_ops import scaled, shifted
from qsmt.frontend.onnx_rules import Call, Operators, Tensor
from qsmt.frontend.windows import Taps, Window, convolution, counted, dense, pooling, window
from qsmt.ir.ops import Relu

WINDOWED = Operators()
_ONE = range(1, 2)
_CONV = "auto_pad dilations group kernel_shape pads strides"
_POOL = "auto_pad kernel_shape pads strides"


def _image(call: Call) -> Computed:
    """The first operand: a batch of one, channels, and spatial axes."""
    x = call.computed(0)
    if len(x.shape) < 3 or x.shape[0] != 1:
        call.node.refuse(f"reads shape {list(x.shape)}, not a batch of one with channels and spatial axes")
    return x


def _window(call: Call, x: Computed, kernel: Sequence[int], *, ceil_mode: bool = False) -> Window:
    node = call.node
    try:
        return window(
            x.shape[2:],
            kernel,
            strides=node.integers("strides"),
            dilations=node.integers("dilations"),
            pads=node.integers("pads"),
            auto_pad=node.text("auto_pad", "NOTSET"),
            ceil_mode=ceil_mode,
        )
    except ValueError as error:
        node.fail(str(error))


def _linear(call: Call, x: Computed, taps: Taps, weight: RealTensor, bias: RealTensor) -> Computed:
    """The rows applied to `x`; `weight` holds what their entries number, `bias` one number per channel."""
    columns = x.size

    def spread(numbers: Array) -> Array:
        return dense(taps, numbers, columns, Fraction(0) if numbers.dtype == object else 0)

    offset = rearranged(bias, lambda b: np.repeat(b, prod(taps.shape[1:])))
    call.lowering.spend(taps.columns.size)
    return call.lowering.apply(x, Full(rearranged(weight, spread), offset), (1, *taps.shape))


# --- convolution ----------------------------------------------------------------------------------------


@WINDOWED.rule("Conv", inputs=range(2, 4), attributes=_CONV)
def _conv(call: Call) -> Tensor:
    x, weight = _image(call), call.reals(1)
    kernel = weight.shape[2:]
    declared = call.node.integers("kernel_shape")
    if len(weight.shape) != len(x.shape) or declared not in (None, kernel) or 0 in weight.shape:
        call.node.fail(f"convolves shape {list(x.shape)} with a weight of shape {list(weight.shape)}")
    over = _window(call, x, kernel)
    try:
        taps = convolution(x.shape[1:], weight.shape, over, groups=call.node.integer("group", 1))
    except ValueError as error:
        call.node.fail(str(error))
    bias = scalar(0.0) if call.optional(2) is None else call.reals(2)
    if bias.shape not in ((), (weight.shape[0],)):
        call.node.fail(f"adds a bias of shape {list(bias.shape)} to {weight.shape[0]} channels")
    channels = rearranged(bias, lambda b: np.broadcast_to(b, weight.shape[:1]))
    return _linear(call, x, taps, weight, channels)


# --- pools ----------------------------------------------------------------------------------------------


@WINDOWED.rule("AveragePool", inputs=_ONE, attributes=f"{_POOL} count_include_pad")
@WINDOWED.rule("AveragePool", inputs=_ONE, since=10, attributes=f"{_POOL} count_include_pad ceil_mode")
@WINDOWED.rule(
    "AveragePool", inputs=_ONE, since=19, attributes=f"{_POOL} count_include_pad ceil_mode dilations"
)
def _average_pool(call: Call) -> Tensor:
    x = _image(call)
    over = _pool_window(call, x)
    taps = _pool(call, x, over)
    counts = counted(x.shape[1:], over, padding=bool(call.node.integer("count_include_pad", 0)))
    return _averaged(call, x, taps, counts.tolist())


@WINDOWED.rule("GlobalAveragePool", inputs=_ONE)
def _global_average_pool(call: Call) -> Tensor:
    x = _image(call)
    size = prod(x.shape[2:])
    return _averaged(call, x, _pool(call, x, _window(call, x, x.shape[2:])), [size] * x.shape[1])


def _averaged(call: Call, x: Computed, taps: Taps, counts: list[int]) -> Tensor:
    """Each row divided by its count, exactly."""
    ones = RealTensor.of_floats(np.ones(taps.columns.shape[1]))
    summed = _linear(call, x, taps, ones, RealTensor.of_floats(np.zeros(taps.shape[0])))
    shares = RealTensor.of_fractions((Fraction(1, n) for n in counts), summed.shape)
    return scaled(call, summed, shares)


@WINDOWED.rule("MaxPool", inputs=_ONE, attributes=f"{_POOL} storage_order")
@WINDOWED.rule("MaxPool", inputs=_ONE, since=10, attributes=f"{_POOL} storage_order ceil_mode dilations")
def _max_pool(call: Call) -> Tensor:
    x = _image(call)
    return _maximum(call, x, _pool(call, x, _pool_window(call, x)))


@WINDOWED.rule("GlobalMaxPool", inputs=_ONE)
def _global_max_pool(call: Call) -> Tensor:
    x = _image(call)
    return _maximum(call, x, _pool(call, x, _window(call, x, x.shape[2:])))


def _maximum(call: Call, x: Computed, taps: Taps) -> Tensor:
    """By differences and ReLUs (qsmt.frontend.maxima)."""
    found, name = maxima(taps, x.size, nonnegative=call.lowering.is_nonnegative(x)), call.node.outputs[0]
    for layer in found.layers:
        z = call.lowering.apply(x.named(name), _of_matrix(layer), (len(layer),))
        x = call.lowering.activate(z.named(name), name, Relu)
    return call.lowering.apply(x, _of_matrix(found.last), (1, *taps.shape))


def _of_matrix(matrix: Array) -> Full:
    return Full(RealTensor.of_floats(matrix), RealTensor.of_floats(np.zeros(len(matrix))))


def _pool_window(call: Call, x: Computed) -> Window:
    kernel = call.node.integers("kernel_shape")
    if kernel is None:
        call.node.fail("does not say the shape of its kernel")
    return _window(call, x, kernel, ceil_mode=bool(call.node.integer("ceil_mode", 0)))


def _pool(call: Call, x: Computed, over: Window) -> Taps:
    try:
        return pooling(x.shape[1:], over)
    except ValueError as error:
        call.node.fail(str(error))


# --- batch normalization --------------------------------------------------------------------------------


@WINDOWED.rule("BatchNormalization", inputs=range(5, 6), attributes="epsilon momentum spatial")
@WINDOWED.rule("BatchNormalization", inputs=range(5, 6), since=9, attributes="epsilon momentum")
@WINDOWED.rule(
    "BatchNormalization", inputs=range(5, 6), since=14, attributes="epsilon momentum training_mode"
)
def _batch_normalization(call: Call) -> Tensor:
    """`factor x + offset` per channel."""
    x = call.computed(0)
    if not call.node.integer("spatial", 1) or call.node.integer("training_mode", 0):
        call.node.refuse("normalizes in another way than by stored statistics per channel")
    parameters = [call.reals(i) for i in range(1, 5)]
    if len(x.shape) < 2 or any(p.shape != (x.shape[1],) for p in parameters):
        shapes = ", ".join(str(list(p.shape)) for p in parameters)
        call.node.fail(f"normalizes shape {list(x.shape)} with parameters of shapes {shapes}")
    epsilon = call.node.number("epsilon")
    shift = call.node.real("epsilon", float(np.float32(1e-5)) if epsilon is None else epsilon)
    try:
        scale, bias, mean, variance = parameters
        factor, offset = normalization(scale, bias, mean, variance, shift)
    except ValueError as error:
        call.node.fail(str(error))
    axes = (-1, *(1,) * (len(x.shape) - 2))
    factor, offset = (rearranged(p, lambda v: v.reshape(axes)) for p in (factor, offset))
    return shifted(call, scaled(call, x, factor), offset)


def normalization(
    scale: RealTensor, bias: RealTensor, mean: RealTensor, variance: RealTensor, epsilon: RealTensor
) -> tuple[RealTensor, RealTensor]:
    """What a batch normalization multiplies with and adds: `scale / sqrt(variance + epsilon)`, `bias - mean factor`.

    A square root is irrational as a rule. The factor is *defined* as the nearest number of the parameters' own
    precision (single, or double if they are not all singles); the offset is then exact.

    Raises:
        ValueError: if a variance is not positive, or a factor too large for that precision.
    """
    spread = total(variance, epsilon).fractions
    if any(v <= 0 for v in spread):
        raise ValueError("has a variance that is not positive")
    single = all(is_single(p) for p in (scale, bias, mean, variance))
    exact = [s * _inverse_root(v) for s, v in zip(scale.fractions, spread, strict=True)]
    if any(abs(f) > np.finfo(np.float32 if single else np.float64).max for f in exact):
        raise ValueError("has a factor that is too large for a float")
    factor = RealTensor.of_floats(
        np.array(list(map(float, exact))).astype(np.float32 if single else np.float64)
    )
    return factor, total(bias, negated(product(mean, factor)))


def _inverse_root(value: Fraction) -> Fraction:
    """1 / sqrt of a positive rational, to 2**-128 of itself."""
    places = 2 * (128 + abs(value.numerator.bit_length() - value.denominator.bit_length()))
    return Fraction(isqrt((value.denominator << 2 * places) // value.numerator), 1 << places)
