"""Enumeration: both networks on every integer point of some boxes.

The points of all boxes form one sequence, of which any stretch can be run by itself, in chunks that fit
the cache. The integer side is exact and the real side has an error radius; a point whose difference may
lie outside the limits, which includes every point of which nothing is known, is doubtful and is left to
exact execution.

Left out: sharing the first layer's products between neighbouring points. By a count of multiplications they are
2 % of the work of an ACAS Xu network; of a wide network with a single layer, what counts is writing the
result, which is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import down, up
from qsmt.arith.real import FloatArray
from qsmt.claim import Claim, ErrorBound
from qsmt.engine.boxes import Mask
from qsmt.engine.measures import measured, values
from qsmt.facts import Interval
from qsmt.interp.batch import BatchInterpreter, Differences
from qsmt.problem import Problem

CHUNK_VALUES = 2**16
"""Points times widest layer in one batch: its few arrays of doubles stay within a second-level cache."""

MAX_CHUNK = 2**14


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Points (2m, n) where each output's difference is least, then greatest, and that difference (2m,)."""

    points: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """What running some points showed: bounds of all that are settled, the extremes, and the doubtful ones."""

    settled: Interval  # (m,), of the claimed outputs
    seen: Seen
    doubtful: FloatArray  # (k, n)
    bounds: Interval  # (k, m), of the doubtful points


def chunk_size(problem: Problem) -> int:
    """How many points are run at once."""
    widest = max(problem.input_size, *(op.out.size for op in problem.reference.ops))
    return min(max(64, CHUNK_VALUES // widest), MAX_CHUNK)


def grid_points(lower: FloatArray, upper: FloatArray, start: int, stop: int) -> FloatArray:
    """The points `start` to `stop` of all boxes (boxes, n), box by box, the last coordinate fastest."""
    extents = (upper - lower).astype(np.int64) + 1
    counts = extents.prod(axis=1)
    ends = np.cumsum(counts)
    index = np.arange(start, min(stop, int(ends[-1])))
    box = np.searchsorted(ends, index, side="right")
    rest = index - (ends - counts)[box]
    points: FloatArray = lower[box]
    for axis in reversed(np.flatnonzero(extents.max(axis=0) > 1)):
        rest, digit = np.divmod(rest, extents[box, axis])
        points[:, axis] += digit
    return points


def sweep(interpreter: BatchInterpreter, points: FloatArray, *, claim: Claim, limits: Interval) -> Sweep:
    """Run both networks on the points; `limits` (m,) say what need not be looked at more closely."""
    found = interpreter.run(points)
    bounds = _measures(claim, found)
    doubtful = ~inside(bounds, limits)
    return Sweep(
        settled=hull(bounds, ~doubtful),
        seen=extremes(points, values(claim, found.difference)[:, claim.outputs]),
        doubtful=points[doubtful],
        bounds=Interval(bounds.lower[doubtful], bounds.upper[doubtful]),
    )


def _measures(claim: Claim, found: Differences) -> Interval:
    """Bounds of the claimed measures, (points, m)."""
    chosen = list(claim.outputs) if isinstance(claim, ErrorBound) else slice(None)
    difference, radius = found.difference[:, chosen], found.radius[chosen]
    bounds = Interval(down(difference - radius), up(difference + radius))
    return bounds if isinstance(claim, ErrorBound) else measured(claim, bounds)


def combined(parts: Iterator[Sweep]) -> Sweep:
    """Several sweeps as one; at least one."""
    first, *others = parts
    settled = first.settled
    for other in others:
        settled = union(settled, other.settled)
    every = [first, *others]
    return Sweep(
        settled=settled,
        seen=best([part.seen for part in every]),
        doubtful=np.concatenate([part.doubtful for part in every]),
        bounds=Interval(
            np.concatenate([part.bounds.lower for part in every]),
            np.concatenate([part.bounds.upper for part in every]),
        ),
    )


def extremes(points: FloatArray, difference: FloatArray) -> Seen:
    """Where each column is least, and where it is greatest."""
    columns = np.ascontiguousarray(difference.T)  # one pass over memory each
    rows = np.concatenate([columns.argmin(axis=1), columns.argmax(axis=1)])
    return Seen(points[rows], difference[rows, np.tile(np.arange(len(columns)), 2)])


def best(found: Sequence[Seen]) -> Seen:
    """The extremes of several."""
    size = len(found[0].values) // 2
    values = np.array([seen.values for seen in found])
    chosen = np.concatenate([values[:, :size].argmin(axis=0), values[:, size:].argmax(axis=0)])
    columns = np.arange(2 * size)
    points = np.array([seen.points for seen in found])
    return Seen(points[chosen, columns], values[chosen, columns])


# --- bounds of many boxes or points -----------------------------------------------------------------


def inside(bounds: Interval, limits: Interval) -> Mask:
    """Which rows lie within the limits with every output; one of which nothing is known does not."""
    return np.asarray(((bounds.lower >= limits.lower) & (bounds.upper <= limits.upper)).all(axis=-1))


def beyond(bounds: Interval, limits: Interval) -> tuple[FloatArray, FloatArray]:
    """By how much the bounds exceed the upper limits, and the lower ones; -inf where there is no lower limit."""
    with np.errstate(invalid="ignore"):
        below = np.where(limits.lower > -np.inf, limits.lower - bounds.lower, -np.inf)
    return bounds.upper - limits.upper, below


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
