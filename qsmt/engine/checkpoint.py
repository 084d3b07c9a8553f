"""Checkpoints: the state of a search in a file, so that a kill at any moment costs some seconds.

The file is written beside its place and renamed, so that there is always a whole one. It holds the open
boxes with their bounds, the hull of the closed ones, the measure of these, and the inputs with the extreme
differences and one that is too close to a bound to tell, which are executed again when it is read. It is
believed as one believes oneself: what it says of the closed boxes is part of the proof.
"""

from __future__ import annotations

import json
import os
import secrets
import struct
import time
import zlib
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from importlib.metadata import version
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from qsmt.engine.boxes import Batch, Pool
from qsmt.engine.branch import Search
from qsmt.engine.plan import CHECKPOINT_SECONDS
from qsmt.engine.policy import Tally
from qsmt.errors import InputError, MalformedProblem
from qsmt.facts import Interval

Array = npt.NDArray[Any]

SCHEMA = "qsmt.checkpoint/1"

DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, ArithmeticError, RuntimeError,
    BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What reading a damaged file can end in; of a zip archive, also kinds of archives that Python does not read."""


@dataclass(slots=True)
class Checkpoint:
    """One search's file; `purpose` says what the search is after, and must be the same again."""

    path: Path
    purpose: str
    _written: float = field(default_factory=time.monotonic)

    def save_now_and_then(self, search: Search) -> None:
        """Save, unless that was done a moment ago.

        Raises:
            InputError: the file cannot be written.
        """
        if time.monotonic() - self._written > CHECKPOINT_SECONDS:
            self.save(search)

    def save(self, search: Search) -> None:
        """Write the whole state.

        Raises:
            InputError: the file cannot be written.
        """
        content = BytesIO()
        header = json.dumps(self._header(search)).encode()
        arrays: dict[str, Any] = _arrays(search)
        np.savez(content, header=np.frombuffer(header, dtype=np.uint8), **arrays)
        try:
            _write(self.path, content.getvalue())
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", where=self.path) from None
        self._written = time.monotonic()

    def restore(self, search: Search) -> None:
        """Take up the saved state, if there is one; a missing file means that nothing was done yet.

        Raises:
            MalformedProblem: the file is no checkpoint, or one of another problem, purpose or version.
        """
        if not self.path.exists():
            return
        try:
            with np.load(BytesIO(self.path.read_bytes()), allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
            header = json.loads(arrays.pop("header").tobytes())
            self._check(header, search)
            _take_up(search, header, arrays)
        except DAMAGE as error:
            raise MalformedProblem(f"is not a checkpoint ({type(error).__name__})", where=self.path) from None

    def _header(self, search: Search) -> dict[str, Any]:
        witnesses = [[str(v) for v in point] for point in search.run.telling]
        return {**self._identity(search), "tally": asdict(search.tally), "witnesses": witnesses}

    def _identity(self, search: Search) -> dict[str, str]:
        problem = search.run.problem.sha256
        return {"schema": SCHEMA, "version": version("qsmt"), "problem": problem, "purpose": self.purpose}

    def _check(self, header: dict[str, Any], search: Search) -> None:
        for key, expected in self._identity(search).items():
            if header[key] != expected:
                raise MalformedProblem(
                    f"is a checkpoint of another {key}: {str(header[key])[:64]!r}, not {expected!r}",
                    where=self.path,
                    hint="name another file, or leave --resume out to begin again",
                )


def _arrays(search: Search) -> dict[str, Array]:
    found = {"priority": search.pool.priority, "lower": search.closed.lower, "upper": search.closed.upper}
    for label, batch in (("open", search.pool.all), ("stuck", search.stuck)):
        found |= {f"{label}-{name}": getattr(batch, name) for name in Batch.__slots__}
    return found


def _take_up(search: Search, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    opened, stuck = (
        Batch(*(arrays[f"{label}-{name}"] for name in Batch.__slots__)) for label in ("open", "stuck")
    )
    size = search.stuck.least.shape[1]
    expected: dict[str, tuple[int, ...]] = {"priority": (len(opened),), "lower": (size,), "upper": (size,)}
    for batch, label in ((opened, "open"), (stuck, "stuck")):
        for name in Batch.__slots__:
            expected[f"{label}-{name}"] = (len(batch), getattr(search.stuck, name).shape[1])
    for name, shape in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float64 or np.isnan(arrays[name]).any():
            raise ValueError(name)
    tally = _tally(header["tally"])
    search.run.observe([_point(found, search) for found in header["witnesses"]])
    search.pool = Pool(opened, arrays["priority"])
    search.stuck, search.closed = stuck, Interval(arrays["lower"], arrays["upper"])
    search.tally = tally


def _point(found: Any, search: Search) -> tuple[Fraction, ...]:
    """An input of the region."""
    point = tuple(map(Fraction, found))
    if not search.run.problem.region.contains(point):
        raise ValueError("witnesses")
    return point


def _tally(found: Any) -> Tally:
    """Counts and measures."""
    tally = Tally(**found)
    for value in asdict(tally).values():
        if type(value) not in (int, float) or not 0 <= value < inf:
            raise ValueError("tally")
    return tally


def _write(path: Path, content: bytes) -> None:
    target = path.resolve()
    scratch = target.with_name(f".qsmt-{secrets.token_hex(8)}")
    try:
        with scratch.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
