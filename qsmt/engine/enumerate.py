"""Decide a grid by running both networks on every point of it.

The integer side is exact and the real side has an error radius, so all but the few points whose
difference lies within the radius of the bound are decided by a comparison of doubles; those few are
executed exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from qsmt.arith.outward import down, float_down, up
from qsmt.arith.real import FloatArray
from qsmt.engine.investigation import Investigation
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.verdict import Falsified

CHUNK_VALUES = 2**17
"""Points times widest layer in one batch: its few arrays of doubles stay within a second-level cache."""

REPLAYED_AT_ONCE = 64
"""Doubtful points executed exactly in one go."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One chunk of points: bounds of the differences, the extreme points, and the doubtful ones."""

    points: int
    lower: FloatArray  # (m,), outward
    upper: FloatArray
    extremes: FloatArray  # (2m, n): where each output is least and greatest
    doubtful: FloatArray  # (k, n): the bound may be exceeded; the worst first


def enumerate_grid(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: certify the exact range, or stop at a violation."""
    region = run.problem.region
    total = region.points or 0
    if region.model is InputModel.CONTINUOUS:
        run.observe([region.lower])
        return _conclude(run, total, total)
    interpreter, done = BatchInterpreter(run.problem), 0
    size = run.problem.reference.output.size
    lower, upper = np.full(size, np.inf), np.full(size, -np.inf)
    extremes: list[FloatArray] = []
    with ThreadPoolExecutor(run.options.jobs) as executor:
        for sweep in _sweeps(run.problem, interpreter, executor, run.options.jobs):
            lower, upper = np.minimum(lower, sweep.lower), np.maximum(upper, sweep.upper)
            extremes = _best(interpreter, [*extremes, sweep.extremes])
            done += sweep.points if _decide_doubtful(run, sweep.doubtful) else 0
            run.watch.progress(done, total, "points")
            if run.remaining_s < 0 or isinstance(run.verdict, Falsified):
                break
    run.observe(_points(np.concatenate(extremes)))
    if done == total:
        run.certify(lower, upper)
    return _conclude(run, done, total)


def _conclude(run: Investigation, done: int, total: int) -> tuple[str, dict[str, Any]]:
    if done < total and not isinstance(run.verdict, Falsified):
        run.reasons.append(f"time was up after {done:,} of {total:,} points")
    elif not isinstance(run.verdict, Falsified):
        run.verify(["enumeration"])
    return f"ran {done:,} of {total:,} grid points", {"points": done, "total": total}


def _best(interpreter: BatchInterpreter, candidates: list[FloatArray]) -> list[FloatArray]:
    """Of the extreme points of several chunks, the extreme ones."""
    points = np.concatenate(candidates)
    found = interpreter.run(points).difference
    return [points[np.concatenate([found.argmin(axis=0), found.argmax(axis=0)])]]


def _decide_doubtful(run: Investigation, doubtful: FloatArray) -> bool:
    """Execute the doubtful points exactly, until one violates the bound; False when time is up first."""
    for start in range(0, len(doubtful), REPLAYED_AT_ONCE):
        if run.remaining_s < 0:
            return False
        run.observe(_points(doubtful[start : start + REPLAYED_AT_ONCE]))
        if isinstance(run.verdict, Falsified):
            break
    return True


def _sweeps(
    problem: Problem, interpreter: BatchInterpreter, executor: Executor, jobs: int
) -> Iterator[Sweep]:
    """All chunks, in order, a few at a time on the executor."""
    widest = max(op.out.size for op in problem.reference.ops)
    chunk = max(64, CHUNK_VALUES // max(widest, problem.input_size))
    starts = iter(range(0, problem.region.points or 0, chunk))
    while batch := list(islice(starts, 2 * jobs)):
        yield from executor.map(
            lambda s: _sweep(interpreter, grid_points(problem.region, s, chunk), problem.claim), batch
        )


def _sweep(interpreter: BatchInterpreter, points: FloatArray, claim: ErrorBound) -> Sweep:
    found = interpreter.run(points)
    reach = up(np.abs(found.difference) + found.radius)[:, list(claim.outputs)]
    excess = (reach - [float_down(b) for b in claim.bounds]).max(axis=1)
    rows = np.flatnonzero(~(excess <= 0))  # also where nothing is known, because a double overflowed
    return Sweep(
        points=len(points),
        lower=down(found.difference.min(axis=0) - found.radius),
        upper=up(found.difference.max(axis=0) + found.radius),
        extremes=points[np.concatenate([found.difference.argmin(axis=0), found.difference.argmax(axis=0)])],
        doubtful=points[rows[np.argsort(-excess[rows], kind="stable")]],
    )


def grid_points(region: Region, start: int, count: int) -> FloatArray:
    """Points `start` to `start + count` (or the end) of the grid, the last coordinate fastest."""
    rest = np.arange(start, min(start + count, region.points or 0))
    points = np.tile(np.array([float(a) for a in region.lower]), (len(rest), 1))
    extents = [int(b - a) + 1 for a, b in zip(region.lower, region.upper, strict=True)]
    for axis in reversed([i for i, extent in enumerate(extents) if extent > 1]):
        rest, digit = np.divmod(rest, extents[axis])
        points[:, axis] += digit
    return points


def _points(rows: FloatArray) -> list[tuple[Fraction, ...]]:
    return list(dict.fromkeys(tuple(Fraction(int(v)) for v in row) for row in rows))
