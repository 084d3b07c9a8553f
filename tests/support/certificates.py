"""A second check of certificates of `milp-certified`: in fractions, of the program as it was encoded, by execution.

Of the search and of its own check this knows the form of a tree, and in what units its weights are. How far a split
reaches into other variables is found here again, by using every row on every variable, several times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil, floor

from qsmt.interp.replay import replay
from qsmt.problem import Problem
from qsmt_milp.certified.integers import Exactly
from qsmt_milp.certified.tree import SHIFT, Leaf, Split, Tree, Tried
from qsmt_milp.model import Exact, Model

Box = tuple[list[Fraction], list[Fraction]]

PASSES = 8
"""All rows are used so often after each split: more often than the search uses them."""

FINE = 2**64
"""Ends of variables that are no integers are rounded outward to multiples of 1/FINE, or numbers grow without end."""


@dataclass(frozen=True)
class Condition:
    """`lower <= sum of terms <= upper`, and the factor that weights of it presume: that of its coefficients there."""

    terms: Mapping[int, Fraction]
    lower: Fraction | None
    upper: Fraction | None
    factor: Fraction


class Recheck:
    """Goes through a tree with the boxes of its nodes."""

    def __init__(self, problem: Problem, model: Model, exact: Exactly) -> None:
        self.problem, self.model = problem, model
        rows = [row for row in model.rows if row.name != "threshold"]
        self.rows = [
            _condition(r.terms, r.lower, r.upper, e.terms) for r, e in zip(rows, exact.rows, strict=True)
        ]
        goal, limit = model.objective, Fraction(model.bound) - Fraction(model.objective.constant)
        self.goal = _condition(goal.terms, limit, None, exact.objective.terms)
        self.count = Counter[str]()  # the leaves that hold, of each kind

    def holds(self, tree: Tree) -> bool:
        """Is nothing in the program's box beyond the bound?"""
        ends = [(Fraction(v.lower), Fraction(v.upper)) for v in self.model.variables]
        pending: list[tuple[Tree, Box | None]] = [
            (tree, self._tightened(([*_column(ends, 0)], [*_column(ends, 1)])))
        ]
        while pending:
            node, box = pending.pop()
            if box is None:
                self.count["empty"] += 1
            elif isinstance(node, Split):
                pending += [(part, self._tightened(half)) for part, half in self._parts(node, box)]
            elif not (self._tried(box) if isinstance(node, Tried) else self._proves(node, box)):
                return False
        return True

    def _parts(self, node: Split, box: Box) -> list[tuple[Tree, Box]]:
        assert self.model.variables[node.variable].integer
        lower, upper = box
        below, above = list(upper), list(lower)
        below[node.variable] = min(below[node.variable], Fraction(node.at))
        above[node.variable] = max(above[node.variable], Fraction(node.at + 1))
        return [(node.below, (list(lower), below)), (node.above, (above, list(upper)))]

    def _proves(self, leaf: Leaf, box: Box) -> bool:
        """The weighted sum of the rows, at its greatest in the box: below zero, or the objective's at the bound."""
        rest = {j: leaf.objective * c for j, c in self.goal.terms.items()}
        right = Fraction(0)
        for i, weight in leaf.weights.items():
            row = self.rows[i]
            w = Fraction(weight, 2**SHIFT) * row.factor / self.goal.factor
            limit = row.upper if w > 0 else row.lower
            if w == 0:
                continue
            if limit is None:
                return False
            right += w * limit
            for j, c in row.terms.items():
                rest[j] = rest.get(j, Fraction(0)) - w * c
        right += sum((r * (box[1][j] if r > 0 else box[0][j]) for j, r in rest.items()), Fraction(0))
        self.count["leaf"] += 1
        assert self.goal.lower is not None
        return right <= self.goal.lower if leaf.objective == 1 else leaf.objective == 0 and right < 0

    def _tried(self, box: Box) -> bool:
        """Both networks, executed at every input of the box."""
        sides = [
            range(ceil(a), floor(b) + 1)
            for a, b in zip(*(end[: self.model.inputs] for end in box), strict=True)
        ]
        found = replay(self.problem, [tuple(map(Fraction, x)) for x in product(*sides)])
        self.count["tried"] += 1
        return all(e.difference[0] <= self.problem.claim.bounds[0] for e in found)

    def _tightened(self, box: Box) -> Box | None:
        for _ in range(PASSES):
            before = (list(box[0]), list(box[1]))
            for row in (*self.rows, self.goal):
                for j, a in row.terms.items():
                    self._use(row, j, a, box)
                    if box[0][j] > box[1][j]:
                        return None
            if before == box:
                break
        return box

    def _use(self, row: Condition, j: int, a: Fraction, box: Box) -> None:
        """What the row says of variable j, given the others' ends."""
        others = [(c * box[0][i], c * box[1][i]) for i, c in row.terms.items() if i != j]
        least, most = sum(map(min, others), Fraction(0)), sum(map(max, others), Fraction(0))
        ends = (
            None if row.lower is None else (row.lower - most) / a,
            None if row.upper is None else (row.upper - least) / a,
        )
        low, high = ends if a > 0 else ends[::-1]
        unit = 1 if self.model.variables[j].integer else FINE
        if low is not None:
            box[0][j] = max(box[0][j], Fraction(ceil(low * unit) if unit == 1 else floor(low * unit), unit))
        if high is not None:
            box[1][j] = min(box[1][j], Fraction(floor(high * unit) if unit == 1 else ceil(high * unit), unit))


def _column(ends: Sequence[tuple[Fraction, Fraction]], which: int) -> list[Fraction]:
    return [pair[which] for pair in ends]


def _condition(
    terms: Mapping[int, Exact], lower: Exact | None, upper: Exact | None, scaled: Sequence[tuple[int, int]]
) -> Condition:
    factors = {Fraction(c) / Fraction(terms[j]) for j, c in scaled}
    assert len(factors) <= 1 and min(factors, default=1) > 0 and {j for j, _ in scaled} == set(terms)
    low, high = (None if v is None else Fraction(v) for v in (lower, upper))
    return Condition(
        {j: Fraction(c) for j, c in terms.items()}, low, high, factors.pop() if factors else Fraction(1)
    )
