"""Rounding of ratios: every mode against its definition and against `decimal`, exhaustively on small ratios."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, trunc

import numpy as np
import pytest

from qsmt.arith.rounding import Rounding, floor_offset, noise_bounds, round_fraction, round_ratio

HALF = Fraction(1, 2)


def nearest(value: Fraction, tie: Callable[[Fraction], int]) -> int:
    """The nearer integer; `tie` decides when two are equally near."""
    low = floor(value)
    return tie(value) if value - low == HALF else low + (value - low > HALF)


DEFINITION: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.FLOOR: floor,
    Rounding.CEIL: ceil,
    Rounding.TOWARD_ZERO: trunc,
    Rounding.AWAY: lambda v: ceil(v) if v > 0 else floor(v),
    Rounding.HALF_UP: lambda v: floor(v + HALF),
    Rounding.HALF_DOWN: lambda v: ceil(v - HALF),
    Rounding.HALF_EVEN: lambda v: nearest(v, lambda t: 2 * round(t / 2)),
    Rounding.HALF_AWAY: lambda v: nearest(v, lambda t: ceil(t) if t > 0 else floor(t)),
    Rounding.HALF_TOWARD_ZERO: lambda v: nearest(v, trunc),
}

IN_DECIMAL = {
    Rounding.FLOOR: decimal.ROUND_FLOOR,
    Rounding.CEIL: decimal.ROUND_CEILING,
    Rounding.TOWARD_ZERO: decimal.ROUND_DOWN,
    Rounding.AWAY: decimal.ROUND_UP,
    Rounding.HALF_EVEN: decimal.ROUND_HALF_EVEN,
    Rounding.HALF_AWAY: decimal.ROUND_HALF_UP,
    Rounding.HALF_TOWARD_ZERO: decimal.ROUND_HALF_DOWN,
}

every_rounding = pytest.mark.parametrize("rounding", Rounding)
DENOMINATORS = [*range(1, 25), 32, 64, 255]


def test_every_mode_has_a_definition() -> None:
    assert set(DEFINITION) == set(Rounding)


@every_rounding
def test_small_ratios_round_as_defined(rounding: Rounding) -> None:
    for d in DENOMINATORS:
        for n in range(-4 * d - 1, 4 * d + 2):
            assert round_ratio(n, d, rounding) == DEFINITION[rounding](Fraction(n, d)), (n, d)


@pytest.mark.parametrize("rounding", IN_DECIMAL)
def test_terminating_ratios_round_as_in_decimal(rounding: Rounding) -> None:
    for d in (1, 2, 4, 5, 8, 10, 16, 20, 1024):
        for n in range(-3 * d, 3 * d + 1):
            expected = (Decimal(n) / Decimal(d)).to_integral_value(IN_DECIMAL[rounding])
            assert round_fraction(Fraction(n, d), rounding) == expected, (n, d)


@every_rounding
@pytest.mark.parametrize("d", [2**70, 3**50, 10**40 + 1])
def test_huge_ratios_round_as_defined_around_integers_and_ties(rounding: Rounding, d: int) -> None:
    for whole in (0, 1, 2, -1, -2, 2**200, -(2**200) - 1):
        for off in (0, 1, -1, d // 2, d // 2 + 1, d // 2 - 1, d - 1):
            n = whole * d + off
            assert round_ratio(n, d, rounding) == DEFINITION[rounding](Fraction(n, d))


@every_rounding
@pytest.mark.parametrize("dtype", [np.int64, object])
def test_arrays_round_elementwise(rounding: Rounding, dtype: type) -> None:
    for d in (1, 2, 3, 4, 7, 2**20):
        numerators: np.ndarray = np.array(
            [[n * d // 4 for n in range(-9, 10)], list(range(-9, 10))], dtype=dtype
        )
        rounded = round_ratio(numerators, d, rounding)
        expected = [[DEFINITION[rounding](Fraction(int(n), d)) for n in row] for row in numerators]
        assert rounded.tolist() == expected


@every_rounding
def test_arrays_of_large_python_integers_stay_exact(rounding: Rounding) -> None:
    numerators = np.array([3 * 2**99 + k for k in (-1, 0, 1)], dtype=object)
    expected = [DEFINITION[rounding](Fraction(int(n), 2**100)) for n in numerators]
    assert round_ratio(numerators, 2**100, rounding).tolist() == expected


@every_rounding
def test_a_fraction_rounds_like_its_ratio(rounding: Rounding) -> None:
    for value in (Fraction(6, 4), Fraction(-10, 4), Fraction(1, 3), Fraction(0)):
        rounded = round_fraction(value, rounding)
        assert type(rounded) is int
        assert rounded == DEFINITION[rounding](value)


# --- the noise of a rounding --------------------------------------------------------------------------------


@every_rounding
def test_the_noise_bounds_are_attained_and_never_exceeded(rounding: Rounding) -> None:
    for d in DENOMINATORS:
        ratios = [Fraction(n, d) for n in range(-3 * d, 3 * d + 1)]
        noise = [DEFINITION[rounding](v) - v for v in ratios]
        assert noise_bounds(d, rounding) == (min(noise), max(noise)), d


# --- rounding as a floor --------------------------------------------------------------------------------------


def offsets(d: int, rounding: Rounding) -> list[int]:
    """Every k for which round(n/d) = floor((n + k)/d) for all n; k - d and k + d shift the result by one."""
    numerators = range(-3 * d, 3 * d + 1)
    wanted = [DEFINITION[rounding](Fraction(n, d)) for n in numerators]
    return [k for k in range(-d, 2 * d) if [(n + k) // d for n in numerators] == wanted]


@every_rounding
def test_the_floor_offset_is_the_one_there_is(rounding: Rounding) -> None:
    for d in range(1, 25):
        found = floor_offset(d, rounding)
        assert offsets(d, rounding) == ([] if found is None else [found]), d


@pytest.mark.parametrize("rounding", [Rounding.FLOOR, Rounding.CEIL, Rounding.HALF_UP, Rounding.HALF_DOWN])
def test_the_floor_offset_of_a_large_denominator_holds_around_ties(rounding: Rounding) -> None:
    for d in (2**80, 2**80 + 1):
        k = floor_offset(d, rounding)
        assert k is not None
        for n in (
            0,
            1,
            -1,
            d // 2 - 1,
            d // 2,
            d // 2 + 1,
            d - 1,
            d,
            -d // 2,
            -d // 2 - 1,
            -d // 2 + 1,
            7 * d,
        ):
            assert (n + k) // d == DEFINITION[rounding](Fraction(n, d))
