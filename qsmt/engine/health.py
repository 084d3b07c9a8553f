"""What works on this machine: versions, encodings, and their solvers."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from qsmt.encoding import encodings


@dataclass(frozen=True, slots=True)
class SolverHealth:
    """One solver behind one encoding; `missing` says why it cannot be used, None that it can."""

    encoding: str
    backend: str
    exact: bool
    missing: str | None


def solvers() -> tuple[SolverHealth, ...]:
    """Every solver of every installed encoding."""
    return tuple(
        SolverHealth(name, solver.name, solver.exact, solver.available())
        for name, encoding in encodings().items()
        for solver in encoding.backends()
    )


def machine() -> str:
    """The interpreter and the platform, in a few words."""
    return f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
