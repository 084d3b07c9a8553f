"""Verdicts. None can be constructed without its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias, assert_never


@dataclass(frozen=True, slots=True)
class Witness:
    """An input, what both networks compute there, and the output that differs the most.

    What they compute is exact, or (with a tanh or sigmoid) rounded so that the difference is off by at most `radius`.
    """

    input: tuple[Fraction, ...]
    output: int
    reference: tuple[Fraction, ...]
    quantized: tuple[Fraction, ...]
    radius: Fraction = Fraction(0)

    @property
    def difference(self) -> Fraction:
        """Quantized minus reference at `output`."""
        return self.quantized[self.output] - self.reference[self.output]


@dataclass(frozen=True, slots=True)
class Verified:
    """The bound holds for every input of the region; `trust` names all that this rests on."""

    trust: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.trust:
            raise ValueError("a verdict rests on something")


@dataclass(frozen=True, slots=True)
class Falsified:
    """An input of the region exceeds the bound: replayed in exact arithmetic."""

    witness: Witness
    bound: Fraction

    def __post_init__(self) -> None:
        if abs(self.witness.difference) - self.witness.radius <= self.bound:
            raise ValueError("the witness does not exceed the bound")


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not decided, and why."""

    reason: str


Verdict: TypeAlias = Verified | Falsified | Unknown


def name(verdict: Verdict) -> str:
    """As it stands in reports: "verified", "falsified" or "unknown"."""
    return type(verdict).__name__.lower()


def exit_code(verdict: Verdict) -> int:
    """The exit code of `qsmt check`: 0 verified, 1 falsified, 3 unknown."""
    match verdict:
        case Verified():
            return 0
        case Falsified():
            return 1
        case Unknown():
            return 3
    assert_never(verdict)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several verdicts, the one that counts: a violation is worse than not knowing, and that than a proof."""
    return max(verdicts, key=lambda verdict: (Verified, Unknown, Falsified).index(type(verdict)))
