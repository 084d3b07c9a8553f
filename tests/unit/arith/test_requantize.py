"""Requantization: the rule, its noise, and its staircase on whole ranges of accumulators."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise, product
from math import floor

import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import (
    MAX_SHIFT,
    ExactKind,
    Rational,
    Requantization,
    Shift,
    Staircase,
    staircase,
)
from qsmt.arith.rounding import Rounding, round_fraction

KINDS: list[Callable[[Rounding], ExactKind]] = [
    lambda r: Shift(3, r),
    lambda r: Shift(0, r),
    lambda r: Shift(-2, r),  # steps of four
    lambda r: Rational(Fraction(3, 7), r),
    lambda r: Rational(Fraction(5, 2), r),  # steps of two and three
    lambda r: Rational(Fraction(1, 255), r),
]
LOW, HIGH = -70, 70
every_kind = pytest.mark.parametrize("make", KINDS, ids=[str(k(Rounding.FLOOR)) for k in KINDS])
every_overflow = pytest.mark.parametrize("overflow", Overflow)
TARGETS = [Fixed(True, 4, 0), Fixed(False, 3, 2), Fixed(True, 1, 0)]


@every_kind
@every_overflow
def test_the_rule_is_scale_round_overflow(make: Callable[[Rounding], ExactKind], overflow: Overflow) -> None:
    for kind, target in product(map(make, Rounding), TARGETS):
        rule, rounding = Requantization(kind, overflow, target), kind.rounding
        for acc in range(LOW, HIGH):
            rounded = round_fraction(acc * kind.multiplier, rounding)
            assert rule.unbounded(acc) == rounded
            assert rule.apply(acc) == target.overflow(rounded, overflow)


def test_the_published_hidden_layer_is_this_rule() -> None:
    """clamp(floor(acc / 2**e + 1/2), 0, 2**Q - 1), as in QEBVerif."""
    rule = Requantization(Shift(5, Rounding.HALF_UP), Overflow.SATURATE, Fixed(False, 4, 2))
    for acc in range(-1000, 1000):
        assert rule.apply(acc) == min(max(floor(Fraction(acc, 32) + Fraction(1, 2)), 0), 15)


def test_rounding_is_exact_for_accumulators_of_any_size() -> None:
    rule = Requantization(Rational(Fraction(1, 3), Rounding.HALF_EVEN), Overflow.SATURATE, Fixed(True, 64, 0))
    assert rule.unbounded(3 * 10**50 + 1) == 10**50
    assert rule.unbounded(3 * 10**50 + 2) == 10**50 + 1


@every_kind
def test_the_noise_is_attained_and_never_exceeded(make: Callable[[Rounding], ExactKind]) -> None:
    for kind in map(make, Rounding):
        rule = Requantization(kind, Overflow.SATURATE, Fixed(True, 64, 0))
        period = range(-2 * kind.multiplier.denominator, 2 * kind.multiplier.denominator + 1)
        noise = [rule.unbounded(acc) - acc * kind.multiplier for acc in period]
        assert rule.noise() == (min(noise), max(noise))


# --- monotone, and how far -------------------------------------------------------------------------------


@every_overflow
def test_a_rule_that_is_called_monotone_is(overflow: Overflow) -> None:
    seen = set()
    for target in TARGETS:
        rule = Requantization(Shift(2, Rounding.HALF_AWAY), overflow, target)
        for low in range(-60, 60, 7):
            for high in range(low, 60, 5):
                codes = [rule.apply(acc) for acc in range(low, high + 1)]
                sorted_ = all(a <= b for a, b in pairwise(codes))
                claimed = rule.is_monotone(low, high)
                assert sorted_ or not claimed
                seen.add(claimed)
    assert seen == ({True} if overflow.startswith("saturate") and "zero" not in overflow else {True, False})


def test_overflow_is_seen_at_either_end() -> None:
    rule = Requantization(Shift(1, Rounding.FLOOR), Overflow.WRAP, Fixed(True, 3, 0))
    inside = range(-8, 8)  # codes -4 to 3
    assert not rule.overflows(inside.start, inside.stop - 1)
    assert rule.overflows(inside.start - 1, 0)
    assert rule.overflows(0, inside.stop)


# --- the staircase -----------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("overflow", [Overflow.SATURATE, Overflow.SATURATE_SYMMETRIC])
def test_the_staircase_is_the_rule_on_the_whole_range(
    make: Callable[[Rounding], ExactKind], overflow: Overflow
) -> None:
    for kind, target in product(map(make, Rounding), [*TARGETS, Fixed(True, 12, 0)]):
        rule = Requantization(kind, overflow, target)
        stairs = rule.staircase(LOW, HIGH)
        assert [stairs(acc) for acc in range(LOW, HIGH + 1)] == [rule.apply(a) for a in range(LOW, HIGH + 1)]
        assert len(stairs.thresholds) == rule.apply(HIGH) - rule.apply(LOW)


@pytest.mark.parametrize("overflow", [Overflow.WRAP, Overflow.SATURATE_ZERO])
def test_a_rule_that_wraps_or_zeroes_has_a_staircase_only_where_it_does_not(overflow: Overflow) -> None:
    rule = Requantization(Shift(1, Rounding.FLOOR), overflow, Fixed(True, 3, 0))
    stairs = rule.staircase(-8, 7)
    assert [stairs(acc) for acc in range(-8, 8)] == [rule.apply(acc) for acc in range(-8, 8)]
    with pytest.raises(ValueError, match="not monotone"):
        rule.staircase(-9, 7)
    with pytest.raises(ValueError, match="not monotone"):
        rule.staircase(-8, 8)


def test_a_step_higher_than_one_repeats_its_threshold() -> None:
    assert staircase(lambda acc: 3 if acc >= 5 else 0, 0, 9) == Staircase(0, (5, 5, 5))


def test_a_staircase_on_one_point_is_a_constant() -> None:
    assert staircase(lambda acc: acc * 7, 3, 3) == Staircase(21, ())


@pytest.mark.parametrize("bits", [63, 64, 200])
def test_a_staircase_reaches_over_accumulators_of_any_width(bits: int) -> None:
    rule = Requantization(Shift(bits - 3, Rounding.HALF_UP), Overflow.SATURATE, Fixed(True, 2, 0))
    unit = 2 ** (bits - 3)
    stairs = rule.staircase(-(2**bits), 2**bits)
    assert stairs == Staircase(-2, (-3 * unit // 2, -unit // 2, unit // 2))


def test_a_wrong_threshold_is_noticed_on_the_whole_range() -> None:
    rule = Requantization(Shift(3, Rounding.HALF_UP), Overflow.SATURATE, Fixed(False, 3, 0))
    right = rule.staircase(LOW, HIGH)
    for i in range(len(right.thresholds)):
        for off in (-1, 1):
            moved = list(right.thresholds)
            moved[i] += off
            wrong = Staircase(right.first, tuple(sorted(moved)))
            assert any(wrong(acc) != rule.apply(acc) for acc in range(LOW, HIGH + 1))


# --- what cannot be, and how it prints ---------------------------------------------------------------------


def test_a_multiplier_is_positive() -> None:
    for multiplier in (Fraction(0), Fraction(-1, 2)):
        with pytest.raises(ValueError, match="is positive"):
            Rational(multiplier, Rounding.FLOOR)


def test_a_shift_is_bounded() -> None:
    assert Shift(-MAX_SHIFT, Rounding.FLOOR).multiplier == 2**MAX_SHIFT
    for shift in (MAX_SHIFT + 1, -MAX_SHIFT - 1):
        with pytest.raises(ValueError, match="at most"):
            Shift(shift, Rounding.FLOOR)


def test_a_requantization_prints_as_in_the_textual_ir() -> None:
    rule = Requantization(Shift(7, Rounding.HALF_UP), Overflow.SATURATE, Fixed(False, 4, 2))
    assert str(rule) == "shift 7, half_up, saturate"
    assert str(Rational(Fraction(2, 3), Rounding.CEIL)) == "rational 2/3, ceil"
