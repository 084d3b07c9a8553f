"""Where a bound is put in rows: half a step above it, or so far below it that floats cannot hide a violation."""

from __future__ import annotations

from fractions import Fraction

import pytest

from qsmt.encoding import Fidelity, Query
from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.trial import around
from qsmt.solver.base import Limits, Status
from qsmt_milp import MilpEncoding
from qsmt_milp.gap import RELATIVE_ERROR, step, uncertainty
from qsmt_milp.model import Builder, Linear, Row
from tests.support.networks import Recipe
from tests.support.networks import random_problem as from_recipe
from tests.unit.milp.oracle import Side, executions, no_facts, query, tight_facts

ENCODING = MilpEncoding()


def threshold(asked: Query) -> tuple[Fraction, Fidelity, Fraction]:
    """The bound that the rows put on the difference, the fidelity, and how far a solver may be off."""
    encoded = ENCODING.encode(asked)
    (row,) = (row for row in encoded.model.rows if row.name == "threshold")
    assert isinstance(row, Row) and row.lower is not None
    objective = encoded.model.objective
    return (
        Fraction(row.lower) + Fraction(objective.constant),
        encoded.fidelity,
        uncertainty(objective, encoded.model.variables),
    )


def has_terms(asked: Query) -> bool:
    """Is the query taken, and its difference not a constant?"""
    return ENCODING.refuses(asked) is None and not ENCODING.encode(asked).model.objective.is_constant


@pytest.mark.parametrize("seed", range(60))
def test_the_row_is_beyond_the_error_on_the_side_that_is_safe(seed: int) -> None:
    for made in around(random_problem(seed, Size.SMALL), seed):
        if not has_terms(made.query):
            continue
        limit, fidelity, slack = threshold(made.query)
        gap = step(made.problem, made.query.bound)
        assert gap is not None
        if fidelity is Fidelity.EXACT:
            assert limit == made.query.bound + gap / 2 and gap / 2 >= slack
        else:
            assert limit == made.query.bound - slack and gap / 2 < slack


def test_both_happen() -> None:
    seen = {
        threshold(made.query)[1]
        for seed in range(30)
        for made in around(random_problem(seed, Size.SMALL), seed)
        if has_terms(made.query)
    }
    assert seen == set(Fidelity)


def test_the_error_scales_with_the_terms_and_the_constant() -> None:
    builder = Builder()
    x, y = builder.variable("x", -3, 2, integer=True), builder.variable("y", 0, 5, integer=False)
    form = x * 4 - y + 7
    assert uncertainty(form, builder.variables) == RELATIVE_ERROR * (4 * 3 + 5 + 7)
    assert uncertainty(form * 10, builder.variables) == 10 * uncertainty(form, builder.variables)
    assert uncertainty(Linear(0), builder.variables) == 0


def test_two_constants_are_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without variables is within every solver's tolerance, if its side is small enough."""
    problem = from_recipe(3, Recipe(radius=0))
    (only,) = executions(problem)
    for offset, want in ((Fraction(1, 2**60), Status.UNSAT), (-Fraction(1, 2**60), Status.SAT)):
        side: Side = 1 if only.difference[0] > 0 else -1
        asked = query(problem, side * only.difference[0] + offset, side, tight_facts(problem))
        encoded = ENCODING.encode(asked)
        for backend in ENCODING.backends():
            if backend.available() is None:
                assert backend.solve(encoded.model, Limits(10)).status is want


def test_a_bound_a_hair_beside_the_maximum_lowers_the_row() -> None:
    problem = from_recipe(3, Recipe())
    near, far = Fraction(1, 3) + Fraction(1, 2**40), Fraction(1, 4)
    for bound, want in ((near, Fidelity.OVER), (far, Fidelity.EXACT)):
        assert threshold(query(problem, bound, 1, no_facts(problem)))[1] is want
