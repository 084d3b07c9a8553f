"""Two solvers side by side: a head start, the first answer that counts, and nobody left running."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

import pytest

from qsmt.engine import portfolio
from qsmt.errors import SoundnessError
from qsmt.interp.replay import replay
from qsmt.solver.base import Answer, Limits, Status
from qsmt.verdict import Unknown, Verified
from tests.support.in_process import InProcessWorker
from tests.support.truth import all_points
from tests.unit.engine.test_dispatch import (
    FALSE,
    NONSENSE,
    TRUE,
    UNSAT,
    FakeBackend,
    FakeEncoding,
    decide,
    install,
)

__all__ = ["install"]  # a fixture
SILENT = Answer(Status.UNKNOWN, reason="no idea")


@dataclass
class Scripted(FakeBackend):
    """Does what it is told to before it answers."""

    before: Callable[[], Any] = bool

    def solve(self, model: Any, limits: Limits) -> Answer:
        self.before()
        return super().solve(model, limits)


class Interruptible(InProcessWorker):
    """Remembers that it was stopped."""

    stopped = threading.Event()

    def interrupt(self) -> None:
        self.stopped.set()


@pytest.fixture(autouse=True)
def _short_head_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "HEAD_START_S", 0.05)
    Interruptible.stopped = threading.Event()


def pair(first: FakeBackend, second: FakeBackend) -> tuple[FakeEncoding, FakeEncoding]:
    """Two encodings, of which the first is asked first."""
    return FakeEncoding(first, name="first"), FakeEncoding(second, name="second")


def test_a_quick_answer_asks_nobody_else(install: Any) -> None:
    def never() -> None:
        raise AssertionError("the second solver was asked")

    install(*pair(FakeBackend(UNSAT, trust="smt:a"), Scripted(UNSAT, trust="smt:b", before=never)))
    found = decide(TRUE, encoding="auto")
    assert isinstance(found, Verified) and found.trust == ("dra", "smt:a")


def test_a_slow_solver_is_joined_and_stopped_by_a_faster_one(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first waits until it is stopped: without the second there would be no end."""
    slow = Scripted(SILENT, before=lambda: Interruptible.stopped.wait(60))
    install(*pair(slow, FakeBackend(UNSAT, trust="smt:b")))
    monkeypatch.setattr(portfolio, "Worker", Interruptible)
    found = decide(TRUE, encoding="auto")
    assert isinstance(found, Verified) and found.trust == ("dra", "smt:b")
    assert Interruptible.stopped.is_set()


def test_an_answer_that_does_not_count_leaves_the_other_running(install: Any) -> None:
    """Nonsense from the second does not end the first."""
    told = threading.Event()
    first = Scripted(UNSAT, trust="smt:a", before=lambda: told.wait(60))
    install(*pair(first, Scripted(NONSENSE, before=told.set)))
    found = decide(TRUE, encoding="auto")
    assert isinstance(found, Verified) and found.trust == ("dra", "smt:a")


def test_two_that_contradict_each_other_at_once_are_an_alarm(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who is asked first is wrong; neither order nor a vote decides that."""
    point = max(all_points(FALSE), key=lambda x: abs(replay(FALSE, [x])[0].difference[0]))
    violation, joined = Answer(Status.SAT, {f"x{i}": v for i, v in enumerate(point)}), threading.Event()
    wrong = Scripted(UNSAT, trust="smt:a", before=lambda: joined.wait(60))
    install(*pair(wrong, Scripted(violation, trust="smt:b", before=joined.set)))

    def for_all(them: Any, timeout: float | None, *_: object) -> Any:
        found: Any = wait(them, timeout)
        return found._replace(done=[future for future in them if future in found.done])

    monkeypatch.setattr(portfolio, "wait", for_all)
    with pytest.raises(SoundnessError, match="one of them is wrong"):
        decide(FALSE, encoding="auto")


def test_two_that_do_not_know_are_two_reasons(install: Any) -> None:
    install(*pair(FakeBackend(SILENT), FakeBackend(Answer(Status.UNKNOWN, reason="too hard"))))
    found = decide(TRUE, encoding="auto")
    assert isinstance(found, Unknown) and "no idea" in found.reason and "too hard" in found.reason


@pytest.mark.parametrize("jobs", [1, 2])
def test_who_gives_up_early_makes_room_for_the_next(install: Any, jobs: int) -> None:
    third = FakeEncoding(FakeBackend(UNSAT, trust="smt:c"), name="third")
    install(*pair(FakeBackend(SILENT), FakeBackend(RuntimeError("segmentation fault"))), third)
    found = decide(TRUE, encoding="auto", jobs=jobs)
    assert isinstance(found, Verified) and found.trust == ("dra", "smt:c")


def test_a_short_query_keeps_most_of_its_time_for_the_second(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head start of an hour is cut to a share of the query's half second."""
    monkeypatch.setattr(portfolio, "HEAD_START_S", 3600.0)
    slow = Scripted(SILENT, before=lambda: Interruptible.stopped.wait(60))
    install(*pair(slow, FakeBackend(UNSAT, trust="smt:b")))
    monkeypatch.setattr(portfolio, "Worker", Interruptible)
    found = decide(TRUE, encoding="auto", timeout_s=2.0)
    assert isinstance(found, Verified) and found.trust == ("dra", "smt:b")


def test_with_one_job_they_take_turns(install: Any) -> None:
    seen = []
    first = Scripted(SILENT, before=lambda: seen.append("first"))
    install(*pair(first, Scripted(UNSAT, before=lambda: seen.append("second"))))
    assert isinstance(decide(TRUE, encoding="auto", jobs=1), Verified)
    assert seen[:2] == ["first", "second"]
