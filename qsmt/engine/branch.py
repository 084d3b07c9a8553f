"""Branch and bound over input boxes: cut, analyse both halves, drop what is settled, run what is small.

The state is a partition of the region into open boxes, each with certified bounds of the difference, and
closed ones, of which only the hull of their bounds is kept. At any time every difference lies in

    hull(closed)  u  hull(bounds of the open boxes),

so the search can be stopped whenever one likes, and what it has certified stands. That the parts make up
the region is not only the halves' property (qsmt.engine.boxes): what is closed is measured, and nothing is
proved unless that comes to the measure of the region. A box is closed when its
bounds lie within the limits: the claim's bounds for `check`; for `bound`, what is witnessed already and the
gap that is allowed. A grid box that holds few points is run instead of cut (qsmt.engine.leaves).

**When to run a box.** As soon as its points take no longer than analysing `LEAF_BOXES` boxes. And everything
that is open, as soon as that takes no longer than all the analysis so far, so that the search never takes more
than about twice as long as running all points; or `PATIENCE` times as long if analysis closes hardly anything.

**Where to cut.** Along the coordinate that moves the difference most across the box, times the square root
of how wide the box still is there, so that no coordinate is forgotten (qsmt.engine.pieces). Reals that are quantized
also move it by their rounding, until the box reads one code.

Work is given out in pieces and collected in order (qsmt.engine.crew); the clock decides only when to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.dra.domain import Boxes
from qsmt.dra.inputs import codes_of
from qsmt.engine.boxes import Batch, Mask, Pool, Rows, halves, is_empty, joined, part_of, splittable, whole
from qsmt.engine.costs import Costs, estimate
from qsmt.engine.crew import Crew
from qsmt.engine.investigation import Investigation
from qsmt.engine.leaves import Sweep, best, beyond, empty, hull, inside, union
from qsmt.engine.pieces import Examination, Stretch, bounds_on, examine, run_stretch
from qsmt.engine.policy import Policy, Tally
from qsmt.engine.scout import Scout
from qsmt.errors import SoundnessError
from qsmt.facts import Facts, Interval
from qsmt.problem import Problem

PATIENCE = 3.0
"""Once running everything takes less than this many times the analysis so far, analysis must have been
closing boxes lately at least as fast as that would."""

SMALLEST_WIDTH = 1e-290
"""Smaller widths are not divided by."""


LEAF_BOXES = 4
"""A box is run when its points cost no more than analysing this many boxes."""

STRETCH_CHUNKS = 48
"""Chunks of points that a worker runs in one piece."""

MAX_LEAF = 2.0**40
"""No box of more points than this is run: they are counted in integers of the machine."""

MAX_OPEN_VALUES = 2**27
"""Numbers in the pool; beyond, the newest boxes go first, so that it hardly grows any more."""

MAX_COUNTED = 2**53
"""Up to here, sums of counts are exact in doubles."""

SHARE_LOST = 1e-9
"""What rounding may take away from a sum of shares."""

EXACT_AT_ONCE = 64
"""Doubtful points executed exactly in one go."""


@dataclass(slots=True, eq=False)
class Search:
    """One search. `step` until it is `done`; `certified` holds after every step."""

    run: Investigation
    policy: Policy
    crew: Crew
    costs: Costs
    pool: Pool
    closed: Interval
    stuck: Batch  # boxes of reals that cannot be cut any further
    tally: Tally = field(default_factory=Tally)
    _weight: FloatArray = field(init=False)
    _width: FloatArray = field(init=False)
    _scout: Scout = field(init=False)
    _pruned: Interval = field(init=False)  # the limits when the pool was last looked through

    def __post_init__(self) -> None:
        root = self.crew.prepared.root
        self._width = (root.upper - root.lower)[0]
        width = np.array([high - low for low, high in (o.certified for o in self.run.outputs)])
        self._pruned = self.policy.limits()
        usable = np.isfinite(width) & (width > SMALLEST_WIDTH)
        self._weight = np.where(usable, 1 / np.where(usable, width, 1.0), 1.0)
        self._scout = Scout(self.run, self.crew.prepared, self.policy.limits, self._weight)

    @staticmethod
    def begin(run: Investigation, policy: Policy, crew: Crew) -> Search:
        """A search that has not looked at anything yet: the whole region is one open box."""
        outputs = len(run.problem.claim.outputs)
        root = whole(run.problem.region, outputs)
        pool = Pool(root, np.zeros(1))
        return Search(run, policy, crew, estimate(crew.prepared), pool, empty(outputs), root[:0])

    @property
    def _outputs(self) -> list[int]:
        return self.crew.prepared.outputs

    @property
    def _grid(self) -> bool:
        return self.crew.prepared.grid

    @property
    def done(self) -> bool:
        """Is nothing left to do?"""
        return len(self.pool) == 0 or self.policy.finished()

    @property
    def open_boxes(self) -> int:
        """How many boxes are not closed."""
        return len(self.pool) + len(self.stuck)

    @property
    def settled(self) -> bool:
        """Is every box closed, and were all within the limits?

        A point may exceed limits, which are doubles, by less than one, where it was executed exactly.
        """
        limits = self.policy.limits()
        with np.errstate(over="ignore"):
            outward = Interval(np.nextafter(limits.lower, -np.inf), np.nextafter(limits.upper, np.inf))
        return self.open_boxes == 0 and bool(inside(self.certified, outward))

    @property
    def closed_share(self) -> float:
        """How much of the region is closed, from 0 to 1."""
        return self.tally.closed / self._total

    @property
    def certified(self) -> Interval:
        """Bounds of every claimed output's difference on the whole region, (m,)."""
        found = self.closed
        for part in (self.pool.all, self.stuck):
            found = union(found, hull(part.bounds, np.ones(len(part), dtype=np.bool_)))
        return found

    def step(self) -> None:
        """Take the most promising boxes, and cut or run them."""
        self._prune()
        taken = self._unsettled(self._take())
        leaf = self._are_leaves(taken)
        rows, others = np.flatnonzero(leaf), np.flatnonzero(~leaf)
        if len(rows):
            self._keep(self._enumerated(taken[rows]))
        if len(others):
            self._cut(taken[others])
        self._publish()

    def _take(self) -> Batch:
        size, share = self.costs.batch * self.crew.jobs, self.policy.dive_share
        values = len(self.pool) * (3 * len(self._width) + 2 * len(self._outputs))
        return self.pool.take(size, newest=int(size * (share if values < MAX_OPEN_VALUES else 1.0)))

    def _publish(self) -> None:
        found, size = self.certified, max(self._outputs) + 1
        lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
        lower[self._outputs], upper[self._outputs] = found.lower, found.upper
        self.run.certify(lower, upper)

    # --- cutting ---

    def _cut(self, batch: Batch) -> None:
        possible = splittable(batch, self._width, grid=self._grid)
        able = np.asarray(possible.any(axis=1))
        if not able.all():
            self.stuck = joined([self.stuck, batch[~able]])
            batch, possible = batch[able], possible[able]
        if len(batch):
            read = self.crew.prepared.read
            parts = halves(batch, self._axis(batch, possible), grid=self._grid, read=read)
            self._keep(self._examined(parts))

    def _axis(self, batch: Batch, possible: Mask) -> Rows:
        relative = (batch.upper - batch.lower) / np.where(self._width > 0, self._width, 1.0)
        score = (batch.rise + self._rounding(batch) + np.finfo(np.float64).tiny) * np.sqrt(relative)
        score = np.where(np.isfinite(score), score, 0.0)
        return np.asarray(np.where(possible, score, -1.0).argmax(axis=1))

    def _rounding(self, batch: Batch) -> FloatArray:
        """How far rounding the input moves the difference: a guess, zero where a box reads one code only."""
        prepared = self.crew.prepared
        if prepared.read is None or prepared.read.format is None:
            return np.zeros_like(batch.rise)
        codes = codes_of(prepared.read, batch.boxes.interval)
        unit = float(prepared.read.format.scale / prepared.read.scale)
        return np.where(codes.upper > codes.lower, unit * prepared.slope, 0.0)

    def _examined(self, batch: Batch) -> Batch:
        """The boxes with bounds on each of them; what probing shows is executed if it promises more."""
        self.tally.count(len(batch))
        share, limits = -(-len(batch) // self.crew.jobs), self.policy.limits()
        requests = [Examination(batch.boxes[i : i + share], limits) for i in range(0, len(batch), share)]
        found = self.crew.map(examine, requests)
        seen = [part.seen for part in found if part.seen is not None]
        if seen:
            self._scout.witness(self._scout.climbed(best(seen)))
        lower, upper, rise = (
            np.concatenate(parts)
            for parts in zip(*((f.bounds.lower, f.bounds.upper, f.rise) for f in found), strict=True)
        )
        return batch.within(Interval(lower, upper), rise)

    # --- closing ---

    def _keep(self, batch: Batch) -> None:
        """Close what is settled, and put the rest into the pool."""
        batch = self._unsettled(batch)
        if len(batch):
            self.pool.add(batch, self._excess(batch.bounds))

    def _prune(self) -> None:
        """Close what is settled since the limits have moved."""
        limits = self.policy.limits()
        if not (
            np.array_equal(limits.lower, self._pruned.lower)
            and np.array_equal(limits.upper, self._pruned.upper)
        ):
            self._unsettled(self.pool.remove(inside(self.pool.all.bounds, limits)))
            self._pruned = limits

    def _unsettled(self, batch: Batch) -> Batch:
        """Close the boxes that lie within the limits; the others."""
        settled = inside(batch.bounds, self.policy.limits())
        self.tally.proved += self._close(batch[settled], hull(batch.bounds, settled))
        self.tally.settled += int(settled.sum())
        return batch[~settled]

    def _close(self, batch: Batch, bounds: Interval) -> float:
        """Close the boxes, whose hull is given; their measure."""
        measure = float(self._measure(batch).sum())
        self.closed = union(self.closed, bounds)
        self.tally.closed += measure
        return measure

    def _measure(self, batch: Batch) -> FloatArray:
        """Points of a grid; of reals, and of more points than doubles count, the share of the region."""
        if self._countable:
            return batch.points
        free, more = self.crew.prepared.free, 1.0 if self._grid else 0.0
        extent = (batch.upper - batch.lower)[:, free] + more
        share: FloatArray = (extent / (self._width[free] + more)).prod(axis=1)
        return share

    @property
    def _countable(self) -> bool:
        return self._grid and (self.run.problem.region.points or 0) < MAX_COUNTED

    @property
    def _total(self) -> float:
        return float(self.run.problem.region.points or 0) if self._countable else 1.0

    def check_nothing_is_lost(self) -> None:
        """Open and closed boxes together are the region.

        Raises:
            SoundnessError: they are not, by their measure; on a grid of less than 2**53 points, exactly.
        """
        total = self._total
        parts = self.tally.closed + float(
            self._measure(self.pool.all).sum() + self._measure(self.stuck).sum()
        )
        lost = 0.0 if self._countable else SHARE_LOST + self.crew.prepared.between
        if not abs(parts - total) <= lost:
            raise SoundnessError(f"the boxes of the search make up {parts!r} of a region of {total!r}")

    def _excess(self, bounds: Interval) -> FloatArray:
        """By how much each row exceeds the limits, relative to the width on the whole region."""
        limits = self.policy.limits()
        worst: FloatArray = np.nan_to_num(
            (np.maximum(*beyond(bounds, limits)) * self._weight).max(axis=1), nan=np.inf
        )
        return worst

    # --- running points ---

    def _are_leaves(self, batch: Batch) -> Mask:
        if not self._grid:
            return np.zeros(len(batch), dtype=np.bool_)
        with np.errstate(over="ignore"):  # a region may hold more points than doubles count
            everything = self.pool.all.points.sum() + batch.points.sum()
        most = MAX_LEAF if self._affordable(float(everything)) else max(1.0, LEAF_BOXES * self.costs.ratio)
        return np.asarray(batch.points <= min(most, MAX_LEAF), dtype=np.bool_)

    def _affordable(self, points: float) -> bool:
        """Should all open points be run now?"""
        tally, ratio = self.tally, self.costs.ratio
        if points <= tally.analysed * ratio:
            return True
        return points <= PATIENCE * tally.analysed * ratio and tally.pace < ratio

    def _enumerated(self, batch: Batch) -> Batch:
        """Run every point of the boxes; the boxes for which there was no time."""
        ends, start = np.cumsum(batch.points), 0
        reach = float(STRETCH_CHUNKS * self.crew.prepared.chunk * self.crew.jobs)
        while start < len(batch) and not self._interrupted:
            upto = (ends[start - 1] if start else 0.0) + reach
            stop = max(start + 1, int(np.searchsorted(ends, upto, side="right")))
            if not self._enumerate_group(batch[start:stop]):
                break
            start = stop
        return batch[start:]

    def _enumerate_group(self, batch: Batch) -> bool:
        """All points of a few boxes; False, and nothing is closed, if that was not finished."""
        found, total = empty(len(self._outputs)), int(batch.points.sum())
        length = STRETCH_CHUNKS * self.crew.prepared.chunk
        starts = range(0, total, length)
        for first in range(0, len(starts), self.crew.jobs):
            for part in self._run(batch.boxes, starts[first : first + self.crew.jobs], total):
                exact = self._settle(part)
                if exact is None:
                    return False
                found = union(found, union(part.settled, exact))
        self._close(batch, found)
        self.tally.enumerated += total
        return True

    def _run(self, boxes: Boxes, starts: range, total: int) -> Sequence[Sweep]:
        limits = self.policy.limits()
        return self.crew.map(
            run_stretch, [Stretch(boxes, start, min(start + starts.step, total), limits) for start in starts]
        )

    @property
    def _interrupted(self) -> bool:
        return self.run.remaining_s < 0 or self.policy.finished()

    def _settle(self, found: Sweep) -> Interval | None:
        """Execute doubtful points exactly, the worst first; bounds of all, None if that was not finished."""
        points, bounds, executed = found.doubtful, found.bounds, 0
        result = empty(len(self._outputs))
        self._scout.witness(found.seen)
        while len(points):
            settled = inside(bounds, self.policy.limits()) | (executed >= self.policy.exact_points)
            result = union(result, hull(bounds, settled))
            points, bounds = points[~settled], _rows(bounds, ~settled)
            if self._interrupted:
                return None
            worst = np.argsort(-self._excess(bounds), kind="stable")[:EXACT_AT_ONCE]
            result = union(result, self._scout.executed(points[worst]))
            executed += len(worst)
            others = np.ones(len(points), dtype=np.bool_)
            others[worst] = False
            points, bounds = points[others], _rows(bounds, others)
        return None if self._interrupted else result

    def finish(self) -> None:
        """Witness the largest differences that were seen, and see that no box is missing.

        Raises:
            SoundnessError: open and closed boxes do not make up the region.
        """
        self._publish()  # a search that was resumed when it was over has taken no step
        self._scout.witness_the_best()
        self.check_nothing_is_lost()

    # --- what is left ---

    def residual(self, most: int) -> list[tuple[Problem, Facts]]:
        """The open boxes that hold inputs, as problems with their facts; more than `most` are taken as their hull."""
        boxes = joined([self.pool.all, self.stuck])
        ends = boxes.boxes
        if len(boxes) > most:
            ends = replace(
                ends,
                lower=boxes.lower.min(axis=0, keepdims=True),
                upper=boxes.upper.max(axis=0, keepdims=True),
            )
        if len(ends) == 0:
            return []
        facts, problem, read = bounds_on(self.crew.prepared, ends), self.run.problem, self.crew.prepared.read
        boxes_of = [Interval(low, high) for low, high in zip(ends.lower, ends.upper, strict=True)]
        parts = [(part_of(problem, box.lower, box.upper), box) for box in boxes_of]
        return [(part, facts[i]) for i, (part, box) in enumerate(parts) if not is_empty(part, box, read)]


def _rows(bounds: Interval, rows: Mask) -> Interval:
    return Interval(bounds.lower[rows], bounds.upper[rows])
