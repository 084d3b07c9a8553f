"""Inequalities in a problem file: what is written is what is meant, and what is not one says so."""

from __future__ import annotations

from fractions import Fraction

import pytest

from qsmt.frontend.combined import OutputInequality
from qsmt.frontend.inequalities import conjunction, disjunction, inequality, written

F = Fraction
ONE = F(1)


@pytest.mark.parametrize(
    ("text", "reference", "quantized", "bound", "strict"),
    [
        ("q[0] > 1", {}, {0: ONE}, F(1), True),
        ("quantized[3] - reference[3] <= 0.05", {3: ONE}, {3: -ONE}, F(-1, 20), False),
        ("1/3 >= 2 r[0] + q[1] - 1e-3", {0: F(-2)}, {1: -ONE}, F(-1, 3) - F(1, 1000), False),
        ("-q[0]*3 < -.5", {}, {0: F(3)}, F(1, 2), True),
        ("2*3 q[0] - q[0] > q[1] - 4", {}, {0: F(5), 1: -ONE}, F(-4), True),
        ("q[12]>=r[7]", {7: -ONE}, {12: ONE}, F(0), False),
        ("q[0] - q[0] + r[0] > 0", {0: ONE}, {}, F(0), True),
    ],
)
def test_an_inequality(
    text: str, reference: dict[int, F], quantized: dict[int, F], bound: F, *, strict: bool
) -> None:
    assert inequality(text) == OutputInequality.of(reference, quantized, bound, strict=strict)


def test_the_negation_is_the_opposite() -> None:
    assert inequality("q[0] <= 2").negated == inequality("q[0] > 2")
    assert inequality("q[0] > r[1] + 2").negated == inequality("q[0] <= r[1] + 2")


def test_several() -> None:
    parts = inequality("q[0] < q[1]"), inequality("q[0] < q[2]")
    assert conjunction("q[0] < q[1] and q[0] < q[2]") == disjunction("q[0] < q[1] or q[0] < q[2]") == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q[0]", "is not one inequality"),
        ("", "is not one inequality"),
        ("q[0] <=", "is not one inequality"),
        ("< q[0]", "is not one inequality"),
        ("1 < q[0] < 2", "is not one inequality"),
        ("q[0] = 2", "'= 2' is not an output like q[0], nor a number"),
        ("q[0] q[1] > 2", "is not linear"),
        ("y[0] > 2", "'y[0] > 2' is not an output"),
        ("q[0] > --2", "'-2' is not an output"),
        ("q[0] > 1/0", "divides by zero"),
        ("1 < 2", "compares no output"),
        ("q[0] - q[0] < 2", "compares no output"),
        ("q[0] + > 2", "'> 2' is not an output"),
        ("q[0] > 1e999", "too large an exponent"),
    ],
)
def test_what_is_none(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        inequality(text)
    assert said in str(caught.value)


def test_and_with_or_is_refused() -> None:
    for parse in (conjunction, disjunction):
        with pytest.raises(ValueError, match="joins inequalities by"):
            parse("q[0] < 1 and q[1] < 1 or q[2] < 1")


@pytest.mark.parametrize(
    "text",
    [
        "q[0] > 1",
        "q[0] - r[0] <= 0.05",
        "q[1] + 0.5 q[2] - 1/3 r[0] >= -0.001",
        "q[0] - q[1] > 0 and 2 q[0] + r[2] <= 7",
        "r[3] < 1/3",
        "q[0] - q[1] < -12.5",
    ],
)
def test_what_is_written_is_read_as_the_same(text: str) -> None:
    assert written(conjunction(text)) == text
    assert conjunction(written(conjunction(text))) == conjunction(text)
