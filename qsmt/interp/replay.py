"""Replay: what both networks really compute at an input, exactly. No verdict "falsified" without it.

Where a network has a tanh or a sigmoid, its outputs are known to some 2**-128 of what feeds them; where a runtime
sums in an order that is not known, to a code or so. Then they are held between rationals, and a violation counts
only if the whole interval exceeds the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import add

from qsmt.claim import Claim, Range
from qsmt.interp import quantized, reference
from qsmt.interp.reference import Enclosed
from qsmt.ir.network import Network
from qsmt.problem import Problem


@dataclass(frozen=True, slots=True)
class Execution:
    """One input, and both networks' outputs.

    The difference is off by at most `radius`, one number per output; none (all zero) where it is exact. Of the
    measures of `claim` (qsmt.claim) it tells the ranges; without a claim they are the outputs' differences.
    """

    input: tuple[Fraction, ...]
    reference: tuple[Fraction, ...]
    quantized: tuple[Fraction, ...]
    radius: tuple[Fraction, ...] | None = None
    claim: Claim | None = None

    @property
    def difference(self) -> tuple[Fraction, ...]:
        """Quantized minus reference, per output."""
        return tuple(q - r for q, r in zip(self.quantized, self.reference, strict=True))

    def difference_range(self, output: int) -> Range:
        """Between which rationals the difference of an output lies; twice the same where it is exact."""
        middle = self.difference[output]
        radius = self.radius[output] if self.radius else Fraction(0)
        return middle - radius, middle + radius

    def range_of(self, measure: int) -> Range:
        """Between which rationals a measure lies."""
        if self.claim is None:
            return self.difference_range(measure)
        return self.claim.range_of(measure, self.difference_range)

    def value(self, measure: int) -> Fraction:
        """The measure itself, where differences are exact; the middle of its range elsewhere."""
        low, high = self.range_of(measure)
        return (low + high) / 2

    def reached(self, measure: int, side: int) -> Fraction:
        """`side` times a measure is at least this."""
        low, high = self.range_of(measure)
        return low if side > 0 else -high

    def exceeds(self, measure: int) -> Fraction:
        """The size of a measure is at least this, if it is positive."""
        return max(self.reached(measure, 1), self.reached(measure, -1))


def replay(problem: Problem, points: Sequence[tuple[Fraction, ...]]) -> list[Execution]:
    """Execute both networks exactly at each point, whether or not it lies in the region."""
    ours = reference.enclose(problem.reference, [problem.reference_input(x) for x in points])
    theirs = enclosed(problem.quantized, [problem.quantized_input(x) for x in points])
    outputs = zip(points, ours.middle, theirs.middle, strict=True)
    found = [Execution(x, r, q, claim=problem.claim) for x, r, q in outputs]
    radii = _sums(ours.radius, theirs.radius)
    return found if radii is None else [replace(e, radius=r) for e, r in zip(found, radii, strict=True)]


def enclosed(network: Network, points: Sequence[tuple[Fraction, ...]]) -> Enclosed:
    """What a network computes at what it reads: exactly, or between rationals."""
    return (reference.enclose if network.is_real else quantized.enclose)(network, points)


_Radii = list[tuple[Fraction, ...]]


def _sums(a: _Radii | None, b: _Radii | None) -> _Radii | None:
    if a is None or b is None:
        return a or b
    return [tuple(map(add, *pair)) for pair in zip(a, b, strict=True)]


def keeps(problem: Problem, execution: Execution) -> bool:
    """Is it certain that this execution does not break the claim?"""
    claim = problem.claim
    return all(claim.is_kept(i, execution.difference_range) for i in claim.outputs)


def breaks(problem: Problem, execution: Execution, measure: int) -> bool:
    """Is it certain that this execution is one of the region, and breaks the claim at this measure?"""
    broken = problem.claim.is_broken(measure, execution.difference_range)
    return broken and problem.region.contains(execution.input)


def violated(problem: Problem, execution: Execution) -> int | None:
    """The measure that this execution exceeds the most; None if it exceeds none, or if that is not certain."""
    claim = problem.claim
    excess = {
        i: max(execution.reached(i, side) for side in claim.sides) - claim.of(i)
        for i in claim.outputs
        if breaks(problem, execution, i)
    }
    return max(excess, key=lambda i: excess[i]) if excess else None
