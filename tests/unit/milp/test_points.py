"""What rows imply for boxes and for points: no solution is ever lost, and hopeless points are seen."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from random import Random

import pytest

from qsmt.claim import ErrorBound
from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.trial import Trial, around
from qsmt_milp import MilpEncoding
from qsmt_milp.certified import search as searching
from qsmt_milp.certified.check import verified
from qsmt_milp.certified.integers import Exactly, exactly
from qsmt_milp.certified.points import FRACTION, LARGEST, Points, WideRow, count
from qsmt_milp.certified.propagate import sides, whole
from qsmt_milp.certified.search import search
from qsmt_milp.certified.tree import Leaf, Split, Tried
from qsmt_milp.model import Builder, Model, combination

ENCODING = MilpEncoding()
LIMITS = range(4)


def random_model(seed: int) -> tuple[Model, list[tuple[int, ...]]]:
    """Three integers and a fraction between them, random rows; and all integers that satisfy them all."""
    rng, builder = Random(seed), Builder()
    whole_numbers = [builder.variable(name, 0, 3, integer=True) for name in "abc"]
    between = builder.variable("d", Fraction(-1, 3), Fraction(10, 3), integer=False)
    builder.equal("mean", combination((2, -1, -1), (between, *whole_numbers[:2])))
    rows = [([rng.randint(-5, 5) for _ in range(3)], rng.randint(-6, 12)) for _ in range(3)]
    for i, (weights, limit) in enumerate(rows):
        builder.at_most(f"row {i}", combination(weights, whole_numbers), Fraction(limit, 2))
    goal = [rng.randint(-3, 3) for _ in range(3)]
    bound = rng.randint(-3, 6)
    points = [
        v
        for v in product(LIMITS, repeat=3)
        if all(2 * sum(w * x for w, x in zip(ws, v, strict=True)) <= limit for ws, limit in rows)
        and sum(g * x for g, x in zip(goal, v, strict=True)) > bound
    ]
    return builder.model("random", combination(goal, whole_numbers), bound=bound, inputs=3), points


@pytest.mark.parametrize("seed", range(60))
def test_no_solution_is_lost_from_a_box(seed: int) -> None:
    """Nor from the parts of a box that is split, whatever the order of the splits."""
    model, points = random_model(seed)
    problem, rng = exactly(model), Random(seed)
    box, left = whole(problem), points
    for _ in range(5):
        if box is None:
            assert not left
            return
        for v in left:
            ends = zip(v, box[0], box[1], strict=False)
            assert all(low <= x * problem.unit <= high for x, low, high in ends), v
        variable, at = rng.randrange(3), rng.randrange(3)
        above = rng.randint(0, 1)
        box = sides(problem, box, Split(variable, at, Tried(), Tried()))[above]
        left = [v for v in left if (v[variable] > at) == bool(above)]


@pytest.mark.parametrize("seed", range(60))
def test_points_are_excluded_if_and_only_if_there_is_no_solution(seed: int) -> None:
    model, points = random_model(seed)
    problem = exactly(model)
    tried = Points.of(problem)
    assert tried is not None and count(problem, problem.box) == 64
    goal = dict(model.objective.terms)
    ties = [v for v in product(LIMITS, repeat=3) if sum(c * v[j] for j, c in goal.items()) == model.bound]
    assert not (points and tried.excluded(problem, problem.box))
    if not points and not ties:
        assert tried.excluded(problem, problem.box)


@pytest.mark.parametrize("factor", [-8, -1, 5, 2**40])
def test_a_variable_that_is_zero_throughout_excludes_nothing(factor: int) -> None:
    """Its coefficient matters to no sum, and so nothing limits what it is scaled to."""
    builder = Builder()
    zero, free = (builder.variable(name, 0, high, integer=True) for name, high in (("zero", 0), ("x", 3)))
    builder.at_most("always", combination((factor,), (zero,)), Fraction(0))
    problem = exactly(builder.model("x exceeds 0", combination((1,), (free,)), bound=Fraction(0), inputs=2))
    points = Points.of(problem)
    assert points is not None and not points.excluded(problem, problem.box)
    assert not verified(problem, Tried())


def trials(seed: int) -> list[tuple[Trial, Exactly]]:
    """Queries around the exact maximum of a small random problem, as programs."""
    made = around(random_problem(seed, Size.SMALL), seed)
    return [(t, exactly(ENCODING.encode(t.query).model)) for t in made if ENCODING.refuses(t.query) is None]


@pytest.mark.parametrize("seed", range(40))
def test_networks_points_are_excluded_only_where_none_violates(seed: int) -> None:
    for trial, problem in trials(seed):
        points = Points.of(problem)
        if points is not None and points.excluded(problem, problem.box):
            assert not trial.violated


def test_points_decide_most_networks_at_a_distance() -> None:
    """A tenth above the maximum, hundreds of points are excluded at once, all rounding included."""
    decided = []
    for seed in range(120):
        for trial, _ in trials(seed)[-1:]:
            claim = trial.problem.claim
            further = ErrorBound(claim.outputs, (claim.bounds[0] + Fraction(1, 10),))
            far = replace(trial.problem, claim=further)
            problem = exactly(ENCODING.encode(replace(trial.query, problem=far)).model)
            points = Points.of(problem)
            decided.append(points is not None and points.excluded(problem, problem.box))
    assert sum(decided) > 0.6 * len(decided) > 50


def test_a_row_that_is_one_unit_too_narrow_is_noticed() -> None:
    """Were rows rounded inward, points with a violation would be struck out: so the tests above would fail."""
    wrong = 0
    for seed in range(60):
        model, points = random_model(seed)
        problem = exactly(model)
        tried = Points.of(problem)
        assert tried is not None
        rows = tuple(_narrowed(row) for row in tried.rows)
        wrong += bool(points) and replace(tried, rows=rows).excluded(problem, problem.box)
    assert wrong


def _narrowed(row: WideRow) -> WideRow:
    unit = int(abs(row.factors).min()) << FRACTION
    return replace(row, upper=row.upper - unit if row.upper < LARGEST else row.upper)


def test_what_does_not_fit_64_bits_is_not_tried() -> None:
    builder = Builder()
    x = builder.variable("x", 0, 2**44, integer=True)
    assert Points.of(exactly(builder.model("", x, bound=2**44, inputs=1))) is None


def test_a_certificate_that_tries_points_with_a_violation_is_refused() -> None:
    for seed in range(60):
        model, points = random_model(seed)
        if points:
            assert not verified(exactly(model), Tried())
            break
    else:
        raise AssertionError("no model had a solution")


def test_a_search_that_runs_out_of_patience_tries_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "PATIENCE", 0)
    for seed in range(60):
        model, points = random_model(seed)
        problem = exactly(model)
        found = search(problem, 30.0)
        if points:
            assert not verified(problem, found) if isinstance(found, (Split, Tried)) else True
        else:
            assert isinstance(found, (Split, Tried, Leaf)) and verified(problem, found)
