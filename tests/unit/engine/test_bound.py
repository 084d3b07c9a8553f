"""`bound` ends with the exact extremes of a grid, and what it has certified stands whenever it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from threading import Event

import pytest

from qsmt.arith.outward import float_down, float_up
from qsmt.engine import branch
from qsmt.engine.bound import BoundResult, bound
from qsmt.engine.costs import Costs
from qsmt.engine.investigation import Silence
from qsmt.engine.plan import Options
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from tests.support.networks import Recipe, random_problem
from tests.support.truth import true_range
from tests.unit.engine.test_search import MIXED, RUNNING, SPLITTING, continuous


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Callable[[Costs], None]:
    return lambda costs: monkeypatch.setattr(branch, "estimate", lambda _: costs)


def assert_holds(problem: Problem, found: BoundResult) -> None:
    """What is certified contains the truth, and what is witnessed is part of it."""
    for output in found.outputs:
        low, high = true_range(problem, output.index)
        assert output.certified[0] <= low and high <= output.certified[1]
        assert output.extremes is not None
        assert low <= output.extremes[0] and output.extremes[1] <= high


@pytest.mark.parametrize("costs", [SPLITTING, MIXED, RUNNING])
@pytest.mark.parametrize("seed", range(6))
def test_without_a_gap_the_extremes_of_a_grid_are_exact(
    seed: int, costs: Costs, cost: Callable[[Costs], None]
) -> None:
    cost(costs)
    scale = Fraction(1, 7) if seed % 2 else None
    problem = random_problem(seed, Recipe(sizes=(3, 4, 2), input_scale=scale))
    found = bound(problem, Options(jobs=1))
    assert found.reason is None
    for output in found.outputs:
        low, high = true_range(problem, output.index)
        assert output.extremes == (low, high)
        assert output.certified == (float_down(low), float_up(high))


def test_only_the_claimed_outputs_are_bounded_and_the_claims_bounds_do_not_matter() -> None:
    problem = random_problem(1, Recipe(sizes=(2, 3, 3)))
    for value in (Fraction(0), Fraction(100)):
        found = bound(replace(problem, claim=ErrorBound((2, 0), (value, value))), Options(jobs=1))
        assert [o.index for o in found.outputs] == [2, 0]
        assert [o.extremes for o in found.outputs] == [true_range(problem, i) for i in (2, 0)]


@pytest.mark.parametrize("seed", range(4))
def test_a_gap_ends_it_earlier_and_is_kept(seed: int, cost: Callable[[Costs], None]) -> None:
    cost(SPLITTING)
    problem, gap = random_problem(seed, Recipe(sizes=(3, 4, 2), radius=3)), Fraction(1, 4)
    found = bound(problem, Options(jobs=1), gap=gap)
    assert_holds(problem, found)
    for output in found.outputs:
        assert output.extremes is not None
        assert Fraction(output.certified[1]) - output.extremes[1] <= gap
        assert output.extremes[0] - Fraction(output.certified[0]) <= gap
    exact = bound(problem, Options(jobs=1))
    assert found.stages[-1].figures["boxes"] < exact.stages[-1].figures["boxes"]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_whoever_stops_it_gets_what_is_known(steps: int, cost: Callable[[Costs], None]) -> None:
    cost(SPLITTING)
    stop = Event()

    class Stopping(Silence):
        seen = 0

        def progress(self, done: float, total: float, note: str) -> None:
            self.seen += 1
            if self.seen >= steps:
                stop.set()

    if steps == 0:
        stop.set()
    problem = random_problem(2, Recipe(sizes=(3, 4, 2), radius=3))
    found = bound(problem, Options(jobs=1), Stopping(), stop=stop)
    assert found.reason == "interrupted"
    assert_holds(problem, found)


def test_time_that_is_up_is_the_reason(cost: Callable[[Costs], None]) -> None:
    cost(SPLITTING)
    problem = random_problem(2, Recipe(sizes=(3, 4, 2), radius=3))
    found = bound(problem, Options(jobs=1, timeout_s=1e-9))
    assert found.reason == "time was up"
    assert_holds(problem, found)


def test_a_grid_of_more_points_than_doubles_count_is_bounded_all_the_same() -> None:
    problem = random_problem(1, Recipe(sizes=(400, 4, 1), radius=3))
    assert (problem.region.points or 0) > 10**300
    found = bound(problem, Options(jobs=1, timeout_s=3))
    assert found.reason == "time was up"
    (output,) = found.outputs
    assert output.extremes is not None
    assert output.certified[0] <= output.extremes[0] <= output.extremes[1] <= output.certified[1]


def test_a_plateau_of_ties_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point ties with the maximum: only so many are executed exactly."""
    monkeypatch.setattr("qsmt.engine.bound.EXACT_POINTS", 8)
    problem = random_problem(1, Recipe(sizes=(2, 3, 1), input_scale=Fraction(1, 7)))
    still = replace(problem, region=Region(InputModel.GRID, problem.region.lower, problem.region.lower))
    assert bound(still, Options(jobs=1)).outputs[0].extremes == true_range(still, 0)
    found = bound(problem, Options(jobs=1))
    low, high = true_range(problem, 0)
    assert found.outputs[0].extremes == (low, high)
    assert found.outputs[0].certified[1] - float(high) < 1e-12


def test_a_continuous_region_gets_tighter_bounds_than_analysis_gives() -> None:
    problem = continuous(random_problem(1, Recipe(sizes=(2, 3, 1))))
    found = bound(problem, Options(jobs=1, timeout_s=2), gap=Fraction(1, 10))
    again = bound(problem, Options(jobs=1, timeout_s=1e-9))
    (one,), (other,) = found.outputs, again.outputs
    assert one.certified[1] - one.certified[0] < other.certified[1] - other.certified[0]
    assert (
        one.extremes is not None
        and one.certified[0] <= one.extremes[0] <= one.extremes[1] <= one.certified[1]
    )


@pytest.mark.parametrize("seed", range(4))
def test_of_reals_that_are_quantized_the_search_ends_too(seed: int) -> None:
    """Parts read one code each, so that the difference on a part is the reference's own: nothing else is left."""
    problem = continuous(random_problem(seed, Recipe(sizes=(2, 4, 2), radius=3)))
    found = bound(problem, Options(jobs=1, timeout_s=60.0, encoding="none"), gap=Fraction(1, 1000))
    assert found.reason is None
    for output in found.outputs:
        assert output.extremes is not None
        width = output.certified[1] - output.certified[0]
        assert width > 0 and width - float(output.extremes[1] - output.extremes[0]) < 0.02
