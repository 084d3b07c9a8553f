"""Neighbours: moving one coordinate and updating sums is the same as running both networks from the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.arith.real import FloatArray
from qsmt.arith.rounding import Rounding
from qsmt.engine.random_affine import FORMS, Form, affine_problem
from qsmt.interp.batch import BatchInterpreter
from qsmt.interp.neighbours import Neighbours
from qsmt.ir.ops import Affine
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from qsmt.problem import InputModel, Problem, Region
from tests.support.networks import Recipe, random_problem

SIZES = (7, 5, 4, 2)
COUNT = 40


def problems() -> Iterator[Problem]:
    for rounding in Rounding:
        yield random_problem(1, Recipe(sizes=SIZES, rounding=rounding))
    yield random_problem(2, Recipe(sizes=SIZES, rational=True, output=Fixed(True, 5, 2), clip=Fraction(1)))
    yield from (affine_problem(3, form, sizes=SIZES) for form in FORMS)
    floats = random_problem(4, Recipe(sizes=SIZES))
    yield replace(floats, quantized=random_problem(5, Recipe(sizes=SIZES)).reference)
    ends = (Fraction(-1),) * SIZES[0], (Fraction(1),) * SIZES[0]
    continuous = Region(InputModel.CONTINUOUS, *ends)
    for made in (floats, affine_problem(6, FORMS[0], sizes=SIZES)):
        yield replace(made, region=continuous, input_scale=Fraction(1))


def walk(problem: Problem, neighbours: Neighbours) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Inputs, and their differences as neighbours of one of them."""
    rng = np.random.default_rng(0)
    lower, upper = (np.array([float(v) for v in end]) for end in (problem.region.lower, problem.region.upper))
    inputs = lower + rng.random((COUNT, len(lower))) * (upper - lower)
    if problem.region.model is InputModel.GRID:
        inputs = np.rint(inputs)
    point, at = inputs[0].copy(), neighbours.sums(inputs[:1])[0]
    for goal in inputs[1:]:
        coordinates = np.arange(len(point))
        moved = neighbours.moved(at, point, coordinates, goal)
        points = np.repeat(point[None], len(point), axis=0)
        points[coordinates, coordinates] = goal
        yield points, neighbours.differences(moved)
        chosen = int(rng.integers(len(point)))
        point, at = points[chosen], moved[chosen]


def off(problem: Problem, neighbours: Neighbours) -> float:
    run = BatchInterpreter(problem).run
    return max(
        float(np.abs(run(points).difference - seen).max()) for points, seen in walk(problem, neighbours)
    )


@pytest.mark.parametrize("problem", list(problems()))
def test_a_walk_sees_what_the_batch_interpreter_computes(problem: Problem) -> None:
    neighbours = Neighbours.of(problem)
    assert neighbours is not None
    assert off(problem, neighbours) < 1e-9


def test_columns_that_are_mixed_up_would_be_noticed() -> None:
    problem = random_problem(1, Recipe(sizes=SIZES))
    neighbours = Neighbours.of(problem)
    assert neighbours is not None
    reference, quantized = neighbours._sides
    for mixed in (
        (replace(reference, columns=np.roll(reference.columns, 1, axis=0)), quantized),
        (reference, replace(quantized, columns=np.roll(quantized.columns, 1, axis=0))),
        (reference, replace(quantized, bias=quantized.bias + 1)),
    ):
        assert off(problem, Neighbours(*mixed)) > 0.01


def test_sums_that_wrap_and_codes_that_are_not_known_exactly_are_left_alone() -> None:
    problem = random_problem(1, Recipe(sizes=SIZES))
    first = problem.quantized.ops[0]
    kind = first.out.type.element
    assert isinstance(first, Affine) and isinstance(kind, Accumulator)
    wrapping = replace(kind, overflow=AccumulatorOverflow.WRAP)
    out = replace(first.out, type=replace(first.out.type, element=wrapping))
    ops = (replace(first, out=out), *problem.quantized.ops[1:])
    assert Neighbours.of(replace(problem, quantized=replace(problem.quantized, ops=ops))) is None
    assert Neighbours.of(affine_problem(1, Form("hull"), sizes=SIZES)) is None
