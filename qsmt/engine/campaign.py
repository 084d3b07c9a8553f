"""`qsmt crosscheck`: every encoding, with every option and solver, against exact execution of all inputs.

Trials are independent of each other. Each thread puts one trial after the other to a worker process of its
own, which stays alive between them; a solver that crashes or hangs costs its worker, its answer is "unknown",
and the next trial gets a new one. Where the truth is not known because the grid is too large, a violation that
exact execution confirms convicts everybody who said that there is none.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from queue import SimpleQueue
from typing import TypeAlias

from qsmt.encoding import Configurable, Encoding, Query, QueryAnswer, answers, encodings, load
from qsmt.engine.faults import Fault
from qsmt.engine.investigation import Silence, Watch
from qsmt.engine.judge import Judged, Mark, is_violation, judge
from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.trial import Trial, around, given, unpruned
from qsmt.errors import BackendError, SoundnessError
from qsmt.problem import Problem
from qsmt.solver.base import Limits, Status
from qsmt.solver.process import CallFailed, Worker

AHEAD = 4
"""So many trials per thread are prepared before the first of them is done."""


@dataclass(frozen=True, slots=True, order=True)
class Configuration:
    """An encoding, perhaps with an option; with the facts of the analysis or without; and a solver."""

    encoding: str
    pruned: bool
    backend: str

    def __str__(self) -> str:
        return f"{self.encoding}:{self.backend}" + ("" if self.pruned else ", no facts")


def configurations(
    encoding: str | None = None, backend: str | None = None, *, fault: Fault | None = None
) -> tuple[Configuration, ...]:
    """Every combination that can be used here and sees the fault; or those of one encoding or solver.

    Raises:
        BackendError: there is none.
    """
    offered = encodings().values() if encoding is None else [load(encoding)]
    found = sorted(
        Configuration(form.name, pruned, solver.name)
        for one in offered
        for form in (_forms(one) if encoding is None else [one])
        for solver in form.backends()
        if backend in (None, solver.name) and solver.available() is None
        for pruned in (True, False)
        if pruned or fault is None or not fault.in_facts
    )
    if not found:
        wanted = ":".join(filter(None, (encoding, backend)))
        raise BackendError(f"no solver can be used here{' for ' + wanted if wanted else ''}; see qsmt doctor")
    return tuple(found)


def _forms(encoding: Encoding) -> Iterator[Encoding]:
    yield encoding
    if isinstance(encoding, Configurable):
        yield from map(encoding.with_option, encoding.options)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one trial at one configuration."""

    trial: Trial
    configuration: Configuration
    judged: Judged


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An answer that is wrong, and where it came from: the seed of a random problem, if it is one."""

    trial: Trial
    configuration: Configuration
    judged: Judged
    seed: int | None = None


@dataclass(slots=True)
class Tally:
    """How one configuration did; `first` says after how many problems it was first wrong."""

    marks: Counter[Mark] = field(default_factory=Counter)
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    first: int | None = None


@dataclass(slots=True)
class Results:
    """What a campaign found, so far."""

    tallies: dict[str, Tally]
    disagreements: list[Disagreement] = field(default_factory=list)
    problems: int = 0
    queries: int = 0
    seconds: float = 0.0

    @property
    def answers(self) -> int:
        return sum(sum(tally.marks.values()) for tally in self.tallies.values())

    @property
    def decided(self) -> int:
        return sum(tally.marks[Mark.RIGHT] for tally in self.tallies.values())

    @property
    def noticed(self) -> list[str]:
        """Who has been wrong: under a planted fault, everybody should be."""
        return [name for name, tally in self.tallies.items() if tally.first is not None]

    def add(self, seed: int | None, found: Sequence[Outcome]) -> None:
        """Count the outcomes on one problem."""
        self.problems += 1
        self.queries += len({id(outcome.trial) for outcome in found})
        for outcome in found:
            self._count(seed, outcome)

    def _count(self, seed: int | None, outcome: Outcome) -> None:
        judged, tally = outcome.judged, self.tallies[str(outcome.configuration)]
        tally.marks[judged.mark] += 1
        tally.seconds += judged.seconds
        if judged.mark in (Mark.UNKNOWN, Mark.REFUSED):
            tally.reasons[judged.reason] += 1
        if judged.mark is Mark.WRONG:
            tally.first = tally.first or self.problems
            self.disagreements.append(Disagreement(outcome.trial, outcome.configuration, judged, seed))


@dataclass(frozen=True, slots=True)
class Panel:
    """What trials are put to, and how: the limits are those of one answer."""

    configurations: tuple[Configuration, ...]
    limits: Limits
    fault: Fault | None = None

    def try_all(self, worker: Worker, trials: Iterable[Trial]) -> list[Outcome]:
        """The outcomes on the trials of one problem."""
        return [outcome for trial in trials for outcome in self.try_one(worker, trial)]

    def try_one(self, worker: Worker, trial: Trial) -> list[Outcome]:
        """The outcomes on one trial: of every configuration."""
        found: dict[Configuration, QueryAnswer | Judged] = {}
        for (encoding, pruned), group in groupby(self.configurations, lambda c: (c.encoding, c.pruned)):
            found |= self._ask(worker, trial, encoding, list(group), pruned=pruned)
        truth = trial.violated
        if truth is None:
            truth = any(_confirmed(trial.query, answer) for answer in found.values()) or None
        return [
            Outcome(trial, c, a if isinstance(a, Judged) else judge(trial, a, violated=truth))
            for c, a in found.items()
        ]

    def _ask(
        self, worker: Worker, trial: Trial, encoding: str, group: list[Configuration], *, pruned: bool
    ) -> dict[Configuration, QueryAnswer | Judged]:
        """The answers of one encoding's solvers; if one of them breaks the worker, each is asked by itself."""
        asked = trial.query if self.fault is None else self.fault.asked(trial.query)
        arguments = (asked if pruned else unpruned(asked), encoding, [c.backend for c in group], self.limits)
        begun, patience = time.monotonic(), len(group) * (self.limits.wall_s + 1)
        try:
            refusal, found = worker.call(put, arguments, timeout_s=patience)
        except SoundnessError as alarm:
            return dict.fromkeys(group, Judged(Mark.WRONG, reason=f"contradicts itself: {alarm}"))
        except CallFailed as failure:
            if len(group) == 1:
                spent = time.monotonic() - begun
                return {group[0]: Judged(Mark.UNKNOWN, spent, str(failure))}
            singly = (self._ask(worker, trial, encoding, [c], pruned=pruned) for c in group)
            return {c: a for answer in singly for c, a in answer.items()}
        if refusal is not None:
            return dict.fromkeys(group, Judged(Mark.REFUSED, reason=refusal))
        answered = found if self.fault is None else map(self.fault.answered, found)
        return dict(zip(group, answered, strict=True))


def put(
    query: Query, encoding: str, backends: Sequence[str], limits: Limits
) -> tuple[str | None, list[QueryAnswer]]:
    """Why the encoding refuses the query, or what its solvers answer. Runs in a worker process."""
    refusal = load(encoding).refuses(query)
    return refusal, [] if refusal is not None else answers(query, encoding, backends, limits)


def _confirmed(query: Query, found: QueryAnswer | Judged) -> bool:
    if isinstance(found, Judged) or found.status is not Status.SAT or found.witness is None:
        return False
    return is_violation(query, found.witness)


# --- many problems -----------------------------------------------------------------------------------------


Trials: TypeAlias = Callable[[], list[Trial]]
"""Makes the trials of one problem; it may raise what `around` raises."""

Cases: TypeAlias = Sequence[tuple[int | None, Trials]]
"""Trials with the seeds of their problems, if those are random."""


def random_cases(count: int, seed: int, size: Size) -> list[tuple[int, Trials]]:
    """Random problems, with the seeds that name them."""
    return [(number, partial(_around_random, number, size)) for number in range(seed, seed + count)]


def given_cases(problem: Problem) -> list[tuple[None, Trials]]:
    """The trials of one given problem, each a case of its own.

    Raises:
        SoundnessError: analysis excludes what happens.
    """
    return [(None, partial(list, (made,))) for made in given(problem)]


def _around_random(seed: int, size: Size) -> list[Trial]:
    return around(random_problem(seed, size), seed)


def conduct(
    panel: Panel,
    cases: Cases,
    *,
    jobs: int = 2,
    watch: Watch | None = None,
) -> Results:
    """Try all cases, in order, `jobs` at a time. Under a planted fault, until everybody has been wrong."""
    results = Results({str(c): Tally() for c in panel.configurations})
    begun, told = time.monotonic(), watch or Silence()
    with ExitStack() as stack:
        idle: SimpleQueue[Worker] = SimpleQueue()
        for _ in range(jobs):
            idle.put(stack.enter_context(Worker(panel.limits.memory_mib)))
        executor = stack.enter_context(ThreadPoolExecutor(jobs))
        for seed, outcomes in _in_order(executor, panel, idle, cases, ahead=AHEAD * jobs):
            results.add(seed, outcomes)
            results.seconds = time.monotonic() - begun
            told.progress(results.problems, len(cases), _so_far(results))
            if panel.fault is not None and len(results.noticed) == len(panel.configurations):
                break
    return results


def _so_far(results: Results) -> str:
    return f"problems, {results.answers:,} answers, {len(results.disagreements)} wrong"


def _in_order(
    executor: ThreadPoolExecutor,
    panel: Panel,
    idle: SimpleQueue[Worker],
    cases: Cases,
    *,
    ahead: int,
) -> Iterator[tuple[int | None, list[Outcome]]]:
    """The outcomes on each case, in the order of the cases; a few are under way at any time."""
    pending: deque[tuple[int | None, Future[list[Outcome]]]] = deque()
    try:
        for seed, case in cases:
            pending.append((seed, executor.submit(_tried, panel, idle, case)))
            if len(pending) >= ahead:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        for _, future in pending:
            future.cancel()


def _tried(panel: Panel, idle: SimpleQueue[Worker], case: Trials) -> list[Outcome]:
    worker = idle.get()
    try:
        return panel.try_all(worker, case())
    finally:
        idle.put(worker)
