"""`qsmt analyze --attribute`: the table for people, the parts for programs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.command import qsmt

Q4 = Path(__file__).parents[3] / "examples" / "pendulum" / "pendulum-q4.toml"


def test_the_parts_in_json_add_up_to_what_is_certified(capsys: pytest.CaptureFixture[str]) -> None:
    report = qsmt(capsys, "analyze", Q4, "--attribute", "--json").report
    low, high = report["outputs"][0]["certified"]
    ends = {found["end"]: found for found in report["attribution"]}
    assert ends["upper"]["certified"] == high and ends["lower"]["certified"] == -low
    for found in ends.values():
        total = sum(Fraction(part["amount"]) for part in found["parts"])
        assert 0 <= total - Fraction(found["certified"]) < Fraction(1, 10**9)


def test_without_the_flag_nothing_is_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert "attribution" not in qsmt(capsys, "analyze", Q4, "--json").report


def test_the_table_has_a_row_per_layer_and_a_sum_that_is_the_bound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = qsmt(capsys, "analyze", Q4, "--attribute").out
    assert "output 0, lower end" in out
    table = out[out.index("output 0, lower end") :].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table[2:]] == [*("layer", "layer", "layer", "intersection", "sum")]
    assert table[-1].split()[-1] == "0.699931"


def test_another_mode_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    ran = qsmt(capsys, "analyze", Q4, "--attribute", "--mode", "naive")
    assert ran.code == 2 and "--attribute: splits what the mode best certifies, not naive" in ran.err
