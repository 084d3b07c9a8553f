"""Every exact execution lies inside every interval, in every mode: what the analysis is for.

Executions are those of the exact interpreters, op by op; bounds are compared with exact rationals. The
problems range over all roundings, overflows, requantization kinds, input relations, activations in any
order, activations that are no clamps, wrapping accumulators, Clip references, magnitudes from 1e-30 to
1e30, widths 1 to 64 and up to eight layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from qsmt.arith.fixed import Overflow
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze, analyze_region, reference_ranges
from qsmt.dra.domain import Boxes, Mode
from qsmt.problem import InputModel, Problem, Region
from tests.unit.dra.soundness import QUICK, executed, violations
from tests.unit.dra.wild import Style, points_of, wild_pair, wild_problem
from tests.unit.dra.wild_curves import curved_pair, curved_problem, tabled_problem

KINDS = [
    pytest.param(
        rounding, overflow, rational, id=f"{rounding}-{overflow}-{'rational' if rational else 'shift'}"
    )
    for rounding, overflow, rational in product(Rounding, Overflow, (False, True))
]


def check(problem: Problem, *, seed: int, most: int) -> int:
    """No execution leaves any interval in any mode; the number of executions."""
    points = points_of(problem, seed, most)
    ranges = executed(problem, points)
    for mode in Mode:
        facts = analyze_region(problem, mode, effort=QUICK)
        assert violations(ranges, facts) == [], mode
    return len(points)


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
@pytest.mark.parametrize(("rounding", "overflow", "rational"), KINDS)
def test_all_points_of_small_grids_are_inside(
    rounding: Rounding, overflow: Overflow, rational: bool, seed: int
) -> None:
    style = Style((3, 4, 3, 2), rounding, overflow, rational, radius=4)
    assert check(wild_problem(seed, style), seed=seed, most=729) > 100


@pytest.mark.parametrize(("rounding", "overflow", "rational"), KINDS)
def test_real_inputs_are_inside_at_ties_and_beyond_the_input_format(
    rounding: Rounding, overflow: Overflow, rational: bool
) -> None:
    style = Style((2, 3, 2), rounding, overflow, rational, model=InputModel.CONTINUOUS)
    assert sum(check(wild_problem(seed, style), seed=seed, most=60) for seed in range(2)) == 120


@pytest.mark.parametrize("seed", range(30))
def test_two_real_networks_are_inside(seed: int) -> None:
    assert check(wild_pair(seed, Style((3, 5, 4, 2), thirds=bool(seed % 2))), seed=seed, most=60) == 60


def unlike_pair(seed: int, style: Style) -> Problem:
    return curved_pair(seed, style, alike=False)


CURVED = [curved_pair, unlike_pair, curved_problem, tabled_problem]


@pytest.mark.parametrize("make", CURVED)
@pytest.mark.parametrize("seed", range(8))
def test_activations_that_are_no_clamps_are_inside(make: Callable[[int, Style], Problem], seed: int) -> None:
    style = Style((3, 5, 4, 2), thirds=bool(seed % 2), model=list(InputModel)[seed % 2])
    assert check(make(seed, style), seed=seed, most=40) > 0


@pytest.mark.parametrize("make", CURVED)
@pytest.mark.parametrize("seed", range(6))
def test_they_are_at_magnitudes_from_1e_30_to_1e30_and_on_single_points(
    make: Callable[[int, Style], Problem], seed: int
) -> None:
    problem = make(seed, Style((2, 4, 3, 4, 2), exponent=100 if seed % 3 else 4, thirds=bool(seed % 2)))
    check(problem, seed=seed, most=25)
    for point in points_of(problem, seed, 2):
        check(replace(problem, region=Region(problem.region.model, point, point)), seed=seed, most=1)


@pytest.mark.slow
@pytest.mark.parametrize("make", CURVED)
@pytest.mark.parametrize("seed", range(8, 108))
def test_many_activations_that_are_no_clamps_are_inside(
    make: Callable[[int, Style], Problem], seed: int
) -> None:
    style = Style(((3, 5, 4, 2), (1, 8, 1), (2, 3, 3, 3, 2))[seed % 3], exponent=(0, 6, 40)[seed // 3 % 3])
    check(make(seed, style), seed=seed, most=40)


@pytest.mark.parametrize("make", [wild_problem, wild_pair])
@pytest.mark.parametrize("seed", range(25))
def test_magnitudes_from_1e_30_to_1e30_are_inside(make: Callable[[int, Style], Problem], seed: int) -> None:
    style = Style((2, 4, 3, 4, 2), exponent=100, thirds=bool(seed % 2), overflow=list(Overflow)[seed % 4])
    check(make(seed, style), seed=seed, most=25)


@pytest.mark.parametrize("make", [wild_problem, wild_pair])
@pytest.mark.parametrize(
    "sizes", [(1, 1), (1, 64, 1), (64, 1, 64), (5, 64, 64, 5), (2, 9, 9, 9, 9, 9, 9, 9, 2), (40, 7, 1, 30, 3)]
)
def test_all_widths_and_depths_are_inside(
    make: Callable[[int, Style], Problem], sizes: tuple[int, ...]
) -> None:
    check(make(sum(sizes), Style(sizes, thirds=len(sizes) % 2 == 0)), seed=1, most=20)


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16, 27, 32, 50, 64])
@pytest.mark.parametrize("rational", [False, True])
def test_formats_of_all_widths_are_inside(bits: int, rational: bool) -> None:
    """From 27 bits on, accumulators leave the integers that doubles hold."""
    for overflow, seed in product(Overflow, range(3)):
        style = Style(
            (2, 3, 3, 2), overflow=overflow, rational=rational, bits=bits, rounding=Rounding.HALF_AWAY
        )
        check(wild_problem(seed, style), seed=seed, most=25)


@pytest.mark.parametrize("make", [wild_problem, wild_pair])
@pytest.mark.parametrize("seed", range(20))
def test_on_single_points_only_rounding_errors_are_left(
    make: Callable[[int, Style], Problem], seed: int
) -> None:
    """Where the box is a point, intervals are as wide as float errors: a missing slack has no place to hide."""
    problem = make(seed, Style((3, 6, 5, 4, 2), thirds=True, exponent=30, wraps=False))
    for point in points_of(problem, seed, 4):
        check(replace(problem, region=Region(problem.region.model, point, point)), seed=seed, most=1)


def test_every_box_of_a_batch_gets_its_own_bounds() -> None:
    problem = wild_problem(5, Style((3, 6, 6, 2), radius=6, bits=6))
    points = points_of(problem, 5, 40)
    corners = np.array([[float(v) for v in x] for x in points])
    boxes = Boxes(corners, corners + 1)
    for mode in Mode:
        facts = analyze(problem, boxes, mode, effort=QUICK)
        for i, x in enumerate(points):
            inside = [x, tuple(v + 1 for v in x), (x[0], *(v + 1 for v in x[1:]))]
            assert violations(executed(problem, inside), facts[i]) == []


@pytest.mark.parametrize("seed", range(10))
def test_the_ranges_of_a_reference_are_certified(seed: int) -> None:
    problem = wild_pair(seed, Style((3, 6, 5, 2), thirds=True))
    ranges = executed(problem, points_of(problem, seed, 50))
    found = reference_ranges(problem.reference, Boxes.of_region(problem.region), problem.input_scale)
    for layer, bound in zip(ranges, found, strict=True):
        values = layer["reference_post"]
        assert all(Fraction(low) <= v for low, v in zip(bound.lower[0], values.lower, strict=True))
        assert all(v <= Fraction(high) for high, v in zip(bound.upper[0], values.upper, strict=True))
