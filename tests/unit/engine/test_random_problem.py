"""Random problems: the same for a seed everywhere, small, well-formed, and of every kind."""

from __future__ import annotations

from fractions import Fraction

import pytest

from qsmt.arith.fixed import Overflow
from qsmt.arith.requantize import Rational, Shift
from qsmt.arith.rounding import Rounding
from qsmt.engine.random_problem import EXTENTS, Size, random_problem
from qsmt.ir.ops import Clamp, Requantize
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from qsmt.problem import Problem

SMALL = [random_problem(seed, Size.SMALL) for seed in range(300)]


def requantizations(problem: Problem) -> list[Requantize]:
    return [op for op in problem.quantized.ops if isinstance(op, Requantize)]


@pytest.mark.parametrize("size", Size)
def test_a_seed_names_one_problem(size: Size) -> None:
    assert random_problem(7, size).sha256 == random_problem(7, size).sha256
    assert len({random_problem(seed, size).sha256 for seed in range(30)}) == 30


def test_a_seed_names_the_same_problem_on_every_machine() -> None:
    assert random_problem(0, Size.SMALL).sha256.startswith("eb39c2cbbd4e51f7")


@pytest.mark.parametrize("size", Size)
def test_the_grid_is_small(size: Size) -> None:
    assert max(random_problem(seed, size).region.points or 0 for seed in range(100)) <= EXTENTS[size].points


def test_every_kind_of_requantization_occurs() -> None:
    rules = {(op.rule.exact.rounding, type(op.kind)) for problem in SMALL for op in requantizations(problem)}
    assert rules == {(rounding, kind) for rounding in Rounding for kind in (Shift, Rational)}
    assert {op.overflow for problem in SMALL for op in requantizations(problem)} == set(Overflow)


def test_the_other_forms_occur() -> None:
    kinds = [op.out.type.element for problem in SMALL for op in problem.quantized.ops]
    assert any(isinstance(k, Accumulator) and k.overflow is AccumulatorOverflow.WRAP for k in kinds)
    assert any(isinstance(op, Clamp) for problem in SMALL for op in problem.reference.ops)
    assert any(problem.input_scale == Fraction(1, 15) for problem in SMALL)
