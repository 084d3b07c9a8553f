"""The bit-vector encoding against full enumeration: every rounding, overflow and form of network.

For each random problem, output and side, the bound is set one step below the exact maximum of the
difference, at it, and one step above it. The solver's answer must be the enumeration's, and a claimed
input must break the bound when it is replayed. "Unknown" fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

from qsmt.facts import Facts
from qsmt.problem import InputModel, Problem
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from qsmt_bitvector.backends.z3 import Z3
from tests.support.networks import Recipe, random_problem
from tests.unit.bitvector.against import (
    ENCODING,
    FACTS,
    MATRIX,
    any_case,
    facts_for,
    queries,
    random_case,
    wrong,
)
from tests.unit.milp.oracle import SIDES, Side, no_facts, query


def check(problem: Problem, facts: Facts, *, z3_every: int, sides: Sequence[Side] = SIDES) -> None:
    """bitwuzla on every query, z3 on every so many of them."""
    for i, (asked, broken) in enumerate(queries(problem, facts, sides=sides)):
        assert wrong(asked, broken=broken, backend=Bitwuzla()) is None
        if i % z3_every == 0:
            assert wrong(asked, broken=broken, backend=Z3()) is None


@pytest.mark.parametrize("index", range(len(MATRIX)))
def test_the_whole_matrix(index: int) -> None:
    problem = random_case(index)
    check(problem, facts_for(index, problem), z3_every=9, sides=SIDES[index // 4 % 2 :][:1])


@pytest.mark.parametrize("seed", range(25))
def test_networks_of_everything(seed: int) -> None:
    problem = any_case(seed)
    check(problem, FACTS[seed % 3](problem), z3_every=9, sides=SIDES[seed % 2 :][:1])


@pytest.mark.parametrize("scale", [None, Fraction(1, 255), Fraction(3, 7)])
def test_two_real_networks_on_a_grid(scale: Fraction | None) -> None:
    first = random_problem(3, Recipe(clip=Fraction(2, 3), input_scale=scale))
    second = random_problem(4, Recipe())
    problem = replace(first, quantized=replace(second.reference, name="other"))
    check(problem, no_facts(problem), z3_every=1)


def test_a_region_of_one_point() -> None:
    problem = random_problem(5, Recipe(radius=0))
    check(problem, no_facts(problem), z3_every=1)


def test_a_constant_input_is_part_of_the_witness() -> None:
    problem = random_problem(6, Recipe(radius=2))
    upper = (problem.region.lower[0], *problem.region.upper[1:])
    problem = replace(problem, region=replace(problem.region, upper=upper))
    check(problem, no_facts(problem), z3_every=1)


def test_a_continuous_region_is_refused() -> None:
    problem = random_problem(5, Recipe())
    problem = replace(problem, region=replace(problem.region, model=InputModel.CONTINUOUS))
    asked = query(problem, Fraction(1), SIDES[0], no_facts(problem))
    assert ENCODING.refuses(asked) == "the region is continuous; bit-vectors encode grids only"


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(MATRIX), 6 * len(MATRIX)))
def test_the_matrix_again_on_both_solvers(index: int) -> None:
    problem = random_case(index)
    check(problem, facts_for(index, problem), z3_every=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_more_networks_of_everything(seed: int) -> None:
    problem = any_case(seed)
    check(problem, FACTS[seed % 3](problem), z3_every=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_weights_of_all_magnitudes(seed: int) -> None:
    problem = any_case(seed, wild=True)
    check(problem, no_facts(problem), z3_every=10**9)
