"""Branch and bound over input boxes: split, analyse both halves, drop what is settled, enumerate what is small.

The state is a partition of the region into open boxes, each with certified bounds of the difference,
and closed ones, of which only the hull of their bounds is kept. At any time every difference lies in

    hull(closed)  u  hull(bounds of the open boxes),

so the search can be stopped whenever one likes, and what it has certified stands. A box is closed when
its bounds lie within the limits: the claim's bounds for `check`, what is witnessed already (plus the gap that
is allowed) for `bound`. A grid box that holds few points is run instead of split; a point that doubles
cannot settle is executed exactly.

**When to enumerate.** A box, as soon as running its points takes no longer than analysing `LEAF_BOXES` boxes.
Everything that is open, as soon as that takes no longer than all the splitting so far: so the search never
takes more than about twice as long as the better of splitting alone and enumerating at that moment.

**Where to split.** Along the coordinate that moves the networks the most across the box, times the square root
of how wide the box still is there: a box is never split in one direction only.

Nothing depends on the clock but the two numbers of qsmt.engine.costs and the time limit, and no verdict does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import FloatArray
from qsmt.dra.analysis import analyze
from qsmt.dra.domain import Boxes
from qsmt.engine.boxes import Batch, Pool, halves, joined, splittable
from qsmt.engine.costs import MAX_CHUNK, SEARCH_MODE, Costs
from qsmt.engine.investigation import Investigation
from qsmt.engine.leaves import Sweep, chunks, inside, sweep
from qsmt.engine.probe import Probe
from qsmt.facts import Interval
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import InputModel, Problem

LEAF_BOXES = 4
"""A box is enumerated when its points cost no more than analysing this many boxes."""

CHUNK_VALUES = 2**17
"""Points times widest layer in one batch: its few arrays of doubles stay within a second-level cache."""

EXACT_AT_ONCE = 64
"""Doubtful points executed exactly in one go."""

MAX_INTEGER = Fraction(2) ** 52
"""Integers up to here can be halved and counted in doubles."""

Point = tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a search is after. `limits` (claimed outputs,) may move while it runs, but never inward."""

    limits: Callable[[], Interval]
    dive_share: float  # of each batch, how much goes to the worst of the newest boxes
    finished: Callable[[], bool]


@dataclass(slots=True)
class Tally:
    """How far a search is."""

    analysed: int = 0
    enumerated: int = 0
    executed: int = 0
    steps: int = 0


def searchable(problem: Problem) -> bool:
    """Can the region be halved at all?"""
    region = problem.region
    wide = any(low < high for low, high in zip(region.lower, region.upper, strict=True))
    small = all(max(-low, high) <= MAX_INTEGER for low, high in zip(region.lower, region.upper, strict=True))
    return wide and (region.model is InputModel.CONTINUOUS or small)


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
    _pool: Pool = field(init=False)
    _closed: Interval = field(init=False)
    _probe: Probe = field(init=False)
    _outputs: list[int] = field(init=False)
    _weight: FloatArray = field(init=False)
    _grid: bool = field(init=False)

    def __post_init__(self) -> None:
        problem = self.run.problem
        self._grid = problem.region.model is InputModel.GRID
        self._outputs = list(problem.claim.outputs)
        size = len(self._outputs)
        self._closed = Interval(np.full(size, np.inf), np.full(size, -np.inf))
        self._pool = Pool(problem.input_size, size)
        region = Boxes.of_region(problem.region)
        known = self._analysed(region)
        root = Batch(region.lower, region.upper, known.lower, known.upper)
        self._probe = Probe(self.interpreter, region, self._outputs, grid=self._grid)
        width = known.width[0]
        usable = np.isfinite(width) & (width > 0)
        self._weight = np.where(usable, 1 / np.where(usable, width, 1.0), 1.0)
        self._keep(root)

    @property
    def done(self) -> bool:
        """Is nothing left to do?"""
        return len(self._pool) == 0

    @property
    def proved(self) -> bool:
        """Is every part of the region closed?"""
        return self.done and not self.stuck

    @property
    def open_boxes(self) -> int:
        return len(self._pool) + sum(map(len, self.stuck))

    @property
    def certified(self) -> Interval:
        """Bounds of every claimed output's difference on the whole region, (m,)."""
        parts = [self._pool.all, *self.stuck]
        lower = [b.least.min(axis=0, initial=np.inf) for b in parts]
        upper = [b.greatest.max(axis=0, initial=-np.inf) for b in parts]
        return Interval(np.min([self._closed.lower, *lower], axis=0), np.max([self._closed.upper, *upper], axis=0))

    def step(self) -> None:
        """Take the most promising boxes, and split or enumerate them."""
        size = self.costs.batch
        taken = self._pool.take(size, newest=int(size * self.policy.dive_share))
        taken = self._without_settled(taken)
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
        score, points = self._probe.scores(batch)
        self._witness(points)
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
        """Put what is not settled into the pool."""
        batch = self._without_settled(batch)
        if len(batch):
            self._pool.add(batch, self._excess(batch))

    def _without_settled(self, batch: Batch) -> Batch:
        """Close the boxes that lie within the limits; the others."""
        settled = inside(batch.bounds, self.policy.limits())
        self._close(batch.bounds, settled)
        return batch[~settled]

    def _close(self, bounds: Interval, rows: FloatArray | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        lower = bounds.lower[rows].min(axis=0, initial=np.inf)
        upper = bounds.upper[rows].max(axis=0, initial=-np.inf)
        self._absorb(Interval(lower, upper))

    def _absorb(self, bounds: Interval) -> None:
        self._closed = Interval(
            np.minimum(self._closed.lower, bounds.lower), np.maximum(self._closed.upper, bounds.upper)
        )

    def _excess(self, batch: Batch) -> FloatArray:
        """By how much each box exceeds the limits, relative to the width on the whole region."""
        limits = self.policy.limits()
        beyond = np.maximum(batch.greatest - limits.upper, limits.lower - batch.least)
        worst: FloatArray = (beyond * self._weight).max(axis=1)
        return worst

    # --- enumerating ---

    def _are_leaves(self, batch: Batch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        if not self._grid:
            return np.zeros(len(batch), dtype=np.bool_)
        everything = self._pool.all.points.sum() + batch.points.sum()
        if everything <= self.tally.analysed * self.costs.ratio:
            return np.ones(len(batch), dtype=np.bool_)
        return np.asarray(batch.points <= LEAF_BOXES * self.costs.ratio)

    def _enumerated(self, batch: Batch) -> Batch:
        """Run every point of the boxes; the boxes for which there was no time."""
        ends = np.cumsum(batch.points)
        start = 0
        while start < len(batch) and not self._out_of_time():
            base = ends[start - 1] if start else 0.0
            stop = max(start + 1, int(np.searchsorted(ends, base + self._chunk * self.run.options.jobs, "right")))
            if not self._enumerate_group(batch[start:stop]):
                break
            start = stop
        return batch[start:]

    @property
    def _chunk(self) -> int:
        widest = max(op.out.size for op in self.run.problem.reference.ops)
        return int(min(max(64, CHUNK_VALUES // max(widest, self.run.problem.input_size)), MAX_CHUNK))

    def _enumerate_group(self, batch: Batch) -> bool:
        """All points of a few boxes; False, and nothing is closed, if that was not finished."""
        limits, bounds = self.policy.limits(), list[Interval]()
        for found in self._sweeps(batch, limits):
            exact = self._settle(found)
            if exact is None:
                return False
            bounds += [found.settled, exact]
            if self._out_of_time():
                return False
        for part in bounds:
            self._absorb(part)
        self.tally.enumerated += int(batch.points.sum())
        return True

    def _sweeps(self, batch: Batch, limits: Interval) -> Iterator[Sweep]:
        def one(points: FloatArray) -> Sweep:
            return sweep(self.interpreter, points, outputs=self._outputs, limits=limits)

        parts = iter(chunks(batch, self._chunk))
        while several := [p for _, p in zip(range(self.run.options.jobs), parts, strict=False)]:
            yield from self.executor.map(one, several)

    def _settle(self, found: Sweep) -> Interval | None:
        """Execute doubtful points exactly, the worst first; bounds of all, or None if it was not finished."""
        size = len(self._outputs)
        result = Interval(np.full(size, np.inf), np.full(size, -np.inf))
        if len(found.doubtful) == 0:
            return result
        self._witness((found.extremes, found.values))
        points, bounds = found.doubtful, found.bounds
        while len(points):
            ...
        return result
