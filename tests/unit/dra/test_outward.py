"""Directed sums and products of doubles, interval images, affine forms: containment over the rationals."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import inf

import numpy as np
import pytest

from qsmt.arith.outward import add_down, add_up, times_down, times_up
from qsmt.arith.real import FloatArray, RealTensor
from qsmt.dra import affine, deeppoly
from qsmt.dra.affine import AffineMap, Approximation, affine_map, integer_map
from qsmt.dra.deeppoly import RelaxedLayer, form, greatest, lines_around, relax
from qsmt.dra.domain import limits_between, mirrored
from qsmt.facts import Interval

Generator = np.random.Generator
EXTREMES = [0.0, 5e-324, 2.0**-1022, 1.0, 1 + 2.0**-52, 1e-30, 1e30, 2.0**53, 1e300, 1.7976931348623157e308]


def wild(rng: Generator, shape: tuple[int, ...], exponent: int = 100) -> FloatArray:
    """Doubles of all magnitudes and signs, some zero."""
    mantissas = rng.uniform(-1, 1, shape) * (rng.integers(0, 8, shape) > 0)
    return np.ldexp(mantissas, rng.integers(-exponent, exponent + 1, shape))


# --- sums and products ---------------------------------------------------------------------------------


def test_sums_are_rounded_outward_and_exact_where_they_can_be() -> None:
    rng = np.random.default_rng(1)
    signed = np.array(EXTREMES + [-v for v in EXTREMES])
    a = np.concatenate([np.repeat(signed, len(signed)), wild(rng, (500,)), rng.uniform(-1, 1, 500)])
    b = np.concatenate([np.tile(signed, len(signed)), wild(rng, (500,)), rng.uniform(-1, 1, 500)])
    with np.errstate(over="ignore", invalid="ignore"):
        lower, upper = add_down(a, b), add_up(a, b)
    for x, y, low, high in zip(a.tolist(), b.tolist(), lower.tolist(), upper.tolist(), strict=True):
        exact = Fraction(x) + Fraction(y)
        assert (low == -inf or Fraction(low) <= exact) and (high == inf or Fraction(high) >= exact)
        if abs(exact) < 2**1000 and Fraction(float(exact)) == exact:
            assert low == high == float(exact)


def test_what_is_not_known_becomes_infinite_on_its_own_side() -> None:
    with np.errstate(invalid="ignore"):
        assert add_up(np.array([inf]), np.array([-inf])).tolist() == [inf]
        assert add_down(np.array([inf]), np.array([-inf])).tolist() == [-inf]


@pytest.mark.parametrize(
    "factor",
    [
        Fraction(0),
        Fraction(1, 2**40),
        Fraction(1, 3),
        Fraction(3, 2**1080),
        Fraction(2) ** -1090,
        Fraction(10) ** 320,
    ],
)
def test_products_with_a_rational_are_rounded_outward(factor: Fraction) -> None:
    values = np.concatenate([EXTREMES, [-v for v in EXTREMES], wild(np.random.default_rng(2), (300,))])
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        lower, upper = times_down(values, factor), times_up(values, factor)
    for x, low, high in zip(values.tolist(), lower.tolist(), upper.tolist(), strict=True):
        exact = Fraction(x) * factor
        assert (low == -inf or Fraction(low) <= exact) and (high == inf or Fraction(high) >= exact)
        assert x != 0 or low == high == 0


def test_products_with_a_power_of_two_are_exact() -> None:
    values = np.array([0.0, 1.0, -3.0, 2.0**53 - 1])
    assert times_up(values, Fraction(1, 2**70)).tolist() == times_down(values, Fraction(1, 2**70)).tolist()


# --- affine images ---------------------------------------------------------------------------------------


def exact_image(weight: RealTensor, bias: RealTensor, x: list[Fraction]) -> list[Fraction]:
    return [
        sum((w * v for w, v in zip(row, x, strict=True)), Fraction(b))
        for row, b in zip(weight.fractions.tolist(), bias.fractions.tolist(), strict=True)
    ]


def contains(found: Interval, values: list[Fraction], box: int = 0) -> bool:
    ends = zip(found.lower[box].tolist(), found.upper[box].tolist(), values, strict=True)
    return all(
        (low == -inf or Fraction(low) <= v) and (high == inf or Fraction(high) >= v) for low, high, v in ends
    )


def approximation(tensor: RealTensor) -> Approximation:
    return Approximation(tensor.nearest, tensor.radius)


def random_map(rng: Generator, m: int, n: int, *, exponent: int) -> tuple[RealTensor, RealTensor, AffineMap]:
    """Rational parameters of all magnitudes; a third of them are not doubles."""
    numbers = [Fraction(v) / int(rng.choice([1, 1, 3])) for v in wild(rng, (m * n + m,), exponent).tolist()]
    weight = RealTensor.of_fractions(numbers[: m * n], (m, n))
    bias = RealTensor.of_fractions(numbers[m * n :], (m,))
    return weight, bias, affine_map(approximation(weight), approximation(bias))


@pytest.mark.parametrize("exponent", [3, 100, 1000])
def test_the_image_of_a_point_contains_the_exact_sum(exponent: int) -> None:
    rng = np.random.default_rng(exponent)
    for n in [1, 2, 7, 64] * 5:
        weight, bias, linear = random_map(rng, 4, n, exponent=exponent)
        x = wild(rng, (1, n), exponent)
        with np.errstate(all="ignore"):
            found = linear.image(Interval(x, x))
        assert contains(found, exact_image(weight, bias, list(map(Fraction, x[0].tolist()))))


@pytest.mark.parametrize("exponent", [3, 100])
def test_the_image_of_a_box_contains_its_corners(exponent: int) -> None:
    rng = np.random.default_rng(exponent)
    for n in [1, 3, 9] * 5:
        weight, bias, linear = random_map(rng, 3, n, exponent=exponent)
        ends = np.sort(wild(rng, (2, 1, n), exponent), axis=0)
        found = linear.image(Interval(ends[0], ends[1]))
        for row in range(3):
            for sign in (-1, 1):  # the corner that is extreme for this row
                high = np.sign(weight.nearest[row]) * sign > 0
                corner = np.where(high, ends[1][0], ends[0][0]).tolist()
                assert contains(found, exact_image(weight, bias, list(map(Fraction, corner))))


def test_the_difference_of_two_parameters_knows_its_own_error() -> None:
    rng = np.random.default_rng(3)
    a, b = wild(rng, (400,), 60), wild(rng, (400,), 60)
    b[:200] = a[:200] * (1 + rng.uniform(-1e-3, 1e-3, 200))  # cancellation: exact, by Sterbenz
    found = Approximation(a, np.zeros(400)).minus(Approximation(b, np.zeros(400)))
    exact = [Fraction(x) - Fraction(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    triples = list(zip(found.nearest.tolist(), found.radius.tolist(), exact, strict=True))
    assert all(abs(Fraction(near) - v) <= Fraction(radius) for near, radius, v in triples)
    assert not found.radius[:200].any() and found.radius[200:].any()


def test_images_of_integers_are_exact() -> None:
    rng = np.random.default_rng(4)
    weight, bias = rng.integers(-(2**20), 2**20, (5, 9)), rng.integers(-(2**40), 2**40, 5)
    lower = rng.integers(-(2**20), 2**20, (7, 9))
    upper = lower + rng.integers(0, 2**10, (7, 9))
    found = integer_map(weight.astype(object), bias.astype(object)).image(
        Interval(lower.astype(float), upper.astype(float))
    )
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    assert (found.lower == lower @ positive.T + upper @ negative.T + bias).all()
    assert (found.upper == upper @ positive.T + lower @ negative.T + bias).all()


# --- affine forms ------------------------------------------------------------------------------------------


def substituted(rng: Generator, sizes: tuple[int, ...], *, exponent: int) -> tuple[Interval, list[Fraction]]:
    """Bounds of a random affine chain at a point by substitution alone, and the exact value."""
    limits = limits_between(None, None)
    x = wild(rng, (1, sizes[0]), exponent)
    point = read = Interval(x, x)
    value = list(map(Fraction, x[0].tolist()))
    below: list[RelaxedLayer] = []
    for n, m in pairwise(sizes):
        weight, bias, linear = random_map(rng, m, n, exponent=exponent)
        found = mirrored(greatest(form(linear, below, read), point))
        image = linear.image(read)
        below.append(relax(linear, lines_around(image, limits), read))
        value, read = exact_image(weight, bias, value), image
    return found, value


@pytest.mark.parametrize("exponent", [0, 3, 100])
def test_a_substituted_form_contains_the_exact_value(exponent: int) -> None:
    rng = np.random.default_rng(exponent + 1)
    for sizes in [(1, 1, 1), (3, 5, 2), (4, 6, 5, 6, 2), (20, 30, 20, 3)] * 5:
        with np.errstate(all="ignore"):
            found, value = substituted(rng, sizes, exponent=exponent)
        assert contains(found, value)


def test_lines_lie_above_the_clamp() -> None:
    rng = np.random.default_rng(5)
    formulas = [(None, None), (0, None), (0, 6), (-1, 1), (None, 2), (Fraction(1, 3), Fraction(2, 3))]
    for low, high in formulas:
        limits = limits_between(
            None if low is None else Fraction(low), None if high is None else Fraction(high)
        )
        ends = np.sort(rng.uniform(-9, 9, (2, 1, 60)) * rng.choice([1e-9, 1.0, 1e9], (2, 1, 60)), axis=0)
        z = Interval(ends[0], ends[1])
        lines = lines_around(z, limits)
        assert ((lines.slope >= 0) & (lines.slope <= 1)).all()
        negated = [-v if v is not None else None for v in (high, low)]
        for side, (floor, ceiling) in enumerate(((low, high), negated)):
            for j in range(60):
                slope, intercept = (Fraction(float(v[side, 0, j])) for v in (lines.slope, lines.intercept))
                least, greatest = sorted((1 - 2 * side) * Fraction(float(e[0, j])) for e in ends)
                inside = [v for v in (floor, ceiling) if v is not None and least <= v <= greatest]
                for v in [least, greatest, (least + greatest) / 2, *map(Fraction, inside)]:
                    clamped = v if floor is None else max(v, Fraction(floor))
                    clamped = clamped if ceiling is None else min(clamped, Fraction(ceiling))
                    assert clamped <= slope * v + intercept


def test_a_stable_neuron_has_an_exact_line() -> None:
    z = Interval(np.array([[1.0, -3.0]]), np.array([[2.0, -1.0]]))
    lines = lines_around(z, limits_between(Fraction(0), None))
    assert (lines.slope == [[[1.0, 0.0]]] * 2).all() and (lines.intercept == 0.0).all()


# --- without its slack, each of these is wrong -------------------------------------------------------------


ONES = 510


def cancelling() -> RealTensor:
    """2**54 + 1 + ... + 1 - 2**54: whatever the order of summation, a big number swallows some ones."""
    return RealTensor.of_floats([[2.0**54, *[1.0] * ONES, -(2.0**54)]])


def test_without_gamma_an_image_excludes_the_exact_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, one = approximation(cancelling()), np.ones((1, ONES + 2))
    assert contains(affine_map(weight).image(Interval(one, one)), [Fraction(ONES)])
    monkeypatch.setattr(affine, "gamma", lambda terms: 0.0)
    assert not contains(affine_map(weight).image(Interval(one, one)), [Fraction(ONES)])


def test_without_the_radius_an_image_excludes_the_exact_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of 1/3 + 2**-200 is not a double: its error is part of the map, and of nothing else."""
    big = Fraction(10) ** 30
    weight = RealTensor.of_fractions([big / 3, -big / 3 + Fraction(1, 7)], (1, 2))
    bias = RealTensor.of_floats([0.0])
    one, exact = np.ones((1, 2)), [Fraction(1, 7)]
    found = affine_map(approximation(weight), approximation(bias)).image(Interval(one, one))
    assert contains(found, exact)
    nearest = Approximation(weight.nearest, np.zeros((1, 2)))
    monkeypatch.setattr(affine, "gamma", lambda terms: 0.0)  # the sum itself cancels exactly
    assert not contains(affine_map(nearest, approximation(bias)).image(Interval(one, one)), exact)


def test_without_gamma_a_substituted_form_excludes_the_exact_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """One coefficient of the form is a sum that cancels; nothing but the slack knows."""
    first = affine_map(Approximation(np.ones((ONES + 2, 1)), np.zeros((ONES + 2, 1))))
    second = affine_map(approximation(cancelling()))
    one = Interval(np.ones((1, 1)), np.ones((1, 1)))
    image = first.image(one)

    def found() -> Interval:
        below = [relax(first, lines_around(image, limits_between(None, None)), one)]
        return mirrored(greatest(form(second, below, image), one))

    assert contains(found(), [Fraction(ONES)])
    monkeypatch.setattr(deeppoly, "gamma", lambda terms: 0.0)
    assert not contains(found(), [Fraction(ONES)])
