"""Ascent: from one input to others with a larger difference, in doubles; nothing is proved by it.

Every round tries every coordinate by itself: to its ends, one step, and a share of its width. Then it tries
several together: the best single moves, 1, 2, 4, ... of them, which on an image reach far in a few rounds; and
steps of several lengths along the slope, which follow a ridge that lies across the coordinates. When nothing
gains any more, the share becomes smaller.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from qsmt.arith.fixed import Format
from qsmt.arith.real import FloatArray
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import InputModel, Problem

MAX_ROUNDS = 200
"""Rounds of one ascent."""

FIRST_SHARE, LAST_SHARE, FINER = 1 / 4, 2.0**-13, 1 / 4
"""Of the width of the region: the first moves, the last ones, and what they shrink by."""

LENGTHS = 2.0 ** np.arange(-3, 5)
"""Steps along the slope, in shares."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Make `side * difference[output]` large."""

    output: int
    side: int


class Ascent:
    """Ascents over the doubles (or integers) of a region, which run about `most` inputs in all."""

    def __init__(self, problem: Problem, interpreter: BatchInterpreter, *, most: float = np.inf) -> None:
        self._interpreter = interpreter
        self.lower = np.array([float(v) for v in problem.region.lower])
        self.upper = np.array([float(v) for v in problem.region.upper])
        self._free = np.flatnonzero(self.upper > self.lower)
        self._width = (self.upper - self.lower)[self._free]
        self._grid = problem.region.model is InputModel.GRID
        self._step = _code_step(problem)
        self._most = most
        self.evaluated = 0

    @property
    def exhausted(self) -> bool:
        """Have enough inputs been run?"""
        return self.evaluated > self._most

    def climb(
        self, start: FloatArray, goal: Goal, *, rounds: int = MAX_ROUNDS, deadline: float = np.inf
    ) -> FloatArray:
        """Move along the coordinates that gain most, as long as that gains anything."""
        best, value, share = start, -np.inf, FIRST_SHARE
        for _ in range(rounds if len(self._free) else 0):
            points = self._together(best, goal, share)
            gains = goal.side * self.differences(points)[:, goal.output]
            top = int(gains.argmax())
            if self.exhausted or time.monotonic() > deadline:
                break
            if gains[top] > value:
                best, value = points[top], float(gains[top])
            elif share > LAST_SHARE and (share * self._width).max() > self._step:
                share *= FINER
            else:
                break
        return best

    def differences(self, points: FloatArray) -> FloatArray:
        """Of all outputs, at these points."""
        self.evaluated += len(points)
        return self._interpreter.run(points).difference

    def snapped(self, points: FloatArray) -> FloatArray:
        """The nearest inputs of the region."""
        return np.clip(np.rint(points) if self._grid else points, self.lower, self.upper)

    def _together(self, point: FloatArray, goal: Goal, share: float) -> FloatArray:
        """The point itself, and what single moves suggest to try together."""
        targets = self._targets(point, share)
        moved = np.repeat(point[None, :], 1 + targets.size, axis=0)
        rows = 1 + np.arange(targets.size).reshape(targets.shape)
        moved[rows, self._free] = targets
        gains = goal.side * self.differences(moved)[:, goal.output]
        single = gains[rows] - gains[0]
        along = self._along(point, share, slope=single[-1] - single[-2])
        return np.concatenate([point[None, :], self._best_moves(point, targets, single), along])

    def _best_moves(self, point: FloatArray, targets: FloatArray, single: FloatArray) -> FloatArray:
        """The best moves of single coordinates: the first one, the first two, four, ... and all that gain."""
        choice, arms = single.argmax(axis=0), np.arange(len(self._free))
        gain = single[choice, arms]
        order = np.argsort(-gain, kind="stable")
        order = order[gain[order] > 0]
        counts = [2**k for k in range(len(order).bit_length())] + [len(order)]
        points = np.repeat(point[None, :], len(counts), axis=0)
        for row, count in enumerate(counts):
            first = order[:count]
            points[row, self._free[first]] = targets[choice[first], first]
        return points

    def _along(self, point: FloatArray, share: float, slope: FloatArray) -> FloatArray:
        """Steps along the slope, measured in widths."""
        steepest = np.abs(slope).max(initial=0.0)
        if not 0 < steepest < np.inf:
            return point[None, :]
        points = np.repeat(point[None, :], len(LENGTHS), axis=0)
        points[:, self._free] += share * LENGTHS[:, None] * (slope / steepest * self._width)
        return self.snapped(points)

    def _targets(self, point: FloatArray, share: float) -> FloatArray:
        """Where each free coordinate may move, (6, free): to its ends, one step, and a share of its width."""
        low, high, here = self.lower[self._free], self.upper[self._free], point[self._free]
        step = np.maximum(self._step, np.spacing(np.abs(here)))
        wide = np.maximum(share * self._width, step)
        targets = np.array([low, high, here - step, here + step, here - wide, here + wide])
        moved: FloatArray = np.clip(np.rint(targets) if self._grid else targets, low, high)
        return moved


def _code_step(problem: Problem) -> float:
    """Half the distance in x between two codes: from one rounding cell towards the next."""
    kind = problem.quantized.input.type.element
    if problem.region.model is InputModel.GRID:
        return 1.0
    widest = max(float(b - a) for a, b in zip(problem.region.lower, problem.region.upper, strict=True))
    return float(kind.scale / problem.input_scale) / 2 if isinstance(kind, Format) else widest * LAST_SHARE
