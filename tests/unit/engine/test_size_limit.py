"""Gurobi with a licence for small models, and no Gurobi at all: neither costs a verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from qsmt.arith.fixed import Fixed
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import answer
from qsmt.engine import portfolio
from qsmt.engine.campaign import configurations
from qsmt.engine.check import check
from qsmt.engine.plan import CrossCheck, Options
from qsmt.errors import BackendError
from qsmt.problem import Problem
from qsmt.solver.base import Limits
from qsmt.verdict import Falsified, Verified
from qsmt_milp.backends import gurobi
from qsmt_milp.backends.gurobi import GurobiBackend
from tests.support.in_process import InProcessWorker
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_range
from tests.unit.milp.oracle import query

BASE = random_problem(1, Recipe(sizes=(2, 3, 1)))
WORST = max(abs(v) for v in true_range(BASE, 0))
SOLVE = {"encoding": "milp", "cross_check": CrossCheck.OFF, "falsifies": False}


@pytest.fixture
def small_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A licence that takes next to nothing."""
    if (reason := GurobiBackend().available()) is not None:
        pytest.skip(reason)
    for place in ("qsmt_milp.backends.gurobi", "qsmt_milp.encoding"):
        monkeypatch.setattr(f"{place}.has_full_licence", lambda: False)
    monkeypatch.setattr(gurobi, "FREE_SIZE", 5)
    monkeypatch.setattr(portfolio, "Worker", InProcessWorker)


@pytest.fixture
def no_gurobi(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "gurobipy", None)
    monkeypatch.setattr(portfolio, "Worker", InProcessWorker)
    for cached in (gurobi._session, gurobi.has_full_licence):
        cached.cache_clear()
    yield
    for cached in (gurobi._session, gurobi.has_full_licence):
        cached.cache_clear()


def remarks(problem: Problem, **options: Any) -> tuple[Any, list[str], str]:
    """The verdict, what was remarked, and what the stage says to people."""
    found = check(problem, Options(**{**SOLVE, **options}))
    stage = found.stages[-1]
    return found.verdict, stage.figures["remarks"], stage.summary


def test_a_model_over_the_limit_goes_to_highs_with_one_line_saying_so(small_licence: None) -> None:
    verdict, said, summary = remarks(with_bound(BASE, WORST), backend="gurobi")
    assert isinstance(verdict, Verified) and verdict.trust == ("dra", "milp:highs")
    assert said and all(
        "over the limit of this Gurobi licence, so highs solved it instead of gurobi" in line for line in said
    )
    assert said[0] in summary


def test_a_violation_is_found_as_well(small_licence: None) -> None:
    assert isinstance(remarks(with_bound(BASE, WORST * Fraction(9, 10)), backend="gurobi")[0], Falsified)


def test_a_model_within_the_limit_stays_with_gurobi(
    small_licence: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gurobi, "FREE_SIZE", 2000)
    verdict, said, _ = remarks(with_bound(BASE, WORST), backend="gurobi")
    assert isinstance(verdict, Verified) and verdict.trust == ("dra", "milp:gurobi") and said == []


def test_with_a_full_licence_nothing_is_too_large(
    small_licence: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gurobi, "has_full_licence", lambda: True)
    verdict, said, _ = remarks(with_bound(BASE, WORST), backend="gurobi")
    assert isinstance(verdict, Verified) and verdict.trust == ("dra", "milp:gurobi") and said == []


@pytest.mark.slow
def test_a_model_that_really_is_over_the_limit() -> None:
    if (reason := GurobiBackend().available()) is not None:
        pytest.skip(reason)
    if gurobi.has_full_licence():
        pytest.skip("this Gurobi has a full licence")
    kind = Fixed(False, 8, 6)
    wide = random_problem(2, Recipe(sizes=(3, 200, 200, 1), weights=Fixed(True, 8, 6), hidden=kind))
    asked = query(wide, Fraction(1, 2), 1, analyze_region(wide))
    found = answer(asked, "milp", "gurobi", Limits(2.0))
    assert found.backend == "highs"
    assert found.remark is not None and "rows is over the limit" in found.remark


def test_without_gurobi_everything_is_decided(no_gurobi: None) -> None:
    for bound, kind in ((WORST, Verified), (WORST * Fraction(9, 10), Falsified)):
        assert isinstance(remarks(with_bound(BASE, bound))[0], kind)
    assert "gurobi" not in {c.backend for c in configurations()}


def test_without_gurobi_naming_it_is_an_error_that_says_so(no_gurobi: None) -> None:
    with pytest.raises(BackendError, match="gurobipy cannot be imported"):
        check(BASE, Options(encoding="milp", backend="gurobi"))
