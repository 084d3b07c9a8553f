"""Branch and bound over input boxes: split, analyse both halves, drop what is settled, run what is small.

The state is a partition of the region into open boxes, each with certified bounds of the difference,
and closed ones, of which only the hull of their bounds is kept. At any time every difference lies in

    hull(closed)  u  hull(bounds of the open boxes),

so the search can be stopped whenever one likes, and what it has certified stands. A box is closed when
its bounds lie within the limits: the claim's bounds for `check`; for `bound`, what is witnessed already and
the gap that is allowed. A grid box that holds few points is run instead of split (qsmt.engine.leaves).

**When to run a box.** As soon as its points take no longer than analysing `LEAF_BOXES` boxes. And everything
that is open, as soon as that takes no longer than all the splitting so far: so the search never takes more
than about twice as long as it would if it knew when to stop splitting.

**Where to split.** Along the coordinate that moves the networks most across the box, times the square root
of how wide the box still is there, so that no coordinate is forgotten (qsmt.engine.probe).

Nothing depends on the clock but the two numbers of qsmt.engine.costs and the time limit; no verdict does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import FloatArray
from qsmt.dra.analysis import analyze
from qsmt.dra.domain import Boxes
from qsmt.engine.boxes import Batch, Mask, Pool, halves, splittable
from qsmt.engine.costs import MAX_CHUNK, SEARCH_MODE, Costs
from qsmt.engine.investigation import Investigation
from qsmt.engine.leaves import Sweep, chunks, empty, hull, inside, sweep, union
from qsmt.engine.probe import Extremes, Probe
from qsmt.facts import Interval
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import InputModel, Problem

LEAF_BOXES = 4
"""A box is run when its points cost no more than analysing this many boxes."""

CHUNK_VALUES = 2**17
"""Points times widest layer in one batch: its few arrays of doubles stay within a second-level cache."""

EXACT_AT_ONCE = 64
"""Doubtful points executed exactly in one go."""

PROMISING = 0.01
"""A larger difference seen in doubles is executed exactly if it closes this much of what is open."""

MAX_INTEGER = Fraction(2) ** 52
"""Integers up to here can be halved and counted in doubles."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a search is after."""

    limits: Callable[[], Interval]  # of the claimed outputs, (m,); they may only ever move outward
    finished: Callable[[], bool]  # is there no need to go on?
    dive_share: float = 0.0  # of each batch, how much goes to the worst of the newest boxes
    exact_points: float = np.inf  # of one chunk, how many are executed exactly at most


@dataclass(slots=True)
class Tally:
    """How far a search is."""

    analysed: int = 0
    enumerated: int = 0
    steps: int = 0


def searchable(problem: Problem) -> bool:
    """Can the region be halved at all?"""
    ends = list(zip(problem.region.lower, problem.region.upper, strict=True))
    small = all(max(-low, high) <= MAX_INTEGER for low, high in ends)
    return any(low < high for low, high in ends) and (
        problem.region.model is InputModel.CONTINUOUS or small
    )


@dataclass(slots=True, eq=False)
class Search:
    """One search. `step` until it is `done`; `certified` holds after every step."""

    run: Investigation
    policy: Policy
    costs: Costs
    executor: Executor
    interpreter: BatchInterpreter
    tally: Tally = field(default_factory=Tally)
    stuck: list[Batch] = field(default_factory=list)  # boxes of reals that cannot be halved any further
    _outputs: list[int] = field(init=False)
    _grid: bool = field(init=False)
    _pool: Pool = field(init=False)
    _closed: Interval = field(init=False)
    _probe: Probe = field(init=False)
    _weight: FloatArray = field(init=False)
    _chunk: int = field(init=False)

    def __post_init__(self) -> None:
        problem = self.run.problem
        self._outputs = list(problem.claim.outputs)
        self._grid = problem.region.model is InputModel.GRID
        self._pool = Pool(problem.input_size, len(self._outputs))
        self._closed = empty(len(self._outputs))
        widest = max(problem.input_size, *(op.out.size for op in problem.reference.ops))
        self._chunk = min(max(64, CHUNK_VALUES // widest), MAX_CHUNK)
        region = Boxes.of_region(problem.region)
        self._probe = Probe(self.interpreter, region, self._outputs, grid=self._grid)
        known = self._analysed(region)
        self._weight = _reciprocal(known.width[0])
        self._keep(Batch(region.lower, region.upper, known.lower, known.upper))

    @property
    def done(self) -> bool:
        """Is nothing left to do?"""
        return len(self._pool) == 0 or self.policy.finished()

    @property
    def proved(self) -> bool:
        """Is every part of the region closed?"""
        return self.open_boxes == 0

    @property
    def open_boxes(self) -> int:
        return len(self._pool) + sum(map(len, self.stuck))

    @property
    def certified(self) -> Interval:
        """Bounds of every claimed output's difference on the whole region, (m,)."""
        found = self._closed
        for part in (self._pool.all, *self.stuck):
            found = union(found, hull(part.bounds, np.ones(len(part), dtype=np.bool_)))
        return found

    def step(self) -> None:
        """Take the most promising boxes, and split or run them."""
        size = self.costs.batch
        taken = self._unsettled(self._pool.take(size, newest=int(size * self.policy.dive_share)))
        leaf = self._are_leaves(taken)
        if leaf.any():
            self._keep(self._enumerated(taken[leaf]))
        if not leaf.all():
            self._split(taken[~leaf])
        self.tally.steps += 1
        self._publish()

    def _publish(self) -> None:
        found, size = self.certified, self.run.problem.reference.output.size
        lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
        lower[self._outputs], upper[self._outputs] = found.lower, found.upper
        self.run.certify(lower, upper)

    # --- splitting ---

    def _split(self, batch: Batch) -> None:
        possible = splittable(batch, grid=self._grid)
        able = possible.any(axis=1)
        if not able.all():
            self.stuck.append(batch[~able])
            batch, possible = batch[able], possible[able]
        if len(batch) == 0:
            return
        score, seen = self._probe.scores(batch)
        if seen is not None:
            self._witness(seen)
        children = halves(batch, np.where(possible, score, -1.0).argmax(axis=1), grid=self._grid)
        self._keep(children.within(self._analysed(children.boxes)))

    def _analysed(self, boxes: Boxes) -> Interval:
        """Bounds of the claimed outputs' difference on each box."""
        self.tally.analysed += len(boxes)
        share = -(-len(boxes) // self.run.options.jobs)
        parts = [boxes[i : i + share] for i in range(0, len(boxes), share)]
        found = list(self.executor.map(self._difference, parts))
        return Interval(np.concatenate([f.lower for f in found]), np.concatenate([f.upper for f in found]))

    def _difference(self, boxes: Boxes) -> Interval:
        bounds = analyze(self.run.problem, boxes, SEARCH_MODE).difference
        return Interval(bounds.lower[:, self._outputs], bounds.upper[:, self._outputs])

    # --- closing ---

    def _keep(self, batch: Batch) -> None:
        """Close what is settled, and put the rest into the pool."""
        batch = self._unsettled(batch)
        if len(batch):
            self._pool.add(batch, self._excess(batch.bounds))

    def _unsettled(self, batch: Batch) -> Batch:
        """Close the boxes that lie within the limits; the others."""
        settled = inside(batch.bounds, self.policy.limits())
        self._closed = union(self._closed, hull(batch.bounds, settled))
        return batch[~settled]

    def _excess(self, bounds: Interval) -> FloatArray:
        """By how much each row exceeds the limits, relative to the width on the whole region."""
        limits = self.policy.limits()
        beyond = np.maximum(bounds.upper - limits.upper, limits.lower - bounds.lower)
        worst: FloatArray = (beyond * self._weight).max(axis=1)
        return worst

    # --- running ---

    def _are_leaves(self, batch: Batch) -> Mask:
        if not self._grid:
            return np.zeros(len(batch), dtype=np.bool_)
        everything = self._pool.all.points.sum() + batch.points.sum()
        most = np.inf if everything <= self.tally.analysed * self.costs.ratio else LEAF_BOXES * self.costs.ratio
        return np.asarray(batch.points <= most)

    def _enumerated(self, batch: Batch) -> Batch:
        """Run every point of the boxes; the boxes for which there was no time."""
        ends = np.cumsum(batch.points)
        start = 0
        while start < len(batch):
            reach = (ends[start - 1] if start else 0.0) + self._chunk * self.run.options.jobs
            stop = max(start + 1, int(np.searchsorted(ends, reach, side="right")))
            if not self._enumerate_group(batch[start:stop]):
                break
            start = stop
        return batch[start:]

    def _enumerate_group(self, batch: Batch) -> bool:
        """All points of a few boxes; False, and nothing is closed, if that was not finished."""
        found = empty(len(self._outputs))
        for part in self._sweeps(batch):
            exact = self._settled(part)
            if exact is None or self._interrupted:
                return False
            found = union(found, union(part.settled, exact))
        self._closed = union(self._closed, found)
        self.tally.enumerated += int(batch.points.sum())
        return True

    @property
    def _interrupted(self) -> bool:
        return self.run.remaining_s < 0 or self.policy.finished()

    def _sweeps(self, batch: Batch) -> Iterator[Sweep]:
        limits = self.policy.limits()

        def one(points: FloatArray) -> Sweep:
            return sweep(self.interpreter, points, outputs=self._outputs, limits=limits)

        parts = chunks(batch, self._chunk)
        while several := list(islice(parts, self.run.options.jobs)):
            yield from self.executor.map(one, several)

    def _settled(self, found: Sweep) -> Interval | None:
        """Execute doubtful points exactly, the worst first; bounds of all, None if that was not finished."""
        points, bounds, executed = found.doubtful, found.bounds, 0
        result = empty(len(self._outputs))
        if len(points):
            self._witness(found.extremes)
        while len(points):
            settled = inside(bounds, self.policy.limits())
            if executed >= self.policy.exact_points:
                settled[:] = True
            result = union(result, hull(bounds, settled))
            points, bounds = points[~settled], Interval(bounds.lower[~settled], bounds.upper[~settled])
            if self._interrupted:
                return None
            worst = np.argsort(-self._excess(bounds), kind="stable")[:EXACT_AT_ONCE]
            result = union(result, self._executed(points[worst]))
            executed += len(worst)
            points, bounds = np.delete(points, worst, axis=0), _without(bounds, worst)
        return result

    def _executed(self, points: FloatArray) -> Interval:
        """Bounds of the differences at these points, which are executed exactly."""
        found = [e.difference for e in self.run.observe([self._exact(p) for p in points])]
        values = [[d[i] for i in self._outputs] for d in found]
        result = empty(len(self._outputs))
        for row in values:
            at = Interval(np.array([float_down(v) for v in row]), np.array([float_up(v) for v in row]))
            result = union(result, at)
        return result

    def _exact(self, point: FloatArray) -> tuple[Fraction, ...]:
        """A point as an exact input of the region."""
        region = self.run.problem.region
        ends = zip(point.tolist(), region.lower, region.upper, strict=True)
        return tuple(min(max(Fraction(v), low), high) for v, low, high in ends)

    def _witness(self, seen: Extremes) -> None:
        """Execute the extremes that promise a larger difference than any before, or a violation."""
        limits, known, size = self.policy.limits(), self.run.outputs, len(self._outputs)
        for k, output in enumerate(known):
            low, high = output.certified
            least, greatest = output.reached
            down = max(least - PROMISING * (least - low), limits.lower[k])
            up = min(greatest + PROMISING * (high - greatest), limits.upper[k])
            rows = [r for r, far in ((k, seen.values[k] < down), (size + k, seen.values[size + k] > up)) if far]
            if rows:
                self.run.observe([self._exact(p) for p in seen.points[rows]])


def _reciprocal(width: FloatArray) -> FloatArray:
    usable = np.isfinite(width) & (width > 0)
    return np.where(usable, 1 / np.where(usable, width, 1.0), 1.0)


def _without(bounds: Interval, rows: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Interval:
    return Interval(np.delete(bounds.lower, rows, axis=0), np.delete(bounds.upper, rows, axis=0))
