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

from qsmt.interp import quantized, reference
from qsmt.interp.reference import Enclosed
from qsmt.ir.network import Network
from qsmt.problem import Problem


@dataclass(frozen=True, slots=True)
class Execution:
    """One input, and both networks' outputs.

    The difference is off by at most `radius`, one number per output; none (all zero) where it is exact.
    """

    input: tuple[Fraction, ...]
    reference: tuple[Fraction, ...]
    quantized: tuple[Fraction, ...]
    radius: tuple[Fraction, ...] | None = None

    @property
    def difference(self) -> tuple[Fraction, ...]:
        """Quantized minus reference, per output."""
        return tuple(q - r for q, r in zip(self.quantized, self.reference, strict=True))

    def range_of(self, output: int) -> tuple[Fraction, Fraction]:
        """Between which rationals the difference of an output lies; twice the same where it is exact."""
        middle = self.difference[output]
        radius = self.radius[output] if self.radius else Fraction(0)
        return middle - radius, middle + radius

    def reached(self, output: int, side: int) -> Fraction:
        """`side` times the difference of an output is at least this."""
        low, high = self.range_of(output)
        return low if side > 0 else -high

    def exceeds(self, output: int) -> Fraction:
        """The size of the difference of an output is at least this, if it is positive."""
        return max(self.reached(output, 1), self.reached(output, -1))


def replay(problem: Problem, points: Sequence[tuple[Fraction, ...]]) -> list[Execution]:
    """Execute both networks exactly at each point, whether or not it lies in the region."""
    ours = reference.enclose(problem.reference, [problem.reference_input(x) for x in points])
    theirs = _run(problem.quantized, [problem.quantized_input(x) for x in points])
    outputs = zip(points, ours.middle, theirs.middle, strict=True)
    found = [Execution(x, r, q) for x, r, q in outputs]
    radii = _sums(ours.radius, theirs.radius)
    return found if radii is None else [replace(e, radius=r) for e, r in zip(found, radii, strict=True)]


def _run(network: Network, points: Sequence[tuple[Fraction, ...]]) -> Enclosed:
    return (reference.enclose if network.is_real else quantized.enclose)(network, points)


_Radii = list[tuple[Fraction, ...]]


def _sums(a: _Radii | None, b: _Radii | None) -> _Radii | None:
    if a is None or b is None:
        return a or b
    return [tuple(map(add, *pair)) for pair in zip(a, b, strict=True)]


def keeps(problem: Problem, execution: Execution) -> bool:
    """Is it certain that this execution exceeds no bound?"""
    ranges = ((execution.range_of(i), problem.claim.of(i)) for i in problem.claim.outputs)
    return all(-bound <= low and high <= bound for (low, high), bound in ranges)


def violated(problem: Problem, execution: Execution) -> int | None:
    """The output whose bound this execution exceeds the most; None if it exceeds none, or if that is not certain."""
    excess = {i: execution.exceeds(i) - problem.claim.of(i) for i in problem.claim.outputs}
    worst = max(excess, key=lambda i: excess[i])
    return worst if excess[worst] > 0 and problem.region.contains(execution.input) else None
