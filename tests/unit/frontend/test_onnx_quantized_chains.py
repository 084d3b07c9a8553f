"""Operators on codes among all sorts of neighbours: what is read is what onnxruntime computes, bit for bit or between
bounds, with its graph optimizations and without."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime
from qsmt.ir.text import parse, print_network
from tests.support.quantized_chains import Chain
from tests.support.quantized_onnx import (
    between,
    by_the_batch,
    exactly,
    exactly_between,
    executed,
    random_inputs,
)

SEEDS = 60
POINTS = 300


def misread(seed: int, runtime: Runtime, folder: Path) -> str:
    """Empty if the graph of this seed is read rightly; else what happened."""
    path = folder / "chain.onnx"
    path.write_bytes(Chain(seed).model.SerializeToString())
    try:
        network = load_network(path, runtime=runtime)
    except InputError as error:
        return "" if "\n" not in str(error) else "several lines"
    inputs = random_inputs(network, POINTS, seed=seed, reach=3)
    found = executed(path, inputs, optimized=runtime is Runtime.ONNXRUNTIME)
    if network.is_exact:
        read = np.array_equal(by_the_batch(network, inputs), found)
        few = np.array_equal(exactly(network, inputs[:5]), found[:5])
        return "" if read and few else "other codes"
    least, most = between(network, inputs)
    ends = exactly_between(network, inputs[:5])
    same = np.array_equal(ends[0], least[:5]) and np.array_equal(ends[1], most[:5])
    return "" if same and (least <= found).all() and (found <= most).all() else "beyond its bounds"


@pytest.mark.parametrize("runtime", [Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED], ids=str)
@pytest.mark.parametrize("block", range(4))
def test_random_chains_are_read_as_onnxruntime_runs_them(
    block: int, runtime: Runtime, tmp_path: Path
) -> None:
    wrong = {seed: misread(seed, runtime, tmp_path) for seed in range(SEEDS * block, SEEDS * (block + 1))}
    assert not {seed: what for seed, what in wrong.items() if what}


@pytest.mark.slow
@pytest.mark.parametrize("block", range(40))
def test_many_random_chains_are_read_as_onnxruntime_runs_them(block: int, tmp_path: Path) -> None:
    seeds = range(1000 + SEEDS * block, 1000 + SEEDS * (block + 1))
    wrong = {
        (s, r): misread(s, r, tmp_path)
        for s in seeds
        for r in (Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED)
    }
    assert not {key: what for key, what in wrong.items() if what}


def test_the_chains_hold_every_operator_and_most_are_read(tmp_path: Path) -> None:
    """And what is read can be written down: of every kind, a good share."""
    path, seen, outcomes = tmp_path / "chain.onnx", Counter[str](), Counter[str]()
    for seed in range(150):
        made = Chain(seed).model
        path.write_bytes(made.SerializeToString())
        try:
            network = load_network(path)
        except InputError:
            outcomes["refused"] += 1
            continue
        outcomes["exact" if network.is_exact else "bounds"] += 1
        seen.update({node.op_type for node in made.graph.node})
        assert print_network(parse(print_network(network))) == print_network(network)
    assert outcomes["exact"] >= 40
    assert outcomes["bounds"] >= 5
    needed = {
        "Add",
        "Mul",
        "Sub",
        "Div",
        "BatchNormalization",
        "Concat",
        "HardSwish",
        "Sigmoid",
        "Clip",
        "Gather",
    }
    assert needed <= set(seen)
