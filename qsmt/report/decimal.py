"""Numbers for people: few digits, and never a digit that claims more than is known."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from math import inf, isinf, nextafter

DIGITS = 6

SHORT = 12
"""Characters of a number that is printed in full."""


def upper(value: float) -> str:
    """`value` in few digits, rounded up: for the upper end of a bound."""
    return _short(value, ROUND_CEILING)


def lower(value: float) -> str:
    """`value` in few digits, rounded down: for the lower end of a bound."""
    return _short(value, ROUND_FLOOR)


def near(value: Fraction | float) -> str:
    """`value` in few digits, rounded to nearest."""
    return f"{float(value):.{DIGITS}g}"


def exact(value: Fraction) -> str:
    """An exact number, as a decimal where that is short."""
    return _spelled(value) or near(value)


def at_most(value: Fraction) -> str:
    """An exact number, as a decimal where that is short, and rounded down elsewhere."""
    return _spelled(value) or lower(nextafter(float(value), -inf))


def at_least(value: Fraction) -> str:
    """An exact number, as a decimal where that is short, and rounded up elsewhere."""
    return _spelled(value) or upper(nextafter(float(value), inf))


def limit(value: Fraction) -> str:
    """A claim's bound: exactly, as a decimal or a ratio, where that is short, and rounded up elsewhere."""
    ratio = str(value)
    return _spelled(value) or (ratio if len(ratio) <= SHORT else at_least(value))


def _spelled(value: Fraction) -> str | None:
    text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return text if len(text) <= SHORT and Fraction(text) == value else None


def _short(value: float, rounding: str) -> str:
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{Context(prec=DIGITS, rounding=rounding).create_decimal(Decimal(value)).normalize():g}"
