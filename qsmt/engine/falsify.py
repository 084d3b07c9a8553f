"""Look for an input that breaks the bound: sampling, then ascent on the difference.

An ascent tries every coordinate by itself, and then the best single moves together, 1, 2, 4, ... of them: on
a few inputs that is coordinate ascent, on an image it reaches far in a few rounds, as a step along the signs
of the gradient would; and steps of the quantized network, whose gradient is zero, do not stop it.

The search runs in doubles and proves nothing; what it finds is executed exactly before it counts. Its
other use is the witnessed error: how large a difference is certainly reached.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsmt.arith.fixed import Fixed
from qsmt.arith.real import FloatArray
from qsmt.engine.costs import point_products
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import FALSIFIER_SECONDS, FALSIFIER_SHARE
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import InputModel, Problem
from qsmt.verdict import Falsified

SAMPLES = 512
"""Random points, and as many random corners."""

STARTS = 4
"""Ascents per output and side, from the best samples."""

MAX_ROUNDS = 200
"""Rounds of one ascent."""

MAX_PRODUCTS = 2.0**33
"""Multiplications in all, about a second: so the same is found on every machine that is fast enough."""


def falsify(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: witness differences as large as a short search can."""
    search = _Search(run.problem, run.options.seed)
    budget = min(FALSIFIER_SECONDS, FALSIFIER_SHARE * run.remaining_s)
    deadline = time.monotonic() + budget
    for best in search.points(deadline):
        run.observe([run.exact(best)])
        if isinstance(run.verdict, Falsified):
            break
    figures = {"evaluated": search.evaluated}
    return f"tried {search.evaluated:,} inputs", figures


@dataclass(frozen=True, slots=True)
class _Goal:
    """Make `side * difference[output]` large."""

    output: int
    side: int


class _Search:
    """A search over the doubles (or integers) of a region."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._interpreter = BatchInterpreter(problem)
        self._rng = np.random.default_rng(seed)
        self._lower = np.array([float(v) for v in problem.region.lower])
        self._upper = np.array([float(v) for v in problem.region.upper])
        self._free = np.flatnonzero(self._upper > self._lower)
        self._grid = problem.region.model is InputModel.GRID
        self._step = _code_step(problem)
        self._most = MAX_PRODUCTS / point_products(problem)
        self.evaluated = 0

    @property
    def exhausted(self) -> bool:
        """Has it evaluated as much as it may?"""
        return self.evaluated > self._most

    def points(self, deadline: float) -> Iterator[FloatArray]:
        """Promising inputs: the best samples for each goal, then where ascents from them end."""
        samples = self._samples()
        differences = self._differences(samples)
        goals = [_Goal(i, side) for i in self._problem.claim.outputs for side in (1, -1)]
        order = {goal: np.argsort(-goal.side * differences[:, goal.output], kind="stable") for goal in goals}
        for goal in goals:
            yield samples[order[goal][0]]
        for start in range(STARTS):
            for goal in goals:
                if self.exhausted or time.monotonic() > deadline:
                    return
                yield self._ascend(samples[order[goal][start]], goal, deadline)

    def _samples(self) -> FloatArray:
        unit = self._rng.random((SAMPLES, len(self._lower)))
        corners = self._rng.integers(0, 2, unit.shape).astype(np.float64)
        fractions = np.concatenate([np.full((1, unit.shape[1]), 0.5), corners, unit])
        return self._snap(self._lower + fractions * (self._upper - self._lower))

    def _ascend(self, start: FloatArray, goal: _Goal, deadline: float) -> FloatArray:
        """Move along the coordinates that gain most, as long as that gains anything."""
        best, value = start, -np.inf
        for _ in range(MAX_ROUNDS):
            points = self._together(best, goal)
            gains = goal.side * self._differences(points)[:, goal.output]
            top = int(gains.argmax())
            if gains[top] <= value or self.exhausted or time.monotonic() > deadline:
                break
            best, value = points[top], float(gains[top])
        return best

    def _together(self, point: FloatArray, goal: _Goal) -> FloatArray:
        """The point itself, and the best moves of single coordinates: the first one, the first two, four, ..."""
        targets = self._targets(point)
        moved = np.repeat(point[None, :], 1 + targets.size, axis=0)
        rows = 1 + np.arange(targets.size).reshape(targets.shape)
        moved[rows, self._free] = targets
        gains = goal.side * self._differences(moved)[:, goal.output]
        choice = gains[rows].argmax(axis=0)
        arms = np.arange(len(self._free))
        order = np.argsort(-gains[rows[choice, arms]], kind="stable")
        order = order[gains[rows[choice, arms]][order] > gains[0]]
        counts = [2**k for k in range(len(order).bit_length())] + [len(order)]
        points = np.repeat(point[None, :], 1 + len(counts), axis=0)
        for row, count in enumerate(counts, start=1):
            first = order[:count]
            points[row, self._free[first]] = targets[choice[first], first]
        return points

    def _targets(self, point: FloatArray) -> FloatArray:
        """Where each free coordinate may move, (6, free): to its ends, a little, and halfway to them."""
        low, high, here = self._lower[self._free], self._upper[self._free], point[self._free]
        step = np.maximum(self._step, np.spacing(np.abs(here)))
        targets = np.array([low, high, here - step, here + step, (here + low) / 2, (here + high) / 2])
        moved: FloatArray = np.clip(np.rint(targets) if self._grid else targets, low, high)
        return moved

    def _snap(self, points: FloatArray) -> FloatArray:
        return np.clip(np.rint(points) if self._grid else points, self._lower, self._upper)

    def _differences(self, points: FloatArray) -> FloatArray:
        self.evaluated += len(points)
        return self._interpreter.run(points).difference


def _code_step(problem: Problem) -> float:
    """Half the distance in x between two codes: from one rounding cell towards the next."""
    kind = problem.quantized.input.type.element
    if problem.region.model is InputModel.GRID:
        return 1.0
    widest = max(float(b - a) for a, b in zip(problem.region.lower, problem.region.upper, strict=True))
    return float(kind.scale / problem.input_scale) / 2 if isinstance(kind, Fixed) else widest / 64
