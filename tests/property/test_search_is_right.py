"""Search against the truth on networks made of everything the IR has: `check` decides, `bound` is exact.

Parameters of all magnitudes are among them, accumulators that wrap, and every rounding.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from qsmt.engine.bound import bound
from qsmt.engine.check import check
from qsmt.engine.plan import Options
from qsmt.problem import InputModel
from qsmt.verdict import Falsified, Verified
from tests.support.any_network import any_problem
from tests.support.networks import with_bound
from tests.support.truth import true_maximum, true_range

MOST = 3000
"""Points that are executed exactly."""

SMALL = [
    (seed, wild)
    for seed in range(40)
    for wild in (False, True)
    if (any_problem(seed, model=InputModel.GRID, wild=wild).region.points or 0) <= MOST
]


def test_there_are_enough_small_ones() -> None:
    assert len(SMALL) > 20


@pytest.mark.parametrize(("seed", "wild"), SMALL)
def test_the_search_is_right(seed: int, wild: bool) -> None:
    problem = any_problem(seed, model=InputModel.GRID, wild=wild)
    worst, options = true_maximum(problem), Options(jobs=1, encoding="none", falsifies=False)
    assert isinstance(check(with_bound(problem, worst), options).verdict, Verified)
    if worst > 0:
        smaller = worst - min(worst, Fraction(1)) / 2**60
        assert isinstance(check(with_bound(problem, smaller), options).verdict, Falsified)
    for output in bound(problem, Options(jobs=1)).outputs:
        low, high = true_range(problem, output.index)
        assert output.extremes == (low, high)
        assert output.certified[0] <= low and high <= output.certified[1]
