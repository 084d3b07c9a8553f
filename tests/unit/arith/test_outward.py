"""Outward rounding: each bound is held against the same computation in rationals."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nextafter

import numpy as np
import pytest

from qsmt.arith.outward import (
    SMALLEST,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    add_down,
    add_up,
    down,
    float_down,
    float_up,
    gamma,
    inflate,
    step,
    times_down,
    times_up,
    two_sum,
    up,
)

LARGEST = float(np.finfo(np.float64).max)
U = Fraction(UNIT_ROUNDOFF)

EDGES = [
    *(Fraction(v) for v in (0.0, 1.0, -1.0, 0.1, SMALLEST, -SMALLEST, 2.0**-1022, LARGEST, -LARGEST)),
    *(Fraction(1, 3), Fraction(-1, 3), 1 + U / 2, 1 - U / 4, -1 - U / 2, 1 + 3 * U),
    *(Fraction(1, 10**400), Fraction(-1, 10**400), Fraction(SMALLEST) * 3 / 2, Fraction(SMALLEST) / 2),
    *(Fraction(LARGEST) + 1, -Fraction(LARGEST) - 1, Fraction(10) ** 400, -(Fraction(10) ** 400)),
]


def exactly(value: float) -> Fraction | float:
    """Comparable with rationals: infinities stay floats."""
    return Fraction(value) if abs(value) < inf else value


@pytest.mark.parametrize(
    "value", EDGES, ids=lambda v: f"{v.numerator.bit_length()}/{v.denominator.bit_length()}"
)
def test_a_rational_rounds_to_the_neighbouring_doubles(value: Fraction) -> None:
    above, below = float_up(value), float_down(value)
    assert exactly(below) <= value <= exactly(above)
    if above > -LARGEST:
        assert exactly(nextafter(above, -inf)) < value
    if below < LARGEST:
        assert value < exactly(nextafter(below, inf))


def test_random_rationals_round_to_the_neighbouring_doubles() -> None:
    rng = np.random.default_rng(1)
    for n, d, e in zip(
        *rng.integers(1, 2**40, (2, 300)).tolist(), rng.integers(-900, 900, 300).tolist(), strict=True
    ):
        value = Fraction(n, d) * Fraction(2) ** e * (-1) ** n
        above, below = float_up(value), float_down(value)
        assert Fraction(below) <= value <= Fraction(above)
        assert above == below or above == nextafter(below, inf)


def test_a_double_is_its_own_bound() -> None:
    for value in (0.1, -0.0, SMALLEST, LARGEST):
        assert float_up(Fraction(value)) == float_down(Fraction(value)) == value


def test_up_and_down_leave_the_value() -> None:
    values = np.array([0.0, 1.0, -1.0, 1e308, -1e308, SMALLEST, -SMALLEST])
    assert (up(values) > values).all()
    assert (down(values) < values).all()


@pytest.mark.parametrize("terms", [0, 1, 2, 3, 100, 10**6, 2**39, 2**40 - 1])
def test_gamma_is_an_upper_bound_and_a_close_one(terms: int) -> None:
    exact = terms * U / (1 - terms * U)
    assert exact < Fraction(gamma(terms)) <= exact * (1 + Fraction(1, 500)) + Fraction(SMALLEST)


def test_a_sum_too_long_to_analyse_is_refused() -> None:
    with pytest.raises(ValueError, match="not analysed"):
        gamma(2**40)


def products(rng: np.random.Generator, terms: int, spread: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors of magnitudes from 2**-spread to 2**spread."""
    factors = rng.uniform(1, 2, (2, terms)) * 2.0 ** rng.integers(-spread, spread, (2, terms), endpoint=True)
    return factors[0], factors[1]


def summed(a: np.ndarray, b: np.ndarray) -> Fraction:
    return sum((Fraction(x) * Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)), Fraction(0))


@pytest.mark.parametrize("spread", [0, 3, 60, 500, 537])
def test_an_inflated_sum_of_products_is_an_upper_bound(spread: int) -> None:
    rng = np.random.default_rng(spread)
    for terms in (1, 2, 5, 33, 200):
        for _ in range(20):
            a, b = products(rng, terms, min(spread, 500))
            if spread == 537:  # products that underflow
                a, b = a * 2.0**-537, b * 2.0**-30
            assert Fraction(float(inflate(a @ b, terms))) >= summed(a, b)


def test_the_gain_of_an_inflated_sum_is_small() -> None:
    assert float(inflate(np.array([1.0]), 1000)[0]) < 1 + 1e-12


@pytest.mark.parametrize("spread", [0, 3, 60, 400])
def test_a_dot_product_is_off_by_at_most_gamma(spread: int) -> None:
    """The bound that every float proof rests on, as the module states it."""
    rng = np.random.default_rng(7 + spread)
    for terms in (1, 2, 5, 33, 200):
        for _ in range(20):
            a, b = products(rng, terms, spread)
            signs = rng.choice([-1.0, 1.0], terms)
            error = abs(Fraction(float((a * signs) @ b)) - summed(a * signs, b))
            bound = gamma(terms) * inflate(a @ b, terms) + terms * SMALLEST
            assert error <= Fraction(float(up(bound)))


def test_without_inflation_some_sums_would_be_too_small() -> None:
    rng = np.random.default_rng(3)
    short = 0
    for _ in range(100):
        a, b = products(rng, 200, 3)
        short += Fraction(float(a @ b)) < summed(a, b)
    assert short > 10


# --- sums and products rounded one way --------------------------------------------------------------------

AWKWARD = [
    0.0,
    1.0,
    -1.0,
    0.1,
    -1 / 3,
    2.0**53 + 2,
    1e16,
    -1e16,
    1e300,
    -1e300,
    2.0**-1022,
    3 * SMALLEST,
    -SMALLEST,
]


def pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Doubles of all magnitudes against each other, near each other, and against awkward ones."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(-1, 1, 400) * 2.0 ** rng.integers(-1040, 1000, 400)
    close = spread * -(1 + rng.integers(-3, 4, 400) * 2.0**-52)
    grid = np.array(np.meshgrid(AWKWARD, AWKWARD)).reshape(2, -1)
    return np.concatenate([spread, spread, grid[0]]), np.concatenate([spread[::-1], close, grid[1]])


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_is_enclosed_and_exact_where_it_is_a_double(seed: int) -> None:
    a, b = pairs(seed)
    for x, y, low, high in zip(*(v.tolist() for v in (a, b, add_down(a, b), add_up(a, b))), strict=True):
        exact = Fraction(x) + Fraction(y)
        assert Fraction(low) <= exact <= Fraction(high)
        assert Fraction(high) - Fraction(low) <= abs(exact) * 4 * U + 4 * Fraction(SMALLEST)
        if Fraction(float(exact)) == exact:
            assert low == high


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_sum_is_found_exactly(seed: int) -> None:
    a, b = pairs(seed)
    for x, y, total, error in zip(*(v.tolist() for v in (a, b, *two_sum(a, b))), strict=True):
        assert Fraction(total) + Fraction(error) == Fraction(x) + Fraction(y)


def test_a_sum_that_overflows_is_unbounded_above() -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        for x, y in ((1e308, 1e308), (inf, -1e308), (-inf, inf)):
            assert add_up(np.array([x]), np.array([y]))[0] == inf


FACTORS = [
    Fraction(0),
    Fraction(1),
    Fraction(1, 3),
    Fraction(255),
    Fraction(1, 2**60),
    Fraction(2**40),
    1 + U / 3,
]


@pytest.mark.parametrize("factor", FACTORS, ids=str)
def test_a_multiple_is_enclosed_and_exact_for_a_power_of_two(factor: Fraction) -> None:
    values = np.concatenate([pairs(5)[0], AWKWARD])
    values = values[np.abs(values) < 1e290]
    power = factor != 0 and factor.numerator.bit_count() == factor.denominator.bit_count() == 1
    low, high = times_down(values, factor), times_up(values, factor)
    for x, below, above in zip(*(v.tolist() for v in (values, low, high)), strict=True):
        exact = Fraction(x) * factor
        assert Fraction(below) <= exact <= Fraction(above)
        assert Fraction(above) - Fraction(below) <= abs(exact) * 8 * U + 8 * Fraction(SMALLEST)
        if power and abs(exact) >= Fraction(SMALLEST_NORMAL):
            assert below == above


def test_a_multiple_that_overflows_is_bounded_by_infinity() -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        bounds = times_up(np.array([1e300, -1e300]), Fraction(10) ** 300 * 3)
    assert bounds[0] == inf
    assert bounds[1] >= -LARGEST


def test_a_step_reaches_the_next_double() -> None:
    values = np.concatenate([pairs(7)[0], AWKWARD])
    sizes = step(values)
    assert (values + sizes >= np.nextafter(values, np.inf)).all()
    assert (values - sizes <= np.nextafter(values, -np.inf)).all()
