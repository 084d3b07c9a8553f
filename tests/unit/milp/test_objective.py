"""Objectives: no input exceeds what a backend says, and its best input comes that far; against enumeration."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest

from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Objective, Query
from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.trial import Trial, around
from qsmt.interp.replay import replay
from qsmt.problem import InputModel
from qsmt.solver.base import Limits, Maximizer
from qsmt_milp import MilpEncoding
from qsmt_milp.encoding import MilpEncoded
from qsmt_milp.model import THRESHOLD
from tests.unit.dra.wild import Style, points_of, wild_problem

ENCODING = MilpEncoding()
LIMITS = Limits(30.0)
CLOSE = Fraction(1, 1000)
"""The backends' bounds are raised by what doubles may be off by, which is less than this on small networks."""


def trials() -> Iterator[tuple[Trial, Fraction]]:
    """Queries of small random problems, and the exact maximum of each."""
    for seed in range(24):
        for trial in around(random_problem(seed, Size.SMALL), seed)[:1]:
            if ENCODING.refuses(trial.query) is None:
                assert trial.witness is not None
                yield trial, trial.query.side * trial.witness.difference[trial.query.output]


def backends() -> list[str]:
    return [b.name for b in ENCODING.backends() if isinstance(b, Maximizer) and b.available() is None]


def named(name: str) -> Maximizer[object]:
    found = next(b for b in ENCODING.backends() if b.name == name)
    assert isinstance(found, Maximizer)
    return found


def encoded(trial: Trial, *, limit: Fraction, start: tuple[Fraction, ...] | None = None) -> MilpEncoded:
    return ENCODING.encode_objective(Objective(trial.query, limit, start))


def reached(trial: Trial, x: tuple[Fraction, ...]) -> Fraction:
    """The side's value at an input, executed exactly."""
    return trial.query.side * replay(trial.problem, [x])[0].difference[trial.query.output]


def test_every_solver_maximises() -> None:
    assert {"highs", "certified"} <= set(backends())


@pytest.mark.parametrize("name", backends())
def test_a_maximum_that_a_presolver_got_wrong(name: str) -> None:
    """With presolving on, SCIP 10 says 0.33 where 0.49 is reached."""
    style = Style(
        (2, 3, 2), Rounding.HALF_DOWN, rational=True, model=InputModel.CONTINUOUS, exponent=2, radius=2
    )
    problem = wild_problem(1203, style)
    best = max(replay(problem, points_of(problem, 1203, 150)), key=lambda e: e.difference[0])
    made = ENCODING.encode_objective(Objective(Query(problem, 0, 1, analyze_region(problem)), Fraction(0)))
    upper = named(name).maximize(made.model, LIMITS).upper
    assert upper is None or upper >= best.difference[0]


@pytest.mark.parametrize("name", [n for n in backends() if n != "certified"])
def test_the_maximum_is_that_of_enumeration(name: str) -> None:
    for trial, maximum in trials():
        made = encoded(trial, limit=maximum - 1)
        found = named(name).maximize(made.model, LIMITS)
        assert found.reason is None and found.upper is not None and found.assignment is not None
        assert maximum <= found.upper < maximum + CLOSE
        assert maximum - CLOSE < reached(trial, made.decode(found.assignment)) <= maximum


@pytest.mark.parametrize("name", backends())
def test_from_a_start_the_maximum_is_the_same(name: str) -> None:
    for trial, maximum in trials():
        assert trial.witness is not None
        made = encoded(trial, limit=maximum, start=trial.witness.input)
        assert len(made.model.start) == trial.problem.input_size
        found = named(name).maximize(made.model, LIMITS)
        if name == "certified":
            assert found.upper in (None, maximum)
        else:
            assert found.upper is not None and maximum <= found.upper < maximum + CLOSE


def test_a_certified_bound_is_the_limit_or_nothing() -> None:
    """At the maximum it is proved; below, a solution is shown instead."""
    proved = 0
    for trial, maximum in trials():
        above = named("certified").maximize(encoded(trial, limit=maximum + CLOSE).model, LIMITS)
        below = named("certified").maximize(encoded(trial, limit=maximum - CLOSE).model, LIMITS)
        assert below.upper is None
        proved += above.upper == maximum + CLOSE
    assert proved > 10


def test_no_threshold_keeps_solutions_from_an_objective() -> None:
    for trial, maximum in trials():
        assert all(row.name != THRESHOLD for row in encoded(trial, limit=maximum).model.rows)
