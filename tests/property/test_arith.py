"""Properties of the arithmetic, on numbers of any size."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import RealTensor
from qsmt.arith.requantize import Rational, Requantization, RequantKind, Shift
from qsmt.arith.rounding import Rounding, floor_offset, noise_bounds, round_fraction, round_ratio

HALF = Fraction(1, 2)
TO_NEAREST = [r for r in Rounding if r.startswith("half")]

integers = st.integers(-(2**200), 2**200) | st.integers(-20, 20)
denominators = st.integers(1, 2**200) | st.integers(1, 20)
roundings = st.sampled_from(Rounding)
rationals = st.builds(Fraction, integers, denominators)
ties = st.builds(lambda n: Fraction(2 * n + 1, 2), integers)
formats = st.builds(Fixed, st.booleans(), st.integers(1, 64), st.integers(-40, 40))


@st.composite
def kinds(draw: st.DrawFn) -> RequantKind:
    rounding = draw(roundings)
    if draw(st.booleans()):
        return Shift(draw(st.integers(-20, 90)), rounding)
    ratio = st.builds(Fraction, st.integers(1, 2**40), st.integers(1, 2**40))
    return Rational(draw(ratio), rounding)


@given(rationals | ties, roundings)
def test_a_rounded_ratio_is_one_of_its_two_neighbours(value: Fraction, rounding: Rounding) -> None:
    assert round_fraction(value, rounding) in (floor(value), ceil(value))


@given(rationals | ties, st.sampled_from(TO_NEAREST))
def test_roundings_to_nearest_are_within_a_half(value: Fraction, rounding: Rounding) -> None:
    assert abs(round_fraction(value, rounding) - value) <= HALF


@given(rationals | ties)
def test_modes_mirror_each_other(value: Fraction) -> None:
    for mode, mirrored in (
        (Rounding.FLOOR, Rounding.CEIL),
        (Rounding.HALF_UP, Rounding.HALF_DOWN),
        *((r, r) for r in (Rounding.TOWARD_ZERO, Rounding.AWAY, Rounding.HALF_EVEN, Rounding.HALF_AWAY)),
        (Rounding.HALF_TOWARD_ZERO, Rounding.HALF_TOWARD_ZERO),
    ):
        assert round_fraction(-value, mode) == -round_fraction(value, mirrored)


@given(ties)
def test_ties_go_where_the_mode_says(value: Fraction) -> None:
    assert round_fraction(value, Rounding.HALF_EVEN) % 2 == 0
    assert round_fraction(value, Rounding.HALF_UP) > value > round_fraction(value, Rounding.HALF_DOWN)
    assert abs(round_fraction(value, Rounding.HALF_AWAY)) > abs(value)
    assert abs(round_fraction(value, Rounding.HALF_TOWARD_ZERO)) < abs(value)


@given(st.lists(integers, min_size=1, max_size=8), denominators, roundings)
def test_arrays_round_as_their_elements(numerators: list[int], denominator: int, rounding: Rounding) -> None:
    rounded = round_ratio(np.array(numerators, dtype=object), denominator, rounding)
    assert rounded.tolist() == [round_fraction(Fraction(n, denominator), rounding) for n in numerators]


@given(integers, denominators, roundings)
def test_the_noise_is_within_its_bounds(numerator: int, denominator: int, rounding: Rounding) -> None:
    low, high = noise_bounds(denominator, rounding)
    assert low <= round_ratio(numerator, denominator, rounding) - Fraction(numerator, denominator) <= high


@given(integers, denominators, roundings)
def test_a_floor_offset_gives_the_rounding(numerator: int, denominator: int, rounding: Rounding) -> None:
    offset = floor_offset(denominator, rounding)
    if offset is not None:
        assert (numerator + offset) // denominator == round_ratio(numerator, denominator, rounding)


@given(formats, integers)
def test_overflow_ends_in_the_format_and_leaves_alone_what_fits(kind: Fixed, code: int) -> None:
    for mode in Overflow:
        result = kind.overflow(code, mode)
        assert kind.fits(result)
        symmetric = mode is Overflow.SATURATE_SYMMETRIC and kind.signed
        assert result == code or not kind.fits(code) or (symmetric and code == kind.min)


@given(formats, rationals, roundings)
def test_encoding_is_off_by_less_than_a_unit_unless_it_saturates(
    kind: Fixed, value: Fraction, rounding: Rounding
) -> None:
    code = kind.encode(value, rounding)
    assert kind.fits(code)
    assert code in (kind.min, kind.max) or abs(kind.decode(code) - value) < kind.scale


@given(kinds(), formats, st.sampled_from(Overflow), integers, integers)
def test_requantization_is_monotone_where_it_says_so(
    kind: RequantKind, target: Fixed, overflow: Overflow, a: int, b: int
) -> None:
    rule, low, high = Requantization(kind, overflow, target), min(a, b), max(a, b)
    if rule.is_monotone(low, high):
        middle = (low + high) // 2
        assert rule.apply(low) <= rule.apply(middle) <= rule.apply(high)


@given(kinds(), st.booleans(), st.integers(1, 5), integers, integers, st.data())
def test_a_staircase_is_its_rule_at_and_around_every_threshold(
    kind: RequantKind, signed: bool, bits: int, a: int, b: int, data: st.DataObject
) -> None:
    low, high = min(a, b), max(a, b)
    rule = Requantization(kind, Overflow.SATURATE, Fixed(signed, bits, 0))
    stairs = rule.staircase(low, high)
    near = {t + off for t in stairs.thresholds for off in (-1, 0, 1)} | {data.draw(st.integers(low, high))}
    for acc in (acc for acc in near if low <= acc <= high):
        assert stairs(acc) == rule.apply(acc)


doubles = st.floats(allow_nan=False, allow_infinity=False)
any_reals = st.builds(Fraction, doubles) | st.builds(
    lambda v, n: Fraction(v) + Fraction(n, 3 * 2**1080),
    doubles.filter(lambda v: abs(v) < 1e300),
    st.integers(-9, 9),
)


@given(st.lists(any_reals, min_size=1, max_size=5))
def test_a_real_tensor_holds_exactly_what_it_was_given(values: list[Fraction]) -> None:
    tensor = RealTensor.of_fractions(values, (len(values),))
    numerators, denominator = tensor.scaled
    assert tensor.fractions.tolist() == values
    assert [Fraction(n, denominator) for n in numerators.tolist()] == values
    errors = [abs(v - Fraction(f)) for v, f in zip(values, tensor.nearest.tolist(), strict=True)]
    assert all(e <= Fraction(r) for e, r in zip(errors, tensor.radius.tolist(), strict=True))


@given(any_reals)
def test_outward_doubles_enclose_and_touch(value: Fraction) -> None:
    below, above = Fraction(float_down(value)), Fraction(float_up(value))
    assert below <= value <= above
    assert float_down(below) == float_up(below) == below
