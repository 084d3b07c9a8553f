"""Single precision by rationals and by doubles is that of the machine."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsmt.arith import single

SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
MODEST = st.floats(min_value=-(2.0**40), max_value=2.0**40, width=32)


@given(st.floats(min_value=-(2.0**127), max_value=2.0**127))
def test_a_double_is_rounded_as_the_machine_rounds_it(value: float) -> None:
    assert single.single(Fraction(value)) == float(np.float32(value))


@given(st.integers(-(2**31), 2**31 - 1))
def test_an_accumulator_is_rounded_as_the_machine_rounds_it(acc: int) -> None:
    assert single.single(acc) == float(np.float32(np.int32(acc)))


@pytest.mark.parametrize("value", [2.0**-149, 3 * 2.0**-150, 2.0**-150, -(2.0**-126), 2.0**-140 * 1.3])
def test_subnormals_are_rounded_as_the_machine_rounds_them(value: float) -> None:
    assert single.single(Fraction(value)) == float(np.float32(value))


def test_what_single_precision_cannot_hold_is_refused() -> None:
    largest = float(np.finfo(np.float32).max)
    assert single.single(Fraction(largest)) == largest
    with pytest.raises(OverflowError):
        single.single(Fraction(2) ** 128)


@given(MODEST, MODEST)
def test_products_and_quotients_are_those_of_the_machine(a: float, b: float) -> None:
    assert single.product(a, b) == float(np.float32(a) * np.float32(b))
    assert single.products(np.array([a]), np.array([b]))[0] == float(np.float32(a) * np.float32(b))
    if abs(b) > 2.0**-60:
        assert single.quotient(a, b) == float(np.float32(a) / np.float32(b))


@given(MODEST, MODEST, MODEST)
def test_a_fused_sum_rounds_once_by_rationals_and_by_doubles_alike(a: float, b: float, c: float) -> None:
    exact = single.single(Fraction(a) * Fraction(b) + Fraction(c))
    assert single.fused(a, b, c) == exact
    assert single.fused_sums(np.array([a]), np.array([b]), np.array([c]))[0] == exact


def test_a_fused_sum_in_doubles_alone_would_round_twice() -> None:
    """1 + 2**-24 is a tie between 1 and the next single; 2**-80 above it decides, and no double shows that."""
    x, y, z = 2.0**-40, 2.0**-40, 1.0 + 2.0**-24
    assert float(np.float32(float(Fraction(x) * Fraction(y) + Fraction(z)))) == 1.0
    assert single.fused_sums(np.array([x]), np.array([y]), np.array([z]))[0] == 1.0 + 2.0**-23
