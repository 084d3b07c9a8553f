"""The frontend of the IR's own textual form (`.qir`), which `qsmt.ir.text` prints and parses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qsmt.errors import MalformedModel
from qsmt.frontend.base import read_file

if TYPE_CHECKING:
    from qsmt.frontend.runtimes import Runtime
    from qsmt.ir.network import Network


class IrTextFrontend:
    """Reads `.qir` files."""

    name = "IR text (.qir)"

    def accepts(self, path: Path) -> bool:
        return path.suffix.lower() == ".qir"

    def load(self, path: Path, *, runtime: Runtime | None = None) -> Network:  # noqa: ARG002
        from qsmt.ir.text import parse

        try:
            text = read_file(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedModel(
                f"is not UTF-8 text: byte {error.start} begins no character", where=path
            ) from None
        try:
            return parse(text, where=str(path))
        except MalformedModel as error:
            raise _in_file(error, path) from None


def _in_file(error: MalformedModel, path: Path) -> MalformedModel:
    """The error, naming the file also where the verifier, which knows only the network, raised it."""
    if str(error.where).startswith(str(path)):
        return error
    return MalformedModel(error.what, where=f"{path}, {error.where}", hint=error.hint)
