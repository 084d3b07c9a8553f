"""One query, several solvers: in turn or side by side, until an answer counts.

Satisfiable is never believed before exact replay; an answer whose replay fails is "unknown". Everything
runs in killable children.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from qsmt.encoding import Query, QueryAnswer, answer, backend
from qsmt.engine.choice import Choice, choices
from qsmt.engine.crosscheck import compare
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import FIRST_SHARE, HEAD_START_S, HEAD_START_SHARE, Options, Trust
from qsmt.interp.replay import replay
from qsmt.solver.base import Backend, Limits, Status
from qsmt.solver.process import CallFailed, Worker

AT_ONCE = 2
"""Solvers that work on a query side by side."""

LEAST_S = 0.1
"""What a solver gets at least, however little time is left."""

GRACE_S = 0.3
"""What a solver may overstay, to end by itself and say why."""

STOP_AGAIN_S = 0.1
"""How long a solver that was stopped may take to notice."""

UNANSWERED = QueryAnswer(Status.UNKNOWN, "none", "none", 0.0)


class Solvers:
    """The worker processes of one run, one per solver, alive between queries.

    So are the threads that wait for them: a child is killed when the thread that started it ends.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._workers: dict[str, Worker] = {}
        self._stack = ExitStack()
        self._executor = self._stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        self._asked: dict[tuple[str, str], Backend[Any]] = {}
        self.remarks: dict[str, None] = {}  # in order, each once

    def __enter__(self) -> Solvers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, choice: Choice, query: Query, seconds: float) -> QueryAnswer:
        """The replayed answer of one solver to one query; a failure of any kind is "unknown"."""
        begun = time.monotonic()
        limits = Limits(seconds, self._options.memory_mib, seed=self._options.seed)
        arguments = (query, choice.encoding.name, choice.backend.name, limits)
        try:
            found: QueryAnswer = self._worker(str(choice)).call(
                answer, arguments, timeout_s=seconds + GRACE_S
            )
        except CallFailed as failure:
            names, reason = (choice.encoding.name, choice.backend.name), f"{choice}: {failure}"
            found = QueryAnswer(Status.UNKNOWN, *names, 0.0, reason=reason)
        if found.remark:
            self.remarks[found.remark] = None
        self._asked[choice.encoding.name, found.backend] = backend(choice.encoding, found.backend)
        return replayed(query, replace(found, seconds=time.monotonic() - begun))

    def begin(self, choice: Choice, query: Query, seconds: float) -> Future[QueryAnswer]:
        """`ask`, in another thread."""
        return self._executor.submit(self.ask, choice, query, seconds)

    def stop(self, choice: Choice) -> None:
        """From another thread: end what this solver is doing."""
        self._worker(str(choice)).interrupt()

    def backend(self, found: QueryAnswer) -> Backend[Any]:
        """Whose answer this is."""
        return self._asked[found.encoding, found.backend]

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = self._stack.enter_context(Worker(self._options.memory_mib))
        return self._workers[name]


def replayed(query: Query, found: QueryAnswer) -> QueryAnswer:
    """A satisfiable answer stands only if exact execution confirms it; otherwise nothing is known."""
    if found.status is not Status.SAT:
        return found
    if found.witness is None:
        return replace(found, status=Status.UNKNOWN, reason=f"{found.backend} gave no input with its answer")
    execution = replay(query.problem, [found.witness])[0]
    if query.is_solution(execution.difference_range) and query.problem.region.contains(found.witness):
        return found
    measure, what = execution.value(query.output), query.measure
    reason = (
        f"{found.backend} claims a violation; replayed exactly, the {what} there is only {float(measure)!r}"
    )
    return replace(found, status=Status.UNKNOWN, witness=None, reason=reason)


def decide(run: Investigation, solvers: Solvers, query: Query, share: float) -> QueryAnswer:
    """The answer of the best solver, or of those after it, within `share` seconds."""
    ranked, refusals = choices(query, run.options)
    if not ranked:
        run.reasons.append(refusals)
        return QueryAnswer(Status.UNKNOWN, "none", "none", 0.0, reason=refusals)
    ask = _side_by_side if run.options.jobs > 1 else _in_turn
    found = ask(run, solvers, query, ranked, share=share)
    if found.witness is not None:
        run.observe([found.witness])
    return found


def _in_turn(
    run: Investigation, solvers: Solvers, query: Query, ranked: Sequence[Choice], *, share: float
) -> QueryAnswer:
    """One solver after the other, while there is time."""
    begun, found = time.monotonic(), UNANSWERED
    for number, choice in enumerate(ranked):
        left = share - (time.monotonic() - begun)
        if number and left <= 0:
            break
        part = FIRST_SHARE if number == 0 and len(ranked) > 1 else 1.0
        found = _accept(run, solvers, solvers.ask(choice, query, max(part * left, LEAST_S)))
        if found.status is not Status.UNKNOWN:
            break
    return found


def _side_by_side(
    run: Investigation, solvers: Solvers, query: Query, ranked: Sequence[Choice], *, share: float
) -> QueryAnswer:
    """After a head start of the first, two at once; the first answer that counts ends the other.

    Who gives up early makes room for the next.

    Raises:
        SoundnessError: both answer in the same instant, and contradict each other.
    """
    begun, waiting = time.monotonic(), list(ranked)
    under_way: dict[Future[QueryAnswer], Choice] = {}
    found, head_start = UNANSWERED, min(HEAD_START_S, max(HEAD_START_SHARE * share, LEAST_S))
    try:
        while waiting or under_way:
            left = share - (time.monotonic() - begun)
            if waiting and len(under_way) < AT_ONCE and (left > 0 or waiting[0] is ranked[0]):
                choice = waiting.pop(0)
                under_way[solvers.begin(choice, query, max(left, LEAST_S))] = choice
            elif not under_way:
                break
            room = waiting and len(under_way) < AT_ONCE
            done, _ = wait(under_way, head_start if room else None, FIRST_COMPLETED)
            ended = [future for future in under_way if future in done]
            for future in ended:
                del under_way[future]
            answers = [_accept(run, solvers, future.result()) for future in ended]
            counting = [answer for answer in answers if answer.status is not Status.UNKNOWN]
            for second in counting[1:]:
                compare(query, counting[0], second)
            if counting:
                return counting[0]
            found = answers[-1] if answers else found
    finally:
        while wait(under_way, 0).not_done:  # again and again: one may only just be starting
            for choice in under_way.values():
                solvers.stop(choice)
            wait(under_way, STOP_AGAIN_S)
    return found


def _accept(run: Investigation, solvers: Solvers, found: QueryAnswer) -> QueryAnswer:
    """Refuse a numerical solver's "no solution" where only exact answers count; keep unknown's reason."""
    numerical = found.status is Status.UNSAT and not solvers.backend(found).exact
    if numerical and run.options.trust is Trust.EXACT:
        found = replace(
            found, status=Status.UNKNOWN, reason=f"{found.backend} finds no violation, but only numerically"
        )
    if found.status is Status.UNKNOWN:
        run.reasons.append(found.reason or f"{found.backend} does not know")
    return found
