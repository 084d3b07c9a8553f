"""Stage of `qsmt bound`: how far the boxes go that the search left open, asked of the encodings as an objective.

Every open box, output and side is one program to be maximised, from the best input that is known. An input that
a solver names is executed exactly, and only that is witnessed. What the solver says that nothing exceeds counts
as its "no solution" does elsewhere: as numerical, unless the solver is exact; and it is labelled so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from threading import Event, Thread
from typing import Any

import numpy as np

from qsmt.arith.outward import float_up
from qsmt.encoding import Objective, Optimizing, Query, Reach, reach
from qsmt.engine.boxes import counted
from qsmt.engine.choice import Choice, choices
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import Trust
from qsmt.engine.trial import SIDES, Side
from qsmt.facts import Facts, Interval
from qsmt.interp.replay import Execution
from qsmt.problem import Problem
from qsmt.solver.base import Limits, Maximizer
from qsmt.solver.process import CallFailed, Worker

STOP_S = 0.1
"""How often it is asked whether to stop."""

GRACE_S = 0.2
"""How long after the end of all time a solver that does not stop by itself is killed."""

ROOM = Fraction(1, 2**20)
"""A solver that cannot tell the best input from a better one is asked once more, this share above it."""


@dataclass(slots=True)
class Maxima:
    """One run of the stage; `closed` bounds the claimed outputs on all of the region that is not residual."""

    run: Investigation
    closed: Interval
    gap: Fraction
    stop: Callable[[], bool]
    asked: int = 0
    trust: dict[str, None] = field(default_factory=dict)  # in order, each once
    reasons: dict[str, None] = field(default_factory=dict)
    _left: int = 0

    def maximize(self, run: Investigation) -> tuple[str, dict[str, Any]]:
        """Stage: bound every claimed output on every open box, and so on the region.

        Raises:
            SoundnessError: an execution lies outside what solvers say.
        """
        outputs, size = run.problem.claim.outputs, run.problem.reference.output.size
        ends = {1: np.full(size, np.inf), -1: np.full(size, np.inf)}
        self._left = 2 * len(outputs) * len(run.residual)
        with Worker(run.options.memory_mib) as worker:
            for (k, output), side in product(enumerate(outputs), SIDES):
                closed = float(self.closed.upper[k] if side > 0 else -self.closed.lower[k])
                found = [self._end(worker, part, output, side) for part in run.residual]
                ends[side][output] = max(closed, *map(_upward, found))
        run.certify(-ends[-1], ends[1], tuple(self.trust))
        labels = list(self.trust)
        summary = f"maximised {self.asked} times over {counted(len(run.residual))} left open"
        summary += f"; rests on {', '.join(labels)} as well" if labels else ", which proved nothing more"
        return "; ".join([summary, *self.reasons]), {"asked": self.asked, "trust": labels}

    def _end(self, worker: Worker, part: tuple[Problem, Facts], output: int, side: Side) -> Fraction | float:
        """What the side does not exceed on a part: what analysis says, or less."""
        problem, facts = part
        end: Fraction | float = side * float(
            (facts.difference.upper if side > 0 else facts.difference.lower)[output]
        )
        query = Query(problem, output, side, facts)
        best, room = self._best(output, side), Fraction(0)
        while end > best + self.gap + room and self.run.remaining_s > 0 and not self.stop():
            found = self._ask(worker, query, best + self.gap + room)
            if found.witness is not None:
                self.run.observe([found.witness])
            if found.upper is not None and found.trust is not None and found.upper < end:
                end = found.upper
                self.trust[found.trust] = None
            before, best = best, self._best(output, side)
            if best > before:
                continue
            if found.upper is not None or room:
                break
            room = ROOM * max(abs(best), Fraction(1))
        self._left -= 1
        return end

    def _ask(self, worker: Worker, query: Query, limit: Fraction) -> Reach:
        usable = [c for c in choices(query, self.run.options)[0] if self._counts(c)]
        if not usable:
            self.reasons["no solver that maximises, and counts, can be used here"] = None
            return Reach(None, None)
        choice, options = usable[0], self.run.options
        seconds = max(self.run.remaining_s / max(self._left, 1), 0.1)
        run_out = max(self.run.remaining_s, 0.1) + GRACE_S
        start = self._start(query)
        arguments = (
            Objective(query, limit, start),
            choice.encoding.name,
            choice.backend.name,
            Limits(seconds, options.memory_mib, seed=options.seed),
        )
        self.asked += 1
        try:
            with self._interruptible(worker):
                found: Reach = worker.call(reach, arguments, timeout_s=min(seconds + 1, run_out))
        except CallFailed as failure:
            found = Reach(None, None, f"{choice}: {failure}")
        if found.reason:
            self.reasons[found.reason] = None
        return found

    @contextmanager
    def _interruptible(self, worker: Worker) -> Iterator[None]:
        """While a solver works, `stop` ends its call."""
        done = Event()

        def watch() -> None:
            while not done.wait(STOP_S):
                if self.stop():
                    worker.interrupt()
                    return

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _counts(self, choice: Choice) -> bool:
        exact_enough = choice.backend.exact or self.run.options.trust is not Trust.EXACT
        return (
            exact_enough and isinstance(choice.encoding, Optimizing) and isinstance(choice.backend, Maximizer)
        )

    def _start(self, query: Query) -> tuple[Fraction, ...] | None:
        """The witness of this side, if it is in the part."""
        found = self._witness(query.output, query.side)
        inside = found is not None and query.problem.region.contains(found.input)
        return found.input if found is not None and inside else None

    def _witness(self, output: int, side: Side) -> Execution | None:
        known = next(o for o in self.run.outputs if o.index == output)
        return None if known.witnessed is None else known.witnessed[1 if side > 0 else 0]

    def _best(self, output: int, side: Side) -> Fraction:
        found = self._witness(output, side)
        assert found is not None, "falsification has run at least one input"
        return side * found.difference[output]


def _upward(end: Fraction | float) -> float:
    return end if isinstance(end, float) else float_up(end)
