"""`qsmt export`: the residual queries as solver files, with the problem they belong to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Encoding, Query, encodings
from qsmt.engine.alarm import write_problem
from qsmt.engine.dispatch import open_queries
from qsmt.errors import InputError
from qsmt.problem import Problem


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written, and why some that might be expected were not."""

    files: tuple[Path, ...]
    remarks: tuple[str, ...]


def export(problem: Problem, folder: Path) -> Exported:
    """Write every query that analysis leaves open, in every encoding that takes it.

    The folder appears complete or not at all.

    Raises:
        InputError: it cannot be written.
    """
    with whole_folder(folder) as made:
        names, remarks = _write(problem, made)
    return Exported(tuple(folder / name for name in names), tuple(remarks))


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to be filled, which then appears complete under its name, or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".qsmt-export-") as scratch:
            made = Path(scratch) / "folder"
            made.mkdir(mode=0o755)
            yield made
            made.rename(folder)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=folder) from None


def _write(problem: Problem, folder: Path) -> tuple[list[str], list[str]]:
    write_problem(problem, folder)
    queries = list(open_queries(problem, analyze_region(problem)))
    remarks = [] if queries else ["analysis alone proves the claim, so there is no query to write"]
    for query in queries:
        for encoding in encodings().values():
            refusal = encoding.refuses(query)
            if refusal:
                remarks.append(f"{encoding.name}: {refusal}")
            else:
                encoding.encode(query).write(folder / file_name(query, encoding))
    return sorted(path.name for path in folder.iterdir()), list(dict.fromkeys(remarks))


def file_name(query: Query, encoding: Encoding) -> str:
    """For instance `output-0-upper.smt2`: is the difference of output 0 above its bound?"""
    return f"output-{query.output}-{'upper' if query.side > 0 else 'lower'}{encoding.suffix}"
