"""Open boxes: batches of them, a pool to take batches from, and how a box is halved.

A box is a pair of rows of doubles, in the coordinates of x, with certified bounds of the claimed outputs'
difference on it. Halving loses nothing: of a grid box [a, b] the halves are [a, m] and [m + 1, b], which
hold the same integers; of a box of reals [a, m] and [m, b], which share the double m. Where one network reads reals
through a quantizer, a box of several codes is cut at a threshold between two of them instead, and m is two doubles
near each other: what such a box stands for is said in qsmt.dra.inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from qsmt.arith.real import FloatArray
from qsmt.dra.compiled import InputRelation
from qsmt.dra.domain import Boxes
from qsmt.dra.inputs import codes_of, threshold, with_neighbours
from qsmt.facts import Interval
from qsmt.problem import InputModel, Problem, Region

Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

MAX_INTEGER = Fraction(2) ** 52
"""Integers up to here, and their halves, are doubles."""

FINEST = 2.0**-40
"""Reals are not cut finer than this share of the region: rounding noise is all that is left there."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Boxes side by side, each array (boxes, inputs) or (boxes, claimed outputs)."""

    lower: FloatArray  # ends, (boxes, inputs)
    upper: FloatArray
    rise: FloatArray  # how far the difference moves along each input: a guess that ranks cuts
    least: FloatArray  # bounds of the difference, (boxes, outputs)
    greatest: FloatArray

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, rows: Rows | Mask | slice) -> Batch:
        return Batch(*(getattr(self, name)[rows] for name in Batch.__slots__))

    @property
    def boxes(self) -> Boxes:
        return Boxes(self.lower, self.upper, are_parts=True)

    @property
    def bounds(self) -> Interval:
        return Interval(self.least, self.greatest)

    @property
    def points(self) -> FloatArray:
        """How many integer points each box holds, as doubles; infinity is a number of them too."""
        with np.errstate(over="ignore"):
            count: FloatArray = (self.upper - self.lower + 1).prod(axis=1)
        return count

    def within(self, bounds: Interval, rise: FloatArray) -> Batch:
        """The same boxes, of which these bounds are known too."""
        met = self.bounds.meet(bounds)
        return replace(self, rise=rise, least=met.lower, greatest=met.upper)


def joined(batches: Sequence[Batch]) -> Batch:
    """All boxes of several batches, in order."""
    columns = (tuple(getattr(b, name) for b in batches) for name in Batch.__slots__)
    return Batch(*map(np.concatenate, columns))


def whole(region: Region, outputs: int) -> Batch:
    """The region as a batch of one, of whose difference nothing is known."""
    root = Boxes.of_region(region)
    unknown = np.full((1, outputs), np.inf)
    return Batch(root.lower, root.upper, root.upper - root.lower, -unknown, unknown)


def counted(boxes: int) -> str:
    """So many boxes, in words."""
    return f"{boxes:,} {'box' if boxes == 1 else 'boxes'}"


def searchable(region: Region) -> bool:
    """Can the region be cut into boxes whose ends are doubles, and is there anything to cut?"""
    ends = list(zip(region.lower, region.upper, strict=True))
    fits = region.model is InputModel.CONTINUOUS or all(max(-low, high) <= MAX_INTEGER for low, high in ends)
    return fits and any(low < high for low, high in ends)


def part_of(problem: Problem, lower: FloatArray, upper: FloatArray) -> Problem:
    """The problem on one box, its ends clipped to the region's, which doubles may lie just outside of.

    Of reals that are quantized, all reals that the box stands for.
    """
    region = problem.region
    if rounds_reals(problem):
        stands_for = with_neighbours(Interval(lower, upper))
        lower, upper = stands_for.lower, stands_for.upper
    low = tuple(max(Fraction(v), end) for v, end in zip(lower.tolist(), region.lower, strict=True))
    high = tuple(min(Fraction(v), end) for v, end in zip(upper.tolist(), region.upper, strict=True))
    return replace(problem, region=Region(region.model, low, high))


def is_empty(part: Problem, box: Interval, read: InputRelation | None) -> bool:
    """Does a box (inputs,) stand for no input of the part that it became? Then facts of it are facts of nothing.

    Doubles may lie outside of the region's ends, and be beyond a threshold that no input is beyond.
    """
    if read is None:
        return False
    codes = codes_of(read, box)
    ends = (part.quantized_input(end) for end in (part.region.lower, part.region.upper))
    coordinates = zip(*ends, codes.lower.tolist(), codes.upper.tolist(), strict=True)
    return any(last < low or high < first for first, last, low, high in coordinates)


def rounds_reals(problem: Problem) -> bool:
    """Does one network read reals through a quantizer?"""
    return problem.region.model is InputModel.CONTINUOUS and not problem.quantized.is_real


def splittable(batch: Batch, width: FloatArray, *, grid: bool) -> Mask:
    """Which coordinates (boxes, inputs) may be cut; `width` is the region's.

    Of integers, two are enough; of reals, a double must lie strictly between the ends.
    """
    if grid:
        return batch.upper > batch.lower
    middle = _middle(batch.lower, batch.upper)
    between = (batch.lower < middle) & (middle < batch.upper)
    return between & (batch.upper - batch.lower > FINEST * width)


def halves(batch: Batch, axis: Rows, *, grid: bool, read: InputRelation | None = None) -> Batch:
    """Each box halved along its own axis: first all lower halves, then all upper ones.

    What is known of a box holds on both of its halves. `read` says how reals are quantized, if they are.
    """
    rows = np.arange(len(batch))
    low, high = batch.lower[rows, axis], batch.upper[rows, axis]
    middle = np.floor(_middle(low, high)) if grid else _middle(low, high)
    first, second = middle, middle + 1 if grid else middle
    if read is not None:
        below, above, found = threshold(read, low, high)
        first, second = np.where(found, below, first), np.where(found, above, second)
    lower, upper = batch.lower.copy(), batch.upper.copy()
    upper[rows, axis], lower[rows, axis] = first, second
    return joined([replace(batch, upper=upper), replace(batch, lower=lower)])


def _middle(low: FloatArray, high: FloatArray) -> FloatArray:
    return 0.5 * low + 0.5 * high


class Pool:
    """Open boxes with priorities. Rows are reused: taking and adding cost what is taken or added."""

    def __init__(self, batch: Batch, priority: FloatArray) -> None:
        self._ends = np.cumsum([getattr(batch, name).shape[1] for name in Batch.__slots__])[:-1]
        self._size = self._newest = 0
        self._rows = np.empty((1024, sum(getattr(batch, name).shape[1] for name in Batch.__slots__)))
        self._priority = np.empty(1024)
        self.add(batch, priority)

    def __len__(self) -> int:
        return self._size

    @property
    def all(self) -> Batch:
        """Every open box; a view."""
        return self._batch(self._rows[: self._size])

    @property
    def priority(self) -> FloatArray:
        """Of every open box; a view."""
        return self._priority[: self._size]

    def add(self, batch: Batch, priority: FloatArray) -> None:
        """Put boxes in; they are the newest until the next `add`."""
        size = self._size + len(batch)
        while size > len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._priority = np.concatenate([self._priority, np.empty_like(self._priority)])
        self._rows[self._size : size] = np.concatenate(
            [getattr(batch, name) for name in Batch.__slots__], axis=1
        )
        self._priority[self._size : size] = priority
        self._size, self._newest = size, len(batch)

    def take(self, count: int, *, newest: int = 0) -> Batch:
        """Take out the `newest` first of the latest boxes, and else the first of all, by priority."""
        latest = _first(self.priority, self._size - self._newest, newest)
        masked = self.priority.copy()
        masked[latest] = -np.inf
        best = _first(masked, 0, count - len(latest)) if count > len(latest) else latest[:0]
        return self._taken(np.union1d(latest, best))

    def remove(self, rows: Mask) -> Batch:
        """Take out these rows of `all`."""
        return self._taken(np.flatnonzero(rows))

    def _taken(self, rows: Rows) -> Batch:
        """Copy the rows, and close the gaps with rows from the end."""
        taken = self._batch(self._rows[rows])
        size = self._size - len(rows)
        gaps = rows[rows < size]
        tail = np.setdiff1d(np.arange(size, self._size), rows, assume_unique=True)
        self._rows[gaps], self._priority[gaps] = self._rows[tail], self._priority[tail]
        self._size, self._newest = size, 0
        return taken

    def _batch(self, rows: FloatArray) -> Batch:
        return Batch(*np.split(rows, self._ends, axis=1))


def _first(priority: FloatArray, start: int, count: int) -> Rows:
    """The rows from `start` on with the `count` largest priorities, in order of row."""
    found = priority[start:]
    if count >= len(found):
        return np.arange(start, len(priority))
    if count == 0:
        return np.arange(0)
    return start + np.sort(np.argpartition(-found, count - 1)[:count])
