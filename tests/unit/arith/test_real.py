"""Exact real tensors: no digit is lost, at any magnitude; the radius bounds what the doubles miss."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.real import RealTensor, exact_array, frozen

THIRD = Fraction(1, 3)
SMALLEST = 2.0**-1074
LARGEST = float(np.finfo(np.float64).max)
MAGNITUDES = [0.0, 1.0, -1.5, 0.1, 1e-300, -1e300, SMALLEST, -3 * SMALLEST, 2.0**-1022, LARGEST, 2.0**53 + 2]


def test_floats_are_themselves() -> None:
    tensor = RealTensor.of_floats(MAGNITUDES)
    assert tensor.rationals is None
    assert tensor.fractions.tolist() == [Fraction(v) for v in MAGNITUDES]
    assert not tensor.radius.any()


def test_single_precision_is_widened_exactly() -> None:
    narrow = np.array([[0.1, -7.3e-12], [1e-45, 3.4e38]], dtype=np.float32)
    tensor = RealTensor.of_floats(narrow)
    assert tensor.nearest.dtype == np.float64
    assert tensor.fractions.tolist() == [[Fraction(float(v)) for v in row] for row in narrow]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        RealTensor.of_floats([1.0, bad])


def test_a_rational_beyond_the_doubles_is_refused() -> None:
    with pytest.raises(ValueError, match="range of doubles"):
        RealTensor.of_fractions([Fraction(10) ** 400], (1,))


def test_rationals_that_are_doubles_are_held_as_doubles() -> None:
    values = [Fraction(v) for v in MAGNITUDES]
    tensor = RealTensor.of_fractions(values, (len(values),))
    assert tensor.rationals is None
    assert tensor.nearest.tolist() == MAGNITUDES


AWKWARD = [
    THIRD,
    Fraction(-1, 10**320),
    Fraction(10**300, 7),
    Fraction(1, 10**400),
    Fraction(1, 2),
    Fraction(0),
]
"""Not doubles, down to some that round to a subnormal or to zero; and two that are."""


def test_rationals_that_are_not_doubles_are_kept() -> None:
    tensor = RealTensor.of_fractions(AWKWARD, (2, 3))
    assert tensor.shape == (2, 3)
    assert tensor.fractions.ravel().tolist() == AWKWARD
    assert tensor.nearest.ravel().tolist() == [float(v) for v in AWKWARD]


def test_the_radius_bounds_the_error_of_every_double_and_is_zero_for_exact_ones() -> None:
    boundary = [1 + Fraction(1, 2**54), 1 - Fraction(1, 2**55), Fraction(2) ** -1022 - Fraction(1, 2**1080)]
    values = [*AWKWARD, *boundary]
    tensor = RealTensor.of_fractions(values, (len(values),))
    for exact, nearest, radius in zip(values, tensor.nearest.tolist(), tensor.radius.tolist(), strict=True):
        error = abs(exact - Fraction(nearest))
        assert error <= Fraction(radius)
        assert (radius == 0.0) == (error == 0)


@pytest.mark.parametrize(
    "values",
    [
        [Fraction(v) for v in MAGNITUDES],
        [Fraction(0)] * 3,
        [Fraction(3), Fraction(-4), Fraction(2**60)],
        [Fraction(1, 1024), Fraction(3, 4), Fraction(-5)],
        AWKWARD,
    ],
    ids=["all magnitudes", "zeros", "integers", "dyadic", "rational"],
)
def test_scaled_integers_are_the_same_numbers(values: list[Fraction]) -> None:
    numerators, denominator = RealTensor.of_fractions(values, (len(values),)).scaled
    assert denominator >= 1
    assert all(type(n) is int for n in numerators.tolist())
    assert [Fraction(n, denominator) for n in numerators.tolist()] == values


def test_the_common_denominator_of_doubles_is_the_least() -> None:
    assert RealTensor.of_floats([0.75, 2.0, -0.125]).scaled[1] == 8
    assert RealTensor.of_floats([4.0, 0.0]).scaled[1] == 1
    assert RealTensor.of_floats([SMALLEST]).scaled == (np.array([1], dtype=object), 2**1074)


def test_random_doubles_survive_scaling() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**63, 500).view(np.float64)
    values = np.where(rng.random(500) < 0.5, -bits, bits)
    values = values[np.isfinite(values)].reshape(-1, 1)
    numerators, denominator = RealTensor.of_floats(values).scaled
    assert numerators.shape == values.shape
    assert [Fraction(n, denominator) for n in numerators.ravel()] == [
        Fraction(v) for v in values.ravel().tolist()
    ]


def test_equality_is_of_numbers_and_shapes() -> None:
    third = RealTensor.of_fractions([THIRD], (1,))
    assert third.equals(RealTensor.of_fractions([THIRD], (1,)))
    assert not third.equals(RealTensor.of_floats([1 / 3]))  # the same doubles
    assert not third.equals(RealTensor.of_fractions([THIRD], (1, 1)))
    assert not third.equals(RealTensor.of_fractions([THIRD + Fraction(1, 10**30)], (1,)))
    assert RealTensor.of_floats([0.5]).equals(RealTensor.of_fractions([Fraction(1, 2)], (1,)))
    assert not RealTensor.of_floats([0.5]).equals(RealTensor.of_floats([0.25]))


def test_what_is_frozen_cannot_change() -> None:
    source = np.arange(4.0)
    tensor = RealTensor.of_floats(source)
    source[0] = 9.0
    assert tensor.nearest[0] == 0.0
    for array in (tensor.nearest, tensor.fractions, tensor.radius, tensor.scaled[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_freezing_a_view_leaves_its_owner_writable() -> None:
    owner = np.arange(4)
    view = frozen(owner[1:])
    owner[1] = 7
    assert view.tolist() == [1, 2, 3]


def test_an_exact_array_holds_python_objects_in_row_major_order() -> None:
    array = exact_array(iter([2**100, 1, 2, 3]), (2, 2))
    assert array.tolist() == [[2**100, 1], [2, 3]]
    assert exact_array([], (0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match="could not broadcast"):
        exact_array([1, 2, 3], (2,))
