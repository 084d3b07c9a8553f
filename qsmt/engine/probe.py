"""Probing a box: both networks run in the middle of each of its sides.

What is seen there ranks the coordinates for the next split, and may be a larger difference than any known.
Nothing is proved by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.dra.domain import Boxes
from qsmt.engine.boxes import Batch
from qsmt.interp.batch import BatchInterpreter

MAX_PROBED = 48
"""With more free coordinates than this, only the whole region is probed."""

PIECE_VALUES = 2**21
"""Coordinates of all points that are run at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Extremes:
    """Points (2m, n) where each output's difference is least, then greatest, and that difference (2m,)."""

    points: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Probed:
    """How far the networks move along each coordinate of each box (boxes, n), and the extremes seen."""

    rise: FloatArray
    extremes: Extremes


class Probe:
    """Probes batches of boxes of one problem."""

    def __init__(
        self, interpreter: BatchInterpreter, region: Boxes, outputs: list[int], *, grid: bool
    ) -> None:
        self._interpreter, self._outputs, self._grid = interpreter, outputs, grid
        self._width = np.maximum((region.upper - region.lower)[0], np.finfo(np.float64).tiny)
        self._free = np.flatnonzero(region.upper[0] > region.lower[0])
        self._piece = max(1, PIECE_VALUES // ((2 * len(self._free) + 1) * len(self._width)))
        self._region = self._star(region.lower, region.upper)

    def scores(self, batch: Batch) -> tuple[FloatArray, Extremes | None]:
        """How much is gained by halving each box along each coordinate: smear times a root of the width."""
        relative = (batch.upper - batch.lower) / self._width
        if len(self._free) > MAX_PROBED:
            return self._region.rise * relative * np.sqrt(relative), None
        pieces = [
            self._star(batch.lower[i : i + self._piece], batch.upper[i : i + self._piece])
            for i in range(0, len(batch), self._piece)
        ]
        rise = np.concatenate([p.rise for p in pieces])
        return rise * np.sqrt(relative), _best([p.extremes for p in pieces])

    def _star(self, lower: FloatArray, upper: FloatArray) -> Probed:
        """The centre of each box, and both ends of each free coordinate through it."""
        middle = 0.5 * lower + 0.5 * upper
        middle = np.floor(middle) if self._grid else middle
        count, free = len(lower), len(self._free)
        points = np.repeat(middle[:, None, :], 2 * free + 1, axis=1)
        arm = np.arange(free)
        points[:, arm, self._free] = lower[:, self._free]
        points[:, free + arm, self._free] = upper[:, self._free]
        points = points.reshape(-1, lower.shape[1])
        found = self._interpreter.run(points)
        rise = np.zeros_like(lower)
        for values in (found.reference[:, self._outputs], found.difference[:, self._outputs]):
            shaped = values.reshape(count, 2 * free + 1, -1)
            rise[:, self._free] += np.abs(shaped[:, free : 2 * free] - shaped[:, :free]).sum(axis=2)
        return Probed(rise, extremes(points, found.difference[:, self._outputs]))


def extremes(points: FloatArray, difference: FloatArray) -> Extremes:
    """Where each column is least, and where it is greatest."""
    rows = np.concatenate([difference.argmin(axis=0), difference.argmax(axis=0)])
    columns = np.tile(np.arange(difference.shape[1]), 2)
    return Extremes(points[rows], difference[rows, columns])


def _best(found: list[Extremes]) -> Extremes:
    """The extremes of several pieces."""
    size = len(found[0].values) // 2
    values = np.array([f.values for f in found])
    best = np.concatenate([values[:, :size].argmin(axis=0), values[:, size:].argmax(axis=0)])
    columns = np.arange(2 * size)
    return Extremes(
        np.array([found[b].points[c] for b, c in zip(best, columns, strict=True)]), values[best, columns]
    )
