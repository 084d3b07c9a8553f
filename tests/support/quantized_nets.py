"""Float networks of two dense layers with something between them, and their quantizations by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from tests.support.quantized_onnx import Recipe, model, quantize_model

HIDDEN = 6

Step = tuple[str, dict[str, Any], dict[str, Any]]
"""An operator, its constants in the order of its operands ("x" is the tensor), and its attributes."""


def normalization(seed: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal((4, HIDDEN)).astype(np.float32)
    return {
        "x": None,
        "scale": numbers[0],
        "bias": numbers[1],
        "mean": numbers[2],
        "var": np.abs(numbers[3]) + 0.25,
    }


VECTOR = np.linspace(-1.4, 1.1, HIDDEN).astype(np.float32)
SCALAR = np.float32(0.73)
BETWEEN: dict[str, list[Step]] = {
    "Mul by a vector": [("Mul", {"x": None, "c": VECTOR}, {})],
    "Mul by a scalar": [("Relu", {"x": None}, {}), ("Mul", {"x": None, "c": SCALAR}, {})],
    "a scalar times it": [("Mul", {"c": SCALAR, "x": None}, {})],
    "Div": [("Div", {"x": None, "c": VECTOR}, {})],
    "Sub": [("Sub", {"x": None, "c": VECTOR}, {})],
    "Sub from": [("Sub", {"c": VECTOR, "x": None}, {})],
    "Mul, Add, Relu": [
        ("Mul", {"x": None, "c": VECTOR}, {}),
        ("Add", {"x": None, "c": VECTOR[::-1].copy()}, {}),
        ("Relu", {"x": None}, {}),
    ],
    "BatchNormalization": [("BatchNormalization", normalization(), {})],
    "BatchNormalization, Relu": [("BatchNormalization", normalization(6), {}), ("Relu", {"x": None}, {})],
    "HardSwish": [("HardSwish", {"x": None}, {})],
    "HardSwish of more": [("Mul", {"x": None, "c": np.float32(4.0)}, {}), ("HardSwish", {"x": None}, {})],
    "Concat with a constant": [("Concat", {"x": None, "c": VECTOR[None, :2].copy()}, {"axis": 1})],
    "a constant, then it": [("Concat", {"c": VECTOR[None, :3].copy(), "x": None}, {"axis": 1})],
    "Unsqueeze, Squeeze": [
        ("Unsqueeze", {"x": None, "axes": np.array([1])}, {}),
        ("Squeeze", {"x": None, "axes": np.array([1])}, {}),
    ],
}


def between_model(steps: list[Step], *, seed: int = 2) -> Any:
    """x -> Gemm -> the steps -> Gemm -> y."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    nodes: list[Any] = []

    def gemm(source: str, result: str, n: int, m: int) -> None:
        weight, bias = rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m) * 0.2
        tensors.update({f"{result}.w": weight.astype(np.float32), f"{result}.b": bias.astype(np.float32)})
        operands = [source, f"{result}.w", f"{result}.b"]
        nodes.append(helper.make_node("Gemm", operands, [result], name=f"gemm.{result}", transB=1))

    gemm("x", "z", 4, HIDDEN)
    current, width = "z", HIDDEN
    for i, (op, operands, attributes) in enumerate(steps):
        names = []
        for key, value in operands.items():
            names.append(current if key == "x" else f"s{i}.{key}")
            if value is not None:
                tensors[names[-1]] = value
        if op == "Concat":
            width += operands["c"].shape[1]
        current = f"t{i}"
        nodes.append(helper.make_node(op, names, [current], name=f"{op}.{i}", **attributes))
    gemm(current, "y", width, 3)
    made = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    return model(nodes, made, [1, 4], [1, 3])


def write_between(steps: list[Step], recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """The float model and its quantization, as files."""
    return quantize_model(between_model(steps), recipe, folder)
