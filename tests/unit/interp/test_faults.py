"""Faults planted in the interpreters, one rule at a time: comparison with the plain ones catches each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Overflow
from qsmt.arith.real import ExactArray
from qsmt.arith.requantize import Rational, Shift, Staircase
from qsmt.arith.rounding import Rounding
from qsmt.interp import quantized, reference
from qsmt.interp.reference import Ratios
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Curve, LeakyRelu, Op, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator
from tests.support import naive
from tests.support.any_network import codes_of, curved_network, integer_network, real_network, reals_of

SEEDS = range(250)
Rule = Callable[..., Any]
Point = tuple[Fraction, ...]


@contextmanager
def planted(table: Rules[Rule], op: type[Op], rule: Rule) -> Iterator[None]:
    """`rule` in the place of the table's own."""
    original = table._table[op]
    table._table[op] = rule
    try:
        yield
    finally:
        table._table[op] = original


@cache
def cases(*, real: bool) -> list[tuple[Network, list[Point], list[Point]]]:
    """Networks, inputs, and what they really compute."""
    made = [(real_network(s) if real else integer_network(s), s) for s in SEEDS]
    inputs = [(network, (reals_of if real else codes_of)(network, s)) for network, s in made]
    return [(network, points, [naive.run(network, x) for x in points]) for network, points in inputs]


def integers_agree() -> bool:
    return all(quantized.run(network, points) == expected for network, points, expected in cases(real=False))


def reals_agree() -> bool:
    return all(reference.run(network, points) == expected for network, points, expected in cases(real=True))


def test_without_a_fault_they_agree() -> None:
    assert integers_agree()
    assert reals_agree()


# --- requantization -------------------------------------------------------------------------------------

REQUANTIZE = quantized.RULES[Requantize]


def with_rounding(op: Requantize, x: ExactArray, rounding: Rounding) -> ExactArray:
    return REQUANTIZE(replace(op, kind=replace(op.rule.exact, rounding=rounding)), x)


def only(replaced: Rounding, by: Rounding) -> Rule:
    """One rounding done as another."""
    return lambda op, x: with_rounding(op, x, by if op.kind.rounding is replaced else op.kind.rounding)


CLOSEST = {
    Rounding.FLOOR: Rounding.TOWARD_ZERO,
    Rounding.CEIL: Rounding.AWAY,
    Rounding.TOWARD_ZERO: Rounding.FLOOR,
    Rounding.AWAY: Rounding.CEIL,
    Rounding.HALF_UP: Rounding.HALF_AWAY,
    Rounding.HALF_DOWN: Rounding.HALF_TOWARD_ZERO,
    Rounding.HALF_EVEN: Rounding.HALF_AWAY,
    Rounding.HALF_AWAY: Rounding.HALF_UP,
    Rounding.HALF_TOWARD_ZERO: Rounding.HALF_DOWN,
}
"""For each rounding one that differs from it the least."""


def overflowing(replaced: Overflow, by: Overflow) -> Rule:
    """One overflow mode done as another."""
    return lambda op, x: REQUANTIZE(replace(op, overflow=by if op.overflow is replaced else op.overflow), x)


def unsaturated(op: Requantize, x: ExactArray) -> ExactArray:
    return np.asarray(np.frompyfunc(op.rule.unbounded, 1, 1)(x), dtype=object)


def shifted_threshold(op: Requantize, x: ExactArray) -> ExactArray:
    """By the staircase, one threshold of which is off by one; saturating modes only."""
    if op.overflow not in (Overflow.SATURATE, Overflow.SATURATE_SYMMETRIC):
        return REQUANTIZE(op, x)
    stairs = op.rule.staircase(int(x.min()), int(x.max()))
    moved = sorted(t + (i == 0) for i, t in enumerate(stairs.thresholds))
    return np.asarray(np.frompyfunc(Staircase(stairs.first, tuple(moved)), 1, 1)(x), dtype=object)


def doubled(op: Requantize, x: ExactArray) -> ExactArray:
    kind = op.kind
    wrong = Shift(kind.shift - 1, kind.rounding) if isinstance(kind, Shift) else kind
    return REQUANTIZE(replace(op, kind=wrong), x)


def inverted(op: Requantize, x: ExactArray) -> ExactArray:
    kind = op.kind
    wrong = Rational(1 / kind.multiplier, kind.rounding) if isinstance(kind, Rational) else kind
    return REQUANTIZE(replace(op, kind=wrong), x)


# --- the other ops ---------------------------------------------------------------------------------------

AFFINE = quantized.RULES[Affine]


def integers_of(
    op: Affine, change: Callable[[ExactArray, ExactArray], tuple[ExactArray, ExactArray]]
) -> Affine:
    """The op with other integers."""
    changed = replace(op)
    changed.__dict__["integers"] = change(*op.integers)
    return changed


def one_weight_negated(weight: ExactArray) -> ExactArray:
    changed = weight.copy()
    changed[0, 0] = -changed[0, 0]
    return changed


def never_wrapped(op: Affine, x: ExactArray) -> ExactArray:
    weight, bias = op.integers
    acc: ExactArray = x @ weight.T + bias
    return acc


def saturated_instead(op: Affine, x: ExactArray) -> ExactArray:
    kind = op.out.type.element
    assert isinstance(kind, Accumulator)
    return np.clip(never_wrapped(op, x), kind.min, kind.max)


def limits(op: Clamp, *, lower: int = 0, upper: int = 0) -> Clamp:
    return replace(
        op,
        lower=None if op.lower is None else op.lower + lower,
        upper=None if op.upper is None else op.upper + upper,
    )


CLAMP = quantized.RULES[Clamp]

INTEGER_FAULTS: dict[str, tuple[type[Op], Rule]] = {
    **{f"{a} done as {b}": (Requantize, only(a, b)) for a, b in CLOSEST.items()},
    **{f"{a} done as {b}": (Requantize, overflowing(a, b)) for a in Overflow for b in Overflow if a is not b},
    "no saturation": (Requantize, unsaturated),
    "off-by-one threshold": (Requantize, shifted_threshold),
    "one shift too few": (Requantize, doubled),
    "ratio upside down": (Requantize, inverted),
    "bias shifted by one": (Affine, lambda op, x: AFFINE(integers_of(op, lambda w, b: (w, b * 2)), x)),
    "bias off by one unit": (Affine, lambda op, x: AFFINE(integers_of(op, lambda w, b: (w, b + 1)), x)),
    "bias forgotten": (Affine, lambda op, x: AFFINE(integers_of(op, lambda w, b: (w, b * 0)), x)),
    "one weight's sign": (
        Affine,
        lambda op, x: AFFINE(integers_of(op, lambda w, b: (one_weight_negated(w), b)), x),
    ),
    "accumulator never wraps": (Affine, never_wrapped),
    "accumulator saturates": (Affine, saturated_instead),
    "ReLU forgotten": (Relu, lambda op, x: x),
    "ReLU from one": (Relu, lambda op, x: np.maximum(x, 1)),
    "lower limit off by one": (Clamp, lambda op, x: CLAMP(limits(op, lower=-1), x)),
    "upper limit off by one": (Clamp, lambda op, x: CLAMP(limits(op, upper=1), x)),
    "clamp forgotten": (Clamp, lambda op, x: x),
}


@pytest.mark.parametrize(("op", "rule"), INTEGER_FAULTS.values(), ids=INTEGER_FAULTS)
def test_a_fault_in_the_integer_interpreter_is_caught(op: type[Op], rule: Rule) -> None:
    with planted(quantized.RULES, op, rule):
        assert not integers_agree()
    assert quantized.RULES[op] is not rule


def shifted(x: Ratios, by: Fraction) -> Ratios:
    """Every value off by a tiny amount."""
    scale = by.denominator
    return Ratios(x.numerators * scale + by.numerator * x.denominator, x.denominator * scale)


REAL_AFFINE, REAL_CLAMP = reference.RULES[Affine], reference.RULES[Clamp]

REAL_FAULTS: dict[str, tuple[type[Op], Rule]] = {
    "bias forgotten": (
        Affine,
        lambda op, x: Ratios(
            (y := REAL_AFFINE(op, x)).numerators - REAL_AFFINE(op, Ratios(x.numerators * 0, 1)).numerators,
            y.denominator,
        ),
    ),
    "off by less than any double": (Affine, lambda op, x: shifted(REAL_AFFINE(op, x), Fraction(1, 10**400))),
    "rounded to doubles": (
        Affine,
        lambda op, x: reference.ratios(
            [[Fraction(float(v)) for v in row] for row in REAL_AFFINE(op, x).fractions()]
        ),
    ),
    "ReLU forgotten": (Relu, lambda op, x: x),
    "ReLU of the numerator's magnitude": (Relu, lambda op, x: Ratios(np.abs(x.numerators), x.denominator)),
    "lower limit off": (Clamp, lambda op, x: REAL_CLAMP(limits(op, lower=-1), x)),
    "upper limit off": (Clamp, lambda op, x: REAL_CLAMP(limits(op, upper=1), x)),
    "clamp forgotten": (Clamp, lambda op, x: x),
}


@pytest.mark.parametrize(("op", "rule"), REAL_FAULTS.values(), ids=REAL_FAULTS)
def test_a_fault_in_the_real_interpreter_is_caught(op: type[Op], rule: Rule) -> None:
    with planted(reference.RULES, op, rule):
        assert not reals_agree()


# --- curves and leaky ReLUs ---------------------------------------------------------------------------------


@cache
def curves() -> list[tuple[Network, list[Point], list[Point]]]:
    """Networks with them, inputs, and what the plain interpreter makes of the middles of all enclosures."""
    made = [(curved_network(s), s) for s in SEEDS]
    inputs = [(network, reals_of(network, s)) for network, s in made]
    return [(n, points, [naive.run(n, x, middle=True) for x in points]) for n, points in inputs]


def curves_agree() -> bool:
    """Do the enclosures contain that, and where they are exact, equal it?"""
    for network, points, expected in curves():
        found = reference.enclose(network, points)
        radii = found.radius or [(Fraction(0),) * network.output.size] * len(points)
        rows = zip(found.middle, radii, expected, strict=True)
        if any(abs(m - v) > r for ms, rs, vs in rows for m, r, v in zip(ms, rs, vs, strict=True)):
            return False
    return True


CURVE, LEAKY = reference.RULES[Curve], reference.RULES[LeakyRelu]


def narrowed(x: Ratios) -> Ratios:
    """Only the lower ends, as if they were the values."""
    return Ratios(x.numerators, x.denominator)


CURVE_FAULTS: dict[str, tuple[type[Op], Rule]] = {
    "an enclosure is taken for its end": (Curve, lambda op, x: narrowed(CURVE(op, x))),
    "a curve of the lower end only": (Curve, lambda op, x: CURVE(op, narrowed(x))),
    "an affine op of the lower end only": (Affine, lambda op, x: REAL_AFFINE(op, narrowed(x))),
    "tanh is sigmoid": (
        Curve,
        lambda op, x: CURVE(
            replace(op, function=Function.SIGMOID) if op.function is Function.TANH else op, x
        ),
    ),
    "a curve forgotten": (Curve, lambda op, x: x),
    "leaky ReLU forgotten": (LeakyRelu, lambda op, x: x),
    "leaky ReLU is ReLU": (LeakyRelu, lambda op, x: reference.RULES[Relu](Relu(op.out, op.x), x)),
    "another slope": (LeakyRelu, lambda op, x: LEAKY(replace(op, slope=op.slope / 2), x)),
}


def test_without_a_fault_curves_agree() -> None:
    assert curves_agree()


@pytest.mark.parametrize(("op", "rule"), CURVE_FAULTS.values(), ids=CURVE_FAULTS)
def test_a_fault_of_a_curve_is_caught(op: type[Op], rule: Rule) -> None:
    with planted(reference.RULES, op, rule):
        assert not curves_agree()
