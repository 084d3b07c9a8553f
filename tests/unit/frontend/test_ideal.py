"""QDQ files read as `ideal`: sums of integers, exact multipliers, rounded half to even; per tensor and per channel."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qsmt.arith.ideal import Ideal
from qsmt.arith.requantize import Rational
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime
from qsmt.ir.ops import Requantize
from qsmt.ir.text import parse, print_network
from tests.support.hostile_quantized import F32, model
from tests.support.quantized_images import Image, write_images
from tests.support.quantized_onnx import (
    Recipe,
    by_the_batch,
    exactly,
    executed,
    input_codes,
    random_inputs,
    write_pair,
)

PER_CHANNEL = {"per_channel": True}
UNSIGNED = {"activation_type": "QUInt8", "weight_type": "QUInt8"}
RECIPES = {
    "per tensor": Recipe(),
    "per channel": Recipe(options=PER_CHANNEL),
    "per channel, U8U8": Recipe(options=UNSIGNED | PER_CHANNEL),
}
POINTS = 10_000


def evaluated(path: Path, codes: Any) -> list[list[int]]:
    """The output's centred codes of centred input codes, layer by layer, in rationals; for Gemm alone."""
    made = onnx.load(path)
    stored = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    producers = {node.output[0]: node for node in made.graph.node}
    rows = [[int(v) for v in row] for row in codes]
    for node in made.graph.node:
        if node.op_type != "Gemm":
            continue
        x, w, b = (producers[name].input for name in node.input)
        (rounding,) = (n for n in made.graph.node if n.input[0] == node.output[0])
        scale, zero = (stored[name] for name in rounding.input[1:])
        weight = stored[w[0]].astype(int) - stored[w[2]].astype(int).reshape(-1, *(1,) * stored[w[2]].ndim)
        scales = [Fraction(float(v)) for v in np.broadcast_to(stored[w[1]], (len(weight),))]
        units = [s * Fraction(float(stored[x[1]])) / Fraction(float(scale)) for s in scales]
        ends = np.iinfo(zero.dtype)
        sums = [
            [int(np.dot(r, row)) + int(c) for r, c in zip(weight, stored[b[0]], strict=True)] for row in rows
        ]
        low, high = ends.min - int(zero), ends.max - int(zero)
        rows = [
            [min(max(round(s * u), low), high) for s, u in zip(line, units, strict=True)] for line in sums
        ]
    return rows


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_multipliers_are_exact(recipe: Recipe, tmp_path: Path) -> None:
    _, path = write_pair(recipe, tmp_path)
    network = load_network(path, runtime=Runtime.IDEAL)
    kind: Any = Ideal if "per_channel" in recipe.options else Rational
    kinds = [rule.kind for op in network.ops if isinstance(op, Requantize) for rule in op.rules]
    assert all(isinstance(k, kind) for k in kinds)
    inputs = random_inputs(network, 300)
    expected = np.array(evaluated(path, input_codes(network, inputs)), dtype=np.float64)
    scale = float(network.output.type.element.scale)  # type: ignore[union-attr]
    assert np.array_equal(by_the_batch(network, inputs), (expected * scale).astype(np.float32))
    assert np.array_equal(exactly(network, inputs[:30]), by_the_batch(network, inputs[:30]))
    assert print_network(parse(print_network(network))) == print_network(network)


IMAGES = {
    "Conv": Image(),
    "Conv, per channel, GlobalAveragePool": Image(pool="average", quantized=Recipe(options=PER_CHANNEL)),
    "Conv, AveragePool": Image(pool="mean"),
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_images_differ_from_a_runtimes_integers_by_single_codes(image: Image, tmp_path: Path) -> None:
    """Where a multiplier is rounded, and where not: they agree nearly everywhere."""
    _, path = write_images(image, tmp_path)
    network = load_network(path, runtime=Runtime.IDEAL)
    assert network.is_exact
    inputs = random_inputs(network, POINTS // 10)
    apart = np.abs(by_the_batch(network, inputs) - executed(path, inputs))
    scale = float(network.output.type.element.scale)  # type: ignore[union-attr]
    assert apart.max() <= 4.5 * scale
    assert np.count_nonzero(apart > 0.5 * scale) <= apart.size / 5


def test_a_float_bias_is_added_exactly(tmp_path: Path) -> None:
    """What it has beyond a multiple of the sums' unit decides ties."""

    def floats(made: list[Any]) -> None:
        made[4].input[2] = "b.float"

    bias = np.array([0.025, -0.0749999], dtype=np.float32)
    path = tmp_path / "bias.onnx"
    path.write_bytes(model(change=floats, parameters={"b.float": bias}).SerializeToString())
    network = load_network(path, runtime=Runtime.IDEAL)
    (op,) = (op for op in network.ops if isinstance(op, Requantize))
    unit = Fraction(float(F32(0.02))) * Fraction(float(F32(0.01)))
    for rule, value in zip(op.rules, bias.tolist(), strict=True):
        assert isinstance(rule.kind, Ideal)
        assert (Fraction(value) / unit - rule.kind.offset).denominator == 1


def test_sums_of_the_ideal_do_not_wrap(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    made = model(parameters={"b": np.array([2**31 - 1, -(2**31)], np.int32)})
    path.write_bytes(made.SerializeToString())
    assert "wrap" in str(load_network(path).ops[0].out.type)
    assert "exact" in str(load_network(path, runtime=Runtime.IDEAL).ops[0].out.type)
