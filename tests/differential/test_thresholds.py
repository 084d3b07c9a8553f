"""Bounds at the exact maximum of the difference, and as close as 2**-40 beside it: never a wrong verdict."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest

from qsmt.engine.campaign import Configuration, Panel, configurations
from qsmt.engine.check import check
from qsmt.engine.judge import Mark
from qsmt.engine.plan import CrossCheck, Options, Trust
from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.trial import Trial, executions, maximum, trial
from qsmt.problem import Problem
from qsmt.solver.base import Limits
from qsmt.solver.process import Worker
from qsmt.verdict import Falsified, Unknown, Verified
from tests.support.networks import Recipe, with_bound
from tests.support.networks import random_problem as from_recipe

POWERS = range(1, 41)
PANEL = Panel(configurations(), Limits(20.0))
COARSE = (0, 1, 2)
"""Seeds of problems with small denominators; numerical solvers then decide thresholds that are close."""


@cache
def problems() -> tuple[tuple[Problem, int], ...]:
    """Some problems, and the side on which there is a difference."""
    made = [from_recipe(seed, Recipe(sizes=(2, 3, 1))) for seed in COARSE]
    made += [random_problem(seed, Size.SMALL) for seed in (3, 7, 11)]
    return tuple((problem, side) for problem in made for side in (1, -1) if _reach(problem, side) > 0)


def _reach(problem: Problem, side: int) -> Fraction:
    executed = executions(problem)
    assert executed is not None
    return side * maximum(executed, 0, 1 if side > 0 else -1).difference[0]


def at(problem: Problem, side: int, offset: Fraction) -> Trial | None:
    return trial(problem, 0, 1 if side > 0 else -1, offset=offset)


def tried(power: int) -> dict[Configuration, list[Mark]]:
    """What everybody makes of the bounds 2**-power beside the maximum."""
    marks: dict[Configuration, list[Mark]] = {c: [] for c in PANEL.configurations}
    with Worker(4096) as worker:
        for problem, side in problems():
            for offset in (Fraction(1, 2**power), Fraction(-1, 2**power)):
                made = at(problem, side, offset)
                for outcome in PANEL.try_one(worker, made) if made is not None else ():
                    marks[outcome.configuration].append(outcome.judged.mark)
    return marks


@pytest.mark.parametrize("power", [10, 22, 40])
def test_nobody_is_wrong_beside_the_maximum(power: int) -> None:
    for configuration, marks in tried(power).items():
        assert Mark.WRONG not in marks
        if configuration.encoding.startswith("bitvector"):
            assert set(marks) == {Mark.RIGHT}


@pytest.mark.slow
@pytest.mark.parametrize("power", POWERS)
def test_nobody_is_wrong_however_close(power: int) -> None:
    assert all(Mark.WRONG not in marks for marks in tried(power).values())


def test_numerical_solvers_decide_what_is_not_that_close() -> None:
    assert {m for c, marks in tried(3).items() if c.encoding == "milp" for m in marks} <= {
        Mark.RIGHT,
        Mark.REFUSED,
    }


@pytest.mark.parametrize("encoding", ["bitvector", "milp", "auto"])
@pytest.mark.parametrize("power", [5, 20, 40])
def test_under_exact_trust_a_verdict_is_right_or_there_is_none(encoding: str, power: int) -> None:
    problem = from_recipe(1, Recipe(sizes=(2, 3, 1)))
    worst = max(_reach(problem, 1), _reach(problem, -1))
    options = Options(
        encoding=encoding, trust=Trust.EXACT, falsifies=False, cross_check=CrossCheck.OFF, timeout_s=60
    )
    for offset, kind in (
        (Fraction(1, 2**power), Verified),
        (Fraction(0), Verified),
        (Fraction(-1, 2**power), Falsified),
    ):
        verdict = check(with_bound(problem, worst + offset), options).verdict
        assert isinstance(verdict, kind | Unknown)
        if encoding != "milp":
            assert isinstance(verdict, kind)
        if isinstance(verdict, Verified):
            assert not any(label.startswith("milp:") for label in verdict.trust)
