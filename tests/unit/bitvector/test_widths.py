"""Bit-vector operations, each held against its table on the integers of a small range."""

from __future__ import annotations

import itertools

import pytest

from qsmt.arith.requantize import staircase
from qsmt_bitvector.linear import Linear, constant, numerator, of_term
from qsmt_bitvector.widths import Circuit, bits_for
from tests.unit.bitvector.tables import Operation, mismatch

DOMAINS = [range(-9, 14), range(-8, 8), range(3, 12), range(-12, -2), range(-1, 1), range(5)]


def test_a_width_holds_its_range_and_no_narrower_one_does() -> None:
    for low, high in itertools.combinations_with_replacement(range(-35, 36), 2):
        width = bits_for(low, high)
        holds = [
            (-(2 ** (w - 1)), 2 ** (w - 1) - 1) if low < 0 else (0, 2**w - 1) for w in (width, width - 1)
        ]
        assert holds[0][0] <= low <= high <= holds[0][1]
        assert width == 1 or not (holds[1][0] <= low and high <= holds[1][1])


def through_bits(circuit: Circuit, x: Linear) -> Linear:
    return of_term(circuit.named("t", numerator(circuit, x)))


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@pytest.mark.parametrize(("factor", "offset"), [(1, 0), (1, 7), (3, -5), (-1, 0), (-6, 100)])
def test_a_sum_is_exact_at_the_width_of_its_result(domain: range, factor: int, offset: int) -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        terms = list(through_bits(circuit, x).parts)
        ends = sorted((factor * domain[0] + offset, factor * domain[-1] + offset))
        return of_term(circuit.sum([(factor, t) for t in terms], offset, low=ends[0], high=ends[1]))

    assert mismatch(operation, domain, lambda x: factor * x + offset) is None


def test_a_term_is_cut_to_the_range_that_is_known_of_it() -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        wide = circuit.sum([(64, term)], 1000, low=1000 - 64 * 9, high=1000 + 64 * 13)
        narrow = circuit.sum([(1, wide), (-63, term)], -1000, low=-9, high=13)  # again x, from 11 bits in 5
        assert narrow.width == 5 < wide.width
        return of_term(circuit.narrowed(narrow, -9, 13))

    assert mismatch(operation, range(-9, 14), lambda x: x) is None


LIMITS = [(None, 4), (-3, None), (-3, 4), (0, None), (0, 7), (2, 3)]


@pytest.mark.parametrize("domain", [range(-9, 14), range(-16, 16)], ids=str)
@pytest.mark.parametrize(("lower", "upper"), LIMITS)
def test_clamp(domain: range, lower: int | None, upper: int | None) -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        return of_term(circuit.clamp(term, lower=lower, upper=upper))

    low, high = -99 if lower is None else lower, 99 if upper is None else upper
    assert mismatch(operation, domain, lambda x: min(max(x, low), high)) is None


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@pytest.mark.parametrize(("lower", "upper"), [(-2, 2), (0, 7), (-8, 3), (0, 1)])
def test_within_or_zero(domain: range, lower: int, upper: int) -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        return of_term(circuit.within_or_zero(term, lower, upper))

    assert mismatch(operation, domain, lambda x: x if lower <= x <= upper else 0) is None


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@pytest.mark.parametrize("divisor", [1, 2, 3, 4, 5, 8, 13, 64])
def test_floor_divide(domain: range, divisor: int) -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        return of_term(circuit.floor_divide(term, divisor))

    assert mismatch(operation, domain, lambda x: x // divisor) is None


@pytest.mark.parametrize("divisor", [2, 4, 6, 8])
def test_even_at_ties_clears_the_last_bit_where_the_division_is_exact(divisor: int) -> None:
    def operation(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        return of_term(circuit.even_at_ties(circuit.floor_divide(term, divisor), term, divisor))

    def expected(x: int) -> int:
        return x // divisor & (-2 if x % divisor == 0 else -1)

    assert mismatch(operation, range(-21, 30), expected) is None


def test_lookup_follows_a_staircase_with_steps_of_any_height() -> None:
    def rule(x: int) -> int:
        return x * abs(x) // 7

    def operation(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        return of_term(circuit.lookup(term, staircase(rule, term.low, term.high).pieces))

    assert mismatch(operation, range(-11, 13), rule) is None


@pytest.mark.parametrize("limit", [-20, -10, -9, -1, 0, 5, 13, 14])
def test_comparisons(limit: int) -> None:
    def at_most(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        return of_term(circuit.indicator(circuit.at_most(term, limit)))

    def at_least(circuit: Circuit, x: Linear) -> Linear:
        (term,) = through_bits(circuit, x).parts
        return of_term(circuit.indicator(circuit.at_least(term, limit)))

    assert mismatch(at_most, range(-10, 14), lambda x: int(x <= limit)) is None
    assert mismatch(at_least, range(-10, 14), lambda x: int(x >= limit)) is None


WRONG: list[tuple[str, Operation]] = [
    ("by one everywhere", lambda circuit, x: through_bits(circuit, x).plus(1)),
    (
        "at one end",
        lambda circuit, x: of_term(circuit.clamp(*through_bits(circuit, x).parts, lower=None, upper=12)),
    ),
    ("outside its bounds", lambda circuit, x: through_bits(circuit, x).within(None, constant(12).greatest)),
    ("a constant", lambda circuit, x: constant(3)),
]


@pytest.mark.parametrize(("what", "operation"), WRONG, ids=[what for what, _ in WRONG])
def test_the_table_notices_an_operation_that_is_wrong(what: str, operation: Operation) -> None:
    assert mismatch(operation, range(-9, 14), lambda x: x) is not None
