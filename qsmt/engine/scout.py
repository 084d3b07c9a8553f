"""From what a search has seen in doubles to exact executions: violations, and larger differences than any known.

Nothing is proved here, except what was executed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import FloatArray
from qsmt.engine.ascent import Ascent, Goal
from qsmt.engine.investigation import Investigation
from qsmt.engine.leaves import Seen, best, empty, union
from qsmt.engine.pieces import MAX_PROBED, Prepared
from qsmt.facts import Interval

PROMISING = 0.01
"""A larger difference seen in doubles is executed exactly if it closes this much of what is open."""


CLIMBS, CLIMB_ROUNDS = 2, 20
"""Ascents of each step, from the best of what it has seen: much less work than the step itself."""


@dataclass(slots=True, eq=False)
class Scout:
    """Looks closer at what a search has seen; `weight` (m,) makes the outputs' differences comparable."""

    run: Investigation
    prepared: Prepared
    limits: Callable[[], Interval]
    weight: FloatArray
    _ascent: Ascent = field(init=False)
    _best: Seen | None = None

    def __post_init__(self) -> None:
        self._ascent = Ascent(self.run.problem, self.prepared.interpreter)

    def executed(self, points: FloatArray) -> Interval:
        """Bounds of the differences at these points, which are executed exactly."""
        result = empty(len(self.prepared.outputs))
        for execution in self.run.observe([self.run.exact(p) for p in points]):
            row = [execution.range_of(i) for i in self.prepared.outputs]
            at = Interval(np.array([float_down(v) for v, _ in row]), np.array([float_up(v) for _, v in row]))
            result = union(result, at)
        return result

    def witness(self, seen: Seen) -> None:
        """Execute the extremes that promise a violation, or a much larger difference than any before."""
        self._best = seen if self._best is None else best([self._best, seen])
        limits, size = self.limits(), len(self.prepared.outputs)
        for k, found in enumerate(self.run.outputs):
            (low, high), (least, greatest) = found.certified, found.reached
            below = max(least - PROMISING * (least - low), limits.lower[k])
            above = min(greatest + PROMISING * (high - greatest), limits.upper[k])
            promising = [not seen.values[k] >= below, not seen.values[size + k] <= above]
            rows = [row for row, far in zip((k, size + k), promising, strict=True) if far]
            if rows:
                self.run.observe([self.run.exact(p) for p in seen.points[rows]])

    def witness_the_best(self) -> None:
        """Execute the extremes of all that was ever seen, where they are larger than any executed."""
        if self._best is None:
            return
        size = len(self.prepared.outputs)
        least, greatest = np.array([found.reached for found in self.run.outputs]).T
        further = np.concatenate([self._best.values[:size] < least, self._best.values[size:] > greatest])
        self.run.observe([self.run.exact(p) for p in self._best.points[further]])

    def climbed(self, seen: Seen) -> Seen:
        """The extremes, of which the nearest to a limit are moved to where ascents from them end."""
        if len(self.prepared.free) > MAX_PROBED:
            return seen
        limits, size = self.limits(), len(self.prepared.outputs)
        missing = np.concatenate([seen.values[:size] - limits.lower, limits.upper - seen.values[size:]])
        points, values = seen.points.copy(), seen.values.copy()
        for k in np.argsort(missing * np.tile(self.weight, 2), kind="stable")[:CLIMBS].tolist():
            goal = Goal(self.prepared.outputs[k % size], -1 if k < size else 1)
            points[k] = self._ascent.climb(points[k], goal, rounds=CLIMB_ROUNDS)
            values[k] = self._ascent.differences(points[k][None])[0, goal.output]
        return Seen(points, values)
