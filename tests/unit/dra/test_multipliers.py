"""Whatever the multipliers, the bound that is computed is not below the one that they mean, exactly."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from qsmt.dra.ascent import Schedule, ascend, closed_form
from qsmt.dra.multipliers import certified, points
from qsmt.problem import InputModel, Problem
from tests.unit.dra.exact_dual import Prepared, exact_bound, prepared
from tests.unit.dra.wild import Style, wild_pair, wild_problem

STYLES = {
    "small": Style((2, 4, 3, 2), wraps=False, thirds=True),
    "rational": Style((3, 4, 2), rational=True, wraps=False, radius=6),
    "continuous": Style((2, 4, 2), model=InputModel.CONTINUOUS, wraps=False),
    "magnitudes": Style((2, 4, 3, 4, 2), exponent=100, thirds=True, wraps=False),
}


def gaps(case: Prepared, seed: int) -> list[tuple[Fraction, Fraction]]:
    """Computed and exact bounds for multipliers of all kinds: closed, searched, random, and none."""
    below, rng = case.dual, np.random.default_rng(seed)
    at, rows = points(below.region[:, None]), len(below.rows.constant)
    targets = np.arange(rows)
    closed = closed_form(below, at, targets)
    searched = ascend(below, at, targets, closed, Schedule(10, 0.1, 0.9)).chosen
    random = searched * rng.uniform(-1, 2, searched.shape)
    found = []
    for chosen in (closed, searched, random, 0.0 * closed):
        bounds = certified(below, at, targets, chosen)
        for target in np.flatnonzero(np.isfinite(bounds)).tolist():
            exact = exact_bound(case, target, chosen[:, [target]])
            found.append((Fraction(float(bounds[target])), exact))
    return found


@pytest.mark.parametrize("make", [wild_problem, wild_pair])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(6))
def test_the_bound_is_not_below_the_exact_one(
    make: Callable[[int, Style], Problem], style: str, seed: int
) -> None:
    with np.errstate(all="ignore"):
        found = gaps(prepared(make(seed, STYLES[style])), seed)
    assert found
    assert all(bound >= exact for bound, exact in found)
    if style == "small":
        assert all(float(bound - exact) <= 1e-9 * (1 + abs(exact)) for bound, exact in found)
