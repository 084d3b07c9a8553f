"""Pieces of work: the same results whoever does them, and none is lost with a worker that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest

from qsmt.engine import branch, crew
from qsmt.engine.check import check
from qsmt.engine.costs import Costs
from qsmt.engine.crew import Children, Crew
from qsmt.engine.pieces import Prepared
from qsmt.engine.plan import Options
from qsmt.verdict import Falsified, Verified
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_maximum

PROBLEM = random_problem(1, Recipe())


def square(prepared: Prepared, number: int) -> int:
    """A piece of work that anybody can do."""
    assert prepared.problem.input_size == 2
    return number * number


def square_or_die(prepared: Prepared, number: int) -> int:
    """The same; but a child dies of every third number."""
    if number % 3 == 0 and os.getpid() != PARENT:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


PARENT = int(os.environ.setdefault("QSMT_TEST_PARENT", str(os.getpid())))


def pid(_: Prepared, __: int) -> int:
    return os.getpid()


@contextmanager
def children() -> Iterator[Children]:
    hired = Children(2, 4096)
    try:
        yield hired
    finally:
        hired.shutdown()


def test_results_come_in_order_from_whomever() -> None:
    with ThreadPoolExecutor(2) as threads, children() as hired:
        for executor in (None, threads, hired):
            with Crew(PROBLEM, jobs=2, memory_mib=4096, executor=executor) as made:
                assert made.map(square, range(9)) == [n * n for n in range(9)]


def test_children_are_other_processes_and_a_short_search_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with children() as hired, Crew(PROBLEM, jobs=2, memory_mib=4096, executor=hired) as made:
        assert os.getpid() not in made.map(pid, range(4))
    with Crew(PROBLEM, jobs=2, memory_mib=4096) as alone:
        assert set(alone.map(pid, range(4))) == {os.getpid()}


def test_pieces_of_killed_children_are_done_again() -> None:
    with children() as hired, Crew(PROBLEM, jobs=2, memory_mib=4096, executor=hired) as made:
        assert made.map(square_or_die, range(12)) == [n * n for n in range(12)]
        assert made.map(square, range(5)) == [n * n for n in range(5)]


def test_a_broken_executor_costs_nothing_but_time() -> None:
    class Broken(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            if args[2] > 3:
                raise BrokenExecutor
            found: Future[Any] = Future()
            found.set_exception(BrokenExecutor())
            return found

    with Crew(PROBLEM, jobs=2, memory_mib=4096, executor=Broken()) as made:
        for _ in range(5):
            assert made.map(square, range(8)) == [n * n for n in range(8)]


def test_pieces_that_the_executors_owner_calls_off_are_done_here() -> None:
    class Leaving(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            found: Future[Any] = Future()
            assert found.cancel()
            return found

    with Crew(PROBLEM, jobs=2, memory_mib=4096, executor=Leaving()) as made:
        assert made.map(square, range(8)) == [n * n for n in range(8)]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_the_verdict_is_the_same_for_any_number_of_jobs(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "HIRE_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(branch, "estimate", lambda _: Costs(3.0, 4))
    problem = random_problem(3, Recipe(sizes=(3, 4, 2), radius=3))
    worst = true_maximum(problem)
    options = Options(jobs=jobs, encoding="none", falsifies=False)
    assert isinstance(check(with_bound(problem, worst), options).verdict, Verified)
    below = check(with_bound(problem, worst - Fraction(1, 2**40)), options).verdict
    assert isinstance(below, Falsified)
    assert abs(below.witness.difference) == worst
