"""Quantized ONNX networks are read as onnxruntime executes them: the same integers, for every input tried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qsmt.arith.fixed import Quantized
from qsmt.frontend.align import aligned
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime, remarks
from qsmt.ir.network import layers
from qsmt.ir.text import parse, print_network
from tests.support.quantized_images import Image, write_images
from tests.support.quantized_onnx import (
    Recipe,
    between,
    by_the_batch,
    exactly,
    exactly_between,
    executed,
    random_inputs,
    without_slack,
    write_pair,
)

UNSIGNED = {"activation_type": "QUInt8", "weight_type": "QUInt8"}
MIXED = {"activation_type": "QUInt8", "weight_type": "QInt8"}
SYMMETRIC = {"extra_options": {"ActivationSymmetric": True}}
PER_CHANNEL = {"per_channel": True}

EXACT = {
    "Gemm, S8S8": Recipe(),
    "Gemm, U8S8": Recipe(options=MIXED),
    "Gemm, U8U8": Recipe(options=UNSIGNED),
    "Gemm, per channel": Recipe(options=PER_CHANNEL),
    "Gemm, U8U8, per channel": Recipe(options=UNSIGNED | PER_CHANNEL),
    "Gemm, symmetric": Recipe(options=SYMMETRIC),
    "Gemm, Clip": Recipe(activation="Clip"),
    "Gemm, no activation": Recipe(activation=""),
    "Gemm, Sigmoid": Recipe(activation="Sigmoid"),
    "Gemm, Tanh": Recipe(activation="Tanh"),
    "Gemm, LeakyRelu": Recipe(activation="LeakyRelu"),
    "Gemm, HardSigmoid": Recipe(activation="HardSigmoid"),
    "MatMul, S8S8": Recipe(matmul=True),
    "MatMul, U8S8": Recipe(matmul=True, options=MIXED),
    "MatMul, U8U8": Recipe(matmul=True, options=UNSIGNED),
    "MatMul, per channel": Recipe(matmul=True, options=PER_CHANNEL),
    "QGemm, S8S8": Recipe(format="QOperator"),
    "QGemm, U8U8": Recipe(format="QOperator", options=UNSIGNED),
    "QGemm, per channel": Recipe(format="QOperator", options=PER_CHANNEL),
    "QGemm, QLinearSigmoid": Recipe(format="QOperator", activation="Sigmoid"),
    "QGemm, QLinearLeakyRelu": Recipe(format="QOperator", activation="LeakyRelu"),
    "QGemm, Tanh": Recipe(format="QOperator", activation="Tanh"),
    "QLinearMatMul, S8S8": Recipe(format="QOperator", matmul=True),
    "QLinearMatMul, U8U8": Recipe(format="QOperator", matmul=True, options=UNSIGNED),
    "QLinearMatMul, per channel": Recipe(format="QOperator", matmul=True, options=PER_CHANNEL),
}
QOPERATOR = Recipe(format="QOperator")
IMAGES = {
    "Conv": Image(),
    "Conv, U8U8": Image(quantized=Recipe(options=UNSIGNED)),
    "Conv, per channel": Image(quantized=Recipe(options=PER_CHANNEL)),
    "Conv, uneven padding": Image(pads=(0, 1, 2, 1)),
    "Conv, groups": Image(group=2),
    "Conv, LeakyRelu": Image(activation="LeakyRelu"),
    "Conv, MaxPool": Image(pool="max"),
    "Conv, GlobalAveragePool": Image(pool="average"),
    "QLinearConv": Image(quantized=QOPERATOR),
    "QLinearConv, per channel": Image(quantized=Recipe(format="QOperator", options=PER_CHANNEL)),
    "QLinearConv, MaxPool": Image(pool="max", quantized=QOPERATOR),
    "QLinearConv, QLinearGlobalAveragePool": Image(pool="average", quantized=QOPERATOR),
}
POINTS = 10_000


@pytest.mark.parametrize("recipe", EXACT.values(), ids=EXACT)
def test_onnxruntime_computes_the_same_integers(recipe: Recipe, tmp_path: Path) -> None:
    _, path = write_pair(recipe, tmp_path)
    network = load_network(path)
    assert network.runtime == "onnxruntime"
    inputs = random_inputs(network, POINTS)
    expected = executed(path, inputs)
    assert np.count_nonzero(by_the_batch(network, inputs) != expected) == 0
    assert np.count_nonzero(exactly(network, inputs[:100]) != expected[:100]) == 0
    assert print_network(parse(print_network(network))) == print_network(network)


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_onnxruntime_computes_the_same_integers_of_images(image: Image, tmp_path: Path) -> None:
    """And each layer has its counterpart in the float network."""
    before, path = write_images(image, tmp_path)
    network = load_network(path)
    inputs = random_inputs(network, POINTS)
    expected = executed(path, inputs)
    assert np.count_nonzero(by_the_batch(network, inputs) != expected) == 0
    assert np.count_nonzero(exactly(network, inputs[:20]) != expected[:20]) == 0
    pairs = zip(layers(aligned(load_network(before), network)), layers(network), strict=True)
    assert all(a.pre.size == b.pre.size for a, b in pairs)


WIDE = {"extra_options": {"UseQDQContribOps": True}}
FLOAT = {
    "Gemm": (Recipe(), "onnxruntime-unfused"),
    "Gemm, per channel, Sigmoid": (Recipe(activation="Sigmoid", options=PER_CHANNEL), "onnxruntime-unfused"),
    "MatMul": (Recipe(matmul=True), "onnxruntime-unfused"),
    "MatMul, U8U8": (Recipe(matmul=True, options=UNSIGNED), "onnxruntime-unfused"),
    "activations of 16 bits": (
        Recipe(options={"activation_type": "QInt16", **WIDE}),
        "onnxruntime-unfused",
    ),
    "weights of 4 bits": (Recipe(matmul=True, options={"weight_type": "QInt4", **WIDE}), "onnxruntime"),
    "unsigned weights of 4 bits": (
        Recipe(matmul=True, options={"weight_type": "QUInt4", **WIDE}),
        "onnxruntime",
    ),
}


@pytest.mark.parametrize(("recipe", "runtime"), FLOAT.values(), ids=FLOAT)
def test_what_is_computed_in_float_stays_within_the_hull(
    recipe: Recipe, runtime: str, tmp_path: Path
) -> None:
    """And the hull is narrow: at most one input in ten leaves an output code open, on 8 bits."""
    _, path = write_pair(recipe, tmp_path)
    network = load_network(path, runtime=Runtime(runtime))
    assert not network.is_exact
    assert "computed in float, so for every order of summation" in remarks(network)[1]
    inputs = random_inputs(network, POINTS)
    found = executed(path, inputs, optimized=runtime == "onnxruntime")
    least, most = between(network, inputs)
    assert np.count_nonzero((found < least) | (found > most)) == 0
    if "16" not in str(recipe):
        assert np.count_nonzero(least != most) <= found.size / 10
    exact = exactly_between(network, inputs[:50])
    assert np.array_equal(exact[0], least[:50])
    assert np.array_equal(exact[1], most[:50])


def test_without_its_slack_a_hull_would_be_left(tmp_path: Path) -> None:
    """Planted fault: the order of summation is not covered."""
    _, path = write_pair(Recipe(sizes=(24, 40, 40, 8)), tmp_path)
    network = load_network(path, runtime=Runtime.ONNXRUNTIME_UNFUSED)
    inputs = random_inputs(network, POINTS)
    found = executed(path, inputs, optimized=False)
    least, most = between(without_slack(network), inputs)
    assert np.count_nonzero((found < least) | (found > most)) > 0


AVERAGES = {
    "AveragePool": Image(pool="mean"),
    "AveragePool, uneven windows": Image(pool="mean", pool_pads=(1, 1, 1, 1)),
    "QLinearAveragePool": Image(pool="mean", quantized=QOPERATOR),
}


@pytest.mark.parametrize("image", AVERAGES.values(), ids=AVERAGES)
def test_averages_stay_within_the_hull(image: Image, tmp_path: Path) -> None:
    before, path = write_images(image, tmp_path)
    network = load_network(path)
    assert not network.is_exact
    inputs = random_inputs(network, POINTS)
    found = executed(path, inputs)
    least, most = between(network, inputs)
    assert np.count_nonzero((found < least) | (found > most)) == 0
    kind = (
        network.output.type.element
    )  # averages of four codes in codes of their unit are often ties, and left open
    assert isinstance(kind, Quantized)
    assert (most - least).max() <= 20 * float(kind.scale)
    pairs = zip(layers(aligned(load_network(before), network)), layers(network), strict=True)
    assert all(a.pre.size == b.pre.size for a, b in pairs)


def test_convolutions_in_float_stay_within_the_hull(tmp_path: Path) -> None:
    _, path = write_images(Image(pool="average"), tmp_path)
    network = load_network(path, runtime=Runtime.ONNXRUNTIME_UNFUSED)
    inputs = random_inputs(network, POINTS)
    found = executed(path, inputs, optimized=False)
    least, most = between(network, inputs)
    assert np.count_nonzero((found < least) | (found > most)) == 0
