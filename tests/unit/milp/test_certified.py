"""Certificates: what they prove is computed from them exactly, and nothing false can be proved."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any

import pytest

from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.trial import Trial, around
from qsmt.solver.base import Limits, Status
from qsmt_milp import MilpEncoding
from qsmt_milp.certified import search as searching
from qsmt_milp.certified import solver
from qsmt_milp.certified.check import holds, verified
from qsmt_milp.certified.integers import Exactly, exactly, halves
from qsmt_milp.certified.search import GaveUp, Solution, search
from qsmt_milp.certified.solver import CertifiedBackend
from qsmt_milp.certified.tree import SHIFT, Leaf, Split, Tree, leaves
from qsmt_milp.model import Builder, Model, combination

ONE = 1 << SHIFT
ENCODING = MilpEncoding()
LIMITS = Limits(30.0)


def knapsack(bound: Fraction | int, *, limit: Fraction | int = Fraction(29, 2)) -> Model:
    """Maximise 5 a + 4 b + 3 c, where 2 a + 3 b + c <= 5 and 4 a + b + 2 c <= `limit`; integers of [0, 4]."""
    builder = Builder()
    a, b, c = (builder.variable(name, 0, 4, integer=True) for name in "abc")
    builder.at_most("first", combination((2, 3, 1), (a, b, c)), 5)
    builder.at_most("second", combination((4, 1, 2), (a, b, c)), limit)
    return builder.model("a knapsack", combination((5, 4, 3), (a, b, c)), bound=bound)


BEST = max(
    5 * a + 4 * b + 3 * c
    for a, b, c in product(range(5), repeat=3)
    if 2 * a + 3 * b + c <= 5 and 4 * a + b + 2 * c <= Fraction(29, 2)
)


# --- leaves -------------------------------------------------------------------------------------------------


def test_a_combination_of_rows_bounds_the_objective() -> None:
    """3 times the first row: 6 a + 9 b + 3 c <= 15, and 5 a + 4 b + 3 c is at most that."""
    problem = exactly(knapsack(15))
    assert problem.rows[0].over == 1
    assert holds(problem, problem.box, Leaf(1, {0: 3 * ONE}))
    assert not holds(exactly(knapsack(Fraction(149, 10))), problem.box, Leaf(1, {0: 3 * ONE}))


def test_a_row_without_a_limit_on_that_side_proves_nothing() -> None:
    problem = exactly(knapsack(10**6))
    assert holds(problem, problem.box, Leaf(1, {0: 3 * ONE}))
    assert not holds(problem, problem.box, Leaf(1, {0: -3 * ONE}))


def test_a_weight_of_zero_needs_no_limit() -> None:
    """Duals of next to nothing round to it, and have the wrong sign as often as not."""
    problem = exactly(knapsack(15))
    assert holds(problem, problem.box, Leaf(1, {0: 3 * ONE, 1: 0}))


def test_rows_exclude_a_box() -> None:
    problem = exactly(knapsack(0))
    lower = [2 * problem.unit, 2 * problem.unit, 0]
    assert holds(problem, (lower, list(problem.upper)), Leaf(0, {0: ONE}))
    assert not holds(problem, problem.box, Leaf(0, {0: ONE}))


def test_an_objective_of_any_other_weight_is_no_proof() -> None:
    problem = exactly(knapsack(10**6))
    assert holds(problem, problem.box, Leaf(1, {}))
    assert not holds(problem, problem.box, Leaf(2, {})) and not holds(problem, problem.box, Leaf(-1, {}))


@pytest.mark.parametrize("seed", range(20))
def test_no_weights_prove_what_is_false(seed: int) -> None:
    """Random weights, on random boxes, one unit below the best point of the box."""
    rng = Random(seed)
    for _ in range(200):
        ends = [sorted((rng.randint(0, 4), rng.randint(0, 4))) for _ in range(3)]
        inside = [
            5 * a + 4 * b + 3 * c
            for a, b, c in product(*(range(low, high + 1) for low, high in ends))
            if 2 * a + 3 * b + c <= 5 and 4 * a + b + 2 * c <= Fraction(29, 2)
        ]
        if not inside:
            continue
        problem = exactly(knapsack(max(inside) - Fraction(1, 10**9)))
        box = [e[0] * problem.unit for e in ends], [e[1] * problem.unit for e in ends]
        weights = {i: rng.randint(-5 * ONE, 5 * ONE) for i in range(2)}
        assert not holds(problem, box, Leaf(rng.randint(0, 1), weights))


# --- trees --------------------------------------------------------------------------------------------------


def certificate(problem: Exactly) -> Tree:
    found = search(problem, 30.0)
    assert not isinstance(found, Solution)
    return found


def test_the_search_proves_the_best_value_and_nothing_below_it() -> None:
    problem = exactly(knapsack(BEST))
    tree = certificate(problem)
    assert verified(problem, tree) and leaves(tree) > 1
    assert isinstance(search(exactly(knapsack(BEST - Fraction(1, 10**6))), 30.0), Solution)
    assert not verified(exactly(knapsack(BEST - 1)), tree)


def parity() -> Model:
    """Maximise a + b + c where twice that is at most 7: a relaxation finds 7/2, whichever one of them is fixed."""
    builder = Builder()
    letters = [builder.variable(name, 0, 4, integer=True) for name in "abc"]
    builder.at_most("even", combination((2, 2, 2), letters), 7)
    return builder.model("odd", combination((1, 1, 1), letters), bound=3)


def test_a_tree_that_leaves_something_out_is_refused() -> None:
    problem = exactly(parity())
    tree = certificate(problem)
    assert isinstance(tree, Split)
    for damaged in (
        tree.below,
        tree.above,
        replace(tree, below=tree.above),
        replace(tree, above=tree.below),
        replace(tree, at=tree.at + 1),
        replace(tree, at=tree.at - 1),
        replace(tree, variable=(tree.variable + 1) % 3),
    ):
        assert not verified(problem, damaged)


def test_a_split_of_what_is_no_integer_is_refused() -> None:
    builder = Builder()
    x = builder.variable("x", 0, 1, integer=False)
    problem = exactly(builder.model("", x, bound=0))
    hopeless = Leaf(1, {})
    below = holds(problem, halves(problem.box, Split(0, 0, hopeless, hopeless), problem.unit)[0], hopeless)
    assert below  # x <= 0 is fine, and x >= 1 could be excluded; but 1/2 is in neither
    assert not verified(problem, Split(0, 0, hopeless, hopeless))


def test_damaged_weights_are_refused() -> None:
    problem = exactly(knapsack(BEST))
    tree = certificate(problem)
    assert not verified(problem, changed(tree, lambda leaf: Leaf(leaf.objective, {})))
    assert not verified(
        problem, changed(tree, lambda leaf: Leaf(leaf.objective, {i: -w for i, w in leaf.weights.items()}))
    )


def changed(tree: Tree, change: Any) -> Tree:
    if isinstance(tree, Leaf):
        made: Leaf = change(tree)
        return made
    assert isinstance(tree, Split)
    return replace(tree, below=changed(tree.below, change), above=changed(tree.above, change))


# --- models in integers --------------------------------------------------------------------------------------


def test_a_model_in_integers_is_the_same_model() -> None:
    builder = Builder()
    x = builder.variable("x", Fraction(1, 3), Fraction(7, 2), integer=False)
    k = builder.variable("k", Fraction(1, 2), Fraction(7, 2), integer=True)
    builder.at_least("row", x * Fraction(2, 3) - k * Fraction(1, 255), Fraction(-5, 7))
    problem = exactly(builder.model("", x + k + Fraction(1, 2), bound=2))
    row = problem.rows[0]
    by = Fraction(dict(row.terms)[0]) / Fraction(2, 3)
    assert by > 0 and dict(row.terms)[1] == -by / 255 and row.lower == by * Fraction(-5, 7)
    assert row.upper is None
    assert [Fraction(v, problem.unit) for v in problem.lower] == [Fraction(1, 3), 1]
    assert [Fraction(v, problem.unit) for v in problem.upper] == [Fraction(7, 2), 3]
    assert Fraction(problem.bound, dict(problem.objective.terms)[0]) == Fraction(3, 2)


def test_the_thresholds_row_is_left_out() -> None:
    builder = Builder()
    x = builder.variable("x", 0, 1, integer=False)
    builder.at_least("threshold", x, 5)
    problem = exactly(builder.model("", x, bound=Fraction(1, 2)))
    assert problem.rows == ()
    assert isinstance(search(problem, 10.0), Solution)


# --- the backend ----------------------------------------------------------------------------------------------


def trials() -> list[Trial]:
    made = [t for seed in range(40) for t in around(random_problem(seed, Size.SMALL), seed)]
    return [t for t in made if ENCODING.refuses(t.query) is None]


def test_it_is_exact_and_names_what_it_rests_on() -> None:
    backend = CertifiedBackend()
    assert (backend.name, backend.trust, backend.exact) == ("certified", "milp-certified", True)
    assert any(isinstance(b, CertifiedBackend) for b in ENCODING.backends())


def test_no_violation_is_excluded() -> None:
    for made in trials():
        answer = CertifiedBackend().solve(ENCODING.encode(made.query).model, LIMITS)
        assert answer.status is not Status.UNSAT or not made.violated
        assert answer.status is not Status.UNKNOWN


def test_time_is_a_limit() -> None:
    answer = CertifiedBackend().solve(ENCODING.encode(trials()[0].query).model, Limits(0.0))
    assert answer.status is Status.UNKNOWN and "time limit" in (answer.reason or "")


def test_a_certificate_that_is_wrong_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search claims a proof that it does not have: its check finds out."""
    monkeypatch.setattr(searching, "holds", lambda *_: True)
    false = [made for made in trials() if made.violated]
    statuses = {CertifiedBackend().solve(ENCODING.encode(made.query).model, LIMITS).status for made in false}
    assert statuses <= {Status.UNKNOWN, Status.SAT} and Status.UNKNOWN in statuses


def test_without_its_check_a_wrong_certificate_would_be_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "holds", lambda *_: True)
    monkeypatch.setattr(solver, "verified", lambda *_: True)
    made = next(t for t in trials() if t.violated)
    assert CertifiedBackend().solve(ENCODING.encode(made.query).model, LIMITS).status is Status.UNSAT


def test_a_relaxation_that_fails_costs_nodes_but_no_soundness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other relaxation is not solved: those nodes are split blindly."""
    genuine, calls = searching.Relaxation.solve, [0]

    def solve(self: Any, box: Any, time_s: float) -> Any:
        calls[0] += 1
        return searching.Relaxed(()) if calls[0] % 2 else genuine(self, box, time_s)

    monkeypatch.setattr(searching.Relaxation, "solve", solve)
    problem = exactly(knapsack(BEST))
    try:
        found = search(problem, 30.0)
    except GaveUp:
        return
    assert isinstance(found, Solution) or verified(problem, found)
