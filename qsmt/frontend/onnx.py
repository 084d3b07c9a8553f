"""The frontend of float ONNX networks (docs/semantics.md lists the operators), in any exporter's shape.

What is read is the real function: every stored parameter is the exact number it is, and every operation is
exact. How far the same file is from that under a float runtime is rounding, which no statement covers.
Graph constants are folded without rounding, so the network that is proved about is the one in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qsmt.frontend.base import read_file

if TYPE_CHECKING:
    from qsmt.frontend.runtimes import Runtime
    from qsmt.ir.network import Network


class OnnxFrontend:
    """Reads `.onnx` files."""

    name = "ONNX (.onnx)"

    def accepts(self, path: Path) -> bool:
        return path.suffix.lower() == ".onnx"

    def load(self, path: Path, *, runtime: Runtime | None = None) -> Network:
        from qsmt.frontend.onnx_model import read_model

        return read_model(read_file(path), path, runtime=runtime)


def element_types(path: Path) -> tuple[str, str]:
    """The element types of the input and of the output of an ONNX file that could be loaded."""
    from qsmt.frontend.onnx_model import stored_types

    return stored_types(read_file(path))


def operators() -> tuple[str, ...]:
    """The names of the operators that are read."""
    from qsmt.frontend.onnx_model import OPERATORS

    return OPERATORS.names


def opsets() -> tuple[int, int]:
    """The least and the greatest version of the operators that is read."""
    from qsmt.frontend.onnx_graph import OPSETS

    return OPSETS[0], OPSETS[-1]
