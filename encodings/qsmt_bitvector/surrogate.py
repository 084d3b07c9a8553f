"""The reference network in few bits, with a sound slack.

Exactly, the reference needs about as many fractional bits as all its weights have together. Its surrogate has
`bits` of them everywhere, and each of its values carries an interval that contains the error:

    true value - form  in  [below, above]        for every input of the region

* coefficients are rounded to a grid so fine that each term is off by at most 2**-bits / 2 (`coarse`);
* a sum that goes through a clamp is floored to `bits` fractional bits, and is then below by less than 2**-bits;
* a clamp never increases a distance, so the error after it lies between the error before it and zero; where
  facts say that the true value is never clamped, the form is not clamped either, and the error stays.

The query is asked with the bound lowered by the error of the output. So every violation is a solution: "no
solution" is a proof. A solution may be spurious, and is checked with the exact formula on that one input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite

from qsmt.arith.rounding import Rounding, round_fraction
from qsmt.facts import Interval
from qsmt.ir.network import Layer
from qsmt.ir.ops import Affine, Clamp, LeakyRelu, Op, Relu
from qsmt_bitvector.linear import Linear, combination, constant, over_one_denominator
from qsmt_bitvector.rounding import clamped, rounded
from qsmt_bitvector.rules import leaky, products
from qsmt_bitvector.widths import Circuit

Ends = tuple[Fraction | None, Fraction | None]


@dataclass(frozen=True, slots=True)
class Approximate:
    """A value of the reference: `form`, and the least and greatest of what must be added to it."""

    form: Linear
    below: Fraction = Fraction(0)
    above: Fraction = Fraction(0)

    def within(self, ends: Ends, name: str) -> Approximate:
        """With bounds of the true value."""
        low, high = ends
        shifted = (None if low is None else low - self.above, None if high is None else high - self.below)
        return replace(self, form=self.form.within(*shifted, what=name))


def outputs(
    circuit: Circuit,
    layers: Sequence[Layer],
    known: Sequence[tuple[Interval, Interval]],
    x: list[Linear],
    *,
    bits: int,
) -> list[Approximate]:
    """The surrogates of the network's outputs; `known` are facts before and after each activation."""
    values = [Approximate(form) for form in x]
    for i, (layer, (before, after)) in enumerate(zip(layers, known, strict=True)):
        true, name = _ends(before), f"s{i}"
        values = [coarse(value, bits) for value in _affine(layer.affine, values)]
        values = [v.within(e, f"{name}.{k}") for k, (v, e) in enumerate(zip(values, true, strict=True))]
        for op in layer.activation:
            values = [
                _activated(circuit, op, v, e, f"{name}.{k}", bits=bits)
                for k, (v, e) in enumerate(zip(values, true, strict=True))
            ]
            true = [_clamped_ends(op, e) for e in true]
        values = [
            v.within(e, f"{name}.{k}") for k, (v, e) in enumerate(zip(values, _ends(after), strict=True))
        ]
    return values


def _ends(facts: Interval) -> list[Ends]:
    pairs = zip(facts.lower.tolist(), facts.upper.tolist(), strict=True)
    return [(_exact(low), _exact(high)) for low, high in pairs]


def _exact(bound: float) -> Fraction | None:
    return Fraction(bound) if isfinite(bound) else None


def _affine(op: Affine, x: list[Approximate]) -> list[Approximate]:
    """The exact sums of the forms; errors add up with the weights."""
    forms = products(op, over_one_denominator([v.form for v in x]))
    rows = op.weight.reals.fractions.tolist()
    return [
        Approximate(form, *_weighted(row, [(v.below, v.above) for v in x]))
        for form, row in zip(forms, rows, strict=True)
    ]


def _weighted(row: list[Fraction], errors: list[tuple[Fraction, Fraction]]) -> tuple[Fraction, Fraction]:
    pairs = [(w * low, w * high) for w, (low, high) in zip(row, errors, strict=True)]
    return sum((min(p) for p in pairs), Fraction(0)), sum((max(p) for p in pairs), Fraction(0))


def coarse(value: Approximate, bits: int) -> Approximate:
    """The same value with coefficients over a power of two, so that no term is off by more than 2**-bits."""
    form = value.form
    reach = max((max(-term.low, term.high) for term in form.parts), default=0)
    grid = 1 << (bits + reach.bit_length())
    if grid % form.denominator == 0:
        return value
    below, above = value.below, value.above
    parts, factors = [], []
    for term, coefficient in form.parts.items():
        true = Fraction(coefficient, form.denominator)
        factor = _nearest(true * grid)
        ends = [(true - Fraction(factor, grid)) * end for end in (term.low, term.high)]
        below, above = below + min(ends), above + max(ends)
        parts.append(Linear({term: 1}, 0, term.low, term.high))
        factors.append(factor)
    start = Fraction(form.constant, form.denominator)
    first = _nearest(start * grid)
    off = start - Fraction(first, grid)
    made = combination(factors, parts, first, grid)
    moved = Approximate(made, below + off, above + off)
    return moved.within((form.least + value.below, form.greatest + value.above), "a surrogate")


def _nearest(value: Fraction) -> int:
    return round_fraction(value, Rounding.HALF_UP)


def _activated(
    circuit: Circuit, op: Op, value: Approximate, true: Ends, name: str, *, bits: int
) -> Approximate:
    low, high = true
    if isinstance(op, LeakyRelu):
        return _leaky(circuit, op, value, true, name, bits=bits)
    lower, upper = limits(op)
    if lower is not None and high is not None and high <= lower:
        return Approximate(constant(lower))
    if upper is not None and low is not None and low >= upper:
        return Approximate(constant(upper))
    below_never = lower is None or (low is not None and low >= lower)
    above_never = upper is None or (high is not None and high <= upper)
    if below_never and above_never:
        return value
    floored = _floored(circuit, value, bits, name)
    form = clamped(circuit, floored.form, lower, upper, name)
    return Approximate(form, min(floored.below, Fraction(0)), max(floored.above, Fraction(0)))


def _leaky(
    circuit: Circuit, op: LeakyRelu, value: Approximate, true: Ends, name: str, *, bits: int
) -> Approximate:
    """It never increases a distance either; where the sign is known, it multiplies the error."""
    low, high = true
    if low is not None and low >= 0:
        return value
    if high is not None and high <= 0:
        return Approximate(value.form.scaled(op.slope), op.slope * value.below, op.slope * value.above)
    floored = _floored(circuit, value, bits, name)
    form = leaky(circuit, floored.form, op.slope, name)
    return Approximate(form, min(floored.below, Fraction(0)), max(floored.above, Fraction(0)))


def limits(op: Op) -> Ends:
    """What a clamp of the reference clamps to."""
    match op:
        case Relu():
            return Fraction(0), None
        case Clamp(lower=lower, upper=upper):
            return lower, upper
    raise AssertionError(f"{op} is no activation of a real network")


def _clamped_ends(op: Op, true: Ends) -> Ends:
    lower, upper = (None, None) if isinstance(op, LeakyRelu) else limits(op)

    def image(v: Fraction | None) -> Fraction | None:
        if v is None:
            return None
        if isinstance(op, LeakyRelu):
            return max(v, op.slope * v)
        above = v if lower is None else max(v, lower)
        return above if upper is None else min(above, upper)

    return image(true[0]), image(true[1])


def _floored(circuit: Circuit, value: Approximate, bits: int, name: str) -> Approximate:
    """With `bits` fractional bits: the upper bits of the sum, and nothing to compute."""
    if (1 << bits) % value.form.denominator == 0:
        return value
    whole = rounded(circuit, value.form.scaled(Fraction(1 << bits)), Rounding.FLOOR, f"{name}.cut")
    form = whole.scaled(Fraction(1, 1 << bits))
    return Approximate(form, value.below, value.above + Fraction(1, 1 << bits))
