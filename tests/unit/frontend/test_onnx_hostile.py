"""Quantized models that are wrong, awkward or hostile: refused in one line, or read as they are executed; quickly."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from qsmt.cli.main import run
from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from tests.support.hostile_quantized import BETWEEN, HANDLED, REFUSED, Make
from tests.support.quantized_onnx import between, by_the_batch, exactly, executed, random_inputs

SECONDS = 5.0
MEBIBYTES = 512


def saved(make: Make, folder: Path) -> Path:
    path = folder / "hostile.onnx"
    path.write_bytes(make().SerializeToString())
    return path


def test_the_corpus_is_large() -> None:
    assert len(REFUSED) + len(HANDLED) >= 60


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_cannot_be_right_is_one_clear_line(make: Make, message: str, tmp_path: Path) -> None:
    path = saved(make, tmp_path)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(InputError) as refusal:
        load_network(path)
    assert time.monotonic() - begun < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEBIBYTES
    said = str(refusal.value)
    assert message in said, said
    assert "hostile" in said
    assert "\n" not in said


def test_the_command_says_it_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(REFUSED["a bias of another scale"][0], tmp_path)
    assert run(["check", str(path), str(path), "--box", "[0,1]^3", "--bound", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("make", HANDLED.values(), ids=HANDLED)
def test_a_model_that_is_only_awkward_is_read_as_onnxruntime_runs_it(make: Make, tmp_path: Path) -> None:
    path = saved(make, tmp_path)
    onnx.checker.check_model(onnx.load(path))
    network = load_network(path)
    inputs = random_inputs(network, 2000, reach=4.0)
    expected = executed(path, inputs)
    assert np.count_nonzero(by_the_batch(network, inputs) != expected) == 0
    assert np.count_nonzero(exactly(network, inputs[:50]) != expected[:50]) == 0


@pytest.mark.parametrize("make", BETWEEN.values(), ids=BETWEEN)
def test_a_model_whose_kernels_are_not_known_is_read_between_bounds(make: Make, tmp_path: Path) -> None:
    path = saved(make, tmp_path)
    onnx.checker.check_model(onnx.load(path))
    network = load_network(path)
    assert not network.is_exact
    inputs = random_inputs(network, 10_000, reach=4.0)
    found = executed(path, inputs)
    least, most = between(network, inputs)
    assert np.count_nonzero((found < least) | (found > most)) == 0
    assert np.count_nonzero(least != most) < found.size / 2
