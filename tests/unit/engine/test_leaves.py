"""Running points: every point of some boxes is listed once, and what doubles cannot tell stays doubtful."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.real import FloatArray
from qsmt.claim import ErrorBound
from qsmt.dra.domain import Boxes
from qsmt.engine.leaves import Seen, best, combined, extremes, grid_points, sweep
from qsmt.engine.policy import claim_limits
from qsmt.interp.batch import BatchInterpreter, Differences
from tests.support.networks import Recipe, random_problem
from tests.support.truth import true_maximum


@pytest.mark.parametrize("seed", range(20))
def test_stretches_list_every_point_of_every_box_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lower = rng.integers(-5, 5, (4, 3)).astype(np.float64)
    upper = lower + rng.integers(0, 4, lower.shape)
    expected = [
        p
        for a, b in zip(lower, upper, strict=True)
        for p in itertools.product(*(np.arange(x, y + 1).tolist() for x, y in zip(a, b, strict=True)))
    ]
    step = int(rng.integers(1, 9))
    found = [grid_points(lower, upper, start, start + step) for start in range(0, len(expected), step)]
    assert [tuple(p) for p in np.concatenate(found).tolist()] == expected


def claimed(outputs: list[int]) -> ErrorBound:
    return ErrorBound(tuple(outputs), (Fraction(0),) * len(outputs))


def test_many_coordinates_of_which_few_vary_are_no_trouble() -> None:
    lower = np.full((1, 784), 5.0)
    upper = lower.copy()
    upper[0, [3, 700]] = 6, 7
    assert grid_points(lower, upper, 0, 100).shape == (6, 784)


def test_a_radius_that_is_dropped_would_miss_a_violation_smaller_than_a_double() -> None:
    """The float values alone do not tell a maximum from a bound just below it; the radius does."""

    class Overconfident(BatchInterpreter):
        def run(self, points: FloatArray) -> Differences:
            found = super().run(points)
            return replace(
                found, difference=found.difference * (1 - 1e-15), radius=np.zeros_like(found.radius)
            )

    problem = random_problem(4, Recipe(sizes=(2, 3, 1), input_scale=Fraction(1, 7)))
    limits = claim_limits([true_maximum(problem) - Fraction(1, 10**30)])
    root = Boxes.of_region(problem.region)
    points = grid_points(root.lower, root.upper, 0, 10**4)
    assert len(sweep(BatchInterpreter(problem), points, claim=claimed([0]), limits=limits).doubtful) > 0
    assert len(sweep(Overconfident(problem), points, claim=claimed([0]), limits=limits).doubtful) == 0


def test_a_double_that_overflowed_leaves_the_point_to_exact_execution() -> None:
    """An infinite radius says nothing; in particular it does not say that the bound holds."""

    class Overflowing(BatchInterpreter):
        def run(self, points: FloatArray) -> Differences:
            found = super().run(points)
            return replace(found, difference=found.difference * 0, radius=np.full_like(found.radius, np.inf))

    interpreter = Overflowing(random_problem(4, Recipe(sizes=(2, 3, 2))))
    points = np.array([[0.0, 1.0], [1.0, 1.0]])
    for outputs, bounds in (([0, 1], [Fraction(100)] * 2), ([1], [Fraction(10) ** 400])):
        found = sweep(interpreter, points, claim=claimed(outputs), limits=claim_limits(bounds))
        assert len(found.doubtful) == len(points)


def test_several_sweeps_are_what_one_sweep_of_all_points_is() -> None:
    problem = random_problem(3, Recipe(sizes=(2, 3, 2)))
    interpreter, limits = BatchInterpreter(problem), claim_limits([Fraction(1, 4)] * 2)
    points = np.random.default_rng(0).integers(-8, 8, (40, 2)).astype(np.float64)

    whole = sweep(interpreter, points, claim=claimed([0, 1]), limits=limits)
    parts = combined(
        sweep(interpreter, points[i : i + 10], claim=claimed([0, 1]), limits=limits) for i in range(0, 40, 10)
    )
    assert np.array_equal(parts.seen.values, whole.seen.values)
    assert np.array_equal(parts.doubtful, whole.doubtful)
    assert 0 < len(parts.doubtful) < 40
    for a, b in ((parts.settled, whole.settled), (parts.bounds, whole.bounds)):
        assert np.allclose(a.lower, b.lower) and np.allclose(a.upper, b.upper)


def test_the_best_of_several_extremes() -> None:
    seen = [extremes(np.array([[float(i)]]), np.array([[float(v)]])) for i, v in enumerate((3, -2, 5))]
    found: Seen = best(seen)
    assert found.points.tolist() == [[1.0], [2.0]]
    assert found.values.tolist() == [-2.0, 5.0]
