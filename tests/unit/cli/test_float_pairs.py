"""Pairs of float ONNX files with convolutions, pools and curves, as users have them, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.command import qsmt
from tests.support.onnx_models import Array, model, node

Capture = pytest.CaptureFixture[str]

ACTIVATIONS: dict[str, dict[str, Any]] = {
    "Tanh": {},
    "Sigmoid": {},
    "HardSwish": {},
    "HardSigmoid": {},
    "LeakyRelu": {"alpha": 0.125},
}


def write(
    folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, Array], x: list[int]
) -> tuple[Path, Path]:
    """A network, and the same one with its parameters in half precision."""
    halves = {k: v.astype(np.float16).astype(np.float32) for k, v in constants.items()}
    paths = folder / "full.onnx", folder / "half.onnx"
    for path, numbers in zip(paths, (constants, halves), strict=True):
        onnx.save(model(nodes, x=x, constants=numbers, opset=15), path)
    return paths


def numbers(seed: int, **shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def controller(folder: Path, activation: str) -> tuple[Path, Path]:
    """2-4-1 with this activation in the middle."""
    nodes = [
        node("Gemm", ["x", "w", "b"], ["z"], transB=1),
        node(activation, ["z"], ["h"], **ACTIVATIONS[activation]),
        node("Gemm", ["h", "v"], ["y"], transB=1),
    ]
    return write(folder, nodes, numbers(1, w=(4, 2), b=(4,), v=(1, 4)), [1, 2])


def image_network(folder: Path, activation: str) -> tuple[Path, Path]:
    """Convolution, batch normalization, activation, pools, a layer: over an image of 4 by 4."""
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"]),
        node(activation, ["n"], ["a"], **ACTIVATIONS.get(activation, {})),
        node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["p"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    constants = numbers(2, k=(2, 1, 3, 3), s=(2,), o=(2,), m=(2,), w=(1, 2))
    return write(folder, nodes, constants | {"v": np.array([0.5, 2.0], np.float32)}, [1, 1, 4, 4])


CONTINUOUS = ("--input-model", "continuous")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_pair_is_proved_refuted_replayed_and_bounded(
    activation: str, tmp_path: Path, capsys: Capture
) -> None:
    files = controller(tmp_path, activation)
    asked = (*files, "--box", "[-1,1]^2", *CONTINUOUS)
    found = qsmt(capsys, "bound", *asked, "--gap", "1e-5", "--json")
    assert found.code == 0
    certified, witnessed = (max(map(abs, found.report["outputs"][0][k])) for k in ("certified", "witnessed"))
    assert 0 < certified - witnessed <= 1.001e-5
    assert qsmt(capsys, "check", *asked, "--bound", str(certified)).code == 0
    report = tmp_path / "report.json"
    refuted = qsmt(capsys, "check", *asked, "--bound", str(0.99 * witnessed), "--json", "-o", report)
    assert refuted.code == 1
    replayed = qsmt(capsys, "replay", report)
    assert (replayed.code, "CONFIRMED" in replayed.out) == (0, True)
    assert ("off by at most" in replayed.out) == (activation in ("Tanh", "Sigmoid"))


@pytest.mark.parametrize("mode", ["naive", "interval", "symbolic", "difference", "best", "optimized"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_mode_analyzes_them(activation: str, mode: str, tmp_path: Path, capsys: Capture) -> None:
    files = controller(tmp_path, activation)
    ran = qsmt(
        capsys, "analyze", *files, "--box", "[-1,1]^2", *CONTINUOUS, "--mode", mode, "--budget", "1", "--json"
    )
    assert ran.code == 0
    assert np.isfinite(ran.report["outputs"][0]["certified"]).all()
    assert ran.report["layers"][0]["neurons"] == 4


@pytest.mark.parametrize("activation", ["Tanh", "LeakyRelu", "Relu"])
def test_an_image_network_is_decided(activation: str, tmp_path: Path, capsys: Capture) -> None:
    files = image_network(tmp_path, activation)
    asked = ("check", *files, "--box", "[-1,1]^16", *CONTINUOUS)
    assert qsmt(capsys, *asked, "--bound", "0.01").code == 0
    assert qsmt(capsys, *asked, "--bound", "0.00001").code == 1


def test_an_image_network_is_quantized(tmp_path: Path, capsys: Capture) -> None:
    full, _ = image_network(tmp_path, "Relu")
    ran = qsmt(capsys, "check", full, "--bits", "12", "--box", "[-1,1]^16", "--bound", "0.5", "--json")
    assert ran.code == 0


@pytest.mark.parametrize(("activation", "said"), [("Tanh", "a tanh"), ("LeakyRelu", "a leaky ReLU")])
def test_fixed_point_refuses_what_it_cannot_express(
    activation: str, said: str, tmp_path: Path, capsys: Capture
) -> None:
    full, _ = controller(tmp_path, activation)
    ran = qsmt(capsys, "check", full, "--bits", "8", "--box", "[-1,1]^2", "--bound", "0.1")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert f"--bits: layer 0 applies {said}" in ran.err


def test_a_clip_of_a_line_is_quantized(tmp_path: Path, capsys: Capture) -> None:
    full, _ = controller(tmp_path, "HardSigmoid")
    ran = qsmt(capsys, "check", full, "--bits", "8", "--box", "[-1,1]^2", "--bound", "0.5")
    assert ran.code == 0


def test_an_encoding_without_a_formula_says_so(tmp_path: Path, capsys: Capture) -> None:
    """At a bound that holds, but that analysis of the whole box does not prove."""
    asked = (*controller(tmp_path, "Tanh"), "--box", "[-2,2]^2", *CONTINUOUS)
    ran = (
        qsmt(capsys, "analyze", *asked, "--mode", "best", "--json"),
        qsmt(capsys, "bound", *asked, "--json", "--gap", "1e-4"),
    )
    loose, tight = (max(map(abs, r.report["outputs"][0]["certified"])) for r in ran)
    assert tight < 0.9 * loose
    question = ("check", *asked, "--bound", str(0.5 * loose + 0.5 * tight))
    refused = qsmt(capsys, *question, "--encoding", "milp", "--json")
    assert refused.code == 3
    assert "there are no rows for tanh" in refused.report["reason"]
    assert qsmt(capsys, *question).code == 0
