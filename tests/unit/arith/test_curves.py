"""Enclosures of tanh, sigmoid and hard swish: right, as narrow as promised, and wrong ones are caught.

The truth is Python's `Decimal` with 90 digits, whose exp is correctly rounded and shares no code with ours.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith import curves
from qsmt.arith.curves import PRECISION, STEEPEST, Function, bounds, enclosure, hard_swish, slope_bounds
from qsmt.arith.real import FloatArray

DIGITS = Context(prec=90, Emin=-(10**6), Emax=10**6)
ROUNDING = Fraction(1, 10**80)
SIGMOIDAL = [Function.TANH, Function.SIGMOID]


def points() -> FloatArray:
    """All magnitudes from 1e-320 to 1e300, both signs, and where the formulas change."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=500) * 10.0 ** rng.uniform(-10, 3, 500)
    wild = np.copysign(10.0 ** rng.uniform(-320, 300, 100), rng.normal(size=100))
    edges = [
        0.0,
        0.5,
        3.0,
        1.5,
        100.0,
        50.0,
        354.0,
        708.0,
        745.2,
        5e-324,
        1e308,
        np.log(2.0),
        0.5 * np.log(2.0),
    ]
    near = np.concatenate([np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), edges])
    return np.concatenate([spread, wild, near, -near])


def exponential(x: Fraction) -> Fraction:
    """exp(x) for x <= 0, to 80 places."""
    if x < -2000:
        return Fraction(0)
    return Fraction(DIGITS.exp(DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator))))


def truth(function: Function, x: Fraction) -> Fraction:
    """The value, to 80 places."""
    if function is Function.HARD_SWISH:
        return x * min(max(x + 3, Fraction(0)), Fraction(6)) / 6
    e = exponential(-2 * abs(x) if function is Function.TANH else -abs(x))
    if function is Function.TANH:
        return (1 - e) / (1 + e) * (1 if x >= 0 else -1)
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


def slope(function: Function, x: Fraction) -> Fraction:
    """The derivative of tanh or sigmoid, to 80 places."""
    y = truth(function, x)
    return 1 - y * y if function is Function.TANH else y * (1 - y)


def left_by_doubles(function: Function, x: FloatArray) -> list[float]:
    """Where the value is not within its bounds in doubles."""
    found = bounds(function, x)
    rows = zip(x.tolist(), found.lower.tolist(), found.upper.tolist(), strict=True)
    return [
        at
        for at, low, high in rows
        if not Fraction(low) - ROUNDING <= truth(function, Fraction(at)) <= Fraction(high) + ROUNDING
    ]


def left_by_rationals(function: Function, x: FloatArray) -> list[float]:
    """Where the value is not within its enclosure."""
    found = []
    for at in x.tolist():
        low, high = enclosure(function, Fraction(at))
        if not low - ROUNDING <= truth(function, Fraction(at)) <= high + ROUNDING:
            found.append(at)
    return found


@pytest.mark.parametrize("function", Function)
def test_doubles_enclose_the_value(function: Function) -> None:
    assert left_by_doubles(function, points()) == []


@pytest.mark.parametrize("function", Function)
def test_doubles_are_close_together(function: Function) -> None:
    x = points()
    found = bounds(function, x)
    assert (found.upper - found.lower <= 1e-14 * np.maximum(1.0, np.abs(x))).all()


@pytest.mark.parametrize("function", Function)
def test_near_zero_the_relative_width_is_small_too(function: Function) -> None:
    x = 10.0 ** -np.linspace(5, 300, 60)
    found = bounds(function, x)
    assert (found.upper - found.lower <= 1e-9 * np.abs(found.upper)).all()


@pytest.mark.parametrize("function", SIGMOIDAL)
def test_doubles_enclose_the_slope(function: Function) -> None:
    x = points()
    found = slope_bounds(function, x)
    for at, low, high in zip(x.tolist(), found.lower.tolist(), found.upper.tolist(), strict=True):
        assert Fraction(low) - ROUNDING <= slope(function, Fraction(at)) <= Fraction(high) + ROUNDING
        assert high <= STEEPEST[function]
        assert high - low <= 1e-13


@pytest.mark.parametrize("function", Function)
def test_beyond_all_numbers_the_bounds_are_those_of_the_range(function: Function) -> None:
    found = bounds(function, np.array([np.inf, -np.inf, np.nan]))
    least = {Function.TANH: -1.0, Function.SIGMOID: 0.0, Function.HARD_SWISH: -0.375}[function]
    greatest = np.inf if function is Function.HARD_SWISH else 1.0
    assert found.upper[0] == greatest
    assert found.lower[2] == least
    assert found.upper[2] == greatest
    assert least <= found.lower[1] <= found.upper[1] <= max(least, 0.0) + 1e-300 or function is Function.TANH


@pytest.mark.parametrize("function", Function)
def test_rationals_enclose_the_value(function: Function) -> None:
    assert left_by_rationals(function, points()) == []


@pytest.mark.parametrize("function", SIGMOIDAL)
@pytest.mark.parametrize(
    "x", [Fraction(1, 3), Fraction(-22, 7), Fraction(10**40, 3), Fraction(1, 10**350), Fraction(-99)]
)
def test_rationals_that_are_no_doubles_are_enclosed_as_closely(function: Function, x: Fraction) -> None:
    low, high = enclosure(function, x)
    assert low - ROUNDING <= truth(function, x) <= high + ROUNDING
    assert high - low <= Fraction(4, 2**PRECISION)


def test_what_is_rational_is_exact() -> None:
    assert enclosure(Function.TANH, Fraction(0)) == (Fraction(0), Fraction(0))
    assert enclosure(Function.SIGMOID, Fraction(0)) == (Fraction(1, 2), Fraction(1, 2))
    for x in (Fraction(-4), Fraction(-3, 2), Fraction(1, 3), Fraction(3), Fraction(7)):
        assert enclosure(Function.HARD_SWISH, x) == (hard_swish(x), hard_swish(x))
    assert hard_swish(Fraction(-3, 2)) == Fraction(-3, 8)


def test_the_logarithm_is_split_as_exactly_as_is_proved() -> None:
    log2 = Fraction(DIGITS.ln(Decimal(2)))
    high, low = Fraction(curves._LOG2_HIGH), Fraction(curves._LOG2_LOW)
    assert abs(high + low - log2) * 1022 < Fraction(1, 2**75)
    assert (high * 2**32).denominator == 1


# --- planted faults ---------------------------------------------------------------------------------------

EXP_MINUS, EXP = curves._exp_minus, curves._exp
IN_DOUBLES: dict[str, tuple[str, object]] = {
    "the exponential's error is taken off": ("EXP_ERROR", -curves.EXP_ERROR),
    "one term is missing": ("_COEFFICIENTS", curves._COEFFICIENTS[5:]),
    "the logarithm is cut": ("_LOG2_LOW", 0.0),
    "sums are not rounded outward": ("up", lambda v: v),
    "far from zero nothing changes": ("_exp_minus", lambda t: EXP_MINUS(np.minimum(t, 30.0))),
}
IN_RATIONALS: dict[str, tuple[str, object]] = {
    "the series is rounded down twice": (
        "_exp",
        lambda n, d: (EXP(n, d)[0], EXP(n, d)[0]),
    ),
    "the limit is reached too soon": ("FAR", 20),
    "a series of few terms": ("_exp_series", lambda x, *, upper: (1 << curves.WORK) + x + upper),
}


def caught(left: Callable[[Function, FloatArray], list[float]]) -> bool:
    with np.errstate(all="ignore"):
        return any(left(function, points()) for function in SIGMOIDAL)


@pytest.mark.parametrize("fault", IN_DOUBLES)
def test_a_fault_in_doubles_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = IN_DOUBLES[fault]
    monkeypatch.setattr(curves, name, wrong)
    assert caught(left_by_doubles)


@pytest.mark.parametrize("fault", IN_RATIONALS)
def test_a_fault_in_rationals_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = IN_RATIONALS[fault]
    monkeypatch.setattr(curves, name, wrong)
    assert caught(left_by_rationals)
