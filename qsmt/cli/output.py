"""Where reports go: stdout, and a file that appears complete or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qsmt.errors import InputError

if TYPE_CHECKING:
    from qsmt.problem import InputModel
    from qsmt.report.model import Report

E = TypeVar("E", bound=StrEnum)


def emit(report: Report, *, as_json: bool, file: Path | None) -> None:
    """Print the report, and write it to `file` too."""
    from qsmt.report import json, text

    if file is not None:
        write_whole(file, json.render(report))
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    sys.stdout.write(json.render(report) if as_json else text.render(report, color=color))


def check_writable(file: Path | None) -> None:
    """Say before the work, not after it, that its result could not be kept.

    Raises:
        InputError: the file's folder is missing, or the file is a folder.
    """
    if file is None:
        return
    if file.is_dir():
        raise InputError("is a folder", where=file, hint="name a file")
    if not os.access(file.absolute().parent, os.W_OK):
        raise InputError(
            "its folder is missing or read-only", where=file, hint="name a file in a folder you can write to"
        )


def write_whole(file: Path, text: str) -> None:
    """Write beside the file, then rename: a reader never sees half of it."""
    handle, name = tempfile.mkstemp(dir=file.absolute().parent, prefix=".qsmt-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def chosen_model(value: str | None) -> InputModel | None:
    """The input model that `--input-model` names, None if it was not given."""
    from qsmt.problem import InputModel

    return None if value is None else one_of(InputModel, value, flag="--input-model")


def one_of(kind: type[E], value: str, *, flag: str) -> E:
    """The enum member a flag names.

    Raises:
        InputError: naming the flag and what it may be.
    """
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"is {value!r}, not one of {', '.join(kind)}", where=flag) from None
