"""Every installed encoding, with every option and solver, on every cell of the conformance matrix.

The matrix is generated from what is installed and from the enumerations of the arithmetic, so a new rounding,
overflow, encoding or solver is tested without being listed here; what is not encoded has to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qsmt.arith.fixed import Overflow
from qsmt.encoding import Configurable, Encoding, encodings
from qsmt.engine.faults import FAULTS
from qsmt.engine.judge import Mark
from qsmt.solver.base import Backend
from tests.support.conformance import HOLES, MATRIX, Cell, failures, problems, trials, tried
from tests.support.faults import Faulty


def columns() -> Iterator[Any]:
    """Encodings and solvers; those that cannot be used here are skipped by name."""
    for plain in encodings().values():
        options = plain.options if isinstance(plain, Configurable) else {}
        assert not options or isinstance(plain, Configurable)
        forms = (
            [plain, *(plain.with_option(o) for o in options)] if isinstance(plain, Configurable) else [plain]
        )
        for form in forms:
            for backend in form.backends():
                missing = backend.available()
                marks = [pytest.mark.skip(reason=missing)] if missing else []
                yield pytest.param(form, backend, id=f"{form.name}:{backend.name}", marks=marks)


COLUMNS = list(columns())
ENCODINGS = list(encodings().values())
QUICK = MATRIX[::5]


@pytest.mark.parametrize(("encoding", "backend"), COLUMNS)
def test_a_fifth_of_the_matrix(encoding: Encoding, backend: Backend[Any]) -> None:
    assert [line for cell in QUICK for line in failures(encoding, backend, cell)] == []


@pytest.mark.slow
@pytest.mark.parametrize("cell", MATRIX, ids=str)
def test_the_matrix(cell: Cell) -> None:
    for column in COLUMNS:
        if not column.marks:
            encoding, backend = column.values
            assert failures(encoding, backend, cell) == []


def test_a_fifth_covers_every_rounding_and_overflow() -> None:
    whole, part = ({(c.rounding, c.overflow) for c in cells} for cells in (MATRIX, QUICK))
    assert {r for r, _ in part} == {r for r, _ in whole} and {o for _, o in part} == {o for _, o in whole}


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_a_hole_is_one_on_purpose_and_really_there(encoding: Encoding) -> None:
    """What is refused is exactly what is listed; and a listed hole is not a whole column of the matrix."""
    refused, taken = set[tuple[str, Overflow]](), set[tuple[str, Overflow]]()
    for cell in MATRIX:
        for problem in problems(cell):
            refusal = encoding.refuses(next(trials(cell, problem)).query)
            (taken if refusal is None else refused).add((encoding.name, cell.overflow))
    assert refused == {hole for hole in HOLES if hole[0] == encoding.name}
    assert refused <= taken


@pytest.mark.parametrize("name", ["wrong-rounding", "shifted-bias", "missing-saturation", "closed-bound"])
@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.name)
def test_a_planted_fault_fails_the_matrix(encoding: Encoding, name: str) -> None:
    backend = next(b for b in encoding.backends() if b.available() is None)
    faulty: Any = Faulty(encoding, FAULTS[name].asked)
    assert any(failures(faulty, backend, cell) for cell in MATRIX[::7])


def test_an_unknown_fails_the_matrix() -> None:
    """Every cell is within every solver's reach."""
    cell, encoding = MATRIX[0], ENCODINGS[0]
    made = next(trials(cell, problems(cell)[0]))
    assert tried(encoding, encoding.backends()[0], made)[0] is Mark.RIGHT
