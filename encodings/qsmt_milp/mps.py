"""The free MPS format: the same doubles that the solvers get, as the shortest decimals that name them."""

from __future__ import annotations

from collections.abc import Iterator
from math import isinf
from pathlib import Path

from qsmt_milp.floats import FloatModel, to_floats
from qsmt_milp.model import Model

GOAL = "minus_difference"
"""The objective row. MPS files minimise unless an extension says otherwise, so the sign is turned."""


def write_mps(model: Model, path: Path) -> None:
    """Write the model; feasible means that the query has an answer, whatever the objective."""
    path.write_text("\n".join(_lines(model)) + "\n", encoding="utf-8")


def _lines(model: Model) -> Iterator[str]:
    floats = to_floats(model)
    yield f"* feasible iff there is an input with {model.title}"
    yield "NAME qsmt"
    yield from _rows(model, floats)
    yield from _columns(model, floats)
    yield from _sides(model, floats)
    yield from _bounds(model, floats)
    yield "ENDATA"


def _rows(model: Model, floats: FloatModel) -> Iterator[str]:
    yield "ROWS"
    yield f" N {GOAL}"
    for row, (_, _, low, high) in zip(model.rows, floats.rows(), strict=True):
        yield f" {'E' if low == high else 'L' if isinf(low) else 'G'} {row.name}"


def _columns(model: Model, floats: FloatModel) -> Iterator[str]:
    entries: list[list[str]] = [[f"{GOAL} {_number(-c)}"] if c else [] for c in floats.objective.tolist()]
    for row, (columns, values, _, _) in zip(model.rows, floats.rows(), strict=True):
        for index, value in zip(columns, values, strict=True):
            entries[index].append(f"{row.name} {_number(value)}")
    yield "COLUMNS"
    integer = False
    for k, (variable, column) in enumerate(zip(model.variables, entries, strict=True)):
        if variable.integer != integer:
            integer = variable.integer
            yield f" marker{k} 'MARKER' {'INTORG' if integer else 'INTEND'!r}"
        yield from (f" {variable.name} {entry}" for entry in column or [f"{GOAL} 0"])
    if integer:
        yield " marker 'MARKER' 'INTEND'"


def _sides(model: Model, floats: FloatModel) -> Iterator[str]:
    yield "RHS"
    for row, (_, _, low, high) in zip(model.rows, floats.rows(), strict=True):
        side = high if isinf(low) else low
        if side:
            yield f" rhs {row.name} {_number(side)}"


def _bounds(model: Model, floats: FloatModel) -> Iterator[str]:
    yield "BOUNDS"
    for variable, low, high in zip(
        model.variables, floats.lower.tolist(), floats.upper.tolist(), strict=True
    ):
        yield f" LO bounds {variable.name} {_number(low)}"
        yield f" UP bounds {variable.name} {_number(high)}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
