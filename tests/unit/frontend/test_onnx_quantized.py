"""Quantized ONNX networks are read as onnxruntime executes them: the same integers, for every input tried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qsmt.errors import UnsupportedOp
from qsmt.frontend.align import aligned
from qsmt.frontend.base import load_network
from qsmt.ir.network import layers
from qsmt.ir.text import parse, print_network
from tests.support.quantized_images import Image, write_images
from tests.support.quantized_onnx import Recipe, by_the_batch, exactly, executed, random_inputs, write_pair

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


def test_a_network_whose_order_of_operations_is_not_known_is_refused(tmp_path: Path) -> None:
    """16-bit activations have no integer kernel: onnxruntime computes them in float."""
    options = {"activation_type": "QInt16", "extra_options": {"UseQDQContribOps": True}}
    _, path = write_pair(Recipe(options=options), tmp_path)
    with pytest.raises(
        UnsupportedOp, match="executed in float by onnxruntime: there is no integer kernel for s16"
    ):
        load_network(path)
