"""The seam to the encodings: what they are asked, what they answer, and how they are found.

An encoding turns a `Query` into a solver's model. Packages offer encodings by an entry point:

    [project.entry-points."qsmt.encodings"]
    milp = "qsmt_milp:MilpEncoding"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, Protocol

from qsmt.errors import BackendError
from qsmt.facts import Facts
from qsmt.ir.ops import Op
from qsmt.problem import Problem
from qsmt.solver.base import Backend, Limits, Status

GROUP = "qsmt.encodings"


class Fidelity(StrEnum):
    """What an encoding's formula means for the query, were the solver perfect."""

    EXACT = "exact"  # equisatisfiable
    OVER = "over"  # unsat is sound, sat may be spurious


@dataclass(frozen=True, slots=True)
class Query:
    """Is there an x in the problem's region with `side * (quantized - reference)[output] > bound`?

    `facts` hold on that region; an encoding may use any of them, and need use none.
    """

    problem: Problem
    output: int
    side: Literal[-1, 1]
    facts: Facts

    @property
    def bound(self) -> Fraction:
        return self.problem.claim.of(self.output)

    def __str__(self) -> str:
        sign = ">" if self.side > 0 else "< -"
        return f"difference[{self.output}] {sign} {self.bound}"


class Encoded(Protocol):
    """A query as a solver's model."""

    @property
    def model(self) -> Any: ...

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        """The input x that a satisfying assignment describes."""
        ...

    def write(self, path: Path) -> None:
        """The model in the encoding's standard file format."""
        ...


class Encoding(Protocol):
    """One way to put a query to solvers."""

    name: str
    fidelity: Fidelity
    suffix: str  # of the files that `Encoded.write` writes: ".mps", ".smt2"

    def supported(self) -> frozenset[type[Op]]:
        """The ops it has rules for."""
        ...

    def refuses(self, query: Query) -> str | None:
        """None, or why this query cannot be encoded."""
        ...

    def encode(self, query: Query) -> Encoded: ...

    def backends(self) -> Sequence[Backend[Any]]:
        """Its solvers, in order of preference, available or not."""
        ...


def encodings() -> Mapping[str, Encoding]:
    """Every installed encoding by name.

    Raises:
        BackendError: when two packages claim one name.
    """
    return {name: load(name) for name in _entries()}


def load(name: str) -> Encoding:
    """The encoding of this name.

    Raises:
        BackendError: when no installed package offers it.
    """
    entries = _entries()
    if name not in entries:
        raise BackendError(
            f"there is no encoding {name!r}; installed are {', '.join(sorted(entries)) or 'none'}"
        )
    encoding: Encoding = entries[name].load()()
    return encoding


@cache
def _entries() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise BackendError(
                f"two packages offer an encoding {entry.name!r}: {other.value} and {entry.value}"
            )
    return found


def backend(encoding: Encoding, name: str) -> Backend[Any]:
    """The encoding's backend of this name.

    Raises:
        BackendError: when it has none.
    """
    for candidate in encoding.backends():
        if candidate.name == name:
            return candidate
    known = ", ".join(b.name for b in encoding.backends())
    raise BackendError(f"encoding {encoding.name} has no backend {name!r}; it has {known}")


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What an encoding and a backend say of a query; `witness` is claimed, not yet replayed."""

    status: Status
    encoding: str
    backend: str
    seconds: float
    witness: tuple[Fraction, ...] | None = None
    reason: str | None = None


def answer(
    query: Query, encoding_name: str, backend_name: str, limits: Limits
) -> tuple[Status, Any, str | None]:
    """Encode, solve and decode: `(status, witness, reason)`. Runs in a worker process."""
    encoding = load(encoding_name)
    solver = backend(encoding, backend_name)
    encoded = encoding.encode(query)
    found = solver.solve(encoded.model, limits)
    witness = encoded.decode(found.assignment) if found.assignment is not None else None
    return found.status, witness, found.reason
