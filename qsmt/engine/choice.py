"""Which encodings and solvers can be put to a query, and who is asked first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsmt.encoding import Encoding, Query, encodings, load
from qsmt.engine.cost import estimate, size
from qsmt.engine.plan import AUTO, NONE, Options, Trust
from qsmt.errors import BackendError
from qsmt.solver.base import Backend


@dataclass(frozen=True, slots=True)
class Choice:
    """An encoding with one of its solvers."""

    encoding: Encoding
    backend: Backend[Any]

    def __str__(self) -> str:
        return f"{self.encoding.name}:{self.backend.name}"


def validate(options: Options) -> None:
    """Can the encoding and the solver that the user named be used here at all?

    Raises:
        BackendError: saying what is missing.
    """
    named = [] if options.encoding in (AUTO, NONE) else [load(options.encoding)]
    candidates = named or list(encodings().values() if options.backend is not None else ())
    refusals: list[str] = []
    usable = [candidate for encoding in candidates for candidate in _usable(encoding, options, refusals)]
    if candidates and not usable:
        raise BackendError("; ".join(refusals))


def choices(query: Query, options: Options) -> tuple[list[Choice], str]:
    """The usable solvers for a query, the best first; and why the others are not."""
    offered = encodings() if options.encoding == AUTO else {options.encoding: load(options.encoding)}
    found, refusals = list[Choice](), list[str]()
    for encoding in offered.values():
        refusal = encoding.refuses(query)
        if refusal:
            refusals.append(f"{encoding.name}: {refusal}")
        else:
            found += [Choice(encoding, b) for b in _usable(encoding, options, refusals)]
    large = size(query)
    only_exact = options.trust is Trust.EXACT

    def rank(choice: Choice) -> tuple[bool, float]:
        """Exact solvers first where only they count."""
        return only_exact and not choice.backend.exact, estimate(choice.backend, large)

    return sorted(found, key=rank), "; ".join(refusals)


def _usable(encoding: Encoding, options: Options, refusals: list[str]) -> list[Backend[Any]]:
    usable = []
    for candidate in encoding.backends():
        if options.backend not in (None, candidate.name):
            continue
        missing = candidate.available()
        if missing:
            refusals.append(f"{candidate.name}: {missing}")
        else:
            usable.append(candidate)
    if options.backend is not None and options.backend not in [b.name for b in encoding.backends()]:
        known = ", ".join(b.name for b in encoding.backends())
        refusals.append(f"encoding {encoding.name} has no backend {options.backend!r}; it has {known}")
    return usable
