"""Who does a search's pieces of work: this process, or the workers of an executor.

`map` is all there is: results in order, whoever did them. A piece is a function of its request alone, so a
piece that was lost with a killed worker is simply done again, here, and a verdict never depends on how many
worked, or on which of them lived.

Threads do not pay: numpy gives the interpreter's lock away for so short times that two threads were no
faster than one, while two processes were twice as fast (ACAS Xu, analysis and enumeration). Processes take
a second to start, so they are hired once a search has turned out to be long, and this process goes on
working until they are ready.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from queue import SimpleQueue
from typing import Any, TypeVar

from qsmt.engine.pieces import Prepared
from qsmt.problem import Problem
from qsmt.solver.process import CallFailed, Worker

HIRE_AFTER_SECONDS = 1.0
"""Work that is done sooner than that is done here."""

MAX_LOSSES = 10
"""After so many lost pieces, no more are given out."""

PIECE_SECONDS = 600.0
"""A piece takes a fraction of a second; who takes that long is stuck, and is killed."""

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Sealed:
    """A problem on its way to workers, who open it once."""

    key: str
    content: bytes = field(compare=False, repr=False)

    @staticmethod
    def of(problem: Problem) -> Sealed:
        """`problem`, to be sent many times."""
        content = pickle.dumps(problem)
        return Sealed(sha256(content).hexdigest(), content)


class Children(Executor):
    """An executor of killable child processes, which never import the caller's program.

    The future of a piece whose child died raises `CallFailed`; the next piece gets a new child.
    """

    def __init__(self, jobs: int, memory_mib: int) -> None:
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._workers = [Worker(memory_mib) for _ in range(jobs)]
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(jobs, "qsmt-child")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """`fn(*args)` in a child; there are no keyword arguments."""
        if kwargs:
            raise TypeError("children take no keyword arguments")
        return self._threads.submit(self._call, fn, args)

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        worker = self._free.get()
        try:
            return worker.call(fn, args, timeout_s=PIECE_SECONDS)
        finally:
            self._free.put(worker)

    def shutdown(self, *_: object, **__: object) -> None:
        """End the children, whatever they are doing; there is nothing else to wait for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            if worker.pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(worker.pid, signal.SIGKILL)  # its call fails at once
        self._threads.shutdown(wait=True)  # a worker is closed only when no thread uses it
        for worker in self._workers:
            worker.close()


class Crew:
    """Does pieces of work on one problem. A context manager: whom it hired, it sends home."""

    def __init__(
        self, problem: Problem, *, jobs: int, memory_mib: int, executor: Executor | None = None
    ) -> None:
        self.prepared = Prepared(problem)
        self.jobs = jobs
        self._memory_mib = memory_mib
        self._executor, self._hired = executor, False
        self._waking: list[Future[None]] = []
        self._worked = 0.0
        self._losses = 0

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None and self._hired:
            self._executor.shutdown()

    def map(
        self, function: Callable[[Prepared, Request], Result], requests: Sequence[Request]
    ) -> list[Result]:
        """`function` of every request, in order."""
        begun = time.monotonic()
        executor = self._at_work() if len(requests) > 1 else None
        given = [self._given(executor, function, request) for request in requests]
        results = [
            self._collected(future, function, request)
            for future, request in zip(given, requests, strict=True)
        ]
        self._worked += time.monotonic() - begun
        return results

    @cached_property
    def _sealed(self) -> Sealed:
        return Sealed.of(self.prepared.problem)

    def _given(
        self, executor: Executor | None, function: Callable[[Prepared, Request], Result], request: Request
    ) -> Future[Result] | None:
        """The piece on its way to a worker; None if nobody takes it."""
        if executor is None:
            return None
        try:
            return executor.submit(perform, self._sealed, function, request)
        except RuntimeError:  # broken, or shut down by its owner
            self._losses += 1
            return None

    def _collected(
        self,
        future: Future[Result] | None,
        function: Callable[[Prepared, Request], Result],
        request: Request,
    ) -> Result:
        """A piece's result; done here if nobody took it or it was lost with its worker."""
        if future is not None:
            try:
                return future.result()
            except (BrokenExecutor, CallFailed, CancelledError):
                self._losses += 1
        return function(self.prepared, request)

    def _at_work(self) -> Executor | None:
        """The executor, once there is one and all of its workers have shown a sign of life."""
        if self._losses > MAX_LOSSES:
            return None
        if self._executor is None and self.jobs > 1 and self._worked > HIRE_AFTER_SECONDS:
            self._executor, self._hired = Children(self.jobs, self._memory_mib), True
            self._waking = [self._executor.submit(_wake) for _ in range(self.jobs)]
        return self._executor if all(future.done() for future in self._waking) else None


def perform(sealed: Sealed, function: Callable[[Prepared, Request], Result], request: Request) -> Result:
    """One piece of work; runs in a worker."""
    return function(opened(sealed), request)


@lru_cache(maxsize=2)
def opened(sealed: Sealed) -> Prepared:
    """The problem, prepared; of the last two, once."""
    problem = pickle.loads(sealed.content)
    assert isinstance(problem, Problem)
    return Prepared(problem)


def _wake() -> None:
    """A worker imports what it needs, and shows that it is there."""
