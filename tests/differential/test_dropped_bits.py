"""Executions that a rounding encoded with a constant cuts off: from 14 dropped bits on, 0.0001 is too much.

The published MILP states `y = round(v)` as `v - 0.5 + 0.0001 <= y <= v + 0.5`. Where v lies less than
0.0001 below a half, no y is allowed, and the execution disappears. Here that execution is the violation.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query, load
from qsmt.engine.check import check
from qsmt.engine.plan import CrossCheck, Options
from qsmt.interp.replay import replay
from qsmt.ir.text import parse
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.solver.base import Limits, Status
from qsmt.verdict import Falsified, Verified

REFERENCE = """\
network @reference runtime "real" {
  const @w0 : [1, 1] real = [1]
  const @b0 : [1] real = [0]
  const @w1 : [1, 1] real = [1]
  const @b1 : [1] real = [0]
  %x : [1] real = input
  %z0 : [1] real = affine %x, @w0, @b0
  %h0 : [1] real = relu %z0
  %y : [1] real = affine %h0, @w1, @b1
}
"""

QUANTIZED = """\
network @quantized runtime "ideal" {{
  const @w0 : [1, 1] fixed<s2, frac 0> = [1]
  const @b0 : [1] fixed<s2, frac 0> = [0]
  const @w1 : [1, 1] fixed<s2, frac 0> = [1]
  const @b1 : [1] fixed<s2, frac 0> = [0]
  %x : [1] fixed<u24, frac {shift}> = input
  %a0 : [1] acc<i26, scale 1/{unit}, exact> = affine %x, @w0, @b0
  %h0 : [1] fixed<u8, frac 0> = requantize %a0 {{shift {shift}, half_up, saturate}}
  %y : [1] acc<i10, scale 1, exact> = affine %h0, @w1, @b1
}}
"""

SHIFTS = [14, 16, 18, 20]


def problem(shift: int) -> Problem:
    """Three codes just below one half; all round down, so the last one is farthest off."""
    below_half = 2 ** (shift - 1) - 1
    region = Region(InputModel.GRID, (Fraction(below_half - 2),), (Fraction(below_half),))
    claim = ErrorBound((0,), (Fraction(below_half - 1, 2**shift),))
    quantized = parse(QUANTIZED.format(shift=shift, unit=2**shift))
    return Problem(parse(REFERENCE), quantized, region, Fraction(1, 2**shift), claim)


def cut_off(shift: int) -> bool:
    """Does the published rounding allow no result for the violating execution?"""
    value = Fraction(2 ** (shift - 1) - 1, 2**shift)
    return not any(value - Fraction(4999, 10000) <= y <= value + Fraction(1, 2) for y in (0, 1))


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_case_is_one_that_the_published_rounding_cuts_off(shift: int) -> None:
    assert cut_off(shift)
    execution = replay(problem(shift), [problem(shift).region.upper])[0]
    assert execution.difference == (-Fraction(2 ** (shift - 1) - 1, 2**shift),)


@pytest.mark.parametrize(
    ("encoding", "backend"), [("milp", "highs"), ("bitvector", "bitwuzla"), ("bitvector", "z3")]
)
@pytest.mark.parametrize("shift", SHIFTS)
def test_every_encoding_keeps_the_execution(shift: int, encoding: str, backend: str) -> None:
    asked = problem(shift)
    query = Query(asked, 0, -1, analyze_region(asked))
    encoded = load(encoding).encode(query)
    solver = next(b for b in load(encoding).backends() if b.name == backend)
    found = solver.solve(encoded.model, Limits(wall_s=60))
    assert found.status is Status.SAT
    assert found.assignment is not None
    assert encoded.decode(found.assignment) == asked.region.upper


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("encoding", ["auto", "milp", "bitvector"])
def test_the_verdict_is_right_on_both_sides(shift: int, encoding: str) -> None:
    options = Options(encoding=encoding, cross_check=CrossCheck.ALL, falsifies=False)
    false = problem(shift)
    true = replace(false, claim=ErrorBound((0,), (Fraction(2 ** (shift - 1) - 1, 2**shift),)))
    assert isinstance(check(false, options).verdict, Falsified)
    assert isinstance(check(true, options).verdict, Verified)
