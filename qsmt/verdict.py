"""Verdicts. None can be constructed without its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias, assert_never

from qsmt.claim import OutputConstraint, Range


@dataclass(frozen=True, slots=True)
class Witness:
    """An input, what both networks compute there, and the output (or the case of `constraint`) in question.

    What they compute is exact, or (with a tanh or sigmoid) rounded so that any difference is off by at most `radius`.
    """

    input: tuple[Fraction, ...]
    output: int
    reference: tuple[Fraction, ...]
    quantized: tuple[Fraction, ...]
    radius: Fraction = Fraction(0)
    constraint: OutputConstraint | None = None

    @property
    def difference(self) -> Fraction:
        """Quantized minus reference at `output`; of a constraint, the measure of its case."""
        if self.constraint is None:
            return self.difference_of(self.output)[0] + self.radius
        low, high = self.constraint.range_of(self.output, self.difference_of)
        return (low + high) / 2

    def difference_of(self, output: int) -> Range:
        """Quantized minus reference: between which rationals it lies."""
        middle = self.quantized[output] - self.reference[output]
        return middle - self.radius, middle + self.radius


@dataclass(frozen=True, slots=True)
class Verified:
    """The bound holds for every input of the region; `trust` names all that this rests on."""

    trust: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.trust:
            raise ValueError("a verdict rests on something")


@dataclass(frozen=True, slots=True)
class Falsified:
    """An input of the region breaks the claim: replayed in exact arithmetic. `bound` is that of its measure."""

    witness: Witness
    bound: Fraction

    def __post_init__(self) -> None:
        witness, constraint = self.witness, self.witness.constraint
        if constraint is None and abs(witness.difference) - witness.radius <= self.bound:
            raise ValueError("the witness does not exceed the bound")
        if constraint is not None and not constraint.is_broken(witness.output, witness.difference_of):
            raise ValueError("not all inequalities of the case hold at the witness")


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
