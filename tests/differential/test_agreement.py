"""Bit-vectors, MILP and full enumeration agree on small random problems, at and around the exact maximum."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from math import lcm
from typing import Literal

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Fidelity, Query, QueryAnswer, load
from qsmt.engine.judge import Mark, judge
from qsmt.engine.trial import Trial
from qsmt.interp.replay import replay
from qsmt.problem import ErrorBound, Problem
from qsmt.solver.base import Limits
from tests.support.networks import Recipe, random_problem

PROBLEMS = 300
PER_TEST = 10
SOLVERS = (("bitvector", "bitwuzla"), ("bitvector", "z3"), ("milp", "highs"))
LIMITS = Limits(wall_s=60)


def recipe_of(seed: int) -> Recipe:
    """1 to 3 hidden layers of 2 to 8 neurons, 2 to 5 inputs, Q from 2 to 6, every rounding."""
    rng = np.random.default_rng([seed, 1])
    bits = int(rng.integers(2, 7))
    inputs = int(rng.integers(2, 6))
    hidden = rng.integers(2, 9 - 2 * int(rng.integers(0, 3)), int(rng.integers(1, 4)))
    return Recipe(
        sizes=(inputs, *map(int, hidden), int(rng.integers(1, 3))),
        weights=Fixed(True, bits, bits - 2),
        hidden=Fixed(False, bits, bits - 2),
        rounding=list(Rounding)[seed % len(Rounding)],
        reference_frac=int(rng.integers(2, 5)),
        radius=1 if inputs > 3 else 2,
        input_scale=Fraction(1, 7) if seed % 5 == 0 else None,
    )


def worst_side(problem: Problem) -> tuple[int, Literal[-1, 1], Fraction, int]:
    """The output and side with the largest difference, that difference, and a denominator of all."""
    axes = [
        range(int(a), int(b) + 1) for a, b in zip(problem.region.lower, problem.region.upper, strict=True)
    ]
    executions = replay(problem, [tuple(map(Fraction, x)) for x in itertools.product(*axes)])
    sides: tuple[Literal[-1, 1], ...] = (-1, 1)
    maximum, output, side = max(
        (side * e.difference[i], i, side) for e in executions for i in problem.claim.outputs for side in sides
    )
    return output, side, maximum, lcm(*(d.denominator for e in executions for d in e.difference))


def queries(seed: int) -> list[tuple[Query, bool]]:
    """Below, at and above the exact maximum; and whether there is a violation."""
    problem = random_problem(seed, recipe_of(seed))
    output, side, maximum, denominator = worst_side(problem)
    gap = Fraction(1, denominator) if seed % 2 else Fraction(1, 16)
    bounds = (max(maximum - gap, Fraction(0)), maximum, maximum + gap)
    facts = analyze_region(problem)
    return [
        (Query(replace(problem, claim=ErrorBound((output,), (bound,))), output, side, facts), maximum > bound)
        for bound in bounds
    ]


def tried(query: Query, encoding_name: str, backend_name: str, *, violated: bool) -> tuple[Mark, str]:
    """What the answer is worth; only a numerical model that is not exact may not know."""
    encoding = load(encoding_name)
    backend = next(b for b in encoding.backends() if b.name == backend_name)
    encoded = encoding.encode(query)
    found = backend.solve(encoded.model, LIMITS)
    witness = encoded.decode(found.assignment) if found.assignment is not None else None
    fidelity = getattr(encoded, "fidelity", encoding.fidelity)
    answer = QueryAnswer(found.status, encoding_name, backend_name, 0.0, witness, found.reason, fidelity)
    judged = judge(Trial(query, violated), answer, violated=violated)
    unsure = fidelity is Fidelity.OVER and judged.mark is Mark.UNKNOWN
    return Mark.UNKNOWN if unsure else (
        Mark.RIGHT if judged.mark is Mark.RIGHT else Mark.WRONG
    ), judged.reason


@pytest.mark.parametrize("block", range(PROBLEMS // PER_TEST))
def test_all_encodings_agree_with_enumeration(block: int) -> None:
    marks = {name: list[Mark]() for name, _ in SOLVERS}
    for seed in range(block * PER_TEST, (block + 1) * PER_TEST):
        for query, violated in queries(seed):
            for names in SOLVERS:
                mark, reason = tried(query, *names, violated=violated)
                assert mark is not Mark.WRONG, f"seed {seed}, {':'.join(names)}, {query}: {reason}"
                marks[names[0]].append(mark)
    assert set(marks["bitvector"]) == {Mark.RIGHT}
    assert marks["milp"].count(Mark.RIGHT) >= len(marks["milp"]) / 2
