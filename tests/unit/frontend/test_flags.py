"""The flag form says exactly what the problem file would."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsmt.arith.fixed import Fixed
from qsmt.arith.rounding import Rounding
from qsmt.errors import MalformedProblem
from qsmt.frontend.flags import MAX_INPUTS, Box, codes_within, parse_bound, parse_box, scheme_of_bits
from qsmt.frontend.formats import AUTO, FormatSpec
from qsmt.problem import InputModel

F = Fraction


@pytest.mark.parametrize(
    ("text", "lower", "upper"),
    [
        ("[-1,1]", [-1], [1]),
        ("[-1,1]^3", [-1] * 3, [1] * 3),
        ("[1,1.175],[0,0.2]", [1, 0], [F(47, 40), F(1, 5)]),
        (" [ -1 , 1 ] ^ 2 , [1e-3, 1/3]^1 ", [-1, -1, F(1, 1000)], [1, 1, F(1, 3)]),
        ("[0,0]", [0], [0]),
        ("[0.1,0.10]^01", [F(1, 10)], [F(1, 10)]),
    ],
)
def test_a_box(text: str, lower: list[Fraction], upper: list[Fraction]) -> None:
    assert parse_box(text) == Box(tuple(map(F, lower)), tuple(map(F, upper)))


rationals = st.fractions(min_value=-1000, max_value=1000, max_denominator=10**6)
intervals = st.tuples(rationals, rationals, st.integers(1, 4)).map(lambda t: (min(t[:2]), max(t[:2]), t[2]))


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(intervals, min_size=1, max_size=5))
def test_a_printed_box_is_read_back(items: list[tuple[Fraction, Fraction, int]]) -> None:
    text = ",".join(f"[{low}, {high}]^{count}" for low, high, count in items)
    box = parse_box(text)
    assert box.lower == tuple(low for low, _, count in items for _ in range(count))
    assert box.upper == tuple(high for _, high, count in items for _ in range(count))
    assert box.hull == (min(box.lower), max(box.upper))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet="[],^-+./e0123456789 \n", max_size=20))
def test_any_text_is_a_box_or_one_clear_line(text: str) -> None:
    box = complaint = None
    try:
        box = parse_box(text)
    except MalformedProblem as error:
        complaint = str(error)
    if box is None:
        assert complaint is not None and complaint.startswith("--box, character ") and complaint.isprintable()
    else:
        assert 1 <= len(box.lower) == len(box.upper) <= MAX_INPUTS
        assert all(low <= high for low, high in zip(box.lower, box.upper, strict=True))


def test_the_number_of_intervals_is_limited() -> None:
    assert len(parse_box(f"[0,1]^{MAX_INPUTS}").lower) == MAX_INPUTS
    for text in (f"[0,1]^{MAX_INPUTS + 1}", f"[0,1],[0,1]^{MAX_INPUTS}", "[0,1]^" + "9" * 10_000):
        with pytest.raises(MalformedProblem, match="more than 1048576 intervals"):
            parse_box(text)


def test_bounds() -> None:
    assert parse_bound("0.05") == F(1, 20)
    assert parse_bound("1/20, 1e-1") == (F(1, 20), F(1, 10))
    assert parse_bound("0") == 0
    for text in ("", "0.05,", "-1", "0.1,-1", "1/0", "inf"):
        with pytest.raises(MalformedProblem, match=r"^--bound: "):
            parse_bound(text)


def test_bits() -> None:
    scheme = scheme_of_bits(8)
    assert scheme.input == scheme.weights == scheme.hidden == FormatSpec(8, AUTO)
    assert scheme.bias == FormatSpec(16, AUTO)
    assert scheme.output is None and scheme.rounding is Rounding.HALF_UP
    assert scheme_of_bits(64).bias.bits == 64
    for bits in (0, -1, 65, 10**30):
        with pytest.raises(MalformedProblem, match=r"^--bits: is .*, not from 1 to 64"):
            scheme_of_bits(bits)


def test_a_real_box_becomes_the_codes_it_contains() -> None:
    kind = Fixed(True, 4, 2)  # -2 to 1.75 in quarters
    region = codes_within(parse_box("[-0.3,0.8],[1/4,1/4],[-9,9]"), kind)
    assert region.model is InputModel.GRID
    assert region.lower == (F(-1), F(1), F(-8))
    assert region.upper == (F(3), F(1), F(7))


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(rationals, rationals)
def test_no_code_of_the_box_is_lost_and_none_is_added(a: Fraction, b: Fraction) -> None:
    kind, low, high = Fixed(True, 6, 2), min(a, b) / 100, max(a, b) / 100
    inside = [code for code in range(kind.min, kind.max + 1) if low <= kind.decode(code) <= high]
    box = Box((low,), (high,))
    if inside:
        region = codes_within(box, kind)
        assert (region.lower, region.upper) == ((F(inside[0]),), (F(inside[-1]),))
    else:
        with pytest.raises(MalformedProblem, match="holds no value of fixed<s6, frac 2>"):
            codes_within(box, kind)
