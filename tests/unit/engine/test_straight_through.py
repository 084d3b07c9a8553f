"""Slopes straight through the roundings are slopes where nothing is rounded, and lead uphill where something is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import FloatArray
from qsmt.claim import Inequality, OutputConstraint
from qsmt.engine import falsify as falsification
from qsmt.engine import straight_through as subject
from qsmt.engine.ascent import Ascent, Goal
from qsmt.engine.falsify import falsify
from qsmt.engine.investigation import Investigation
from qsmt.engine.measures import seeds
from qsmt.engine.plan import Options
from qsmt.engine.straight_through import StraightThrough
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import InputModel, Problem
from tests.support.networks import Recipe, random_problem, with_bound

LOSSLESS = Recipe(sizes=(3, 6, 2), hidden=Fixed(False, 14, 5), output=Fixed(True, 16, 7), radius=6)
"""What the layers put out has the units of their sums, so that nothing is rounded or saturates."""

ROUNDED = Recipe(
    sizes=(40, 8, 2),
    input=Fixed(True, 8, 4),
    weights=Fixed(True, 6, 2),
    hidden=Fixed(False, 12, 4),
    reference_frac=6,
    radius=60,
)
"""What differs is the weights, so that there is a slope; and a code stands for four units of the sums."""

GOALS = [Goal(0, 1), Goal(1, -1)]


def through(problem: Problem) -> StraightThrough:
    found = StraightThrough.of(problem)
    assert found is not None
    return found


def codes(problem: Problem, count: int) -> FloatArray:
    ends = (problem.region.lower, problem.region.upper)
    lower, upper = (np.array([float(v) for v in end]) for end in ends)
    points: FloatArray = np.rint(
        lower + np.random.default_rng(5).random((count, len(lower))) * (upper - lower)
    )
    return points


def on_reals(problem: Problem) -> Problem:
    """The same, where x is real, and a code is 1/4."""
    region = replace(problem.region, model=InputModel.CONTINUOUS)
    return replace(problem, region=region, input_scale=problem.input_scale * 4)


def differs_by_secants(problem: Problem, goal: Goal, points: FloatArray, step: float) -> float:
    """The largest error of a slope, where secants to both sides agree, so that there is no kink."""
    found, run = through(problem).slopes(points, goal), BatchInterpreter(problem).run
    worst, seen = 0.0, 0
    for i in range(points.shape[1]):
        moved = [points.copy() for _ in range(2)]
        moved[0][:, i] -= step
        moved[1][:, i] += step
        below, here, above = (
            goal.side * run(p).difference[:, goal.output] for p in (moved[0], points, moved[1])
        )
        left, right = (here - below) / step, (above - here) / step
        smooth = np.isclose(left, right, rtol=0, atol=1e-9)
        seen += int(smooth.sum())
        worst = max(worst, np.abs(found[:, i] - right)[smooth].max(initial=0.0))
    assert seen > points.size / 4
    return worst


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_is_rounded_they_are_the_slopes(seed: int, goal: Goal) -> None:
    problem = random_problem(seed, LOSSLESS)
    assert differs_by_secants(problem, goal, codes(problem, 40), 1.0) < 1e-6


@pytest.mark.parametrize("goal", GOALS)
def test_on_reals_they_are_by_x_and_not_by_its_codes(goal: Goal) -> None:
    problem = on_reals(random_problem(1, LOSSLESS))
    assert differs_by_secants(problem, goal, codes(problem, 40) / 4, 1 / 4) < 1e-6


@pytest.mark.parametrize("goal", GOALS)
def test_of_two_real_networks_they_are_the_slopes(goal: Goal) -> None:
    problem, other = (random_problem(seed, LOSSLESS) for seed in (1, 2))
    pair = on_reals(problem)
    pair = replace(pair, quantized=replace(other.reference, name=pair.quantized.name))
    assert differs_by_secants(pair, goal, codes(problem, 40) / 4, 1e-5) < 1e-3


FAULTS = {
    "nothing saturates": ("_secant", lambda step, x, half, low, high: (step(x.copy()), lambda slope: slope)),
    "the slope of the output's side is forgotten": (
        "seeds",
        lambda claim, d, output: -seeds(claim, d, output),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_slopes_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, *FAULTS[fault])
    problem = random_problem(0, LOSSLESS)
    assert differs_by_secants(problem, GOALS[0], codes(problem, 40), 1.0) > 1e-3


def test_the_slope_of_a_case_is_that_of_its_inequality_with_least_to_spare() -> None:
    parts = (Inequality(0, 1, Fraction(1), strict=False), Inequality(1, -1, Fraction(1, 2), strict=True))
    claim = OutputConstraint(((parts[0],), parts))
    differences = np.array([[5.0, 1.0], [1.0, -7.0], [2.0, -1.0]])
    assert seeds(claim, differences, 0).tolist() == [[1, 0], [1, 0], [1, 0]]
    assert seeds(claim, differences, 1).tolist() == [[0, -1], [1, 0], [0, -1]]


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("seed", range(4))
def test_it_leads_uphill_through_roundings_and_stays_in_the_region(seed: int, goal: Goal) -> None:
    """Of forty inputs; further than the best of ten times as many random inputs as it runs."""
    problem = random_problem(seed, ROUNDED)
    ascent = Ascent(problem, BatchInterpreter(problem))
    starts = codes(problem, 16)
    before = starts.copy()
    end = through(problem).climb(ascent, starts, goal, rounds=48)
    assert np.array_equal(starts, before)
    assert ((ascent.lower <= end) & (end <= ascent.upper) & (end == np.rint(end))).all()
    others = codes(problem, 10 * ascent.evaluated)
    reached, best = (
        float((goal.side * ascent.differences(x)[:, goal.output]).max()) for x in (end[None], others)
    )
    assert reached > best


def test_downhill_it_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(0, ROUNDED)
    starts, goal = codes(problem, 1), GOALS[0]
    ascent = Ascent(problem, BatchInterpreter(problem))

    def reached() -> float:
        end = through(problem).climb(ascent, starts, goal, rounds=48)
        return float(ascent.differences(end[None])[0, goal.output])

    upwards = reached()
    monkeypatch.setattr(subject, "seeds", lambda claim, d, output: -seeds(claim, d, output))
    assert reached() < upwards


def test_where_sums_wrap_there_is_none() -> None:
    problem = random_problem(1, replace(ROUNDED, overflow=Overflow.WRAP))
    assert StraightThrough.of(problem) is not None  # codes may wrap: secants see it
    wide = random_problem(1, replace(ROUNDED, weights=Fixed(True, 40, 30), input=Fixed(True, 30, 8)))
    assert StraightThrough.of(wide) is None


def test_the_falsifier_of_many_inputs_begins_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(2, ROUNDED)
    asked = list[Goal]()
    climb = StraightThrough.climb

    def noted(
        self: StraightThrough, ascent: Ascent, starts: FloatArray, goal: Goal, **limits: float
    ) -> FloatArray:
        asked.append(goal)
        return climb(self, ascent, starts, goal, rounds=int(limits["rounds"]), deadline=limits["deadline"])

    monkeypatch.setattr(StraightThrough, "climb", noted)
    monkeypatch.setattr(falsification, "_ascents", lambda *_, **__: 0)
    monkeypatch.setattr(falsification, "_walks", lambda *_: iter(()))
    run = Investigation(with_bound(problem, Fraction(10**6)), Options())
    run.perform(falsify, "falsification")
    assert set(asked) == {Goal(i, side) for i in (0, 1) for side in (1, -1)}
    best = max(float(e.difference[0]) for e in run.outputs[0].witnessed or ())
    assert best > BatchInterpreter(problem).run(codes(problem, 1600)).difference[:, 0].max()
