"""Files whose nodes are the layers that are proved about, and files in which something else rounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

from qsmt.frontend.onnx_plain import is_plain
from tests.support.onnx_models import f32, model, node

W, B, ZERO = f32([1, 2, 3], [4, 5, 6], [7, 8, 9]), f32([1, 2, 3]), f32([0, 0, 0])
CONSTANTS = {"w": W, "b": B, "zero": ZERO}
Chain = list[NodeProto]


def chain(*ops: tuple[str, list[str]], **attributes: float) -> Chain:
    """Nodes in a row; each reads the one before and the named parameters."""
    found, at = [], "x"
    for i, (kind, others) in enumerate(ops):
        out = "y" if i == len(ops) - 1 else f"h{i}"
        found.append(node(kind, [at, *others], [out], **(attributes if kind == "Gemm" else {})))
        at = out
    return found


DENSE, GEMM, RELU = [("MatMul", ["w"]), ("Add", ["b"])], [("Gemm", ["w", "b"])], [("Relu", list[str]())]

PLAIN = {
    "a product": chain(("MatMul", ["w"])),
    "two layers": chain(*DENSE, *RELU, *GEMM),
    "zeros are subtracted first": chain(("Sub", ["zero"]), *GEMM, *RELU, *DENSE),
    "elements are moved": chain(("Flatten", []), *GEMM),
    "a clip": chain(*GEMM, ("Clip", []), *GEMM),
}

OTHERS = {
    "a normalisation": chain(("Sub", ["b"]), *GEMM),
    "a scale": chain(("Mul", ["b"]), *GEMM),
    "a scale in the product": chain(*GEMM, alpha=2.0),
    "two layers as one": chain(*DENSE, *DENSE),
    "two biases": chain(*DENSE, ("Add", ["b"])),
    "a curve": chain(*GEMM, ("Tanh", []), *GEMM),
    "nothing but an activation": chain(*RELU),
    "a product at the end of nothing": chain(*GEMM, *RELU),
    "a branch": [*chain(*GEMM), node("Relu", ["x"], ["z"])],
}


def written(folder: Path, nodes: Chain, **more: np.ndarray) -> Path:
    path = folder / "f.onnx"
    path.write_bytes(model(nodes, constants=CONSTANTS | more).SerializeToString())
    return path


@pytest.mark.parametrize("name", PLAIN)
def test_a_chain_of_layers_is_plain(name: str, tmp_path: Path) -> None:
    assert is_plain(written(tmp_path, PLAIN[name]))


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_not(name: str, tmp_path: Path) -> None:
    assert not is_plain(written(tmp_path, OTHERS[name]))


def test_parameters_of_two_types_are_not(tmp_path: Path) -> None:
    assert not is_plain(written(tmp_path, PLAIN["two layers"], d=np.ones(1)))
