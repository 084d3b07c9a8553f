"""Constants, batch normalization, joins and curves between quantized layers: the integers that onnxruntime computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from qsmt.frontend.align import aligned
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime
from qsmt.ir.network import layers
from qsmt.ir.ops import Requantize
from tests.support.quantized_nets import BETWEEN, Step, write_between
from tests.support.quantized_onnx import (
    Recipe,
    between,
    by_the_batch,
    exactly,
    executed,
    random_inputs,
)

UNSIGNED = {"activation_type": "QUInt8", "weight_type": "QUInt8"}
RECIPES = {
    "QDQ, S8": Recipe(),
    "QDQ, U8": Recipe(options=UNSIGNED),
    "QOperator, S8": Recipe(format="QOperator"),
    "QOperator, U8": Recipe(format="QOperator", options=UNSIGNED),
}
POINTS = 10_000


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("steps", BETWEEN.values(), ids=BETWEEN)
def test_onnxruntime_computes_the_same_integers(steps: list[Step], recipe: Recipe, tmp_path: Path) -> None:
    """And each layer has its counterpart in the float network.

    A normalized code next to a tie, where the order of its few operations matters, is left open.
    """
    before, path = write_between(steps, recipe, tmp_path)
    network = load_network(path)
    inputs = random_inputs(network, POINTS)
    expected = executed(path, inputs)
    if network.is_exact:
        assert np.count_nonzero(by_the_batch(network, inputs) != expected) == 0
        assert np.count_nonzero(exactly(network, inputs[:40]) != expected[:40]) == 0
    else:
        assert steps[0][0] == "BatchNormalization"
        least, most = between(network, inputs)
        assert np.count_nonzero((expected < least) | (expected > most)) == 0
        assert np.count_nonzero(least != most) < expected.size / 2
    assert len(np.unique(expected)) > 20
    pairs = zip(layers(aligned(load_network(before), network)), layers(network), strict=True)
    assert all(ours.pre.size == theirs.pre.size for ours, theirs in pairs)


@pytest.mark.parametrize("steps", BETWEEN.values(), ids=BETWEEN)
def test_what_is_not_optimized_stays_within_the_hull(steps: list[Step], tmp_path: Path) -> None:
    _, path = write_between(steps, Recipe(), tmp_path)
    network = load_network(path, runtime=Runtime.ONNXRUNTIME_UNFUSED)
    inputs = random_inputs(network, POINTS // 10)
    found = executed(path, inputs, optimized=False)
    least, most = between(network, inputs)
    assert np.count_nonzero((found < least) | (found > most)) == 0


def test_the_operators_are_in_the_files_as_such(tmp_path: Path) -> None:
    """The tests above would be of nothing if quantization folded them."""
    seen: set[str] = set()
    for recipe in RECIPES.values():
        for steps in BETWEEN.values():
            seen |= {node.op_type for node in onnx.load(write_between(steps, recipe, tmp_path)[1]).graph.node}
    assert {
        "Mul",
        "QLinearMul",
        "Div",
        "Sub",
        "BatchNormalization",
        "HardSwish",
        "Concat",
        "QLinearConcat",
    } <= seen


def test_a_hard_swish_on_both_signs_is_a_table_that_turns(tmp_path: Path) -> None:
    _, path = write_between(BETWEEN["HardSwish of more"], Recipe(), tmp_path)
    kinds = [op.rules[0].table for op in load_network(path).ops if isinstance(op, Requantize)]
    assert any(table is not None and not table.is_monotone for table in kinds)
