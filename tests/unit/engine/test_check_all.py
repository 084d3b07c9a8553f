"""Several problems with one limit of time: who gets how much of it, and what is said of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.engine import check as module
from qsmt.engine.check import FIRST_LOOK, CheckResult, check, check_all
from qsmt.engine.plan import Options
from qsmt.problem import Problem
from qsmt.verdict import Falsified, Unknown, Verdict, Verified, Witness
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_maximum

BASE = random_problem(3, Recipe(sizes=(3, 4, 2), radius=3))
WORST = true_maximum(BASE)
EASY, HARD = with_bound(BASE, WORST), with_bound(BASE, WORST + 1)
BROKEN = Falsified(Witness((), 0, (Fraction(0),), (Fraction(1),)), Fraction(0))


@dataclass
class Script:
    """Instead of `check`: what it is asked, and what a problem turns out to be once there is enough time for it."""

    needs: dict[int, tuple[float, Verdict]]
    problems: list[Problem]
    asked: list[tuple[int, float]] = field(default_factory=list)

    def check(self, problem: Problem, options: Options, watch: Any) -> CheckResult:
        index = self.problems.index(problem)
        self.asked.append((index, options.timeout_s))
        seconds, verdict = self.needs[index]
        found = verdict if options.timeout_s >= seconds else Unknown(f"{index} is hard")
        return CheckResult(problem, found, (), (), 0.0)


def scripted(
    monkeypatch: pytest.MonkeyPatch, *needs: tuple[float, Verdict], checkpoint: Path | None = None
) -> tuple[Script, int, CheckResult]:
    problems = [with_bound(BASE, WORST + number) for number in range(len(needs))]
    script = Script(dict(enumerate(needs)), problems)
    monkeypatch.setattr(module, "check", script.check)
    return script, *check_all(problems, Options(timeout_s=100.0, checkpoint=checkpoint))


def test_a_hard_problem_does_not_keep_a_violation_of_another_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    script, index, result = scripted(monkeypatch, (40.0, Verified(("dra",))), (1.0, BROKEN))
    assert (index, result.verdict) == (1, BROKEN)
    assert [asked for asked, _ in script.asked] == [0, 1]
    assert script.asked[0][1] == pytest.approx(FIRST_LOOK * 50, rel=0.01)


def test_what_was_decided_at_first_leaves_its_share_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 of 100 seconds are more than a third, or a half."""
    easy = (1.0, Verified(("dra",)))
    script, index, result = scripted(monkeypatch, easy, (90.0, Verified(("search", "dra"))), easy)
    assert (index, result.verdict) == (2, Verified(("dra", "search")))
    assert [asked for asked, _ in script.asked] == [0, 1, 2, 1]


def test_the_first_that_stays_unknown_is_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    never = (1e9, Verified(("dra",)))
    script, index, result = scripted(monkeypatch, (1.0, Verified(("dra",))), never, never)
    assert (index, result.verdict) == (1, Unknown("1 is hard"))
    assert [asked for asked, _ in script.asked] == [0, 1, 2, 1, 2]
    assert sum(seconds for asked, seconds in script.asked if asked == 1) < 100


def test_one_problem_gets_all_the_time_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    script, _, _ = scripted(monkeypatch, (99.0, Verified(("dra",))))
    assert len(script.asked) == 1


def test_searches_that_are_kept_in_files_go_on_and_do_not_begin_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    never = (1e9, Verified(("dra",)))
    script, _, _ = scripted(monkeypatch, never, never, checkpoint=tmp_path / "c")
    assert [asked for asked, _ in script.asked] == [0, 1]


def test_together_they_say_what_each_alone_says() -> None:
    """Nothing is scripted here."""
    options = Options(jobs=1, encoding="none")
    below = with_bound(BASE, WORST - Fraction(1, 10**6))
    assert isinstance(check(EASY, options).verdict, Verified)
    _, both = check_all([EASY, HARD], options)
    assert isinstance(both.verdict, Verified)
    index, broken = check_all([EASY, below, HARD], replace(options, falsifies=False))
    assert index == 1 and isinstance(broken.verdict, Falsified)
