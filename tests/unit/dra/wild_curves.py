"""Wild problems whose real networks have activations that are no clamps."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from qsmt.arith.curves import Function
from qsmt.problem import Problem
from tests.support.any_network import curved
from tests.unit.dra.wild import Style, wild_pair, wild_problem

SLOPES = (Fraction(1, 100), Fraction(1, 2), Fraction(1, 3), Fraction(1, 10**400))


def curved_pair(seed: int, style: Style, *, alike: bool = True) -> Problem:
    """Two real networks of one shape; not `alike`: every third activation of the second is another one."""
    problem, rng = wild_pair(seed, style), np.random.default_rng(seed + 1)
    ours = [choice(rng) for _ in problem.layers]
    theirs = [k if alike or rng.integers(3) else choice(rng) for k in ours]
    return replace(
        problem, reference=curved(problem.reference, ours), quantized=curved(problem.quantized, theirs)
    )


def curved_problem(seed: int, style: Style) -> Problem:
    """A real network with such activations, and an integer network with others."""
    problem, rng = wild_problem(seed, style), np.random.default_rng(seed + 1)
    return replace(problem, reference=curved(problem.reference, [choice(rng) for _ in problem.layers]))


def choice(rng: np.random.Generator) -> Function | Fraction | None:
    """A function, the slope of a leaky ReLU, or None: what the layer had."""
    slope = SLOPES[int(rng.integers(len(SLOPES)))]
    kinds: list[Function | Fraction | None] = [*Function, *Function, slope, None]
    return kinds[int(rng.integers(len(kinds)))]
