"""Checks a certificate, exactly: integers and `Fraction`s only, no solver, no float.

For a leaf with weights w on rows `low <= a . v <= high` and its box B of the variables:

    k * objective(v)  =  sum_j r_j v_j + sum_i w_i (a_i . v)      where  r = k * objective - sum_i w_i a_i
                     <=  sum_j max over B of r_j v_j + sum_i w_i * (high_i if w_i > 0 else low_i)

for every v that satisfies the rows. If k = 1 and the right side is at most the bound, no solution in the box
exceeds it; if k = 0 and the right side is negative, the box has no solution. A row that has no limit on the
side that its weight needs proves nothing, and makes the leaf invalid. The splits of a tree cover the box of
all variables because the variable that is split is an integer; from each part `propagate` takes away only
what the rows exclude.
"""

from __future__ import annotations

from qsmt_milp.certified.integers import Box, Exactly
from qsmt_milp.certified.points import Points
from qsmt_milp.certified.propagate import sides, whole
from qsmt_milp.certified.tree import SHIFT, Leaf, Tree, Tried


def holds(problem: Exactly, box: Box | None, leaf: Leaf) -> bool:
    """Does the leaf prove that nothing in the box exceeds the bound? Of None, which is no box, any leaf does."""
    if box is None:
        return True
    proved = _greatest(problem, box, leaf)
    if proved is None:
        return False
    if leaf.objective:
        return leaf.objective == 1 and proved <= (problem.bound << SHIFT) * problem.unit
    return proved < 0


def _greatest(problem: Exactly, box: Box, leaf: Leaf) -> int | None:
    """The right side of the inequality above, in units of 2**-SHIFT / unit; None if a row lacks a limit."""
    rest: dict[int, int] = {}
    if leaf.objective:
        rest = {j: c << SHIFT for j, c in problem.objective.terms}
    sides = 0
    for i, weight in leaf.weights.items():
        if weight == 0:
            continue
        row = problem.rows[i]
        limit = row.upper if weight > 0 else row.lower
        if limit is None:
            return None
        sides += weight * limit
        for j, c in row.terms:
            rest[j] = rest.get(j, 0) - weight * c
    lower, upper = box
    return sides * problem.unit + sum(r * (upper[j] if r > 0 else lower[j]) for j, r in rest.items())


def verified(problem: Exactly, tree: Tree) -> bool:
    """Does the whole tree prove that nothing exceeds the bound?"""
    pending, points = [(tree, whole(problem))], Points.of(problem)
    while pending:
        node, box = pending.pop()
        if box is None:
            continue
        if isinstance(node, Tried):
            if points is None or not points.excluded(problem, box):
                return False
            continue
        if isinstance(node, Leaf):
            if not holds(problem, box, node):
                return False
            continue
        if not problem.integer[node.variable]:
            return False
        pending += list(zip((node.below, node.above), sides(problem, box, node), strict=True))
    return True
