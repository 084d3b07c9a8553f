"""The exact maxima of the published ACAS Xu fixed-point tasks, found by full enumeration elsewhere."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from qsmt.arith.outward import float_down, float_up
from qsmt.engine.bound import bound
from qsmt.engine.check import check
from qsmt.engine.load import load_problem
from qsmt.problem import ErrorBound, Problem
from qsmt.verdict import Falsified, Verified
from tests.support.shared import shared_data

ROWS = 40
TINY = Fraction(1, 10**12)

SCHEME = """\
schema = "qsmt.problem/1"
[reference]
network = "{network}"
input_scale = "1/255"
[quantized]
network = "{network}"
scheme = "fixed-point"
input = {{ bits = 8, frac = 8, signed = true }}
weights = {{ bits = {q}, frac = {f} }}
bias = {{ bits = {q}, frac = {f} }}
hidden = {{ bits = {q}, frac = {f}, signed = false }}
output = "exact"
rounding = "half_up"
[region]
model = "grid"
lower = {lower}
upper = {upper}
[property]
kind = "error-bound"
bound = "1"
outputs = [0]
"""


def published_problem(row: dict[str, str], folder: Path) -> Problem:
    """A row of the table, through the problem file."""
    network = shared_data() / "acasxu" / "onnx" / "ACASXU_run2a_1_1_batch_2000.onnx"
    bits = int(row["Q"])
    path = folder / "problem.toml"
    path.write_text(
        SCHEME.format(network=network, q=bits, f=bits - 2, lower=row["int_lo"], upper=row["int_hi"])
    )
    return load_problem(path).problem


def asking(problem: Problem, bound: Fraction) -> Problem:
    return replace(problem, claim=ErrorBound((0,), (bound,)))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROWS))
def test_the_maximum_is_reproduced_and_decides_on_both_sides(number: int, tmp_path: Path) -> None:
    table = (shared_data() / "acasxu" / "qebverif_fp_exact.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert len(rows) == ROWS
    row = rows[number]
    problem = published_problem(row, tmp_path)
    (found,) = bound(problem).outputs
    pair = found.witnessed
    assert pair is not None
    low, high = (e.difference[0] for e in pair)
    assert found.certified == (float_down(low), float_up(high))
    maximum = max(abs(low), abs(high))
    assert f"{float(maximum):.6f}" == row["max_abs_err"]
    assert (f"{float(low):.6f}", f"{float(high):.6f}") == (row["err_lo"], row["err_hi"])
    assert json.loads(row["argmax"]) in [[int(v) for v in e.input] for e in pair]
    assert isinstance(check(asking(problem, maximum + TINY)).verdict, Verified)
    below = check(asking(problem, maximum - TINY)).verdict
    assert isinstance(below, Falsified)
    assert abs(below.witness.difference) > maximum - TINY
