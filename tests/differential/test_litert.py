"""The requantizations of TFLite's kernels against LiteRT itself, on layers made by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Overflow, Quantized
from qsmt.arith.requantize import Requantization
from qsmt.arith.runtime_kinds import DoubleAway, DoubleUp, stacked
from qsmt.frontend.runtimes import Runtime, fixed_point
from tests.support.tflite import RESOLVERS, IntegerLayer, random_bytes, random_layer, session, written

pytest.importorskip("ai_edge_litert")

LAYERS = 12
S8 = Quantized(True, 8, Fraction(1))
every_runtime = pytest.mark.parametrize("runtime", RESOLVERS, ids=str)
every_form = pytest.mark.parametrize("dense", [True, False], ids=["dense", "conv"])


@every_runtime
@every_form
def test_litert_computes_the_same_integers(runtime: Runtime, dense: bool) -> None:
    for seed in range(LAYERS):
        made = random_layer(seed, dense=dense)
        x = random_bytes(seed, made, 1024 if dense else 16, side=9)
        found = session(written(made, x.shape), runtime)(x)
        assert np.count_nonzero(found != made.codes(runtime, made.sums(x))) == 0, seed


def test_the_three_sets_of_kernels_are_not_one() -> None:
    """The same file has three meanings: why the runtime is an input of the question."""
    results = []
    for seed in range(LAYERS):
        made = random_layer(seed, dense=False)
        sums = made.sums(random_bytes(seed, made, 16, side=9))
        results.append([made.codes(runtime, sums) for runtime in RESOLVERS])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert any(not np.array_equal(found[a], found[b]) for found in results)


# --- where a multiplier in single precision and one in double precision differ --------------------------------

X, W, Y = (np.float32(v) for v in (0.0123456, 0.000043217, 0.17))
IN_DOUBLE = float(X) * float(W) / float(Y)
IN_SINGLE = float(X * W) / float(Y)


def at_thresholds(*, dense: bool, per_channel: bool) -> IntegerLayer:
    """A channel for each accumulator next to which the result changes, by either multiplier: biases say it."""
    found: set[int] = set()
    for multiplier in (IN_DOUBLE, IN_SINGLE):
        for kind in (DoubleUp(*fixed_point(multiplier)), DoubleAway(*fixed_point(multiplier))):
            stairs = Requantization(kind, Overflow.SATURATE, S8).staircase(-(2**27), 2**27)
            found |= {t + d for t in stairs.thresholds for d in (-1, 0)}
    bias = np.array(sorted(found), dtype=np.int32)
    shape = (len(bias), 2) if dense else (len(bias), 1, 1, 2)
    scales = np.full(len(bias) if per_channel else 1, W, dtype=np.float32)
    return IntegerLayer(np.ones(shape, dtype=np.int8), bias, (X, 3), scales, (Y, 0))


@every_runtime
@every_form
@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "per channel"])
def test_every_threshold_is_where_litert_has_it(runtime: Runtime, dense: bool, per_channel: bool) -> None:
    made = at_thresholds(dense=dense, per_channel=per_channel)
    x = np.full((1, 2) if dense else (1, 1, 1, 2), 3, dtype=np.int8)  # the zero point
    found = session(written(made, x.shape), runtime)(x)
    assert np.array_equal(found, made.codes(runtime, made.sums(x)))


def test_a_dense_layer_with_one_scale_would_have_other_thresholds_in_double_precision() -> None:
    """Planted fault: the rule of a convolution, for a dense layer without a delegate."""
    made = at_thresholds(dense=True, per_channel=False)
    x = np.full((1, 2), 3, dtype=np.int8)
    found = session(written(made, x.shape), Runtime.TFLITE_RUY)(x)
    convolved = replace(made, weight=made.weight.reshape(-1, 1, 1, 2)).codes(Runtime.TFLITE_RUY, made.sums(x))
    assert np.count_nonzero(found != convolved) > 100


@every_form
@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "per channel"])
def test_tflite_micro_multiplies_scales_as_its_source_does(dense: bool, per_channel: bool) -> None:
    """CalculateOpDataFullyConnected and PopulateConvolutionQuantizationParams: only one of them is in floats."""
    single = dense and not per_channel
    expected = DoubleAway(*fixed_point(IN_SINGLE if single else IN_DOUBLE))
    x, w, y = (Fraction(float(v)) for v in (X, W, Y))
    assert Runtime.CMSIS_NN.kind(x, w, y, dense=dense, per_channel=per_channel) == expected
    assert fixed_point(IN_SINGLE) != fixed_point(IN_DOUBLE)


# --- what is refused, because LiteRT has no one rule for it ------------------------------------------------------


def test_a_convolution_in_groups_is_rounded_by_another_kernel() -> None:
    """Without a delegate, by the reference kernel: halves away from zero."""
    bias = np.arange(-2048, 2048, dtype=np.int32)
    multiplier = (2**30, -6)
    up, away = (
        stacked([kind])(bias.astype(np.int64)) for kind in (DoubleUp(*multiplier), DoubleAway(*multiplier))
    )
    scales = np.array([2.0**-7], dtype=np.float32)
    weight = np.ones((len(bias), 1, 1, 2), dtype=np.int8)
    made = IntegerLayer(weight, bias, (np.float32(1), 3), scales, (np.float32(1), 0), groups=2)
    x = np.full((1, 1, 1, 4), 3, dtype=np.int8)
    assert made.kinds(Runtime.TFLITE_RUY)[0] == DoubleUp(*multiplier)
    found = session(written(made, x.shape), Runtime.TFLITE_RUY)(x).ravel()
    assert np.array_equal(found, np.clip(away, -128, 127))
    assert not np.array_equal(found, np.clip(up, -128, 127))
    whole = replace(made, groups=1)
    assert np.array_equal(session(written(whole, (1, 1, 1, 2)), Runtime.TFLITE_RUY)(x[..., :2]).ravel(), up)


def test_a_sum_that_is_scaled_beyond_32_bits_wraps() -> None:
    bias = np.array([2**30 - 1, 2**30], dtype=np.int32)
    made = IntegerLayer(
        weight=np.ones((2, 2), dtype=np.int8),
        bias=bias,
        input=(np.float32(1), 3),
        weight_scales=np.array([2], dtype=np.float32),
        output=(np.float32(1), 0),
    )
    x = np.full((1, 2), 3, dtype=np.int8)
    assert session(written(made, x.shape), Runtime.TFLITE_REFERENCE)(x).tolist() == [[127, -128]]


@every_form
def test_xnnpack_prepares_no_multiplier_of_256(dense: bool) -> None:
    one = np.ones((1, 2) if dense else (1, 1, 1, 2), dtype=np.int8)
    made = IntegerLayer(
        one, np.zeros(1, np.int32), (np.float32(1), 0), np.array([256], np.float32), (np.float32(1), 0)
    )
    with pytest.raises(RuntimeError, match="failed to prepare"):
        session(written(made, one.shape), Runtime.TFLITE_XNNPACK)
    with pytest.raises(ValueError, match="256 or more"):
        made.kinds(Runtime.TFLITE_XNNPACK)
