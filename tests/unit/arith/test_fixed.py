"""Fixed-point formats: ranges, the four overflow modes code by code, encoding and decoding."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import floor

import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.rounding import Rounding

FORMATS = [
    Fixed(signed, bits, frac) for signed in (False, True) for bits in (1, 2, 3, 5) for frac in (-2, 0, 3)
]


def nearest_in_range(kind: Fixed, code: int) -> int:
    return min(range(kind.min, kind.max + 1), key=lambda q: abs(q - code))


def same_low_bits(kind: Fixed, code: int) -> int:
    (found,) = (q for q in range(kind.min, kind.max + 1) if (q - code) % 2**kind.bits == 0)
    return found


def nearest_symmetric(kind: Fixed, code: int) -> int:
    return min(range(-kind.max if kind.signed else 0, kind.max + 1), key=lambda q: abs(q - code))


def itself_or_zero(kind: Fixed, code: int) -> int:
    return code if code in range(kind.min, kind.max + 1) else 0


DEFINITION: dict[Overflow, Callable[[Fixed, int], int]] = {
    Overflow.SATURATE: nearest_in_range,
    Overflow.WRAP: same_low_bits,
    Overflow.SATURATE_SYMMETRIC: nearest_symmetric,
    Overflow.SATURATE_ZERO: itself_or_zero,
}


@pytest.mark.parametrize(
    ("kind", "ends"),
    [
        (Fixed(True, 8, 0), (-128, 127)),
        (Fixed(False, 8, 0), (0, 255)),
        (Fixed(True, 1, 0), (-1, 0)),
        (Fixed(False, 1, 5), (0, 1)),
        (Fixed(True, 64, 0), (-(2**63), 2**63 - 1)),
        (Fixed(False, 64, 0), (0, 2**64 - 1)),
    ],
)
def test_a_format_holds_the_codes_of_its_width(kind: Fixed, ends: tuple[int, int]) -> None:
    assert (kind.min, kind.max) == ends
    assert kind.fits(ends[0]) and kind.fits(ends[1])
    assert not kind.fits(ends[0] - 1) and not kind.fits(ends[1] + 1)


@pytest.mark.parametrize("mode", Overflow)
def test_overflow_is_as_defined_for_every_code_of_a_wide_range(mode: Overflow) -> None:
    for kind in FORMATS:
        for code in range(-5 * 2**kind.bits, 5 * 2**kind.bits):
            assert kind.overflow(code, mode) == DEFINITION[mode](kind, code), (kind, code)


@pytest.mark.parametrize("mode", Overflow)
def test_overflow_of_codes_of_any_size_stays_in_range(mode: Overflow) -> None:
    for kind in (Fixed(True, 8, 0), Fixed(False, 64, 0)):
        for code in (2**200 + 3, -(2**200) + 3):
            assert kind.fits(kind.overflow(code, mode))
    assert Fixed(True, 8, 0).overflow(2**200 - 1, Overflow.WRAP) == -1


@pytest.mark.parametrize("rounding", Rounding)
def test_every_code_encodes_to_itself(rounding: Rounding) -> None:
    for kind in FORMATS:
        for code in range(kind.min, kind.max + 1):
            assert kind.encode(kind.decode(code), rounding) == code


def test_encoding_rounds_and_then_saturates() -> None:
    for kind, eighths in product(FORMATS, range(-120, 120)):
        value = Fraction(eighths, 8)
        units = value * Fraction(2) ** kind.frac
        assert kind.encode(value, Rounding.FLOOR) == nearest_in_range(kind, floor(units))
        assert kind.encode(value, Rounding.HALF_UP) == nearest_in_range(kind, floor(units + Fraction(1, 2)))


def test_the_binary_point_may_lie_outside_the_digits() -> None:
    assert Fixed(True, 4, -3).decode(5) == 40
    assert Fixed(True, 4, 10).decode(-8) == Fraction(-1, 128)
    assert Fixed(False, 4, -3).scale == 8


def test_a_format_prints_as_in_the_textual_ir() -> None:
    assert str(Fixed(True, 8, 5)) == "fixed<s8, frac 5>"
    assert str(Fixed(False, 4, -2)) == "fixed<u4, frac -2>"


@pytest.mark.parametrize(("bits", "frac"), [(0, 0), (-1, 0), (65, 0), (8, 1025), (8, -1025)])
def test_a_format_that_cannot_be_is_refused(bits: int, frac: int) -> None:
    with pytest.raises(ValueError, match="a fixed-point format has"):
        Fixed(True, bits, frac)
