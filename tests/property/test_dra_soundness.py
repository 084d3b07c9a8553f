"""Every exact execution lies inside every interval, in every mode: what the analysis is for.

Executions are those of the exact interpreters, op by op; bounds are compared with exact rationals. The
problems range over all roundings, overflows, requantization kinds, input relations, activations in any
order, wrapping accumulators, Clip references, magnitudes from 1e-30 to 1e30, widths 1 to 64 and up to
eight layers.
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
from tests.unit.dra.soundness import executed, violations
from tests.unit.dra.wild import Style, points_of, wild_pair, wild_problem

KINDS = [
    pytest.param(rounding, overflow, rational, id=f"{rounding}-{overflow}-{'rational' if rational else 'shift'}")
    for rounding, overflow, rational in product(Rounding, Overflow, (False, True))
]


def check(problem: Problem, *, seed: int, most: int) -> int:
    """No execution leaves any interval in any mode; the number of executions."""
    points = points_of(problem, seed, most)
    ranges = executed(problem, points)
    for mode in Mode:
        facts = analyze_region(problem, mode)
        assert violations(ranges, facts) == [], mode
    return len(points)


@pytest.mark.parametrize(("rounding", "overflow", "rational"), KINDS)
def test_all_points_of_small_grids_are_inside(rounding: Rounding, overflow: Overflow, rational: bool) -> None:
    style = Style((3, 4, 3, 2), rounding, overflow, rational, radius=4)
    assert sum(check(wild_problem(seed, style), seed=seed, most=729) for seed in range(3)) > 600


@pytest.mark.parametrize(("rounding", "overflow", "rational"), KINDS)
def test_real_inputs_are_inside_at_ties_and_beyond_the_input_format(
    rounding: Rounding, overflow: Overflow, rational: bool
) -> None:
    style = Style((2, 3, 2), rounding, overflow, rational, model=InputModel.CONTINUOUS)
    assert sum(check(wild_problem(seed, style), seed=seed, most=60) for seed in range(2)) == 120
