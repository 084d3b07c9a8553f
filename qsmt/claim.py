"""What is claimed of two networks' outputs, in one form: some measures of the outputs keep within limits.

    error-bound        a measure is one output's difference, quantized - reference; its limits are -bound and bound
    output-constraint  a measure is that of a case, a conjunction of linear inequalities of differences:

                           min over its inequalities of  side * difference[output] - bound

                       and it must not be positive: a case holds at x exactly where its measure is positive (or
                       zero, where its inequalities are not strict), and no case may hold anywhere

The second form says more than it seems to: whoever states a property puts the combinations of outputs that he
compares into the last layers of both networks (qsmt.frontend.combined), so that "difference" is any linear function
of both networks' outputs. Everything else (bounds, search, encodings, replay) only ever sees measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal, TypeAlias

from qsmt.errors import MalformedProblem

Range: TypeAlias = tuple[Fraction, Fraction]
Side: TypeAlias = Literal[-1, 1]
Differences: TypeAlias = Callable[[int], Range]
"""Between which rationals the difference of an output lies; twice the same where it is known exactly."""


LARGEST_BOUND = Fraction(2) ** 400
"""No inequality has a larger bound: measures stay within the doubles."""


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """For all x and each i of `outputs`: |quantized(x)_i - reference(x)_i| <= bound of i."""

    outputs: tuple[int, ...]
    bounds: tuple[Fraction, ...]
    sides: ClassVar[tuple[Side, ...]] = (1, -1)

    @property
    def rows(self) -> tuple[int, ...]:
        """The networks' outputs that are read."""
        return self.outputs

    def of(self, output: int) -> Fraction:
        return self.bounds[self.outputs.index(output)]

    def range_of(self, output: int, differences: Differences) -> Range:
        """The measure of an output: its difference."""
        return differences(output)

    def is_broken(self, output: int, differences: Differences) -> bool:
        """Does the difference certainly exceed its bound?"""
        low, high = differences(output)
        return max(low, -high) > self.of(output)

    def is_kept(self, output: int, differences: Differences) -> bool:
        """Is the difference certainly within its bound?"""
        low, high = differences(output)
        return -self.of(output) <= low and high <= self.of(output)

    def check(self, size: int) -> None:
        """Does it fit networks of so many outputs?

        Raises:
            MalformedProblem: it does not.
        """
        if not self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise MalformedProblem("outputs must be a list of different indices, at least one")
        if any(not 0 <= i < size for i in self.outputs):
            raise MalformedProblem(f"outputs {list(self.outputs)} are not all among 0 to {size - 1}")
        if len(self.bounds) != len(self.outputs):
            raise MalformedProblem(f"{len(self.bounds)} bounds for {len(self.outputs)} outputs")
        if any(b < 0 for b in self.bounds):
            raise MalformedProblem(f"a bound is negative: {min(self.bounds)}")


@dataclass(frozen=True, slots=True)
class Inequality:
    """`side * difference[output] > bound`; or `>= bound`, unless it is `strict`."""

    output: int
    side: Side
    bound: Fraction
    strict: bool

    def excess(self, differences: Differences) -> Range:
        """`side * difference - bound`."""
        low, high = differences(self.output)
        return (
            (low - self.bound, high - self.bound)
            if self.side > 0
            else (-high - self.bound, -low - self.bound)
        )

    def certainly(self, differences: Differences) -> bool:
        """Does it hold, wherever in their ranges the differences are?"""
        least = self.excess(differences)[0]
        return least > 0 or (least == 0 and not self.strict)

    def never(self, differences: Differences) -> bool:
        """Does it fail, wherever in their ranges the differences are?"""
        greatest = self.excess(differences)[1]
        return greatest < 0 or (greatest == 0 and self.strict)

    def __str__(self) -> str:
        sign = (">" if self.side > 0 else "<") + ("" if self.strict else "=")
        return f"difference[{self.output}] {sign} {self.side * self.bound}"


@dataclass(frozen=True, slots=True)
class OutputConstraint:
    """For no x do all inequalities of one of the `cases` hold."""

    cases: tuple[tuple[Inequality, ...], ...]
    sides: ClassVar[tuple[Side, ...]] = (1,)

    @property
    def outputs(self) -> tuple[int, ...]:
        """One measure per case."""
        return tuple(range(len(self.cases)))

    @property
    def bounds(self) -> tuple[Fraction, ...]:
        return (Fraction(0),) * len(self.cases)

    @property
    def rows(self) -> tuple[int, ...]:
        """The networks' outputs that some inequality reads, in order."""
        return tuple(sorted({part.output for case in self.cases for part in case}))

    def of(self, case: int) -> Fraction:
        """The measure of a case may not be above this."""
        return self.bounds[case]

    def is_strict(self, case: int) -> bool:
        """May the measure be zero? Only if every inequality is strict."""
        return all(part.strict for part in self.cases[case])

    def range_of(self, case: int, differences: Differences) -> Range:
        """The measure of a case."""
        found = [part.excess(differences) for part in self.cases[case]]
        return min(low for low, _ in found), min(high for _, high in found)

    def is_broken(self, case: int, differences: Differences) -> bool:
        """Do all inequalities of the case certainly hold?"""
        return all(part.certainly(differences) for part in self.cases[case])

    def is_kept(self, case: int, differences: Differences) -> bool:
        """Does one of them certainly fail?"""
        return any(part.never(differences) for part in self.cases[case])

    def check(self, size: int) -> None:
        """Does it fit networks of so many outputs?

        Raises:
            MalformedProblem: it does not.
        """
        if not self.cases or not all(self.cases):
            raise MalformedProblem("a constraint has at least one case, and a case at least one inequality")
        if any(not 0 <= row < size for row in self.rows):
            raise MalformedProblem(f"outputs {list(self.rows)} are not all among 0 to {size - 1}")
        if any(abs(part.bound) > LARGEST_BOUND for case in self.cases for part in case):
            raise MalformedProblem("a bound is not within -2**400 to 2**400")


Claim: TypeAlias = ErrorBound | OutputConstraint


def error_bound(claim: Claim) -> ErrorBound:
    """The claim, for what is done with error bounds only.

    Raises:
        MalformedProblem: it is another one.
    """
    if not isinstance(claim, ErrorBound):
        what = "is no error bound, and this command is about error bounds"
        raise MalformedProblem(what, where="property.kind", hint="use check")
    return claim
