"""Convolutional networks for quantization: padding, strides, groups, pools, and a dense layer at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.support.quantized_onnx import Recipe, model, quantize_model


@dataclass(frozen=True, slots=True)
class Image:
    """Two convolutions over 2 x 6 x 6, and what is between and after them."""

    pool: str = ""  # "max" or "mean" between the two, "average" after them
    pool_pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: str = "Relu"
    group: int = 1
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    quantized: Recipe = field(default_factory=Recipe)


def image_model(image: Image) -> onnx.ModelProto:
    rng = np.random.default_rng(image.quantized.seed)
    tensors: list[Any] = []
    nodes: list[Any] = []

    def constant(name: str, *shape: int, scale: float) -> str:
        tensors.append(numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name))
        return name

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=f"{output}.{op}", **attributes))
        return output

    first = [constant("w0", 4, 2, 3, 3, scale=0.4), constant("b0", 4, scale=0.1)]
    x = add("Conv", ["x", *first], "z0", pads=list(image.pads), kernel_shape=[3, 3])
    x = add(image.activation, [x], "h0")
    if image.pool in ("max", "mean"):
        op = "MaxPool" if image.pool == "max" else "AveragePool"
        x = add(op, [x], "p0", kernel_shape=[2, 2], strides=[2, 2], pads=list(image.pool_pads))
    second = [constant("w1", 6, 4 // image.group, 3, 3, scale=0.3), constant("b1", 6, scale=0.1)]
    x = add("Conv", [x, *second], "z1", group=image.group, strides=[2, 2], pads=[1, 1, 1, 1])
    x = add("Relu", [x], "h1")
    if image.pool == "average":
        x = add("GlobalAveragePool", [x], "p1")
    x = add("Flatten", [x], "flat")
    size = {"max": (6, 2, 2), "mean": (6, 2, 2), "average": (6,)}.get(image.pool, (6, 3, 3))
    last = [constant("w2", 3, prod(size), scale=0.3), constant("b2", 3, scale=0.1)]
    add("Gemm", [x, *last], "y", transB=1)
    return model(nodes, tensors, [None, 2, 6, 6], [None, 3])


def write_images(image: Image, folder: Path) -> tuple[Path, Path]:
    """The float model and its quantization, as files."""
    return quantize_model(image_model(image), image.quantized, folder)
