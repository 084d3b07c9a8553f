"""Random problems: the same for a seed everywhere, small, well-formed, and of every kind."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from qsmt.arith.fixed import Fixed, Overflow, Quantized
from qsmt.arith.requantize import RUNTIME_KINDS, Rational, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import Hull
from qsmt.engine.random_problem import AFFINE_EVERY, EXTENTS, WIDE_BITS, WIDE_EVERY, Size, random_problem
from qsmt.ir.ops import Affine, Clamp, PerNeuron, Requantize
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
    found = [op for problem in SMALL for op in requantizations(problem)]
    exact = [op.kind for op in found if isinstance(op.kind, Shift | Rational)]
    assert {(kind.rounding, type(kind)) for kind in exact} == set(product(Rounding, (Shift, Rational)))
    assert {type(kind) for op in found for kind in op.runtime_kinds} == set(RUNTIME_KINDS) - {Hull}
    assert {op.overflow for op in found} == set(Overflow)


def test_every_third_seed_names_a_problem_as_runtimes_quantize_it() -> None:
    """With zero points, and some of them per channel; the seeds before are what they were."""
    runtimes = [
        bool(requantizations(p)) and all(op.runtime_kinds for op in requantizations(p)) for p in SMALL
    ]
    assert runtimes == [seed % AFFINE_EVERY == AFFINE_EVERY - 1 for seed in range(len(SMALL))]
    types = [op.out.type.element for problem in SMALL for op in problem.quantized.ops]
    assert any(isinstance(kind, Quantized) and kind.zero_point for kind in types)
    assert any(isinstance(op.kind, PerNeuron) for problem in SMALL for op in requantizations(problem))


def test_every_twentieth_of_the_others_has_wide_codes() -> None:
    """They are what solvers in doubles were wrong about."""
    others = [seed for seed in range(len(SMALL)) if seed % AFFINE_EVERY != AFFINE_EVERY - 1]
    wide = [seed for seed in others if _weight_bits(SMALL[seed]) >= WIDE_BITS[0]]
    assert wide == [seed for seed in others if seed % WIDE_EVERY == WIDE_EVERY - 1] and len(wide) == 10
    assert max(map(_weight_bits, (SMALL[seed] for seed in wide))) >= 14


def _weight_bits(problem: Problem) -> int:
    first = problem.quantized.ops[0]
    assert isinstance(first, Affine) and isinstance(first.weight.type.element, Fixed)
    return first.weight.type.element.bits


def test_the_other_forms_occur() -> None:
    kinds = [op.out.type.element for problem in SMALL for op in problem.quantized.ops]
    assert any(isinstance(k, Accumulator) and k.overflow is AccumulatorOverflow.WRAP for k in kinds)
    assert any(isinstance(op, Clamp) for problem in SMALL for op in problem.reference.ops)
    assert any(problem.input_scale == Fraction(1, 15) for problem in SMALL)
