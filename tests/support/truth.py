"""What is true of a small grid: every point executed exactly."""

from __future__ import annotations

import itertools
from fractions import Fraction

from qsmt.interp.replay import replay
from qsmt.problem import Problem


def all_points(problem: Problem) -> list[tuple[Fraction, ...]]:
    """Every input of a grid."""
    ends = zip(problem.region.lower, problem.region.upper, strict=True)
    return [tuple(map(Fraction, x)) for x in itertools.product(*(range(int(a), int(b) + 1) for a, b in ends))]


def true_range(problem: Problem, output: int) -> tuple[Fraction, Fraction]:
    """The least and the greatest difference of an output."""
    values = [e.difference[output] for e in replay(problem, all_points(problem))]
    return min(values), max(values)


def true_maximum(problem: Problem) -> Fraction:
    """The largest absolute difference of any claimed output."""
    return max(abs(v) for i in problem.claim.outputs for v in true_range(problem, i))
