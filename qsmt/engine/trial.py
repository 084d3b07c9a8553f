"""A trial: one query whose true answer is known because every input of the grid was executed exactly.

Around the exact maximum m of a difference the answer changes: there is a violation of every bound below m,
and of none from m on. So that is where bounds are put: at m itself, at the least distance that two differences
of the problem have, and at 2**-k beside it. An encoding that is a little wrong is wrong there first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from random import Random
from typing import Literal

import numpy as np

from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query
from qsmt.engine.alarm import alarm_folder, write_witness
from qsmt.errors import SoundnessError
from qsmt.facts import Facts, Interval, LayerFacts
from qsmt.interp.replay import Execution, replay
from qsmt.problem import ErrorBound, InputModel, Problem

Side = Literal[-1, 1]
SIDES: tuple[Side, ...] = (1, -1)

EXECUTED = 20_000
"""Grids of at most this many points are executed exactly, point by point."""

CLOSEST = 40
"""Bounds come as close as 2**-CLOSEST to the maximum."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A query, and whether there really is a violation; None where nobody knows.

    `offset` is how far the bound lies above the exact maximum; `witness` an execution that reaches it.
    """

    query: Query
    violated: bool | None = None
    offset: Fraction | None = None
    witness: Execution | None = None

    @property
    def problem(self) -> Problem:
        return self.query.problem


def executions(problem: Problem) -> list[Execution] | None:
    """Every input of the region, executed exactly; None if there are too many, or what they give is not rational."""
    region = problem.region
    if region.model is not InputModel.GRID or (region.points or 0) > EXECUTED:
        return None
    ends = zip(region.lower, region.upper, strict=True)
    axes = [map(Fraction, range(int(low), int(high) + 1)) for low, high in ends]
    found = replay(problem, list(itertools.product(*axes)))
    return None if any(execution.radius for execution in found) else found


def facts_of(problem: Problem, executed: list[Execution] | None) -> Facts:
    """What analysis proves of a problem.

    Raises:
        SoundnessError: an execution lies outside the bounds.
    """
    facts = analyze_region(problem)
    for execution, i in itertools.product(executed or (), range(problem.reference.output.size)):
        low, high = float(facts.difference.lower[i]), float(facts.difference.upper[i])
        if not low <= execution.difference[i] <= high:
            reached, folder = float(execution.difference[i]), alarm_folder(problem, f"output-{i}-bounds")
            write_witness(problem, execution, i, folder, command="crosscheck")
            claimed = f"outside the certified [{low}, {high}]"
            raise SoundnessError(
                f"output {i} differs by {reached} in exact execution, {claimed}; see {folder}/"
            )
    return facts


def unpruned(query: Query) -> Query:
    """The same query where nothing is known of the neurons: every bound is infinite."""
    blank = tuple(LayerFacts(*map(_unbounded, _intervals(layer))) for layer in query.facts.layers)
    return replace(query, facts=replace(query.facts, layers=blank))


def _intervals(layer: LayerFacts) -> list[Interval]:
    return [getattr(layer, name) for name in LayerFacts.__slots__]


def _unbounded(known: Interval) -> Interval:
    infinite = np.full(known.lower.shape, np.inf)
    return Interval(-infinite, infinite)


def maximum(executed: list[Execution], output: int, side: Side) -> Execution:
    """The execution that goes the farthest."""
    return max(executed, key=lambda execution: side * execution.difference[output])


def least_step(executed: list[Execution]) -> Fraction:
    """No two differences are closer than this."""
    return Fraction(1, lcm(*(d.denominator for e in executed for d in e.difference)))


def trial(problem: Problem, output: int, side: Side, *, offset: Fraction) -> Trial | None:
    """The trial whose bound is the exact maximum plus `offset`; None if that is no bound, or not known."""
    executed = executions(problem)
    if executed is None:
        return None
    return _placed(
        problem, facts_of(problem, executed), maximum(executed, output, side), output, side, offset
    )


def _placed(
    problem: Problem, facts: Facts, worst: Execution, output: int, side: Side, offset: Fraction
) -> Trial | None:
    bound = side * worst.difference[output] + offset
    if bound < 0:
        return None
    asked = Query(replace(problem, claim=ErrorBound((output,), (bound,))), output, side, facts)
    return Trial(asked, violated=offset < 0, offset=offset, witness=worst)


def around(problem: Problem, seed: int) -> list[Trial]:
    """Below, at and above the exact maximum of one output and side, which the seed draws; of a small grid.

    Raises:
        SoundnessError: analysis excludes what happens.
    """
    executed = executions(problem)
    assert executed is not None, "the grid is too large to be executed"
    rng, facts = Random(f"trials/{seed}"), facts_of(problem, executed)
    places = [
        (worst, output, side)
        for output, side in itertools.product(problem.claim.outputs, SIDES)
        if side * (worst := maximum(executed, output, side)).difference[output] >= 0
    ]
    worst, output, side = rng.choice(places)
    step, power = least_step(executed), Fraction(1, 2 ** rng.randint(1, CLOSEST))
    below, above = (step, power) if seed % 2 else (power, step)
    found = (_placed(problem, facts, worst, output, side, offset) for offset in (-below, Fraction(0), above))
    return [made for made in found if made is not None]


def given(problem: Problem) -> Iterator[Trial]:
    """A problem's own claim, side by side; and where its grid can be executed, the neighbourhood of its maxima.

    Raises:
        SoundnessError: analysis excludes what happens.
    """
    executed = executions(problem)
    facts = facts_of(problem, executed)
    for output, side in itertools.product(problem.claim.outputs, SIDES):
        query = Query(problem, output, side, facts)
        if executed is None:
            yield Trial(query)
            continue
        worst = maximum(executed, output, side)
        excess = side * worst.difference[output] - query.bound
        yield Trial(query, violated=excess > 0, offset=-excess, witness=worst)
        for offset in (-least_step(executed), Fraction(0), least_step(executed)):
            made = _placed(problem, facts, worst, output, side, offset)
            if made is not None:
                yield made
