"""Rounded products of doubles and rationals equal those of the exact rule, for every rounding."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import numpy as np
import pytest

from qsmt.arith.rounding import Rounding, round_fraction
from qsmt.dra import rounding as module
from qsmt.dra.rounding import ScaledRounding
from qsmt.facts import Interval

SHIFTS = [Fraction(2) ** -s for s in (0, 1, 3, 14, 52, 60, 400, -5, 1100)]
RATIOS = [Fraction(1, 3), Fraction(2, 7), Fraction(10**9, 10**9 + 1), Fraction(5, 2), Fraction(3, 2**1060)]


def hard_integers(rng: np.random.Generator, factor: Fraction) -> np.ndarray:
    """Integers whose products with the factor lie at, next to, and far from the thresholds of rounding."""
    halves = rng.integers(-40, 41, 40).tolist()
    near = [int(Fraction(h, 2) / factor) + d for h in halves for d in (-1, 0, 1)]
    large = [2**50 + 1, -(2**51) + 1, 2**53 - 1, 2**52 + 1, -(2**52) - 1, 2**60, -(2**62), 2**100]
    values = [v for v in near if abs(v) < 2**900] + large + rng.integers(-(2**40), 2**40, 20).tolist()
    return np.array([float(v) for v in values])


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("factor", SHIFTS + RATIOS)
def test_integers_are_rounded_exactly(rounding: Rounding, factor: Fraction) -> None:
    values = hard_integers(np.random.default_rng(1), factor)
    found = ScaledRounding(factor, rounding, integral=True).of_interval(Interval(values, values))
    for value, low, high in zip(values.tolist(), found.lower.tolist(), found.upper.tolist(), strict=True):
        exact = round_fraction(Fraction(value) * factor, rounding)
        assert Fraction(low) <= exact <= Fraction(high)
        assert low == high or abs(exact) > 2**53


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("factor", [Fraction(1), Fraction(1, 3), Fraction(255, 256), Fraction(10, 3)])
def test_reals_are_rounded_exactly_next_to_every_tie(rounding: Rounding, factor: Fraction) -> None:
    ties = np.array([float(Fraction(k, 2) / factor) for k in range(-20, 21)])
    values = np.concatenate(
        [ties, np.nextafter(ties, inf), np.nextafter(ties, -inf), [5e-324, -5e-324, 1e300]]
    )
    found = ScaledRounding(factor, rounding, integral=False).of_interval(Interval(values, values))
    for value, low, high in zip(values.tolist(), found.lower.tolist(), found.upper.tolist(), strict=True):
        exact = round_fraction(Fraction(value) * factor, rounding)
        assert Fraction(low) <= exact <= Fraction(high)
        assert low == high or abs(exact) > 2**53


def test_infinite_ends_stay_infinite() -> None:
    ends = Interval(np.array([-inf, 3.0]), np.array([4.0, inf]))
    found = ScaledRounding(Fraction(1, 3), Rounding.HALF_UP, integral=True).of_interval(ends)
    assert found.lower.tolist() == [-inf, 1.0]
    assert found.upper.tolist() == [1.0, inf]


@pytest.mark.parametrize("rounding", [r for r in Rounding if r is not Rounding.FLOOR])
def test_a_wrong_rounding_is_noticed(rounding: Rounding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND", dict.fromkeys(Rounding, np.floor))
    with pytest.raises(AssertionError):
        test_integers_are_rounded_exactly(rounding, Fraction(1, 8))


def test_a_product_that_is_trusted_too_far_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ScaledRounding, "is_shift", property(lambda self: True))
    with pytest.raises(AssertionError):
        test_integers_are_rounded_exactly(Rounding.FLOOR, Fraction(1, 3))
