"""Where a region has too many inputs to be cut, relaxations of the whole are searched for, as far as needed."""

from __future__ import annotations

from fractions import Fraction
from threading import Event
from typing import Any

import pytest

from qsmt.dra import splitting
from qsmt.dra.analysis import analyze_region
from qsmt.dra.domain import Effort, Mode
from qsmt.engine.bound import bound
from qsmt.engine.check import CheckResult, check
from qsmt.engine.plan import Options
from qsmt.problem import Problem
from qsmt.verdict import Verified
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_maximum, true_range

RECIPE = Recipe(sizes=(3, 6, 5, 1))
TINY = Fraction(1, 2**40)


@pytest.fixture(autouse=True)
def _no_region_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qsmt.engine.check.refusal", lambda run: "too many inputs")
    monkeypatch.setattr("qsmt.engine.bound.refusal", lambda run: "too many inputs")


def decided(problem: Problem) -> CheckResult:
    """By analysis and relaxation alone."""
    return check(problem, Options(encoding="none", falsifies=False, jobs=1, timeout_s=10.0))


def reach(problem: Problem, mode: Mode) -> Fraction:
    """The largest difference that an analysis cannot exclude."""
    found = analyze_region(problem, mode).difference
    return Fraction(max(-float(found.lower[0]), float(found.upper[0])))


@pytest.mark.parametrize("seed", range(4))
def test_it_proves_what_the_analysis_alone_cannot(seed: int) -> None:
    problem = random_problem(seed, RECIPE)
    between = (reach(problem, Mode.OPTIMIZED) + reach(problem, Mode.BEST)) / 2
    found = decided(with_bound(problem, between))
    assert found.verdict == Verified(("dra",))
    assert [stage.name for stage in found.stages] == ["analysis", "relaxation"]
    assert between >= true_maximum(problem)


@pytest.mark.parametrize("seed", range(4))
def test_it_never_proves_what_does_not_hold(seed: int) -> None:
    problem = random_problem(seed, RECIPE)
    found = decided(with_bound(problem, true_maximum(problem) - TINY))
    assert not isinstance(found.verdict, Verified)


def test_bound_uses_it_and_certifies_what_is_true() -> None:
    problem = random_problem(1, RECIPE)
    found = bound(problem, Options(jobs=1, timeout_s=10.0)).outputs[0]
    low, high = true_range(problem, 0)
    assert found.certified[0] <= low and high <= found.certified[1]


def test_an_interrupt_ends_it_with_what_is_known() -> None:
    problem, stop = random_problem(1, RECIPE), Event()
    stop.set()
    found = bound(problem, Options(jobs=1, timeout_s=600.0), stop=stop)
    assert found.reason == "interrupted"
    assert "relaxation" in [stage.name for stage in found.stages]


def test_a_bound_that_is_good_enough_is_not_tightened_further(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, taken, divided = random_problem(2, RECIPE), list[int](), splitting.divided

    def counted(columns: Any, nodes: Any) -> Any:
        taken.append(len(nodes))
        return divided(columns, nodes)

    monkeypatch.setattr(splitting, "divided", counted)
    best = reach(problem, Mode.BEST)
    analyze_region(problem, Mode.OPTIMIZED, effort=Effort(goal=float(best)))
    assert not taken
    facts = analyze_region(problem, Mode.OPTIMIZED, effort=Effort(goal=float(best) / 2))
    enough = len(taken)
    analyze_region(problem, Mode.OPTIMIZED)
    assert 0 < enough < len(taken) - enough
    assert facts.difference.lower[0] <= true_range(problem, 0)[0]
