"""The seam to the encodings: what they are asked, what they answer, and how they are found.

An encoding turns a `Query` into a solver's model. Packages offer encodings by an entry point:

    [project.entry-points."qsmt.encodings"]
    milp = "qsmt_milp:MilpEncoding"

An encoding that can be had in several forms offers them as options (see `Configurable`); `milp+links` names the
encoding `milp` with its option `links`, wherever an encoding is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from time import monotonic
from typing import Any, Literal, Protocol, runtime_checkable

from qsmt.claim import Differences, ErrorBound, Inequality, OutputConstraint
from qsmt.errors import BackendError
from qsmt.facts import Facts
from qsmt.ir.ops import Op
from qsmt.problem import Problem
from qsmt.solver.base import Backend, Limits, Maximizer, SizeLimited, Status

GROUP = "qsmt.encodings"

LEAST_S = 0.05
"""However long encoding takes, a solver gets this much."""

STOPS_AFTER = 0.9
"""A solver is told to stop after this share of its time: on large models it takes a while to do so."""

OPTION = "+"
"""Between the name of an encoding and that of an option."""


class Fidelity(StrEnum):
    """What an encoding's formula means for the query, were the solver perfect."""

    EXACT = "exact"  # equisatisfiable
    OVER = "over"  # unsat is sound, sat may be spurious


@dataclass(frozen=True, slots=True)
class Query:
    """Is there an x in the problem's region that breaks the claim at `output`, on this side?

    That is `side * (quantized - reference)[output] > bound` for an error bound; for a constraint, of whose cases
    `output` is one, all its inequalities. `inequalities` says it for either.
    `facts` hold on that region; an encoding may use any of them, and need use none.
    """

    problem: Problem
    output: int
    side: Literal[-1, 1]
    facts: Facts

    @property
    def bound(self) -> Fraction:
        return self.problem.claim.of(self.output)

    @property
    def inequalities(self) -> tuple[Inequality, ...]:
        """All of them hold at a solution, and only there."""
        claim = self.problem.claim
        if isinstance(claim, OutputConstraint):
            return claim.cases[self.output]
        return (Inequality(self.output, self.side, self.bound, strict=True),)

    def is_solution(self, differences: Differences) -> bool:
        """Do all inequalities certainly hold where the outputs differ by that much?"""
        return all(part.certainly(differences) for part in self.inequalities)

    @property
    def measure(self) -> str:
        """What the query is about, in a word."""
        return "difference" if isinstance(self.problem.claim, ErrorBound) else "measure of the case"

    def __str__(self) -> str:
        if isinstance(self.problem.claim, OutputConstraint):
            return " and ".join(map(str, self.inequalities))
        sign = ">" if self.side > 0 else "< -"
        return f"difference[{self.output}] {sign} {self.bound}"


@dataclass(frozen=True, slots=True)
class Objective:
    """How large can `side * (quantized - reference)[output]` be in the query's region? The claim does not matter.

    Values up to `limit` are of no interest; `start` is an input to start from.
    """

    query: Query
    limit: Fraction
    start: tuple[Fraction, ...] | None = None


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


@runtime_checkable
class Configurable(Protocol):
    """What an encoding that has options offers besides; `options` says of each what it does."""

    options: Mapping[str, str]

    def with_option(self, option: str) -> Encoding:
        """The encoding with this option, under the name `encoding+option`."""
        ...


@runtime_checkable
class Optimizing(Protocol):
    """What an encoding offers besides if it can put an objective, for those of its backends that maximise."""

    def encode_objective(self, objective: Objective) -> Encoded: ...


def encodings() -> Mapping[str, Encoding]:
    """Every installed encoding by name.

    Raises:
        BackendError: when two packages claim one name.
    """
    return {name: load(name) for name in _entries()}


def load(name: str) -> Encoding:
    """The encoding of this name, which may be one with an option.

    Raises:
        BackendError: when no installed package offers it.
    """
    plain, mark, option = name.partition(OPTION)
    entries = _entries()
    if plain not in entries:
        raise BackendError(
            f"there is no encoding {plain!r}; installed are {', '.join(sorted(entries)) or 'none'}"
        )
    encoding: Encoding = entries[plain].load()()
    return _with_option(encoding, option) if mark else encoding


def _with_option(encoding: Encoding, option: str) -> Encoding:
    offered = encoding.options if isinstance(encoding, Configurable) else {}
    if not isinstance(encoding, Configurable) or option not in offered:
        known = ", ".join(offered) or "none"
        raise BackendError(f"encoding {encoding.name} has no option {option!r}; it has {known}")
    return encoding.with_option(option)


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
    """What an encoding and a backend say of a query; `witness` is claimed, not yet replayed.

    `fidelity` is that of the model which was solved, `remark` what a user should know of who solved it.
    """

    status: Status
    encoding: str
    backend: str
    seconds: float
    witness: tuple[Fraction, ...] | None = None
    reason: str | None = None
    fidelity: Fidelity = Fidelity.EXACT
    remark: str | None = None


def answer(query: Query, encoding_name: str, backend_name: str, limits: Limits) -> QueryAnswer:
    """Encode, solve and decode. Runs in a worker process."""
    return answers(query, encoding_name, (backend_name,), limits)[0]


def answers(
    query: Query, encoding_name: str, backend_names: Sequence[str], limits: Limits
) -> list[QueryAnswer]:
    """The answers of several backends to one query, which is encoded once. Runs in a worker process.

    What encoding takes is taken off each solver's time: it should end by itself, or its reasons are lost.
    """
    begun, encoding = monotonic(), load(encoding_name)
    encoded = encoding.encode(query)
    left = replace(limits, wall_s=max(STOPS_AFTER * limits.wall_s - (monotonic() - begun), LEAST_S))
    return [_solved(encoding, encoded, backend(encoding, name), left) for name in backend_names]


def _solved(encoding: Encoding, encoded: Encoded, named: Backend[Any], limits: Limits) -> QueryAnswer:
    begun = monotonic()
    solver, remark = _with_room(encoding, encoded.model, named)
    if solver is None:
        return QueryAnswer(Status.UNKNOWN, encoding.name, named.name, monotonic() - begun, reason=remark)
    found = solver.solve(encoded.model, limits)
    return QueryAnswer(
        found.status,
        encoding.name,
        solver.name,
        monotonic() - begun,
        encoded.decode(found.assignment) if found.assignment is not None else None,
        found.reason,
        getattr(encoded, "fidelity", encoding.fidelity),
        remark,
    )


def _with_room(encoding: Encoding, model: Any, named: Backend[Any]) -> tuple[Backend[Any] | None, str | None]:
    """The named backend; or, with a remark, the encoding's first one for which this model is not too large, if any."""
    excess = _excess(named, model)
    if excess is None:
        return named, None
    for other in encoding.backends():
        if other.available() is None and _excess(other, model) is None:
            return other, f"{excess}, so {other.name} solved it instead of {named.name}"
    return None, excess


def _excess(named: Backend[Any], model: Any) -> str | None:
    return named.too_large(model) if isinstance(named, SizeLimited) else None


# --- objectives ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reach:
    """What a backend says of an objective: nothing exceeds `upper`; `witness` comes far, says the solver.

    `trust` labels what `upper` rests on.
    """

    upper: Fraction | None
    witness: tuple[Fraction, ...] | None
    reason: str | None = None
    trust: str | None = None


def reach(objective: Objective, encoding_name: str, backend_name: str, limits: Limits) -> Reach:
    """Encode, maximise and decode. Runs in a worker process."""
    begun, encoding = monotonic(), load(encoding_name)
    if not isinstance(encoding, Optimizing):
        return Reach(None, None, f"encoding {encoding.name} has no objectives")
    encoded = encoding.encode_objective(objective)
    solver, excess = _with_room(encoding, encoded.model, backend(encoding, backend_name))
    if solver is None:
        return Reach(None, None, excess)
    if not isinstance(solver, Maximizer):
        return Reach(None, None, f"{solver.name} does not maximise")
    left = max(STOPS_AFTER * limits.wall_s - (monotonic() - begun), LEAST_S)
    found = solver.maximize(encoded.model, replace(limits, wall_s=left))
    witness = None if found.assignment is None else encoded.decode(found.assignment)
    return Reach(found.upper, witness, found.reason, solver.trust)
