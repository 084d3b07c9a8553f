"""`qsmt bound`: how far apart can the two networks be? A certified and a witnessed interval per output.

Both improve until they meet, the gap between them is small enough, or somebody stops it; what has been
certified by then stands. A gap of nothing on a grid means the exact extremes: a box is closed when its
bounds do not exceed what exact execution has reached, and a point that doubles cannot tell from that is
executed exactly.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from threading import Event
from typing import Any

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.claim import error_bound
from qsmt.engine.boxes import searchable
from qsmt.engine.branch import Search
from qsmt.engine.check import analyse
from qsmt.engine.choice import validate
from qsmt.engine.falsify import falsify
from qsmt.engine.investigation import Investigation, OutputRange, Silence, Stage, Watch
from qsmt.engine.leaves import empty
from qsmt.engine.maxima import Maxima
from qsmt.engine.optimize import optimize
from qsmt.engine.plan import MAX_PARTS, NONE, OPTIMIZED_SHARE, SEARCH_SHARE, Options
from qsmt.engine.policy import Policy
from qsmt.engine.search import crew_of, ends_in_time, figures, pursue, refusal, run_one_point, said
from qsmt.facts import Interval
from qsmt.problem import Problem

EXACT_POINTS = 4096
"""Of one piece of points, how many that tie with the extremes are executed exactly; the others keep the
error radius of their doubles, about 1e-13."""


@dataclass(frozen=True, slots=True)
class BoundResult:
    """The intervals, and why they do not meet if they do not."""

    problem: Problem
    outputs: tuple[OutputRange, ...]
    stages: tuple[Stage, ...]
    seconds: float
    reason: str | None
    trust: tuple[str, ...] = ()


@dataclass(slots=True)
class _Bounding:
    """One run of `bound`."""

    run: Investigation
    gap: Fraction
    stop: Event
    reason: str | None = None
    deadline: float = 0.0
    closed: Interval | None = None  # bounds of the claimed outputs where the search has closed all boxes
    trust: tuple[str, ...] = ()

    def search(self, run: Investigation) -> tuple[str, dict[str, Any]]:
        """Stage: search until every box is within the gap of what is witnessed."""
        if run.problem.region.points == 1:
            return run_one_point(run)
        if not searchable(run.problem.region):
            self.reason = "the region has ends beyond 2**52, which a search in doubles would miss"
            return "left out", {}
        alone = run.options.encoding == NONE or ends_in_time(run)
        self.deadline = time.monotonic() + (1.0 if alone else SEARCH_SHARE) * run.remaining_s
        policy = Policy(self._limits, self._finished, exact_points=EXACT_POINTS)
        with crew_of(run) as crew:
            found = pursue(run, policy, crew, purpose=f"bound --gap {self.gap}")
            self.closed = found.closed
            run.residual = found.residual(MAX_PARTS)
        if found.open_boxes:
            self.reason = self._why(found)
        return said(found), figures(found)

    @property
    def asks(self) -> bool:
        """Are the encodings to be asked? Where the search is not over, they may know more of what is left."""
        run = self.run
        wanted = self.reason is not None and run.options.encoding != NONE
        return wanted and not self.stop.is_set() and run.remaining_s > 0 and bool(run.residual)

    def maximize(self, run: Investigation) -> tuple[str, dict[str, Any]]:
        """Stage: what is open goes to the encodings, box by box."""
        closed = self.closed if self.closed is not None else empty(len(run.outputs))
        maxima = Maxima(run, closed, self.gap, self.stop.is_set)
        found = maxima.maximize(run)
        self.trust = tuple(maxima.trust)
        if self.stop.is_set():
            self.reason = "interrupted"
        if self._within_gap():
            self.reason = None
        return found

    def _within_gap(self) -> bool:
        limits = self._limits()
        certified = np.array([found.certified for found in self.run.outputs])
        outward = np.nextafter(limits.lower, -np.inf), np.nextafter(limits.upper, np.inf)
        return bool((certified[:, 0] >= outward[0]).all() and (certified[:, 1] <= outward[1]).all())

    def _why(self, found: Search) -> str:
        if self.stop.is_set():
            return "interrupted"
        return "time was up" if len(found.pool) else "what is open cannot be cut any further"

    def _finished(self) -> bool:
        return self.stop.is_set() or time.monotonic() > self.deadline

    def _limits(self) -> Interval:
        """What is reached already, and the gap."""
        pairs = [found.extremes for found in self.run.outputs]
        if any(pair is None for pair in pairs):
            return empty(len(pairs))
        known = [pair for pair in pairs if pair is not None]
        lower = np.array([float_up(least - self.gap) for least, _ in known])
        return Interval(lower, np.array([float_down(greatest + self.gap) for _, greatest in known]))


def bound(
    problem: Problem,
    options: Options | None = None,
    watch: Watch | None = None,
    *,
    gap: Fraction = Fraction(0),
    stop: Event | None = None,
) -> BoundResult:
    """Bound every claimed output's difference; the claim's own bounds do not matter.

    Raises:
        BackendError: the options name an encoding or a solver that cannot be used here.
        InputError: the claim is no error bound; a checkpoint cannot be written, or is none of this search.
        SoundnessError: two answers contradict each other.
    """
    error_bound(problem.claim)
    run = Investigation(problem, options or Options(), watch or Silence(), decides=False)
    validate(run.options)
    bounding = _Bounding(run, gap, stop or Event())
    run.perform(analyse, "analysis")
    run.perform(falsify, "falsification")
    if refusal(run) is not None:
        run.perform(partial(optimize, share=OPTIMIZED_SHARE, stop=bounding.stop.is_set), "relaxation")
    run.perform(bounding.search, "search")
    if bounding.asks:
        run.perform(bounding.maximize, "encodings")
    return BoundResult(
        problem,
        run.outputs,
        tuple(run.stages),
        time.monotonic() - run.started,
        bounding.reason,
        bounding.trust,
    )
