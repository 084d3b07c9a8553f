"""From exact rows to doubles and to MPS files: what is exact stays exact, and a file means the same."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.arith.rounding import Rounding
from qsmt.solver.base import Limits, Status
from qsmt_milp import MilpEncoding
from qsmt_milp.backends.highs import HighsBackend, _quiet
from qsmt_milp.floats import scale, to_floats
from qsmt_milp.model import Builder, Exact, Linear, Model, combination
from qsmt_milp.mps import GOAL
from tests.support.networks import Recipe, random_problem
from tests.unit.milp.oracle import SIDES, executions, no_facts, query, tight_facts

highspy = pytest.importorskip("highspy")
ENCODING = MilpEncoding()


def model_of(seed: int, *, bound: Fraction = Fraction(1, 3), scale: Fraction | None = None) -> Model:
    problem = random_problem(
        seed, Recipe(sizes=(2, 4, 3, 1), input_scale=scale, rounding=list(Rounding)[seed % 9])
    )
    return ENCODING.encode(query(problem, bound, 1, no_facts(problem))).model


# --- doubles ------------------------------------------------------------------------------------------------


def exact_rows(model: Model) -> list[bool]:
    """Is each row, times its scale, exactly what the solver gets?"""
    rows = zip(model.rows, to_floats(model).rows(), strict=True)
    reach = [v.modulus for v in model.variables]
    return [
        all(
            Fraction(value) == coefficient * scale(row.terms, reach)
            for value, coefficient in zip(values, row.terms.values(), strict=True)
        )
        for row, (_, values, _, _) in rows
    ]


@pytest.mark.parametrize("input_scale", [None, Fraction(1, 15), Fraction(1, 255)])
def test_coefficients_stay_exact_under_dyadic_and_odd_input_scales(input_scale: Fraction | None) -> None:
    assert all(exact_rows(model_of(1, scale=input_scale)))


def test_unscaled_rows_would_lose_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "scale", lambda *_: Fraction(1))
    monkeypatch.setattr("qsmt_milp.floats.scale", lambda *_: Fraction(1))
    assert not all(exact_rows(model_of(1, scale=Fraction(1, 255))))


COEFFICIENTS: list[tuple[Exact, ...]] = [
    (1, -3),
    (Fraction(1, 255), Fraction(2, 255)),
    (2**40, 1),
    (Fraction(1, 2**40),),
    (Fraction(1, 10**30), 5),
]


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
@pytest.mark.parametrize("reach", [Fraction(1, 1000), Fraction(1), Fraction(2**30)])
def test_terms_are_neither_tiny_nor_large(coefficients: tuple[Exact, ...], reach: Fraction) -> None:
    factor = scale(dict(enumerate(coefficients)), [reach] * len(coefficients))
    largest = max(abs(c * factor) for c in coefficients)
    assert factor > 0 and largest * reach < 2**19
    assert largest > Fraction(1, 2) or largest * reach > 2**16


def test_small_integer_rows_and_empty_ones_stay_as_they_are() -> None:
    assert scale({0: 3, 1: -200, 2: 64}, [255, 255, 255]) == scale({}, []) == 1


def test_bounds_of_variables_are_rounded_outward() -> None:
    builder = Builder()
    third = Fraction(1, 3)
    x = builder.variable("x", third, 2 * third, integer=False)
    floats = to_floats(builder.model("", x))
    assert Fraction(floats.lower[0]) < third and Fraction(floats.upper[0]) > 2 * third


# --- MPS ----------------------------------------------------------------------------------------------------


def read_back(path: Path) -> Any:
    solver = _quiet(highspy)
    assert solver.readModel(str(path)) == highspy.HighsStatus.kOk
    return solver


def test_a_file_holds_the_same_doubles(tmp_path: Path) -> None:
    problem = random_problem(
        3, Recipe(sizes=(2, 4, 3, 1), rounding=Rounding.HALF_EVEN, input_scale=Fraction(1, 15))
    )
    encoded = ENCODING.encode(query(problem, Fraction(1, 10), -1, tight_facts(problem)))
    encoded.write(tmp_path / "query.mps")
    floats, lp = to_floats(encoded.model), read_back(tmp_path / "query.mps").getLp()
    assert list(lp.col_names_) == [v.name for v in encoded.model.variables]
    assert list(lp.row_names_) == [r.name for r in encoded.model.rows]
    for ours, theirs in (
        (floats.lower, lp.col_lower_),
        (floats.upper, lp.col_upper_),
        (floats.row_lower, lp.row_lower_),
        (floats.row_upper, lp.row_upper_),
        (-floats.objective, lp.col_cost_),
    ):
        assert np.array_equal(ours, theirs)
    kinds = highspy.HighsVarType
    assert [k == kinds.kInteger for k in lp.integrality_] == list(floats.integer)
    assert entries(lp) == {
        (i, j): value
        for i, (columns, values, _, _) in enumerate(floats.rows())
        for j, value in zip(columns, values, strict=True)
    }


def entries(lp: Any) -> dict[tuple[int, int], float]:
    """The matrix of a HighsLp, which is column-wise after reading."""
    matrix = lp.a_matrix_
    assert matrix.format_ == highspy.MatrixFormat.kColwise
    starts, index, value = list(matrix.start_), list(matrix.index_), list(matrix.value_)
    return {(index[k], j): value[k] for j in range(len(starts) - 1) for k in range(starts[j], starts[j + 1])}


@pytest.mark.parametrize("seed", range(4))
def test_a_file_has_the_answer_of_the_query(seed: int, tmp_path: Path) -> None:
    problem = random_problem(seed, Recipe(output=Fixed(True, 5, 2)))
    for side in SIDES:
        top = max(side * e.difference[0] for e in executions(problem))
        for bound in (top - Fraction(1, 2**12), top):
            if bound < 0:
                continue
            encoded = ENCODING.encode(query(problem, bound, side, tight_facts(problem)))
            encoded.write(tmp_path / "query.mps")
            solver = read_back(tmp_path / "query.mps")
            solver.run()
            infeasible = solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible
            assert infeasible == (bound == top)


def test_a_file_begins_with_the_query_and_has_names_for_people(tmp_path: Path) -> None:
    problem = random_problem(2, Recipe(sizes=(2, 4, 3, 1)))
    asked = query(problem, Fraction(1, 4), -1, no_facts(problem))
    encoded = ENCODING.encode(asked)
    encoded.write(tmp_path / "query.mps")
    text = (tmp_path / "query.mps").read_text(encoding="utf-8")
    assert text.startswith(f"* feasible iff there is an input with {asked}\n")
    names = {v.name for v in encoded.model.variables}
    assert {"x0", "x1", "q.h0.2", "q.h1.0", "r.h0.2"} <= names
    assert all(
        re.fullmatch(r"[\w.\-]+", name) for name in names | {r.name for r in encoded.model.rows} | {GOAL}
    )


def test_names_are_unique() -> None:
    for seed in range(9):
        model = model_of(seed)
        for names in ([v.name for v in model.variables], [r.name for r in model.rows]):
            assert len(set(names)) == len(names)


# --- a row that no variable can change ----------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "want"), [(1, Status.UNSAT), (-1, Status.SAT), (0, Status.SAT)])
def test_a_row_without_variables_still_decides(limit: int, want: Status, tmp_path: Path) -> None:
    builder = Builder()
    builder.variable("x0", 0, 3, integer=True)
    builder.at_least("threshold", Linear(0), limit)
    assert HighsBackend().solve(builder.model("", Linear(0)), Limits(wall_s=9)).status is want


def test_expressions_are_exact() -> None:
    builder = Builder()
    x, y = (builder.variable(name, 0, 9, integer=True) for name in "xy")
    form = (x * 3 - y + 5) * Fraction(1, 3)
    assert form == Linear(Fraction(5, 3), {0: 1, 1: Fraction(-1, 3)})
    assert (form - form) == Linear(0, {}) and (x - x + 2).is_constant
    assert combination((2, 0, -2), (x, y, x), 7) == Linear(7, {})
