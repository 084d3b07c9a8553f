"""Ascent: from one input to others with a larger difference, in doubles; nothing is proved by it.

Every round tries every coordinate by itself, and then the best single moves together, 1, 2, 4, ... of them: on
a few inputs that is coordinate ascent, on an image it reaches far in a few rounds, as a step along the signs
of the gradient would; and steps of the quantized network, whose gradient is zero, do not stop it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from qsmt.arith.fixed import Fixed
from qsmt.arith.real import FloatArray
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import InputModel, Problem

MAX_ROUNDS = 200
"""Rounds of one ascent."""


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
        best, value = start, -np.inf
        for _ in range(rounds):
            points = self._together(best, goal)
            gains = goal.side * self.differences(points)[:, goal.output]
            top = int(gains.argmax())
            if gains[top] <= value or self.exhausted or time.monotonic() > deadline:
                break
            best, value = points[top], float(gains[top])
        return best

    def differences(self, points: FloatArray) -> FloatArray:
        """Of all outputs, at these points."""
        self.evaluated += len(points)
        return self._interpreter.run(points).difference

    def snapped(self, points: FloatArray) -> FloatArray:
        """The nearest inputs of the region."""
        return np.clip(np.rint(points) if self._grid else points, self.lower, self.upper)

    def _together(self, point: FloatArray, goal: Goal) -> FloatArray:
        """The point itself, and the best moves of single coordinates: the first one, the first two, four, ..."""
        targets = self._targets(point)
        moved = np.repeat(point[None, :], 1 + targets.size, axis=0)
        rows = 1 + np.arange(targets.size).reshape(targets.shape)
        moved[rows, self._free] = targets
        gains = goal.side * self.differences(moved)[:, goal.output]
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
        low, high, here = self.lower[self._free], self.upper[self._free], point[self._free]
        step = np.maximum(self._step, np.spacing(np.abs(here)))
        targets = np.array([low, high, here - step, here + step, (here + low) / 2, (here + high) / 2])
        moved: FloatArray = np.clip(np.rint(targets) if self._grid else targets, low, high)
        return moved


def _code_step(problem: Problem) -> float:
    """Half the distance in x between two codes: from one rounding cell towards the next."""
    kind = problem.quantized.input.type.element
    if problem.region.model is InputModel.GRID:
        return 1.0
    widest = max(float(b - a) for a, b in zip(problem.region.lower, problem.region.upper, strict=True))
    return float(kind.scale / problem.input_scale) / 2 if isinstance(kind, Fixed) else widest / 64
