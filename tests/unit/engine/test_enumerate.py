"""Enumeration decides a grid exactly, and its exact range is the oracle's."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.arith.real import FloatArray
from qsmt.engine import enumerate as subject
from qsmt.engine.check import _enumerable
from qsmt.engine.enumerate import _sweep, enumerate_grid, grid_points
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import Options
from qsmt.interp.batch import BatchInterpreter, Differences
from qsmt.interp.replay import replay
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.verdict import Falsified, Verified
from tests.support.networks import Recipe, random_problem, with_bound

TINY = Fraction(1, 2**40)


def all_points(problem: Problem) -> list[tuple[Fraction, ...]]:
    axes = [
        range(int(a), int(b) + 1) for a, b in zip(problem.region.lower, problem.region.upper, strict=True)
    ]
    return [tuple(map(Fraction, x)) for x in itertools.product(*axes)]


def true_range(problem: Problem, output: int) -> tuple[Fraction, Fraction]:
    values = [e.difference[output] for e in replay(problem, all_points(problem))]
    return min(values), max(values)


def enumerated(problem: Problem, *, jobs: int = 2) -> Investigation:
    run = Investigation(problem, Options(jobs=jobs))
    run.perform(enumerate_grid, "enumeration")
    return run


@pytest.mark.parametrize("seed", range(8))
def test_the_range_is_exact_and_the_verdict_is_right_on_both_sides_of_the_maximum(seed: int) -> None:
    recipe = Recipe(sizes=(3, 4, 2), input_scale=Fraction(1, 7) if seed % 2 else None)
    problem = random_problem(seed, recipe)
    worst = max(abs(v) for i in range(2) for v in true_range(problem, i))
    run = enumerated(with_bound(problem, worst))
    assert isinstance(run.verdict, Verified)
    for found in run.outputs:
        low, high = true_range(problem, found.index)
        assert found.witnessed is not None
        assert [e.difference[found.index] for e in found.witnessed] == [low, high]
        assert found.certified[0] <= low
        assert high <= found.certified[1]
        assert found.certified[1] - found.certified[0] <= float(high - low) + 1e-12
    below = enumerated(with_bound(problem, worst - TINY))
    assert isinstance(below.verdict, Falsified)
    assert abs(below.verdict.witness.difference) == worst


def test_one_job_and_two_give_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CHUNK_VALUES", 256)
    problem = random_problem(3, Recipe(sizes=(4, 4, 2), radius=3, input=Fixed(True, 6, 4)))
    one, two = (enumerated(with_bound(problem, Fraction(100)), jobs=jobs) for jobs in (1, 2))
    assert one.outputs == two.outputs


def test_a_radius_that_is_dropped_would_miss_a_violation_smaller_than_a_double() -> None:
    """The float values alone do not tell a maximum from a bound just below it; the radius does."""

    class Overconfident(BatchInterpreter):
        def run(self, points: FloatArray) -> Differences:
            found = super().run(points)
            return replace(
                found, difference=found.difference * (1 - 1e-15), radius=np.zeros_like(found.radius)
            )

    problem = random_problem(4, Recipe(sizes=(2, 3, 1), input_scale=Fraction(1, 7)))
    worst = max(abs(v) for v in true_range(problem, 0))
    claimed = ErrorBound((0,), (worst - Fraction(1, 10**30),))
    points = grid_points(problem.region, 0, 10**4)
    assert len(_sweep(BatchInterpreter(problem), points, claimed).doubtful) > 0
    assert len(_sweep(Overconfident(problem), points, claimed).doubtful) == 0


def test_a_double_that_overflowed_leaves_the_point_to_exact_execution() -> None:
    """An infinite radius says nothing; in particular it does not say that the bound holds."""

    class Overflowing(BatchInterpreter):
        def run(self, points: FloatArray) -> Differences:
            found = super().run(points)
            return replace(found, difference=found.difference * 0, radius=np.full_like(found.radius, np.inf))

    problem = random_problem(4, Recipe(sizes=(2, 3, 2)))
    points = grid_points(problem.region, 0, 10**4)
    for claim in (ErrorBound((0, 1), (Fraction(100), Fraction(100))), ErrorBound((1,), (Fraction(10**6),))):
        assert len(_sweep(Overflowing(problem), points, claim).doubtful) == len(points)


def test_a_continuous_region_of_one_point_is_executed() -> None:
    problem = random_problem(5, Recipe())
    region = Region(InputModel.CONTINUOUS, (Fraction(1, 3), Fraction(1, 7)), (Fraction(1, 3), Fraction(1, 7)))
    point = Problem(problem.reference, problem.quantized, region, Fraction(1), problem.claim)
    truth = abs(replay(point, [region.lower])[0].difference[0])
    assert isinstance(enumerated(with_bound(point, truth)).verdict, Verified)
    assert isinstance(enumerated(with_bound(point, truth - TINY)).verdict, Falsified)


def test_grid_points_lists_every_point_once_even_with_many_fixed_coordinates() -> None:
    lower = tuple(map(Fraction, [5] * 100))
    upper = (*map(Fraction, [5] * 97), Fraction(6), Fraction(5), Fraction(7))
    region = Region(InputModel.GRID, lower, upper)
    points = np.concatenate([grid_points(region, 0, 4), grid_points(region, 4, 4)])
    assert points.shape == (6, 100)
    assert {tuple(p[[97, 98, 99]]) for p in points} == set(
        itertools.product((5.0, 6.0), (5.0,), (5.0, 6.0, 7.0))
    )


def test_time_that_is_up_leaves_the_problem_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CHUNK_VALUES", 256)
    problem = with_bound(random_problem(6, Recipe(input=Fixed(True, 6, 4), radius=16)), Fraction(100))
    run = Investigation(problem, Options(timeout_s=-1))
    run.perform(enumerate_grid, "enumeration")
    assert run.verdict is None


def test_codes_that_no_double_holds_are_not_enumerated() -> None:
    """Points are made as doubles; beyond 2**53 they would be the wrong ones."""
    wide = Recipe(input=Fixed(True, 60, 0), reference_frac=2)
    problem = random_problem(1, wide)
    assert max(map(abs, problem.region.upper)) > 2**53
    run = Investigation(problem, Options())
    assert not _enumerable(run)
    assert "2**53" in run.reasons[0]
