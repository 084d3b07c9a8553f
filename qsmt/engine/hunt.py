"""The hunt for violations beside a relaxation: annealed walks in another process, each twice as long as the last.

A relaxation of a region of many inputs keeps one process busy and finds no violations; with a second core, a walk
costs nothing. With one core, the walks follow the relaxation. What they find is executed exactly before it counts.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.engine.annealing import Annealing
from qsmt.engine.ascent import Goal
from qsmt.engine.crew import Children, Sealed, opened
from qsmt.engine.investigation import Investigation
from qsmt.engine.measures import limits
from qsmt.engine.plan import SEARCHED_COORDINATES
from qsmt.interp.neighbours import Neighbours
from qsmt.problem import Problem
from qsmt.solver.process import CallFailed
from qsmt.verdict import Falsified

FIRST_STEPS = 2**14
"""Of the first walk; the falsifier's were shorter."""

MOST_DOUBLINGS = 20

LONGEST_S = 120.0
"""No walk takes longer."""

RESERVED_S = 0.2
"""Walks end a little before the deadline."""

LATE_S = 1.0
"""A walk that takes that much longer is stuck, and its process is ended."""

UNIT = 1e-9
"""Of a goal that is reached, next to nothing is missing."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk: where to, how long, and above which value it may end."""

    goal: Goal
    steps: int
    deadline: float  # of the monotonic clock, which all processes share: a worker may take long to start
    enough: float
    seed: int


def walked(sealed: Sealed, walk: Walk) -> FloatArray:
    """The best input of a walk. Runs in a worker."""
    problem = opened(sealed).problem
    neighbours = Neighbours.of(problem)
    assert neighbours is not None, "nobody asks for walks where there are none"
    annealing = Annealing(problem, neighbours, walk.seed)
    return annealing.walk(walk.goal, walk.steps, deadline=walk.deadline, enough=walk.enough)


def neighbours_of(problem: Problem) -> Neighbours | None:
    """What walks need; None where they would not pay, which is in regions that can be searched."""
    region = problem.region
    free = sum(low < high for low, high in zip(region.lower, region.upper, strict=True))
    return Neighbours.of(problem) if free > SEARCHED_COORDINATES else None


def open_goals(run: Investigation) -> list[Goal]:
    """The outputs and sides of which a violation (or, of `bound`, a larger difference) is not excluded."""
    claim = run.problem.claim
    goals = [Goal(output, side) for output in claim.outputs for side in claim.sides]
    return [goal for goal in goals if not run.decides or _far(run, goal)[1] > _far(run, goal)[2]]


def enough(run: Investigation, goal: Goal) -> float:
    """Values of the goal above this one break the claim."""
    return _far(run, goal)[2] if run.decides else np.inf


def missing(run: Investigation, goal: Goal) -> float:
    """How much of what may be there above what is witnessed it takes to break the claim; of `bound`, all of it."""
    reached, possible, broken = _far(run, goal)
    return max(broken - reached, 0.0) / max(possible - reached, UNIT) if run.decides else 1.0


def _far(run: Investigation, goal: Goal) -> tuple[float, float, float]:
    """Of the goal: what is reached, what is not excluded, and what the claim allows."""
    claim = run.problem.claim
    row, allowed = list(claim.outputs).index(goal.output), limits(claim)
    found = run.outputs[row]
    if goal.side > 0:
        return found.reached[1], found.certified[1], float(allowed.upper[row])
    return -found.reached[0], -found.certified[0], -float(allowed.lower[row])


class Hunt:
    """Walks for the open goals, until a deadline; most of them for those of which least is missing.

    A context manager: whom it hired, it sends home.
    """

    def __init__(self, run: Investigation, deadline: float) -> None:
        self._run, self._deadline = run, deadline
        self._children: Children | None = None
        self._under_way: Future[FloatArray] | None = None
        self.possible = neighbours_of(run.problem) is not None
        self._walks = Counter[Goal]()

    def __enter__(self) -> Hunt:
        if self.possible and self._run.options.jobs > 1:
            self._children = Children(1, self._run.options.memory_mib)
        return self

    def __exit__(self, *_: object) -> None:
        if self._children is not None:
            self._children.shutdown()

    @property
    def walks(self) -> int:
        """How many have begun."""
        return self._walks.total()

    @property
    def is_beside(self) -> bool:
        """Does another process walk?"""
        return self._children is not None

    def look(self) -> bool:
        """Is there a violation? To be asked now and then: a walk that has ended is followed by the next."""
        if self._children is not None and (self._under_way is None or self._under_way.done()):
            self._collect()
            self._send()
        return self._succeeded

    def follow(self) -> None:
        """Wait for the walk that is under way; with one process, walk in it for the time that is left."""
        if self._children is not None:
            self._collect()
            return
        while self.possible and not self._succeeded and (walk := self._next()):
            self._execute(walked(self._sealed, walk))

    @property
    def _succeeded(self) -> bool:
        return isinstance(self._run.verdict, Falsified)

    @cached_property
    def _sealed(self) -> Sealed:
        return Sealed.of(self._run.problem)

    def _next(self) -> Walk | None:
        """Twice as long as the goal's last one."""
        goals, now = open_goals(self._run), time.monotonic()
        deadline = min(self._deadline - RESERVED_S, now + LONGEST_S)
        if not goals or deadline <= now:
            return None
        goal = min(goals, key=lambda g: (self._walks[g] + 1) * missing(self._run, g))
        steps = FIRST_STEPS << min(self._walks[goal], MOST_DOUBLINGS)
        self._walks[goal] += 1
        return Walk(goal, steps, deadline, enough(self._run, goal), self._run.options.seed + self.walks)

    def _send(self) -> None:
        if self._children is not None and not self._succeeded and (walk := self._next()):
            self._under_way = self._children.submit(walked, self._sealed, walk)

    def _collect(self) -> None:
        if self._under_way is None:
            return
        ended, self._under_way = self._under_way, None
        left = max(self._deadline + LATE_S - time.monotonic(), 0.0)
        try:
            self._execute(ended.result(left))
        except (BrokenExecutor, CallFailed, TimeoutError):  # it was killed, or stuck; on without walks
            self._children, children = None, self._children
            if children is not None:
                children.shutdown()

    def _execute(self, point: FloatArray) -> None:
        self._run.observe([self._run.exact(point)])
