"""Keras files: the floats that are stored, the network of the ONNX file, and one line for what is not read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.interp import reference
from qsmt.ir.ops import Affine, Relu
from tests.support.command import qsmt
from tests.support.shared import shared_data

KERNELS = [np.array([[1, -2], [0.5, 0.1]], np.float32), np.array([[1], [-3]], np.float32)]
BIASES = [np.array([0.25, 1], np.float32), np.array([0.3], np.float32)]
POINTS = [(Fraction(a, 3), Fraction(b, 7)) for a in range(-4, 5) for b in range(-5, 6)]


def by_hand(x: Fraction, y: Fraction) -> Fraction:
    """What the small network computes, with the floats that are stored."""
    tenth, bias = Fraction(float(np.float32(0.1))), Fraction(float(np.float32(0.3)))
    hidden = x + y / 2 + Fraction(1, 4), -2 * x + tenth * y + 1
    return max(hidden[0], Fraction(0)) - 3 * max(hidden[1], Fraction(0)) + bias


def weights(group: Any, *, bias: bool = True) -> None:
    """Two Dense layers behind a Flatten, as Keras stores weights."""
    group.attrs["layer_names"] = [b"flatten", b"d0", b"d1"]
    group.create_group("flatten").attrs["weight_names"] = np.zeros(0)
    for i, (kernel, offset) in enumerate(zip(KERNELS, BIASES, strict=True)):
        own = group.create_group(f"d{i}")
        own[f"d{i}/kernel:0"] = kernel
        own[f"d{i}/bias:0"] = offset
        own.attrs["weight_names"] = [f"d{i}/kernel:0".encode()] + [f"d{i}/bias:0".encode()] * bias


def layer(kind: str, **own: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": kind.lower(), **own}}


def model(file: Any, *layers: dict[str, Any], kind: str = "Sequential") -> None:
    """A whole model with these layers."""
    weights(file.create_group("model_weights"))
    file.attrs["model_config"] = json.dumps({"class_name": kind, "config": {"layers": list(layers)}})


D0, D1 = layer("Dense", name="d0", activation="relu"), layer("Dense", name="d1", activation="linear")
LINEAR = layer("Dense", name="d0", activation="linear")

GOOD: dict[str, Callable[[Any], None]] = {
    "weights alone": weights,
    "a model": lambda file: model(file, layer("InputLayer"), layer("Flatten"), D0, layer("Dropout"), D1),
    "a ReLU by itself": lambda file: model(file, LINEAR, layer("ReLU", max_value=None, threshold=0.0), D1),
}


def made(tmp_path: Path, write: Callable[[Any], None]) -> Path:
    path = tmp_path / "small net.h5"
    with h5py.File(path, "w") as file:
        write(file)
    return path


@pytest.mark.parametrize("name", GOOD)
def test_a_file_is_read_as_the_function_that_it_means(name: str, tmp_path: Path) -> None:
    network = load_network(made(tmp_path, GOOD[name]))
    assert reference.run(network, POINTS) == [(by_hand(*point),) for point in POINTS]


def test_a_layer_without_bias_has_none(tmp_path: Path) -> None:
    network = load_network(made(tmp_path, lambda file: weights(file, bias=False)))
    assert reference.run(network, [(Fraction(0), Fraction(0))]) == [(Fraction(0),)]


def test_the_published_file_is_the_published_onnx_network() -> None:
    folder = shared_data() / "qebverif"
    found = load_network(folder / "PTQ_mnist_1blk_100_in_8_relu_0.h5")
    expected = load_network(folder / "P1_mnist_784-100-10.onnx")
    assert [type(op) for op in found.ops] == [Affine, Relu, Affine] == [type(op) for op in expected.ops]
    for a, b in zip(found.ops, expected.ops, strict=True):
        if isinstance(a, Affine) and isinstance(b, Affine):
            assert a.weight.reals.equals(b.weight.reals) and a.bias.reals.equals(b.bias.reals)


def test_a_problem_is_checked_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path, weights)
    ran = qsmt(capsys, "check", path, "--bits", "12", "--box", "[-1,1]^2", "--bound", "0.1")
    assert ran.code == 0 and ran.out.startswith("VERIFIED")


def _elsewhere(file: Any) -> None:
    weights(file)
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as stored:
        stored["kernel"] = KERNELS[0]
    del file["d0/d0/kernel:0"]
    file["d0/d0/kernel:0"] = h5py.ExternalLink(str(other), "kernel")


def _integers(file: Any) -> None:
    weights(file)
    del file["d0/d0/kernel:0"]
    file["d0/d0/kernel:0"] = np.ones((2, 2), np.int8)


def _not_finite(file: Any) -> None:
    weights(file)
    file["d0/d0/kernel:0"][0, 0] = np.inf


def _misfit(file: Any) -> None:
    weights(file)
    del file["d1/d1/kernel:0"]
    file["d1/d1/kernel:0"] = np.ones((3, 1), np.float32)


BAD: dict[str, tuple[Callable[[Any], None], str]] = {
    "softmax": (
        lambda f: model(f, D0, layer("Dense", name="d1", activation="softmax")),
        "'d1' with the activation 'softmax'",
    ),
    "another layer": (
        lambda f: model(f, D0, layer("Conv2D"), D1),
        "'conv2d', a Conv2D in a place where none",
    ),
    "a ReLU with a limit": (
        lambda f: model(f, LINEAR, layer("ReLU", max_value=6.0), D1),
        "a ReLU in a place",
    ),
    "a ReLU that is zero": (
        lambda f: model(f, LINEAR, layer("ReLU", max_value=0.0), D1),
        "a ReLU in a place",
    ),
    "a Flatten that moves channels": (
        lambda f: model(f, layer("Flatten", data_format="channels_first"), D0, D1),
        "'flatten' that moves channels first",
    ),
    "a graph": (lambda f: model(f, D0, D1, kind="Functional"), "is a Functional model, not a Sequential one"),
    "nothing": (lambda f: f.attrs.update(layer_names=[]), "has no Dense layer"),
    "no Keras file": (lambda f: f.attrs.update(other=1), "is not a Keras file, or is cut short"),
    "numbers elsewhere": (_elsewhere, "is not a Keras file, or is cut short"),
    "integers": (_integers, "with 4 numbers of type int8"),
    "infinity": (_not_finite, "not a finite number"),
    "layers that do not fit": (_misfit, "do not map [2] to [1]"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_read_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, said = BAD[name]
    with pytest.raises(InputError) as caught:
        load_network(made(tmp_path, write))
    assert (
        said in str(caught.value) and "small net.h5" in str(caught.value) and str(caught.value).isprintable()
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(share: float, tmp_path: Path) -> None:
    path = made(tmp_path, weights)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError):
        load_network(path)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, weights)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs h5py; pip install qsmt\[keras\]"):
        load_network(path)
