"""A table of a TOML file whose every complaint says where: file, key path, what, and what to do.

TOML's numbers stay as they were written (see `Decimal`), so that a reader can take them exactly.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import NoReturn, TypeVar

from qsmt.errors import MalformedProblem
from qsmt.frontend.exact_number import checked_size, exact_number, quoted

MAX_BYTES = 16 * 2**20

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Decimal:
    """A TOML float as it was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and where it stands."""

    file: str
    path: str  # dotted; "" is the whole file
    entries: Mapping[str, object]

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def __getitem__(self, key: str) -> object:
        if key not in self.entries:
            self.fail(key, "is missing")
        return self.entries[key]

    def fail(self, key: str, what: str, *, hint: str | None = None) -> NoReturn:
        raise MalformedProblem(what, where=f"{self.file}, {self._place(key)}", hint=hint)

    def only(self, *known: str) -> Table:
        """This table, if it has no other keys."""
        for key in self.entries:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.fail(_key(key), "is not a key of this table", hint=hint)
        return self

    def table(self, key: str) -> Table:
        value = self[key]
        if not isinstance(value, dict):
            self.fail(key, f"is {shown(value)}, not a table")
        return Table(self.file, self._place(key), value)

    def text(self, key: str) -> str:
        value = self[key]
        if not isinstance(value, str):
            self.fail(key, f"is {shown(value)}, not a string")
        return value

    def choice(self, key: str, options: type[E]) -> E:
        value = self.text(key)
        if value not in list(options):
            self.fail(key, f"is {shown(value)}, not one of {', '.join(options)}")
        return options(value)

    def boolean(self, key: str) -> bool:
        value = self[key]
        if not isinstance(value, bool):
            self.fail(key, f"is {shown(value)}, not true or false")
        return value

    def integer(self, key: str) -> int:
        return self._integer(key, self[key])

    def number(self, key: str) -> Fraction:
        return self._number(key, self[key])

    def integers(self, key: str) -> tuple[int, ...]:
        return tuple(self._integer(f"{key}[{i}]", v) for i, v in enumerate(self._list(key)))

    def numbers(self, key: str) -> tuple[Fraction, ...]:
        return tuple(self._number(f"{key}[{i}]", v) for i, v in enumerate(self._list(key)))

    def texts(self, key: str) -> tuple[str, ...]:
        found: list[str] = []
        for i, value in enumerate(self._list(key)):
            if not isinstance(value, str):
                self.fail(f"{key}[{i}]", f"is {shown(value)}, not a string")
            found.append(value)
        return tuple(found)

    def _place(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _list(self, key: str) -> list[object]:
        value = self[key]
        if not isinstance(value, list):
            self.fail(key, f"is {shown(value)}, not a list")
        if not value:
            self.fail(key, "is an empty list")
        return value

    def _integer(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(key, f"is {shown(value)}, not an integer")
        return value

    def _number(self, key: str, value: object) -> Fraction:
        try:
            match value:
                case bool():
                    pass
                case int():
                    return checked_size(Fraction(value))
                case Decimal(text):
                    return exact_number(text.replace("_", ""))
                case str():
                    return exact_number(value)
        except ValueError as error:
            self.fail(key, f"is not usable: {error}")
        self.fail(key, f"is {shown(value)}, not a number", hint='write 0.05 or "1/20"')


def read_toml(path: Path) -> Table:
    """The whole file as one table.

    Raises:
        MalformedProblem: when there is no such file, or it is not TOML.
    """
    name = str(path) if str(path).isprintable() else quoted(str(path))
    try:
        text = _read(path).decode("utf-8-sig")
        return Table(name, "", tomllib.loads(text, parse_float=Decimal))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.start})"
    except RecursionError:
        what = "is nested too deeply"
    except _Unreadable as error:
        what = str(error)
    except tomllib.TOMLDecodeError as error:
        what = f"is not TOML: {error}"
    except ValueError:  # more digits than Python reads
        what = "holds an integer of thousands of digits"
    raise MalformedProblem(what, where=name)


class _Unreadable(Exception):
    """Why a file is not read at all."""


def _read(path: Path) -> bytes:
    if not path.is_file():  # a pipe would be waited for, a device may have no end
        existing = "is a directory" if path.is_dir() else "is not a regular file"
        raise _Unreadable(existing if path.exists() else "there is no such file")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise _Unreadable(f"is larger than {MAX_BYTES // 2**20} MiB")
    return raw


def _key(key: str) -> str:
    """A user's key as TOML would write it, where that is safe to print."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else quoted(key)


def shown(value: object) -> str:
    """A value as an error message shows it."""
    match value:
        case bool():
            return str(value).lower()
        case Decimal(text):
            return quoted(text)[1:-1]
        case int():
            return str(value) if abs(value) < 10**40 else "a huge integer"
        case str():
            return quoted(value)
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"the {type(value).__name__} {value}"
