"""Open boxes: a batch of them, a pool to take batches from, and how a box is halved.

A box is a pair of rows of doubles, in the coordinates of x, with certified bounds of the claimed outputs'
difference on it. Halving loses nothing: of a grid box [a, b] the halves are [a, m] and [m + 1, b], which
hold the same integers; of a box of reals [a, m] and [m, b], which share the double m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmt.arith.real import FloatArray
from qsmt.dra.domain import Boxes
from qsmt.facts import Interval

Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Boxes side by side: ends (boxes, n), and bounds of the claimed outputs' difference (boxes, m)."""

    lower: FloatArray
    upper: FloatArray
    least: FloatArray
    greatest: FloatArray

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, rows: Rows | Mask | slice) -> Batch:
        return Batch(self.lower[rows], self.upper[rows], self.least[rows], self.greatest[rows])

    @property
    def boxes(self) -> Boxes:
        return Boxes(self.lower, self.upper)

    @property
    def bounds(self) -> Interval:
        return Interval(self.least, self.greatest)

    @property
    def points(self) -> FloatArray:
        """How many integer points each box holds, as doubles."""
        count: FloatArray = (self.upper - self.lower + 1).prod(axis=1)
        return count

    def within(self, bounds: Interval) -> Batch:
        """The same boxes, of which these bounds are known too."""
        met = self.bounds.meet(bounds)
        return Batch(self.lower, self.upper, met.lower, met.upper)


def joined(batches: Sequence[Batch]) -> Batch:
    """All boxes of several batches, in order."""
    columns = (tuple(getattr(b, name) for b in batches) for name in Batch.__slots__)
    return Batch(*map(np.concatenate, columns))


def splittable(batch: Batch, *, grid: bool) -> Mask:
    """Which coordinates (boxes, n) can be halved: two integers, or a double strictly between the ends."""
    if grid:
        return batch.upper > batch.lower
    middle = _middle(batch.lower, batch.upper)
    return (batch.lower < middle) & (middle < batch.upper)


def halves(batch: Batch, axis: Rows, *, grid: bool) -> Batch:
    """Each box halved along its own axis: first all lower halves, then all upper ones.

    What is known of a box holds on both of its halves.
    """
    rows = np.arange(len(batch))
    low, high = batch.lower[rows, axis], batch.upper[rows, axis]
    middle = np.floor(_middle(low, high)) if grid else _middle(low, high)
    lower, upper = batch.lower.copy(), batch.upper.copy()
    upper[rows, axis] = middle
    lower[rows, axis] = middle + 1 if grid else middle
    return Batch(
        np.concatenate([batch.lower, lower]),
        np.concatenate([upper, batch.upper]),
        np.concatenate([batch.least, batch.least]),
        np.concatenate([batch.greatest, batch.greatest]),
    )


def _middle(low: FloatArray, high: FloatArray) -> FloatArray:
    return 0.5 * low + 0.5 * high


class Pool:
    """Open boxes with priorities. Rows are reused, so that taking and adding cost what is taken or added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._size = 0
        self._newest = 0
        self._rows = np.empty((1024, 2 * inputs + 2 * outputs))
        self._priority = np.empty(1024)
        self._ends = (inputs, 2 * inputs, 2 * inputs + outputs)

    def __len__(self) -> int:
        return self._size

    @property
    def all(self) -> Batch:
        """Every open box; a view."""
        return self._batch(self._rows[: self._size])

    def add(self, batch: Batch, priority: FloatArray) -> None:
        """Put boxes in; they are the newest until the next `add`."""
        size = self._size + len(batch)
        while size > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._priority = np.concatenate([self._priority, np.empty_like(self._priority)])
        columns = (batch.lower, batch.upper, batch.least, batch.greatest)
        self._rows[self._size : size] = np.concatenate(columns, axis=1)
        self._priority[self._size : size] = priority
        self._size, self._newest = size, len(batch)

    def take(self, count: int, *, newest: int = 0) -> Batch:
        """Take out the `newest` first of the latest boxes, and else the first of all, by priority."""
        latest = _first(self._priority[: self._size], self._size - self._newest, newest)
        masked = self._priority[: self._size].copy()
        masked[latest] = -np.inf
        best = _first(masked, 0, count - len(latest)) if count > len(latest) else latest[:0]
        rows = np.union1d(latest, best)
        taken = self._batch(self._rows[rows].copy())
        self._remove(rows)
        return taken

    def _remove(self, rows: Rows) -> None:
        """Close the gaps with rows from the end."""
        size = self._size - len(rows)
        gaps = rows[rows < size]
        tail = np.setdiff1d(np.arange(size, self._size), rows, assume_unique=True)
        self._rows[gaps], self._priority[gaps] = self._rows[tail], self._priority[tail]
        self._size, self._newest = size, 0

    def _batch(self, rows: FloatArray) -> Batch:
        return Batch(*np.split(rows, self._ends, axis=1))


def _first(priority: FloatArray, start: int, count: int) -> Rows:
    """The rows from `start` on with the `count` largest priorities."""
    found = priority[start:]
    if count >= len(found):
        return np.arange(start, len(priority))
    order = np.argpartition(-found, max(count - 1, 0))[:count]
    return start + np.sort(order)
