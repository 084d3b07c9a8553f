"""The falsifier finds violations that are there, stays inside the region, and believes only exact replay."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.real import FloatArray
from qsmt.engine import falsify as subject
from qsmt.engine.ascent import Ascent, Goal
from qsmt.engine.check import analyse
from qsmt.engine.falsify import _corners, _samples, falsify
from qsmt.engine.investigation import Investigation
from qsmt.engine.parts import Asking, constraint
from qsmt.engine.plan import Options
from qsmt.frontend.combined import OutputInequality
from qsmt.interp.batch import BatchInterpreter, Differences
from qsmt.problem import InputModel, Problem, Region
from qsmt.verdict import Falsified
from tests.support.networks import Recipe, random_problem, reference_network, with_bound
from tests.support.truth import true_range


def searched(problem: Problem) -> Investigation:
    run = Investigation(problem, Options())
    run.perform(falsify, "falsification")
    return run


@pytest.mark.parametrize("seed", range(10))
def test_the_maximum_of_a_small_grid_is_found(seed: int) -> None:
    problem = random_problem(seed, Recipe(sizes=(3, 4, 2)))
    worst = max(abs(v) for i in range(2) for v in true_range(problem, i))
    run = searched(with_bound(problem, worst))
    assert run.verdict is None
    reached = [abs(e.difference[o.index]) for o in run.outputs for e in o.witnessed or ()]
    assert max(reached) == worst


@pytest.mark.parametrize("seed", range(4))
def test_continuous_witnesses_lie_in_the_region_though_its_ends_are_no_doubles(seed: int) -> None:
    problem = random_problem(seed, Recipe())
    low, high = (Fraction(1, 3), Fraction(-1, 7)), (Fraction(1, 3), Fraction(2, 7))
    region = Region(InputModel.CONTINUOUS, low, high)
    run = searched(Problem(problem.reference, problem.quantized, region, Fraction(1), problem.claim))
    pair = run.outputs[0].witnessed
    assert pair is not None
    assert all(region.contains(e.input) for e in pair)
    assert isinstance(run.verdict, Falsified) == any(e.difference[0] != 0 for e in pair)


def test_a_violation_seen_only_in_doubles_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hallucinating(BatchInterpreter):
        def run(self, points: FloatArray) -> Differences:
            found = super().run(points)
            return Differences(found.reference, found.quantized, found.difference + 100.0, found.radius)

    monkeypatch.setattr(subject, "BatchInterpreter", Hallucinating)
    assert searched(with_bound(random_problem(1, Recipe()), Fraction(50))).verdict is None


def test_an_ascent_starts_in_the_corner_that_the_linear_forms_point_to() -> None:
    """Of forty inputs, random samples find no corner; the difference is nearly linear there."""
    problem = random_problem(3, Recipe(sizes=(40, 6, 1), radius=3))
    with_forms, without = Investigation(problem, Options()), Investigation(problem, Options())
    with_forms.perform(analyse, "analysis")
    form = with_forms.facts.form if with_forms.facts else None
    assert form is not None
    ascent = Ascent(problem, BatchInterpreter(problem))
    corners = _corners(with_forms, ascent)
    assert _corners(without, ascent).shape == (0, 40)
    assert ((corners == ascent.lower) | (corners == ascent.upper)).all()
    slopes = [form.upper[0], -form.lower[0]]
    for corner, slope in zip(corners, slopes, strict=True):
        assert slope @ corner >= max(slope @ x for x in _samples(ascent, np.random.default_rng(0)))


@pytest.mark.parametrize("sizes", [(3, 4, 2), (40, 6, 2)])
def test_an_ascent_never_goes_down_and_stays_in_the_region(sizes: tuple[int, ...]) -> None:
    problem = random_problem(5, Recipe(sizes=sizes))
    ascent = Ascent(problem, BatchInterpreter(problem))
    for start in _samples(ascent, np.random.default_rng(1))[:8]:
        for goal in (Goal(1, 1), Goal(0, -1)):
            end = ascent.climb(start, goal)
            before, after = ascent.differences(np.array([start, end]))[:, goal.output] * goal.side
            assert after >= before
            assert ((ascent.lower <= end) & (end <= ascent.upper) & (end == np.rint(end))).all()


def test_the_search_is_deterministic() -> None:
    problem = random_problem(2, Recipe(sizes=(4, 6, 2)))
    assert searched(problem).outputs == searched(problem).outputs


WIDTH = 2.0**-12


def spike(at: float) -> Problem:
    """One output that is zero but for a tent around a point, and may not exceed half of the tent's height."""
    first = np.ones((3, 1)), -np.array([at, at + WIDTH, at + 2 * WIDTH])
    network = reference_network([first, (np.array([[1.0, -2.0, 1.0]]), np.zeros(1))])
    region = Region(InputModel.CONTINUOUS, (Fraction(0),), (Fraction(1),))
    case = (OutputInequality.of({0: Fraction(1)}, {}, Fraction(WIDTH / 2), strict=True),)
    return constraint((case,), Asking(network, None, region, Fraction(1)), statement="no spike").problem


def test_a_case_that_holds_in_a_small_place_only_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """All around it the output is constant, so that no ascent leads there."""
    monkeypatch.setattr(subject, "FALSIFIER_SECONDS", 60.0)
    monkeypatch.setattr(subject, "FALSIFIER_SHARE", 1.0)  # however slow the machine is
    places = [i / 16 + 0.01 for i in range(16)]
    assert all(isinstance(searched(spike(at)).verdict, Falsified) for at in places)
    monkeypatch.setattr(subject, "SCATTERED", 0)
    assert sum(isinstance(searched(spike(at)).verdict, Falsified) for at in places) < 8
