"""The two kinds of work of a search, as functions of a prepared problem and a small request.

`examine` bounds the difference on some boxes, and probes those that stay open; `run_stretch` runs both
networks on some points. They depend on nothing else, so that any process can do them, and do them again.

Probing proves nothing: a few points of a box are run in doubles to rank the coordinates for the next cut,
and to see larger differences than any known. Where the analysis has a linear form of the difference, its
coefficients rank (smear), and the corner it points to is run; else both ends of every coordinate are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.claim import ErrorBound
from qsmt.dra.analysis import analyze, joined
from qsmt.dra.compiled import InputRelation, compile_problem
from qsmt.dra.domain import Boxes, Mode
from qsmt.engine.boxes import rounds_reals
from qsmt.engine.leaves import (
    Seen,
    Sweep,
    best,
    beyond,
    chunk_size,
    combined,
    extremes,
    grid_points,
    inside,
    sweep,
)
from qsmt.engine.measures import measured, slopes, values
from qsmt.facts import Facts, Interval
from qsmt.interp.batch import BatchInterpreter, Differences
from qsmt.problem import InputModel, Problem

USUAL, THOROUGH = Mode.DIFFERENCE, Mode.BEST
"""The analyses of a search: on small boxes the usual one is as tight as any, on wide ones the thorough one, which takes
1.7 times as long, may be many times as tight."""

LONE = Mode.SYMBOLIC, Mode.DIFFERENCE
"""The same where one of two networks is silent: nothing cancels, but planes know the steps of a rounding."""

SAMPLED, WORTH = 16, 0.8
"""So many boxes of each batch are analysed both ways. If what exceeds the limits comes down to this share, the others
are analysed thoroughly too."""

MAX_PROBED = 48
"""With more free coordinates than this, only the whole region is probed at both ends of each."""

PROBES = 14
"""Random points of each box that are run too where the claim is a constraint, which a few small places may break."""

PROBED_VALUES = 2**19
"""Coordinates of all points that are run at once."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A problem with all that is computed once for thousands of boxes."""

    problem: Problem

    @cached_property
    def interpreter(self) -> BatchInterpreter:
        return BatchInterpreter(self.problem)

    @cached_property
    def modes(self) -> tuple[Mode, Mode]:
        """The usual analysis of this problem, and the thorough one."""
        lone = self.problem.reference.is_silent or self.problem.quantized.is_silent
        return LONE if lone else (USUAL, THOROUGH)

    @cached_property
    def outputs(self) -> list[int]:
        return list(self.problem.claim.outputs)

    @cached_property
    def chunk(self) -> int:
        return chunk_size(self.problem)

    @cached_property
    def grid(self) -> bool:
        return self.problem.region.model is InputModel.GRID

    @cached_property
    def root(self) -> Boxes:
        return Boxes.of_region(self.problem.region)

    @cached_property
    def read(self) -> InputRelation | None:
        """How reals are quantized, if they are."""
        return compile_problem(self.problem).inputs if rounds_reals(self.problem) else None

    @cached_property
    def free(self) -> list[int]:
        """The coordinates that are no constants."""
        return [int(i) for i in np.flatnonzero(self.root.upper[0] > self.root.lower[0])]

    @cached_property
    def slope(self) -> FloatArray:
        """How much the difference moves per unit of each coordinate, (n,), over the whole region."""
        width = np.where(self.root.upper > self.root.lower, self.root.upper - self.root.lower, 1.0)
        slope: FloatArray = (_star(self, self.root)[0] / width)[0]
        return slope


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """Boxes to be bounded, and the limits (claimed outputs,) within which a box needs no probing."""

    boxes: Boxes
    limits: Interval


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """Bounds (boxes, outputs) of the difference; how far it moves along each coordinate (boxes, n)."""

    bounds: Interval
    rise: FloatArray
    seen: Seen | None


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Points `start` to `stop` of all integer points of the boxes."""

    boxes: Boxes
    start: int
    stop: int
    limits: Interval


def bounds_on(prepared: Prepared, boxes: Boxes, mode: Mode | None = None) -> Facts:
    """What an analysis, by default the usual one, proves on each box; linear forms only if every box has one."""
    facts = analyze(prepared.problem, boxes, mode or prepared.modes[0])
    complete = facts.form is not None and len(facts.form.lower) == len(boxes)
    return facts if complete else replace(facts, form=None)


def _analysed(prepared: Prepared, request: Examination) -> Facts:
    """The same by the analysis that pays: it depends on the request alone, so that it is repeatable."""
    (usual, thorough), few, others = prepared.modes, request.boxes[:SAMPLED], request.boxes[SAMPLED:]
    sample = bounds_on(prepared, few, thorough)
    if not len(others):
        return sample

    def excess(facts: Facts) -> float:
        over = _beyond(_claimed(prepared, facts), request.limits)
        return float(np.maximum(over, 0.0).sum())

    pays = excess(sample) < WORTH * excess(bounds_on(prepared, few, usual))
    rest = bounds_on(prepared, others, thorough if pays else usual)
    return joined([sample, rest])


def examine(prepared: Prepared, request: Examination) -> Examined:
    """Bound the difference on each box, and probe what stays open."""
    facts = _analysed(prepared, request)
    bounds = _claimed(prepared, facts)
    undecided = np.flatnonzero(~inside(bounds, request.limits))
    rise = np.zeros_like(request.boxes.lower)
    if len(undecided) == 0:
        return Examined(bounds, rise, None)
    boxes = Boxes(request.boxes.lower[undecided], request.boxes.upper[undecided])
    form = slopes(prepared.problem.claim, facts)
    if form is not None:
        over = _beyond(Interval(bounds.lower[undecided], bounds.upper[undecided]), request.limits)
        rows, claimed = undecided[:, None], prepared.outputs
        below, above = form
        steep = np.concatenate([above[rows, claimed], -below[rows, claimed]], axis=1)
        rise[undecided], seen = _smear(prepared, boxes, steep, over)
    elif len(prepared.free) <= MAX_PROBED:
        rise[undecided], seen = _star(prepared, boxes)
    else:
        rise[undecided], seen = (
            prepared.slope * (boxes.upper - boxes.lower),
            _seen(prepared, _middle(prepared, boxes)),
        )
    return Examined(bounds, rise, seen)


def run_stretch(prepared: Prepared, request: Stretch) -> Sweep:
    """Run both networks on the points, a chunk at a time."""
    lower, upper = request.boxes.lower, request.boxes.upper
    return combined(
        sweep(
            prepared.interpreter,
            grid_points(lower, upper, start, min(start + prepared.chunk, request.stop)),
            claim=prepared.problem.claim,
            limits=request.limits,
        )
        for start in range(request.start, request.stop, prepared.chunk)
    )


def _claimed(prepared: Prepared, facts: Facts) -> Interval:
    """Bounds of the claimed measures on each box, (boxes, m)."""
    found = measured(prepared.problem.claim, facts.difference)
    return Interval(found.lower[:, prepared.outputs], found.upper[:, prepared.outputs])


def _middle(prepared: Prepared, boxes: Boxes) -> FloatArray:
    middle: FloatArray = 0.5 * boxes.lower + 0.5 * boxes.upper
    return np.floor(middle) if prepared.grid else middle


def _seen(prepared: Prepared, points: FloatArray) -> Seen:
    return extremes(points, _values(prepared, prepared.interpreter.run(points)))


def _values(prepared: Prepared, found: Differences) -> FloatArray:
    """The claimed measures, (points, m), rounded somehow."""
    return values(prepared.problem.claim, found.difference)[:, prepared.outputs]


# --- ranking by the linear form ----------------------------------------------------------------------


def _smear(prepared: Prepared, boxes: Boxes, slopes: FloatArray, over: FloatArray) -> tuple[FloatArray, Seen]:
    """The failing sides' coefficients, times the widths; run are the worst side's corners and the middles.

    `slopes` (boxes, 2m, n) are of the upper forms and of the negated lower ones; `over` (boxes, 2m) says by
    how much each side exceeds its limit.
    """
    rise = (np.abs(slopes) * (over > 0)[:, :, None]).sum(axis=1) * (boxes.upper - boxes.lower)
    worst = slopes[np.arange(len(boxes)), over.argmax(axis=1)]
    corners = np.where(worst > 0, boxes.upper, boxes.lower)
    return rise, _seen(
        prepared, np.concatenate([corners, _middle(prepared, boxes), *_probes(prepared, boxes)])
    )


def _probes(prepared: Prepared, boxes: Boxes) -> Iterator[FloatArray]:
    """Points of each box, the same ones whoever asks; none for an error bound, whose ascents get everywhere."""
    if isinstance(prepared.problem.claim, ErrorBound):
        return
    for fractions in np.random.default_rng(0).random((PROBES, boxes.lower.shape[1])):
        points = boxes.lower + fractions * (boxes.upper - boxes.lower)
        yield np.clip(np.rint(points) if prepared.grid else points, boxes.lower, boxes.upper)


def _beyond(bounds: Interval, limits: Interval) -> FloatArray:
    return np.concatenate(beyond(bounds, limits), axis=1)


# --- ranking by probing ------------------------------------------------------------------------------


def _star(prepared: Prepared, boxes: Boxes) -> tuple[FloatArray, Seen]:
    """The centre of each box and both ends of each free coordinate through it: rises and extremes."""
    piece = max(1, PROBED_VALUES // ((2 * len(prepared.free) + 1) * boxes.lower.shape[1]))
    parts = [_star_of_few(prepared, boxes[i : i + piece]) for i in range(0, len(boxes), piece)]
    return np.concatenate([rise for rise, _ in parts]), best([seen for _, seen in parts])


def _star_of_few(prepared: Prepared, boxes: Boxes) -> tuple[FloatArray, Seen]:
    count, free = len(boxes), prepared.free
    arm = np.arange(len(free))
    points = np.repeat(_middle(prepared, boxes)[:, None, :], 2 * len(free) + 1, axis=1)
    points[:, arm, free] = boxes.lower[:, free]
    points[:, len(free) + arm, free] = boxes.upper[:, free]
    points = points.reshape(-1, boxes.lower.shape[1])
    found = prepared.interpreter.run(points)
    rise = np.zeros_like(boxes.lower)
    seen = _values(prepared, found)
    for moved in (found.reference[:, prepared.problem.claim.rows], seen):
        shaped = moved.reshape(count, 2 * len(free) + 1, -1)
        rise[:, free] += np.abs(shaped[:, len(free) : -1] - shaped[:, : len(free)]).sum(axis=2)
    return rise, extremes(points, seen)
