"""Where a network file becomes a verified `Network`: one frontend per file format.

This module and the frontends' own modules import nothing heavy; what a format needs is imported when a
file of that format is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qsmt.errors import MalformedModel

if TYPE_CHECKING:
    from qsmt.frontend.runtimes import Runtime
    from qsmt.ir.network import Network

MAX_BYTES = 2**31 - 1
"""The largest file that is read; it is also the largest message that protobuf can hold."""


class Frontend(Protocol):
    """Reads one file format."""

    name: str

    def accepts(self, path: Path) -> bool:
        """Does the file's name say that it is of this format? The file is not opened."""

    def load(self, path: Path, *, runtime: Runtime | None = None) -> Network:
        """The network in the file, verified; a quantized one as `runtime` executes it (by default onnxruntime).

        Raises:
            InputError: one line with the file's name and what is wrong in it.
        """


def frontends() -> tuple[Frontend, ...]:
    """Every frontend; at most one accepts a given path."""
    from qsmt.frontend.ir_text import IrTextFrontend
    from qsmt.frontend.keras import KerasFrontend
    from qsmt.frontend.nnet import NnetFrontend
    from qsmt.frontend.onnx import OnnxFrontend

    return OnnxFrontend(), IrTextFrontend(), NnetFrontend(), KerasFrontend()


def load_network(path: Path, *, runtime: Runtime | None = None) -> Network:
    """The network in a file, whose suffix says which format it is; a quantized one as `runtime` executes it.

    Raises:
        InputError: one line with the file's name and what is wrong in it.
    """
    known = frontends()
    for frontend in known:
        if frontend.accepts(path):
            return frontend.load(path, runtime=runtime)
    names = " or ".join(frontend.name for frontend in known)
    raise MalformedModel(
        f"a network file is {names}, which the suffix {path.suffix!r} is not",
        where=path,
        hint="name it .onnx, .qir, .nnet or .h5",
    )


def read_file(path: Path) -> bytes:
    """The bytes of a regular, non-empty file of at most `MAX_BYTES`."""
    try:
        if not path.is_file():
            raise MalformedModel("is not a file" if path.exists() else "there is no such file", where=path)
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            what = f"has {size} bytes, more than {MAX_BYTES}" if size else "is empty"
            raise MalformedModel(f"the file {what}", where=path)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise MalformedModel(f"cannot be read: {error}", where=path) from None
