"""Linear forms: bounds that hold, cancellation, tightening, and contradictions that are not swallowed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from random import Random

import pytest

from qsmt.errors import SoundnessError
from qsmt_bitvector.linear import (
    Linear,
    combination,
    constant,
    minus,
    of_term,
    over_one_denominator,
)
from qsmt_bitvector.widths import Term

TERMS = [Term(None, 0, low, high) for low, high in ((-3, 2), (0, 4), (1, 1), (-6, -4))]
POINTS = [
    dict(zip(TERMS, x, strict=True)) for x in itertools.product(*(range(t.low, t.high + 1) for t in TERMS))
]


def value(form: Linear, point: dict[Term, int]) -> Fraction:
    return Fraction(form.constant + sum(c * point[t] for t, c in form.parts.items()), form.denominator)


def random_form(rng: Random) -> Linear:
    """A form of one or two terms, perhaps with bounds tighter than their sum's."""
    terms = rng.sample([t for t in TERMS if t.low < t.high], rng.randint(1, 2))
    forms = [of_term(t, Fraction(rng.randint(1, 9), rng.randint(1, 5))) for t in terms]
    common = over_one_denominator(forms)
    factors = [rng.choice([-2, -1, 1, 3]) for _ in common]
    return combination(factors, common, rng.randint(-9, 9), common[0].denominator)


def bounds_hold(form: Linear) -> bool:
    return all(form.least <= value(form, p) <= form.greatest for p in POINTS)


@pytest.mark.parametrize("seed", range(40))
def test_every_operation_keeps_the_value_and_its_bounds(seed: int) -> None:
    rng = Random(seed)
    a, b = random_form(rng), random_form(rng)
    factor, amount = Fraction(rng.choice([-3, 2]), rng.randint(1, 4)), Fraction(rng.randint(-5, 5), 3)
    results: dict[str, tuple[Linear, Callable[[dict[Term, int]], Fraction]]] = {
        "scaled": (a.scaled(factor), lambda p: factor * value(a, p)),
        "plus": (a.plus(amount), lambda p: value(a, p) + amount),
        "over": (a.over(a.denominator * 6), lambda p: value(a, p)),
        "minus": (minus(a, b), lambda p: value(a, p) - value(b, p)),
        "tightened": (a.tightened(), lambda p: value(a, p)),
        "reduced": (a.reduced()[0].scaled(Fraction(a.reduced()[1], a.denominator)), lambda p: value(a, p)),
    }
    for name, (form, expected) in results.items():
        assert all(value(form, p) == expected(p) for p in POINTS), name
        assert bounds_hold(form), name


def test_the_bounds_of_a_form_and_of_its_terms_are_both_used() -> None:
    x = of_term(TERMS[0])
    known = x.within(Fraction(0), Fraction(1))
    assert (minus(x, x).low, minus(x, x).high) == (0, 0)
    sums = combination([1, 1], [known, of_term(TERMS[1])], 0, 1)
    assert (sums.low, sums.high) == (0, 5)


def test_tightening_moves_bounds_to_values_the_form_takes() -> None:
    form = combination([6, 4], [of_term(TERMS[0]), of_term(TERMS[1])], 1, 3).within(Fraction(-4), Fraction(4))
    assert (form.low, form.high) == (-12, 12)
    assert (form.tightened().low, form.tightened().high) == (-11, 11)


def test_a_form_between_equal_bounds_is_a_constant() -> None:
    form = of_term(TERMS[1]).within(Fraction(2), Fraction(5, 2))
    assert form.is_constant
    assert value(form, {}) == 2


def test_contradicting_bounds_are_an_error_and_not_an_answer() -> None:
    with pytest.raises(SoundnessError, match="neuron 3 lies in"):
        of_term(TERMS[1]).within(Fraction(5), None, what="neuron 3")
    with pytest.raises(SoundnessError):
        combination([4], [of_term(TERMS[1])], 0, 1).within(Fraction(1), Fraction(3)).tightened()


def test_no_weight_costs_no_term() -> None:
    forms = [of_term(TERMS[0]), of_term(TERMS[1])]
    assert set(combination([0, 2], forms, 5, 1).parts) == {TERMS[1]}
    assert combination([0, 0], forms, 5, 1).is_constant
    assert combination([3], [constant(2)], 1, 1) == constant(7)
