"""What a solver is to qsmt: a model goes in, sat / unsat / unknown comes out, within limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Protocol, TypeVar, runtime_checkable

M_contra = TypeVar("M_contra", contravariant=True)


class Status(StrEnum):
    """An answer. Unknown is a value, never an exception."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a solver may use: wall seconds, memory of the whole process, threads, and its random seed."""

    wall_s: float
    memory_mib: int = 4096
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A solver's answer: `assignment` with SAT, `reason` with UNKNOWN."""

    status: Status
    assignment: Mapping[str, Fraction] | None = None
    reason: str | None = None


class Backend(Protocol[M_contra]):
    """One solver behind an encoding.

    `trust` labels what an UNSAT answer rests on, such as "smt:z3"; `exact` is False where that answer
    is a numerical claim rather than a decision procedure's.
    """

    name: str
    trust: str
    exact: bool

    def available(self) -> str | None:
        """None, or the reason why this solver cannot be used here."""
        ...

    def solve(self, model: M_contra, limits: Limits) -> Answer:
        """Decide the model. May take longer than the limits allow: the caller's process is killed then."""
        ...


@runtime_checkable
class SizeLimited(Protocol[M_contra]):
    """What a backend offers besides if its licence, or its arithmetic, does not take every model."""

    def too_large(self, model: M_contra) -> str | None:
        """None, or that this model is too large, in words."""
        ...


@dataclass(frozen=True, slots=True)
class Optimum:
    """How far a model's objective goes: `upper` if the solver says that nothing exceeds it, and its best solution.

    `upper` is in the model's own numbers, with all that a solver in doubles may be off by; `reason` says why it
    is missing, or not the best solution's value.
    """

    upper: Fraction | None = None
    assignment: Mapping[str, Fraction] | None = None
    reason: str | None = None


@runtime_checkable
class Maximizer(Protocol[M_contra]):
    """What a backend offers besides if it can maximise a model's objective, and not only decide."""

    def maximize(self, model: M_contra, limits: Limits) -> Optimum:
        """The objective's maximum, or what is known of it when the time is up."""
        ...
