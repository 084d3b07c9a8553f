"""Requantization in bits against the exact rule: all roundings, overflows, both ways to do it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Rational, Requantization, Shift
from qsmt.arith.rounding import Rounding, round_fraction
from qsmt_bitvector import rounding as encoded
from qsmt_bitvector.linear import Linear
from qsmt_bitvector.widths import Circuit
from tests.unit.bitvector.tables import mismatch

DYADIC = [Fraction(1, 2), Fraction(1, 8), Fraction(3, 4), Fraction(2)]
OTHER = [Fraction(1, 3), Fraction(5, 6), Fraction(3, 10), Fraction(7, 4 * 9)]
TARGETS = [Fixed(True, 3, 0), Fixed(False, 3, 0), Fixed(True, 2, 0), Fixed(True, 7, 0)]
FORMS = [(1, 0, range(-21, 24)), (3, 1, range(-7, 9)), (4, -2, range(-5, 7)), (2, 6, range(1, 9))]


def wrong_at(rule: Requantization, factor: int, offset: int, domain: range) -> int | None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        return encoded.requantized(circuit, rule, x.scaled(Fraction(factor)).plus(offset), "q")

    return mismatch(operation, domain, lambda x: rule.apply(factor * x + offset))


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("multipliers", [DYADIC, OTHER], ids=["dyadic", "other"])
def test_requantization_is_the_exact_rule(
    multipliers: list[Fraction], rounding: Rounding, overflow: Overflow
) -> None:
    start = list(Rounding).index(rounding) + list(Overflow).index(overflow)
    for i, multiplier in enumerate(multipliers):
        target, form = TARGETS[(start + i) % 4], FORMS[(start + i // 2) % 4]
        rule = Requantization(Rational(multiplier, rounding), overflow, target)
        assert wrong_at(rule, *form) is None, (rule, form)


@pytest.mark.parametrize("rounding", Rounding)
def test_with_many_steps_a_divider_gives_the_same(
    rounding: Rounding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded, "MAX_STEPS", 0)
    for multiplier, form in zip(OTHER, FORMS, strict=True):
        rule = Requantization(Rational(multiplier, rounding), Overflow.WRAP, Fixed(True, 4, 0))
        assert wrong_at(rule, *form) is None, rule


def test_a_wide_target_does_not_build_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(encoded, "_by_steps")
    rule = Requantization(
        Rational(Fraction(10**6, 3), Rounding.HALF_UP), Overflow.SATURATE, Fixed(True, 40, 0)
    )
    assert wrong_at(rule, 1, 0, range(-5, 6)) is None


@pytest.mark.parametrize("shift", [-2, 0, 1, 3])
def test_shifts(shift: int) -> None:
    for rounding in Rounding:
        rule = Requantization(Shift(shift, rounding), Overflow.SATURATE, Fixed(True, 4, 0))
        assert wrong_at(rule, 1, 0, range(-40, 45)) is None, rule


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("multiplier", [Fraction(1, 4), Fraction(5, 6)])
def test_rounding_alone(rounding: Rounding, multiplier: Fraction) -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        return encoded.rounded(circuit, x.scaled(multiplier), rounding, "q")

    assert mismatch(operation, range(-17, 19), lambda x: round_fraction(x * multiplier, rounding)) is None


CLAMPS = [
    (Fraction(0), None),
    (None, Fraction(7, 3)),
    (Fraction(-1, 2), Fraction(5)),
    (Fraction(1, 7), Fraction(1, 7)),
]


@pytest.mark.parametrize(("lower", "upper"), CLAMPS)
def test_clamp_at_rational_limits(lower: Fraction | None, upper: Fraction | None) -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        return encoded.clamped(circuit, x.scaled(Fraction(2, 5)), lower, upper, "r")

    def expected(x: int) -> Fraction:
        v = Fraction(2 * x, 5)
        v = v if lower is None else max(v, lower)
        return v if upper is None else min(v, upper)

    assert mismatch(operation, range(-9, 19), expected) is None


def test_a_stable_clamp_makes_no_term() -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        found = [encoded.clamped(circuit, x.plus(by), Fraction(0), Fraction(9), "r") for by in (0, 20, -20)]
        assert circuit.definitions == []
        assert [v.is_constant for v in found] == [False, True, True]
        return found[0]

    assert mismatch(operation, range(8), lambda x: x) is None


@pytest.mark.parametrize("wrong", [0, 2])
def test_a_wrong_offset_is_noticed(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "floor_offset", lambda denominator, rounding: wrong)
    rule = Requantization(Shift(1, Rounding.HALF_UP), Overflow.SATURATE, Fixed(True, 7, 0))
    assert wrong_at(rule, 1, 0, range(-9, 9)) is not None
