"""The shapes of a network file's input and output tensors, for whoever writes a file to take its place."""

from __future__ import annotations

from pathlib import Path

from qsmt.frontend.base import read_file
from qsmt.ir.network import Network


def shapes_of(path: Path, network: Network) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of a file that holds `network`: an ONNX file's own shapes, for a batch of one; else rows."""
    rows = (1, network.input.size), (1, network.output.size)
    if path.suffix.lower() != ".onnx":
        return rows
    from qsmt.frontend.onnx_shapes import declared_shapes

    found = declared_shapes(read_file(path), path)
    return found[0], found[1] or rows[1]
