"""Replay: what both networks really compute at an input, exactly. No verdict "falsified" without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from qsmt.interp import quantized, reference
from qsmt.problem import Problem


@dataclass(frozen=True, slots=True)
class Execution:
    """One input, and both networks' exact outputs."""

    input: tuple[Fraction, ...]
    reference: tuple[Fraction, ...]
    quantized: tuple[Fraction, ...]

    @property
    def difference(self) -> tuple[Fraction, ...]:
        """Quantized minus reference, per output."""
        return tuple(q - r for q, r in zip(self.quantized, self.reference, strict=True))


def replay(problem: Problem, points: Sequence[tuple[Fraction, ...]]) -> list[Execution]:
    """Execute both networks exactly at each point, whether or not it lies in the region."""
    references = reference.run(problem.reference, [problem.reference_input(x) for x in points])
    run = reference.run if problem.quantized.is_real else quantized.run
    quantizeds = run(problem.quantized, [problem.quantized_input(x) for x in points])
    return [Execution(x, r, q) for x, r, q in zip(points, references, quantizeds, strict=True)]


def violated(problem: Problem, execution: Execution) -> int | None:
    """The output whose bound this execution exceeds the most; None if it exceeds none."""
    excess = {i: abs(execution.difference[i]) - problem.claim.of(i) for i in problem.claim.outputs}
    worst = max(excess, key=lambda i: excess[i])
    return worst if excess[worst] > 0 and problem.region.contains(execution.input) else None
