"""The falsifier finds violations that are there, stays inside the region, and believes only exact replay."""

from __future__ import annotations

from fractions import Fraction

import pytest

from qsmt.arith.real import FloatArray
from qsmt.engine import falsify as subject
from qsmt.engine.falsify import falsify
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import Options
from qsmt.interp.batch import BatchInterpreter, Differences
from qsmt.problem import InputModel, Problem, Region
from qsmt.verdict import Falsified
from tests.support.networks import Recipe, random_problem, with_bound
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


def test_the_search_is_deterministic() -> None:
    problem = random_problem(2, Recipe(sizes=(4, 6, 2)))
    assert searched(problem).outputs == searched(problem).outputs
