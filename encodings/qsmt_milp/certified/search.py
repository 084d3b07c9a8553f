"""Finds a certificate: branch and bound over linear relaxations, solved by HiGHS in doubles.

Nothing here is trusted. A node is a leaf when the duals of its relaxation, rounded to integers, prove it in
exact arithmetic (`check.holds`); what the solver says of its own success does not count. Depth first, on the
integer variable that is expected to lower the objective the most on both sides (pseudo-costs: Benichou et al.
1971), which takes a tenth of the nodes that the most fractional variable takes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from math import floor
from time import monotonic
from typing import Any

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt_milp.certified.check import holds
from qsmt_milp.certified.integers import Box, Exactly, halves
from qsmt_milp.certified.points import Points, count
from qsmt_milp.certified.propagate import side, whole
from qsmt_milp.certified.tree import SHIFT, Leaf, Split, Tree, Tried

INTEGRAL = 1e-6
"""A value this close to an integer is one."""

_NOTHING = Leaf(0, {})
"""In the place of a side that is not done yet."""

FEW = 1024
"""So many points of the inputs are tried at once."""

MANY = 2**22
"""With more points than this, trying them all is hopeless."""

PATIENCE = 50
"""Nodes of relaxations alone, per FEW points of the inputs: as long as trying all of them would take. Then the
inputs are split first, so that few points are left to be tried."""

LEAST = 1e-9
"""A side of a split promises at least this much: else a side that brings nothing would hide the other."""

MARGIN = 1e-7
"""The relaxation stops once its bound is this much below the one that is to be proved."""

_OPTIONS = {
    "presolve": "off",
    "solver": "simplex",
    "threads": 1,
    "parallel": "off",
    "small_matrix_value": 1e-12,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
}


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The relaxation at a node: weights that may prove a leaf; and if it was solved, its solution and value."""

    candidates: tuple[Leaf, ...]
    values: FloatArray | None = None
    objective: float = -np.inf


@dataclass(frozen=True, slots=True)
class Solution:
    """A point with all integer variables fixed that no relaxation excludes; what it is worth, replay will say."""

    values: tuple[float, ...]


class GaveUp(Exception):
    """The search ended without an answer, and why."""


class Relaxation:
    """The linear relaxation, alive between nodes so that each starts from the basis of the one before."""

    def __init__(self, problem: Exactly) -> None:
        self._problem = problem
        self._highspy = import_module("highspy")
        self._highspy.Highs.resetGlobalScheduler(True)  # its threads are those of the process's first run
        self._solver = type(
            "Quiet", (self._highspy.Highs,), {"enableCallbacks": self._highspy.Highs.silent}
        )()
        goal = problem.objective
        options = _OPTIONS | {"objective_bound": MARGIN - problem.bound / goal.over}
        for option, value in options.items():
            self._solver.setOptionValue(option, value)
        self._solver.passModel(_program(self._highspy, problem))
        self._columns = np.arange(len(problem.lower), dtype=np.int32)
        ratios = (Fraction(goal.over << SHIFT, row.over) for row in problem.rows)
        self._weights = [ratio.as_integer_ratio() for ratio in ratios]

    def solve(self, box: Box, time_s: float) -> Relaxed:
        """Solve it on a box."""
        lower, upper = (np.array([v / self._problem.unit for v in end]) for end in box)
        self._solver.changeColsBounds(len(lower), self._columns, lower, upper)
        self._solver.setOptionValue("time_limit", self._solver.getRunTime() + time_s)
        self._solver.run()
        status, kinds = self._solver.getModelStatus(), self._highspy.HighsModelStatus
        if status == kinds.kInfeasible:
            return Relaxed(self._excluding())
        if status not in (kinds.kOptimal, kinds.kObjectiveBound):
            return Relaxed(())
        found = self._solver.getSolution()
        candidates = (self._leaf(1, -np.array(found.row_dual)),)
        if status == kinds.kObjectiveBound:
            return Relaxed(candidates)
        return Relaxed(
            candidates, np.array(found.col_value), -self._solver.getInfo().objective_function_value
        )

    def _excluding(self) -> tuple[Leaf, ...]:
        """From a ray of the dual, in either direction: the signs are the solver's convention."""
        found = self._solver.getDualRay()
        if not found[1]:
            return ()
        ray = np.array(found[2])
        return self._leaf(0, ray), self._leaf(0, -ray)

    def _leaf(self, objective: int, duals: FloatArray) -> Leaf:
        """Weights from duals. A weight that needs a limit its row does not have is noise, and left out."""
        weights = {}
        for i in np.flatnonzero(np.isfinite(duals) & (duals != 0)).tolist():
            row, dual = self._problem.rows[i], float(duals[i])
            if (row.upper if dual > 0 else row.lower) is not None:
                numerator, denominator = dual.as_integer_ratio()
                over, under = self._weights[i]
                weights[i] = numerator * over // (denominator * under)
        return Leaf(objective, weights)


def _program(highspy: Any, problem: Exactly) -> Any:
    """Minimise the negative objective over the rows, each divided by its `over`."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(problem.lower), len(problem.rows)
    goal = np.zeros(len(problem.lower))
    for j, c in problem.objective.terms:
        goal[j] = -c / problem.objective.over
    lp.col_cost_ = goal
    lp.col_lower_, lp.col_upper_ = (np.array([v / problem.unit for v in end]) for end in problem.box)
    lp.row_lower_ = np.array([-np.inf if r.lower is None else r.lower / r.over for r in problem.rows])
    lp.row_upper_ = np.array([np.inf if r.upper is None else r.upper / r.over for r in problem.rows])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.cumsum([0, *(len(r.terms) for r in problem.rows)]).astype(np.int32)
    lp.a_matrix_.index_ = np.array([j for r in problem.rows for j, _ in r.terms], dtype=np.int32)
    lp.a_matrix_.value_ = np.array([c / r.over for r in problem.rows for _, c in r.terms])
    return lp


# --- branch and bound ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Costs:
    """What splitting a variable has lowered the objective by, per unit, downwards (0) and upwards (1)."""

    seen: dict[tuple[int, int], tuple[float, int]] = field(default_factory=dict)
    total: float = 0.0
    count: int = 0

    def learn(self, variable: int, way: int, *, gain: float, distance: float) -> None:
        """A side of a split was solved."""
        rate = max(gain, 0.0) / max(distance, INTEGRAL)
        before, times = self.seen.get((variable, way), (0.0, 0))
        self.seen[variable, way] = before + rate, times + 1
        self.total, self.count = self.total + rate, self.count + 1

    def expected(self, variable: int, value: float) -> float:
        """How much both sides of a split at this value promise; negative if there is nothing to split."""
        up = value - floor(value)
        if min(up, 1 - up) <= INTEGRAL:
            return -1.0
        return max(self._rate(variable, 0) * up, LEAST) * max(self._rate(variable, 1) * (1 - up), LEAST)

    def _rate(self, variable: int, way: int) -> float:
        if (variable, way) in self.seen:
            total, times = self.seen[variable, way]
            return total / times
        return self.total / self.count if self.count else 1.0


@dataclass(slots=True)
class _Open:
    """A split whose first side is under way, or done; and what its node's relaxation was."""

    split: Split
    box: Box
    value: float
    objective: float
    below: Tree | None = None


@dataclass(slots=True)
class Search:
    """One run; `nodes` counts the relaxations."""

    problem: Exactly
    deadline: float
    relaxation: Relaxation
    points: Points | None = None  # inputs are to be split first, and few points of them to be tried at once
    most_nodes: int | None = None
    nodes: int = 0
    _costs: Costs = field(default_factory=Costs)
    _path: list[_Open] = field(default_factory=list)

    def run(self) -> Tree | Solution:
        """A certificate, or a point that may be a violation.

        Raises:
            GaveUp: the time is up, or a node can neither be proved nor split.
        """
        box = whole(self.problem)
        while True:
            found = self._node(box)
            if isinstance(found, Solution):
                return found
            if isinstance(found, _Open):
                self._path.append(found)
                box = self._side(found, 0)
                continue
            finished = self._closed(found)
            if not self._path:
                return finished
            self._path[-1].below = finished
            box = self._side(self._path[-1], 1)

    def _side(self, parent: _Open, which: int) -> Box | None:
        """What is left of the part below a split (0) or above it (1)."""
        return side(self.problem, halves(parent.box, parent.split, self.problem.unit)[which], parent.split)

    def _closed(self, finished: Tree) -> Tree:
        """The largest part of the tree that a finished side completes."""
        while self._path and (below := self._path[-1].below) is not None:
            split = self._path.pop().split
            finished = Split(split.variable, split.at, below, finished)
        return finished

    def _node(self, box: Box | None) -> Leaf | Tried | _Open | Solution:
        if box is None:
            self._learn(-np.inf)
            return _NOTHING
        left = self.deadline - monotonic()
        if left <= 0:
            raise GaveUp(f"the time limit, after {self.nodes} nodes")
        if self.nodes == self.most_nodes:
            raise GaveUp(f"{self.nodes} nodes")
        self.nodes += 1
        if self._few(box) and self.points is not None and self.points.excluded(self.problem, box):
            return Tried()
        relaxed = self.relaxation.solve(box, left)
        self._learn(relaxed.objective)
        for candidate in relaxed.candidates:
            if holds(self.problem, box, candidate):
                return candidate
        return self._branch(box, relaxed)

    def _learn(self, objective: float) -> None:
        """What the split above this node has brought on this side; at most what closes a node counts."""
        if not self._path:
            return
        above = self._path[-1]
        enough = self.problem.bound / self.problem.objective.over
        up = above.value - floor(above.value)
        self._costs.learn(
            above.split.variable,
            int(above.below is not None),
            gain=above.objective - max(objective, enough),
            distance=up if above.below is None else 1 - up,
        )

    def _few(self, box: Box) -> bool:
        return self.points is not None and count(self.problem, box) <= FEW

    def _branch(self, box: Box, relaxed: Relaxed) -> _Open | Solution:
        """Split the most promising variable; where the relaxation was not solved, the widest."""
        free = [j for j, integer in enumerate(self.problem.integer) if integer and box[0][j] < box[1][j]]
        inputs = [j for j in free if j < self.problem.inputs]
        if self.points is not None and inputs:
            return self._halved(box, relaxed, inputs)
        if relaxed.values is not None:
            return self._split(box, relaxed.values.tolist(), relaxed.objective, free)
        if not free:
            raise GaveUp("a node without freedom that no relaxation proves")
        return self._halved(box, relaxed, free)

    def _halved(self, box: Box, relaxed: Relaxed, free: list[int]) -> _Open:
        """Split the widest variable in the middle."""
        widest = max(free, key=lambda j: box[1][j] - box[0][j])
        middle = (box[0][widest] + box[1][widest]) // (2 * self.problem.unit)
        known = np.inf if relaxed.values is None else relaxed.objective
        return _Open(Split(widest, middle, _NOTHING, _NOTHING), box, middle + 0.5, known)

    def _split(self, box: Box, values: list[float], objective: float, free: list[int]) -> _Open | Solution:
        if not free:
            return Solution(tuple(values))
        best = max(free, key=lambda j: self._costs.expected(j, values[j]))
        at, top = floor(values[best]), box[1][best] // self.problem.unit
        if self._costs.expected(best, values[best]) < 0:  # integral, but only as far as floats can tell
            at = min(round(values[best]), top - 1)
        return _Open(Split(best, at, _NOTHING, _NOTHING), box, values[best], objective)


def search(problem: Exactly, wall_s: float) -> Tree | Solution:
    """A certificate that nothing exceeds the bound, or a point that may.

    Raises:
        GaveUp: neither was found in time.
    """
    deadline, relaxation = monotonic() + wall_s, Relaxation(problem)
    points = Points.of(problem)
    if points is None or count(problem, problem.box) > MANY:
        return Search(problem, deadline, relaxation).run()
    most_nodes = PATIENCE * (count(problem, problem.box) // FEW)
    with suppress(GaveUp):
        return Search(problem, deadline, relaxation, most_nodes=most_nodes).run()
    return Search(problem, deadline, relaxation, points).run()
