"""Enumeration of many small boxes at once: the leaves of the search.

The points of all boxes form one sequence, which is run in chunks that fit the cache. The integer side is
exact and the real side has an error radius; a point whose difference may lie outside the limits, which
includes every point of which nothing is known, is doubtful and is left to exact execution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import down, up
from qsmt.arith.real import FloatArray
from qsmt.engine.boxes import Batch, Mask
from qsmt.engine.probe import Extremes, extremes
from qsmt.facts import Interval
from qsmt.interp.batch import BatchInterpreter


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A chunk of points: bounds of all that are settled, the extreme points, and the doubtful ones."""

    settled: Interval  # (m,), of the claimed outputs
    extremes: Extremes
    doubtful: FloatArray  # (k, n)
    bounds: Interval  # (k, m), of the doubtful points


def chunks(batch: Batch, size: int) -> Iterator[FloatArray]:
    """All integer points of all boxes, at most `size` at a time, box by box, last coordinate fastest."""
    extents = (batch.upper - batch.lower).astype(np.int64) + 1
    ends = np.cumsum(extents.prod(axis=1))
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, size):
        index = np.arange(start, min(start + size, total))
        box = np.searchsorted(ends, index, side="right")
        rest = index - (ends[box] - extents[box].prod(axis=1))
        points = batch.lower[box]
        for axis in reversed(np.flatnonzero(extents.max(axis=0) > 1)):
            rest, digit = np.divmod(rest, extents[box, axis])
            points[:, axis] += digit
        yield points


def sweep(
    interpreter: BatchInterpreter, points: FloatArray, *, outputs: list[int], limits: Interval
) -> Sweep:
    """Run both networks on the points; `limits` (m,) say what need not be looked at more closely."""
    found = interpreter.run(points)
    difference, radius = found.difference[:, outputs], found.radius[outputs]
    bounds = Interval(down(difference - radius), up(difference + radius))
    doubtful = ~inside(bounds, limits)
    settled = hull(bounds, ~doubtful)
    return Sweep(
        settled,
        extremes(points, difference),
        points[doubtful],
        Interval(bounds.lower[doubtful], bounds.upper[doubtful]),
    )


def inside(bounds: Interval, limits: Interval) -> Mask:
    """Which rows lie within the limits with every output; one of which nothing is known does not."""
    within: Mask = ((bounds.lower >= limits.lower) & (bounds.upper <= limits.upper)).all(axis=-1)
    return within


def hull(bounds: Interval, rows: Mask) -> Interval:
    """Of these rows of the bounds; empty (inf, -inf) if there are none."""
    lower = bounds.lower[rows].min(axis=0, initial=np.inf)
    return Interval(lower, bounds.upper[rows].max(axis=0, initial=-np.inf))


def union(a: Interval, b: Interval) -> Interval:
    """The hull of two intervals, either of which may be empty."""
    return Interval(np.minimum(a.lower, b.lower), np.maximum(a.upper, b.upper))


def empty(size: int) -> Interval:
    """No values at all."""
    return Interval(np.full(size, np.inf), np.full(size, -np.inf))
