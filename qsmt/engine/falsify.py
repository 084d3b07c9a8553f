"""Look for an input that breaks the bound: sampling, then coordinate ascent on the difference.

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
"""Rounds of one ascent: each moves one coordinate, so this reaches far even on images."""


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
        self._step = _code_step(problem)
        self.evaluated = 0

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
                if time.monotonic() > deadline:
                    return
                yield self._ascend(samples[order[goal][start]], goal, deadline)

    def _samples(self) -> FloatArray:
        unit = self._rng.random((SAMPLES, len(self._lower)))
        corners = self._rng.integers(0, 2, unit.shape).astype(np.float64)
        fractions = np.concatenate([np.full((1, unit.shape[1]), 0.5), corners, unit])
        return self._snap(self._lower + fractions * (self._upper - self._lower))

    def _ascend(self, start: FloatArray, goal: _Goal, deadline: float) -> FloatArray:
        """Move one coordinate at a time, each time the one that gains most."""
        best, value = start, -np.inf
        for _ in range(MAX_ROUNDS):
            moves = self._moves(best)
            gains = goal.side * self._differences(moves)[:, goal.output]
            top = int(gains.argmax())
            if gains[top] <= value or time.monotonic() > deadline:
                break
            best, value = moves[top], float(gains[top])
        return best

    def _moves(self, point: FloatArray) -> FloatArray:
        """The point itself, and each free coordinate to its ends, a little and halfway to them."""
        free = np.flatnonzero(self._upper > self._lower)
        low, high, here = self._lower[free], self._upper[free], point[free]
        step = np.maximum(self._step, np.spacing(np.abs(here)))
        targets = [low, high, here - step, here + step, (here + low) / 2, (here + high) / 2]
        moved = np.repeat(point[None, :], 1 + len(targets) * len(free), axis=0)
        for block, target in enumerate(targets):
            rows = 1 + block * len(free) + np.arange(len(free))
            moved[rows, free] = target
        return self._snap(moved)

    def _snap(self, points: FloatArray) -> FloatArray:
        grid = self._problem.region.model is InputModel.GRID
        return np.clip(np.rint(points) if grid else points, self._lower, self._upper)

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
