"""Look for an input that breaks the bound: sampling, then ascents on the difference; of many inputs, ascents straight
through the roundings before, and walks after them.

The search runs in doubles and proves nothing; what it finds is executed exactly before it counts. Its
other use is the witnessed error: how large a difference is certainly reached.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.claim import OutputConstraint
from qsmt.engine.annealing import Annealing
from qsmt.engine.ascent import Ascent, Goal
from qsmt.engine.costs import point_products
from qsmt.engine.hunt import enough, missing, neighbours_of, open_goals
from qsmt.engine.investigation import Investigation
from qsmt.engine.measures import slopes
from qsmt.engine.plan import FALSIFIER_SECONDS, FALSIFIER_SHARE
from qsmt.engine.straight_through import StraightThrough
from qsmt.interp.batch import BatchInterpreter
from qsmt.verdict import Falsified

SAMPLES = 512
"""Random points, and as many random corners."""

STARTS, CONSTRAINT_ASCENTS = 3, 24
"""Ascents per output and side, from the best samples; for a constraint of few cases, as many as make this in all."""

STRAIGHT_STARTS, STRAIGHT_ROUNDS = 16, 48
"""Ascents straight through the roundings for each goal, where there are many inputs, and their steps."""

SCATTERED, SCATTERED_AT_ONCE = 2**16, 2**11
"""More random points for a constraint, after the ascents: a case may hold in a few small places around which a coarse
network puts out one value, so that no ascent leads there."""

SCATTERED_PRODUCTS = 2.0**31
"""Multiplications in running them, at most."""

MAX_PRODUCTS = 2.0**33
"""Multiplications in all, about a second: so the same is found on every machine that is fast enough."""

STEPS = 2**13
"""Of annealed walks in all, where there are many inputs: about two seconds."""


def falsify(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: witness differences as large as a short search can."""
    problem = run.problem
    ascent = Ascent(problem, BatchInterpreter(problem), most=MAX_PRODUCTS / point_products(problem))
    deadline = time.monotonic() + min(FALSIFIER_SECONDS, FALSIFIER_SHARE * run.remaining_s)
    for best in _promising(run, ascent, deadline):
        run.observe([run.exact(best)])
        if isinstance(run.verdict, Falsified):
            break
    return f"tried {ascent.evaluated:,} inputs", {"evaluated": ascent.evaluated}


def _promising(run: Investigation, ascent: Ascent, deadline: float) -> Iterator[FloatArray]:
    """The best samples for each goal, then where ascents from them end."""
    samples = np.concatenate(
        [_corners(run, ascent), _samples(ascent, np.random.default_rng(run.options.seed))]
    )
    differences = ascent.differences(samples)
    goals = [Goal(i, side) for i in run.problem.claim.outputs for side in run.problem.claim.sides]
    order = {goal: np.argsort(-goal.side * differences[:, goal.output], kind="stable") for goal in goals}
    for goal in goals:
        yield samples[order[goal][0]]
    constrained, neighbours = isinstance(run.problem.claim, OutputConstraint), neighbours_of(run.problem)
    pursued = open_goals(run)
    if neighbours is not None:
        yield from _straight(
            run, ascent, {goal: samples[order[goal][:STRAIGHT_STARTS]] for goal in pursued}, deadline
        )
    for start in range(_ascents(len(goals), constrained=constrained, walks=neighbours is not None)):
        for goal in pursued:
            if ascent.exhausted or time.monotonic() > deadline:
                return
            yield ascent.climb(samples[order[goal][start]], goal, deadline=deadline)
    if neighbours is not None:
        yield from _walks(run, Annealing(run.problem, neighbours, run.options.seed), pursued, deadline)
    elif constrained:
        yield from _scattered(run, ascent, deadline)


def _ascents(goals: int, *, constrained: bool, walks: bool) -> int:
    """How many for each goal."""
    if walks:
        return 1
    return max(STARTS, CONSTRAINT_ASCENTS // goals) if constrained else STARTS


def _straight(
    run: Investigation, ascent: Ascent, starts: Mapping[Goal, FloatArray], deadline: float
) -> Iterator[FloatArray]:
    """Where slopes straight through the roundings lead from a few samples for each goal."""
    through = StraightThrough.of(run.problem)
    if through is not None:
        for goal, points in starts.items():
            yield through.climb(ascent, points, goal, rounds=STRAIGHT_ROUNDS, deadline=deadline)


def _walks(
    run: Investigation, annealing: Annealing, goals: Sequence[Goal], deadline: float
) -> Iterator[FloatArray]:
    """Where a short walk for each goal ends, the longer the less is missing."""
    weights = {goal: 1.0 / max(missing(run, goal), 1e-3) for goal in goals}
    for number, goal in enumerate(goals):
        share, now = weights[goal] / sum(weights[g] for g in goals[number:]), time.monotonic()
        if now > deadline:
            return
        steps, end = round(STEPS * weights[goal] / sum(weights.values())), now + share * (deadline - now)
        yield annealing.walk(goal, steps, deadline=end, enough=enough(run, goal))


def _scattered(run: Investigation, ascent: Ascent, deadline: float) -> Iterator[FloatArray]:
    """Random points at which a case seems to hold."""
    rng, size = np.random.default_rng(run.options.seed + 1), len(ascent.lower)
    count = min(SCATTERED, int(SCATTERED_PRODUCTS / point_products(run.problem)))
    for _ in range(count // SCATTERED_AT_ONCE):
        if ascent.exhausted or time.monotonic() > deadline:
            return
        points = _within(ascent, rng.random((SCATTERED_AT_ONCE, size)))
        measures = ascent.differences(points).max(axis=1)
        if measures.max() >= 0:
            yield points[measures.argmax()]


def _corners(run: Investigation, ascent: Ascent) -> FloatArray:
    """Where the linear forms of the difference that analysis found are extreme: a step along a gradient's signs."""
    form = None if run.facts is None else slopes(run.problem.claim, run.facts)
    if form is None:
        return np.empty((0, len(ascent.lower)))
    outputs, (below, above) = list(run.problem.claim.outputs), form
    steep = np.concatenate([above[outputs], -below[outputs]])
    return ascent.snapped(np.where(steep > 0, ascent.upper, ascent.lower))


def _samples(ascent: Ascent, rng: np.random.Generator) -> FloatArray:
    """The centre, random corners, and random points."""
    unit = rng.random((SAMPLES, len(ascent.lower)))
    corners = rng.integers(0, 2, unit.shape).astype(np.float64)
    return _within(ascent, np.concatenate([np.full((1, unit.shape[1]), 0.5), corners, unit]))


def _within(ascent: Ascent, fractions: FloatArray) -> FloatArray:
    """Points of the region, by how far along each coordinate they are."""
    return ascent.snapped(ascent.lower + fractions * (ascent.upper - ascent.lower))
