"""Simulated annealing on one coordinate at a time: for regions of many inputs, where a difference is large if the
roundings of many neurons are large together.

Kirkpatrick, Gelatt and Vecchi, "Optimization by simulated annealing", Science 220 (1983). Of a few random moves of
single coordinates one is chosen at random, the better the likelier, and taken with the probability of Metropolis.
The temperature, in units of what a random move changes, falls linearly to zero.
"""

from __future__ import annotations

import time

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.engine.ascent import Goal
from qsmt.engine.measures import values
from qsmt.interp.neighbours import Indices, Neighbours, Sums
from qsmt.problem import InputModel, Problem

MOVES = 32
"""Tried in each step."""

HOTTEST = 0.5
"""The first temperature, in mean absolute changes by a move. Measured on P1 and P2 (QEBVerif): from 0.25 to 1 there is
little between them."""

MEASURED = 32
"""Random inputs on which the mean change is measured."""

PATIENCE_STEPS = 256
"""Between two looks at how much time is left, which decides how fast a walk cools down."""


class Annealing:
    """Walks of many small steps in a region, on a grid from code to code; the seed decides everything but the time."""

    def __init__(self, problem: Problem, neighbours: Neighbours, seed: int) -> None:
        self._claim, self._neighbours = problem.claim, neighbours
        self._lower = np.array([float(v) for v in problem.region.lower])
        self._upper = np.array([float(v) for v in problem.region.upper])
        self._free = np.flatnonzero(self._upper > self._lower)
        self._grid = problem.region.model is InputModel.GRID
        self._rng = np.random.default_rng(seed)
        self.evaluated = 0

    def walk(self, goal: Goal, steps: int, *, deadline: float = np.inf, enough: float = np.inf) -> FloatArray:
        """The best input (n,) that one walk tries; it ends early at a value above `enough`.

        Where time gets short, it cools down faster than steps are made.
        """
        point = self._random_points(1)[0]
        at = self._neighbours.sums(point[None])[0]
        value = best = float(self._values(Sums(at.reference[None], at.quantized[None]), goal)[0])
        found: FloatArray = point.copy()
        hottest, begun = HOTTEST * self._mean_change(goal, deadline), time.monotonic()
        progress = 0.0
        for step in range(steps):
            if step % PATIENCE_STEPS == 0:
                progress = max(step / steps, (time.monotonic() - begun) / max(deadline - begun, 1e-9))
            if progress >= 1 or best > enough or time.monotonic() > deadline:
                break
            coordinates, ends, moved = self._tried(at, point, MOVES)
            gains = self._values(moved, goal) - value
            top = int(gains.argmax())
            if value + gains[top] > best:
                best, found = value + float(gains[top]), point.copy()
                found[coordinates[top]] = ends[top]
            chosen = self._chosen(gains, hottest * (1 - progress))
            if chosen is not None:
                point[coordinates[chosen]] = ends[chosen]
                at, value = moved[chosen], value + float(gains[chosen])
        return found

    def _tried(self, at: Sums, point: FloatArray, count: int) -> tuple[Indices, FloatArray, Sums]:
        """Random coordinates, random new values of them, and the sums there."""
        coordinates = self._free[self._rng.integers(0, len(self._free), count)]
        share = self._rng.random(count)
        ends = self._between(self._lower[coordinates], self._upper[coordinates], share)
        return coordinates, ends, self._neighbours.moved(at, point, coordinates, ends)

    def _chosen(self, gains: FloatArray, temperature: float) -> int | None:
        """One of the moves, the better the likelier (by Gumbel's trick); None if it is not taken."""
        if not temperature > 0:
            top = int(gains.argmax())
            return top if gains[top] >= 0 else None
        top = int((gains + temperature * self._rng.gumbel(size=len(gains))).argmax())
        return top if gains[top] >= temperature * np.log(self._rng.random()) else None

    def _mean_change(self, goal: Goal, deadline: float) -> float:
        """What a random move changes on the mean of random inputs; of fewer where time gets short."""
        changes = []
        for point in self._random_points(MEASURED):
            at = self._neighbours.sums(point[None])[0]
            here = self._values(Sums(at.reference[None], at.quantized[None]), goal)
            changes.append(np.abs(self._values(self._tried(at, point, MOVES)[2], goal) - here).mean())
            if time.monotonic() > deadline:
                break
        return float(np.mean(changes))

    def _random_points(self, count: int) -> FloatArray:
        share = self._rng.random((count, len(self._lower)))
        return self._between(self._lower, self._upper, share)

    def _between(self, lower: FloatArray, upper: FloatArray, share: FloatArray) -> FloatArray:
        if self._grid:
            return np.minimum(lower + np.floor(share * (upper - lower + 1.0)), upper)
        return np.minimum(lower + share * (upper - lower), upper)

    def _values(self, sums: Sums, goal: Goal) -> FloatArray:
        self.evaluated += len(sums.reference)
        found: FloatArray = (
            goal.side * values(self._claim, self._neighbours.differences(sums))[:, goal.output]
        )
        return found
