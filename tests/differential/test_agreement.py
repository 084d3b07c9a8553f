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
from qsmt.encoding import Query, load
from qsmt.interp.replay import replay
from qsmt.problem import ErrorBound, Problem
from qsmt.solver.base import Limits, Status
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


@pytest.mark.parametrize("block", range(PROBLEMS // PER_TEST))
def test_all_encodings_agree_with_enumeration(block: int) -> None:
    for seed in range(block * PER_TEST, (block + 1) * PER_TEST):
        for query, violated in queries(seed):
            for encoding_name, backend_name in SOLVERS:
                encoding = load(encoding_name)
                backend = next(b for b in encoding.backends() if b.name == backend_name)
                encoded = encoding.encode(query)
                answer = backend.solve(encoded.model, LIMITS)
                where = f"seed {seed}, {encoding_name}:{backend_name}, {query}: {answer.reason}"
                assert answer.status is (Status.SAT if violated else Status.UNSAT), where
                if answer.assignment is not None:
                    x = encoded.decode(answer.assignment)
                    assert query.problem.region.contains(x), where
                    assert (
                        query.side * replay(query.problem, [x])[0].difference[query.output] > query.bound
                    ), where
