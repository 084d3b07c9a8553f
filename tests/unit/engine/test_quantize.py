"""`qsmt quantize` writes files that onnxruntime executes with exactly the integers that are proved about."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest

from qsmt.arith.fixed import Quantized
from qsmt.cli.main import run
from qsmt.engine.quantize import quantized_file
from qsmt.errors import InputError
from qsmt.frontend.affine_scheme import AffineScheme
from qsmt.frontend.base import load_network
from qsmt.ir.network import Network
from tests.support.quantized_images import Image, image_model
from tests.support.quantized_onnx import (
    Recipe,
    by_the_batch,
    executed,
    float_model,
    random_inputs,
    session,
)

SCHEMES = {
    "affine": AffineScheme(),
    "power of two": AffineScheme(power_of_two=True),
    "per channel": AffineScheme(per_channel=True),
    "power of two, per channel": AffineScheme(power_of_two=True, per_channel=True),
}
POINTS = 10_000
BOX = "[-1,1]^6"


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "float.onnx"
    onnx.save(float_model(Recipe()), path)
    return path


def formats(network: Network) -> list[Quantized]:
    kinds = (value.type.element for value in (network.input, *(op.out for op in network.ops)))
    return [kind for kind in kinds if isinstance(kind, Quantized)]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_onnxruntime_executes_the_file_with_our_integers(
    scheme: AffineScheme, reference: Path, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantized_file(reference, scheme, calibrate=None, box=BOX))
    onnx.checker.check_model(onnx.load(path), full_check=True)
    network = load_network(path)
    inputs = random_inputs(network, POINTS, reach=1.1)
    assert np.count_nonzero(by_the_batch(network, inputs) != executed(path, inputs)) == 0
    for kind in formats(network) if scheme.power_of_two else []:
        assert (kind.scale.numerator & (kind.scale.numerator - 1)) == 0
        assert (kind.scale.denominator & (kind.scale.denominator - 1)) == 0


def test_the_integers_are_those_of_fused_kernels(reference: Path, tmp_path: Path) -> None:
    """onnxruntime makes QGemm of every layer of the file: nothing is left in float."""
    import onnxruntime

    path, seen = tmp_path / "int8.onnx", tmp_path / "seen.onnx"
    path.write_bytes(quantized_file(reference, AffineScheme(), calibrate=None, box=BOX))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(seen), 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(seen).graph.node]
    assert ops == ["QuantizeLinear", "QGemm", "QGemm", "QGemm", "DequantizeLinear"]


def test_samples_give_narrower_formats_than_a_box(reference: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (200, 6)).astype(np.float32)
    np.save(tmp_path / "data.npy", samples)
    scales = []
    for calibrate, box in ((tmp_path / "data.npy", None), (None, BOX)):
        path = tmp_path / "int8.onnx"
        path.write_bytes(quantized_file(reference, AffineScheme(), calibrate=calibrate, box=box))
        network = load_network(path)
        scales.append([kind.scale for kind in formats(network)])
        inputs = random_inputs(network, 1000)
        assert np.count_nonzero(by_the_batch(network, inputs) != executed(path, inputs)) == 0
    assert all(a <= b for a, b in zip(*scales, strict=True))
    assert scales[0][-1] < scales[1][-1]


def test_the_formats_hold_the_samples(reference: Path, tmp_path: Path) -> None:
    """On the samples themselves nothing saturates by more than a rounding."""
    samples = np.random.default_rng(0).uniform(-1, 1, (200, 6)).astype(np.float32)
    np.save(tmp_path / "data.npy", samples)
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantized_file(reference, AffineScheme(), calibrate=tmp_path / "data.npy", box=None))
    apart = executed(path, samples) - executed(reference, samples)
    assert np.abs(apart).max() < 0.1


def test_an_image_keeps_its_shape(tmp_path: Path) -> None:
    before, after = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(image_model(Image()), before)
    after.write_bytes(quantized_file(before, AffineScheme(), calibrate=None, box="[-1,1]^72"))
    assert session(after).get_inputs()[0].shape == [1, 2, 6, 6]
    network = load_network(after)
    inputs = random_inputs(network, 200)
    assert np.count_nonzero(by_the_batch(network, inputs) != executed(after, inputs)) == 0


def test_the_command_writes_a_file_that_check_takes(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "int8.onnx"
    assert run(["quantize", str(reference), "-o", str(path), "--box", BOX]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert run(["check", str(reference), str(path), "--box", "[-0.1,0.1]^6", "--bound", "10", "-q"]) == 0
    assert "as onnxruntime runs it" in capsys.readouterr().out


REFUSED = {
    "no ranges": (lambda f: {"calibrate": None, "box": None}, "give either samples or a box"),
    "two kinds of ranges": (lambda f: {"calibrate": f / "d.npy", "box": BOX}, "give either samples or a box"),
    "a box of other size": (lambda f: {"calibrate": None, "box": "[0,1]"}, "has 6 inputs, the region 1"),
    "samples of other size": (
        lambda f: {"calibrate": _saved(f, np.ones((3, 5))), "box": None},
        "not samples of 6",
    ),
    "one sample alone": (lambda f: {"calibrate": _saved(f, np.ones(6)), "box": None}, "not samples of 6"),
    "no samples": (lambda f: {"calibrate": _saved(f, np.ones((0, 6))), "box": None}, "not samples of 6"),
    "samples that are none": (
        lambda f: {"calibrate": _saved(f, np.full((2, 6), np.nan)), "box": None},
        "not finite",
    ),
    "samples beyond single precision": (
        lambda f: {"calibrate": _saved(f, np.full((2, 6), 1e300)), "box": None},
        "no range that single precision holds",
    ),
    "samples of objects": (
        lambda f: {"calibrate": _saved(f, np.array([[None] * 6])), "box": None},
        "is not a file of numpy numbers",
    ),
    "text": (lambda f: {"calibrate": _text(f), "box": None}, "is not a file of numpy numbers"),
}


def _saved(folder: Path, data: object) -> Path:
    np.save(folder / "d.npy", data, allow_pickle=True)  # type: ignore[arg-type]
    return folder / "d.npy"


def _text(folder: Path) -> Path:
    (folder / "d.npy").write_text("1 2 3 4 5 6\n")
    return folder / "d.npy"


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_range_is_one_clear_line(
    make: object, message: str, reference: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refusal:
        quantized_file(reference, AffineScheme(), **make(tmp_path))  # type: ignore[operator]
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_network_with_a_curve_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    onnx.save(float_model(Recipe(activation="Tanh")), path)
    with pytest.raises(InputError, match="layer 0 has an activation that is no clamp"):
        quantized_file(path, AffineScheme(), calibrate=None, box=BOX)


def test_the_formats_hold_what_analysis_certified(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantized_file(reference, AffineScheme(), calibrate=None, box=BOX))
    kind = load_network(path).output.type.element
    assert isinstance(kind, Quantized)
    inputs = random_inputs(load_network(reference), POINTS, reach=1.0)
    outputs = executed(reference, inputs)
    half = kind.scale / 2
    assert Fraction(float(outputs.min())) >= kind.min * kind.scale - half
    assert Fraction(float(outputs.max())) <= kind.max * kind.scale + half
