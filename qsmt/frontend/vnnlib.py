"""VNN-LIB files of either version, plain or gzipped."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from qsmt.errors import InputError, MalformedProblem
from qsmt.frontend import vnnlib_v1, vnnlib_v2
from qsmt.frontend.vnnlib_query import QueryFile

MAX_BYTES = 64 * 2**20

MAX_DEPTH = 200
"""Deeper parentheses are refused: both readers recurse, and what parses 2.0 ends the process where its stack does."""


def read_query(path: Path) -> QueryFile:
    """What a file asks.

    Raises:
        InputError: one line with the file and what is wrong there.
    """
    text = _read(path)
    parse = vnnlib_v2.parse if re.search(r"^\s*\(\s*vnnlib-version", text, re.MULTILINE) else vnnlib_v1.parse
    try:
        _check_depth(text)
        return parse(text)
    except MalformedProblem as error:
        raise MalformedProblem(error.what, where=path, hint=error.hint) from None


def _check_depth(text: str) -> None:
    depth = 0
    for number, line in enumerate(text.split("\n"), start=1):
        for mark in re.findall(r"[()]", line.partition(";")[0]):
            depth += 1 if mark == "(" else -1
            if depth > MAX_DEPTH:
                raise MalformedProblem(f"is nested too deeply (line {number})")


def _read(path: Path) -> str:
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise MalformedProblem(f"is larger than {MAX_BYTES // 2**20} MiB", where=path)
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", where=path) from None
    except UnicodeDecodeError as error:
        raise MalformedProblem(f"is not UTF-8 text (byte {error.start})", where=path) from None
