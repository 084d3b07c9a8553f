"""Annealed walks and the hunt: they stay in the region, find what is there, and a lost walker costs nothing else."""

from __future__ import annotations

import time
from concurrent.futures import Future
from fractions import Fraction
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from qsmt.arith.real import FloatArray
from qsmt.engine import annealing as walks
from qsmt.engine import check as stages
from qsmt.engine import hunt as subject
from qsmt.engine.annealing import MOVES, Annealing
from qsmt.engine.ascent import Goal
from qsmt.engine.check import check
from qsmt.engine.crew import Sealed
from qsmt.engine.falsify import _walks
from qsmt.engine.hunt import Hunt, Walk, enough, missing, open_goals, walked
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import Options
from qsmt.interp.neighbours import Neighbours, Sums
from qsmt.interp.replay import replay
from qsmt.problem import InputModel, Problem, Region
from qsmt.verdict import Falsified
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_range

SMALL = random_problem(1, Recipe(sizes=(3, 4, 2)))
WIDE = random_problem(7, Recipe(sizes=(40, 6, 1), radius=3))


def annealing(problem: Problem, seed: int = 0) -> Annealing:
    neighbours = Neighbours.of(problem)
    assert neighbours is not None
    return Annealing(problem, neighbours, seed)


def reached(problem: Problem, point: np.ndarray, goal: Goal) -> Fraction:
    """What exact execution makes of the point."""
    x = tuple(map(Fraction, point.tolist()))
    assert problem.region.contains(x)
    return replay(problem, [x])[0].difference[goal.output] * goal.side


@pytest.mark.parametrize("goal", [Goal(0, 1), Goal(0, -1), Goal(1, 1), Goal(1, -1)])
def test_one_of_a_few_walks_finds_the_extreme_of_a_small_grid_and_none_goes_beyond(goal: Goal) -> None:
    low, high = true_range(SMALL, goal.output)
    ends = [reached(SMALL, annealing(SMALL, seed).walk(goal, 200), goal) for seed in range(5)]
    assert max(ends) == (high if goal.side > 0 else -low)


def test_walks_stay_in_a_continuous_region() -> None:
    ends = (Fraction(-1, 3),) * 3, (Fraction(1, 7),) * 3
    problem = Problem(
        SMALL.reference, SMALL.quantized, Region(InputModel.CONTINUOUS, *ends), Fraction(1), SMALL.claim
    )
    point = annealing(problem).walk(Goal(0, 1), 300)
    assert (point >= float(ends[0][0])).all() and (point <= float(ends[1][0])).all()


def test_a_walk_is_a_function_of_its_seed() -> None:
    walks = [annealing(WIDE, seed).walk(Goal(0, 1), 300) for seed in (1, 1, 2)]
    assert (walks[0] == walks[1]).all() and (walks[0] != walks[2]).any()


def test_a_walk_ends_when_it_has_enough_and_when_time_is_up() -> None:
    for limits, most in (({"enough": -np.inf}, 2000), ({"deadline": time.monotonic() - 1}, 100)):
        short = annealing(WIDE)
        short.walk(Goal(0, 1), 10**9, **limits)
        assert short.evaluated < most


def test_a_walk_whose_steps_take_long_ends_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a network of millions of parameters; by a clock that shows a hundredth of a second more each time."""
    slow, differences, shown = annealing(WIDE), Neighbours.differences, count()

    def slowly(self: Neighbours, sums: Sums) -> FloatArray:
        next(shown)
        return differences(self, sums)

    monkeypatch.setattr(Neighbours, "differences", slowly)
    monkeypatch.setattr(walks, "time", SimpleNamespace(monotonic=lambda: next(shown) / 100))
    slow.walk(Goal(0, 1), 10**9, deadline=2.0)
    assert 2000 < slow.evaluated <= 200 * MOVES


def test_there_are_no_walks_after_the_deadline() -> None:
    run = Investigation(WIDE, Options(), decides=False)
    assert not list(_walks(run, annealing(WIDE), [Goal(0, 1)], time.monotonic() - 1))


def test_a_walk_that_is_stuck_is_not_waited_for() -> None:
    run = Investigation(WIDE, Options(jobs=2), decides=False)
    with Hunt(run, time.monotonic() - 10) as hunt:
        assert hunt.is_beside
        hunt._under_way = Future()
        hunt.follow()
        assert not hunt.is_beside


def test_a_longer_walk_goes_further_than_random_inputs() -> None:
    points = annealing(WIDE)._random_points(2000)
    neighbours = Neighbours.of(WIDE)
    assert neighbours is not None
    random = neighbours.differences(neighbours.sums(points))[:, 0].max()
    assert reached(WIDE, annealing(WIDE).walk(Goal(0, 1), 2000), Goal(0, 1)) > random


# --- the hunt ------------------------------------------------------------------------------------------


def hidden(problem: Problem) -> Problem:
    """Claims a little less than what a walk reaches."""
    far = reached(problem, annealing(problem, 9).walk(Goal(0, 1), 2000), Goal(0, 1))
    return with_bound(problem, far * Fraction(99, 100))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_violation_is_found_beside_the_relaxation_or_after_it(
    jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "falsify", lambda _: ("", {}))
    found = check(hidden(WIDE), Options(jobs=jobs, encoding="none", timeout_s=20.0))
    assert isinstance(found.verdict, Falsified)
    assert found.stages[-1].figures["walks"] > 0


def test_only_goals_that_may_break_the_claim_are_pursued_most_of_all_the_nearest() -> None:
    run = Investigation(with_bound(WIDE, Fraction(2)), Options())
    run.certify(np.array([-1.5]), np.array([4.0]))
    assert open_goals(run) == [Goal(0, 1)] and enough(run, Goal(0, 1)) == 2.0
    run = Investigation(with_bound(WIDE, Fraction(20)), Options())
    run.certify(np.array([-300.0]), np.array([400.0]))
    run.observe([WIDE.region.lower])
    at = float(run.outputs[0].reached[1])
    shares = [missing(run, Goal(0, side)) for side in (1, -1)]
    assert shares == pytest.approx([(20 - at) / (400 - at), (20 + at) / (300 + at)])


def test_a_walker_that_is_killed_ends_the_walks_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Investigation(WIDE, Options(jobs=2), decides=False)
    with Hunt(run, time.monotonic() + 60) as hunt:
        assert hunt.is_beside and not hunt.look()
        assert hunt._children is not None
        (worker,) = hunt._children._workers
        while worker.pid is None:
            time.sleep(0.01)
        worker.interrupt()
        while hunt.is_beside:
            assert not hunt.look()
            time.sleep(0.01)
    assert run.verdict is None


def test_a_walk_in_a_worker_is_the_walk_of_its_seed() -> None:
    walk = Walk(Goal(0, 1), 300, np.inf, np.inf, 5)
    assert (walked(Sealed.of(WIDE), walk) == annealing(WIDE, 5).walk(Goal(0, 1), 300)).all()


def test_regions_that_can_be_searched_are_not_walked() -> None:
    assert subject.neighbours_of(SMALL) is None
    assert not Hunt(Investigation(SMALL, Options()), 0.0).possible
