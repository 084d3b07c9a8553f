"""The shapes that an ONNX file declares."""

from __future__ import annotations

from math import prod
from pathlib import Path

from onnx import ModelProto

from qsmt.frontend.onnx_graph import read_graph


def declared_shapes(content: bytes, path: Path) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The input's shape for a batch of one; and the output's, if all its axes but a batch are declared."""
    model = ModelProto.FromString(content)
    graph = read_graph(model, path)
    value = next(v for v in model.graph.output if v.name == graph.output)
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    if dims and dims[0] == 0:
        dims[0] = 1
    return graph.shape, tuple(dims) if dims and prod(dims) > 0 else None
