"""Where reports go: stdout, and a file that appears complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from qsmt.errors import InputError

if TYPE_CHECKING:
    from fractions import Fraction

    from qsmt.problem import InputModel
    from qsmt.report.formats import Format
    from qsmt.report.model import Report

E = TypeVar("E", bound=StrEnum)


PLAIN = str.maketrans({"≤": "<=", "−": "-", "—": "-", "─": "-", "…": "...", "∞": "inf"})
"""For an output that has no such characters."""

WIDTH = 100
"""Columns of what is not printed on a terminal."""

NARROWEST, WIDEST = 60, 120
"""Columns of what is."""


def emit(report: Report, *, as_json: bool, file: Path | None) -> None:
    """Print the report, and write it to `file` too."""
    from qsmt.report import json, text

    show(json.render(report) if as_json else text.render(report, color=_colored(), width=_width()))
    if file is not None:
        write_whole(file, json.render(report))


def emit_all(reports: Sequence[Report], *, form: Format | None, as_json: bool, file: Path | None) -> None:
    """Print the reports of one command, and write them to `file` too.

    A format that is asked for is that of the file if there is one, and of what is printed if there is none.
    """
    from qsmt.report.formats import Format, render_all

    printed = Format.JSON if as_json else Format.TEXT if file is not None else form or Format.TEXT
    show(render_all(reports, printed, color=_colored(), width=_width()))
    if file is not None:
        write_whole(file, render_all(reports, form or Format.JSON))


def show(said: str) -> None:
    """Print on stdout; if nobody reads it any more, that is no error.

    Raises:
        InputError: stdout takes nothing, such as a file on a full disk.
    """
    try:
        sys.stdout.write(fitting(said, sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        mute()
    except OSError as error:
        mute()
        raise InputError(f"cannot be written to: {error.strerror}", where="stdout") from None


def mute(stream: TextIO | None = None) -> None:
    """What is written to it (stdout) from now on, or is left in a buffer, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def fitting(said: str, encoding: str | None) -> str:
    """The text in characters that the encoding has."""
    try:
        said.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return said.translate(PLAIN)
    return said


def _colored() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width() -> int:
    if not sys.stdout.isatty():
        return WIDTH
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def check_writable(file: Path | None, *, read: Iterable[Path] = ()) -> None:
    """Say before the work, not after it, that its result could not be kept, or would replace what is `read`.

    Raises:
        InputError: the file's folder is missing, or the file is a folder or one that is read.
    """
    if file is None:
        return
    if file.is_dir():
        raise InputError("is a folder", where=file, hint="name a file")
    folder = file.absolute().parent
    if file.is_file() and any(source.is_file() and file.samefile(source) for source in read):
        raise InputError("is read here, and would be replaced", where=file, hint="name another file")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(
            "its folder is missing or read-only", where=file, hint="name a file in a folder you can write to"
        )


def check_checkpoint(file: Path | None, *, resume: bool, read: Iterable[Path]) -> None:
    """Say before the work that a checkpoint could not be kept, or that none is named.

    Raises:
        InputError: the file's folder is missing, or there is nothing to resume from.
    """
    if resume and file is None:
        raise InputError("needs a checkpoint", where="--resume", hint="name it with --checkpoint FILE")
    check_writable(file, read=read)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write beside the file, then rename: a reader never sees half of it.

    Through a link, not over it; and a pipe or a device cannot be renamed over, so it is written to.

    Raises:
        InputError: it cannot be written.
    """
    target = file.resolve()
    stored = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(stored)
        else:
            _write_beside(target, stored)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=file) from None


def make_folder(folder: Path) -> None:
    """The folder, if it is not there yet.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", where=folder) from None


def _write_beside(target: Path, content: bytes) -> None:
    scratch = target.with_name(f".qsmt-{secrets.token_hex(8)}")
    try:
        with scratch.open("xb") as stream:
            stream.write(content)
        scratch.replace(target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def chosen_model(value: str | None) -> InputModel | None:
    """The input model that `--input-model` names, None if it was not given."""
    from qsmt.problem import InputModel

    return None if value is None else one_of(InputModel, value, flag="--input-model")


def chosen_format(value: str | None, *, as_json: bool) -> Format | None:
    """The format that `--format` names, None if it was not given.

    Raises:
        InputError: there is none of that name, or `--json` asks for another one.
    """
    from qsmt.report.formats import Format

    chosen = None if value is None else one_of(Format, value, flag="--format")
    if as_json and chosen not in (None, Format.JSON):
        raise InputError(f"is not --format {chosen}", where="--json", hint="give one of them")
    return chosen


def one_of(kind: type[E], value: str, *, flag: str) -> E:
    """The enum member a flag names.

    Raises:
        InputError: naming the flag and what it may be.
    """
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"is {value!r}, not one of {', '.join(kind)}", where=flag) from None


def exact_gap(gap: str) -> Fraction:
    """The number that `--gap` names.

    Raises:
        InputError: it is none, or negative.
    """
    from qsmt.frontend.exact_number import exact_number

    try:
        value = exact_number(gap)
    except ValueError as error:
        raise InputError(str(error), where="--gap") from None
    if value < 0:
        raise InputError("is negative", where="--gap")
    return value
