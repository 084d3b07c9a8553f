"""Rounding as integer rows: what pins an integer `y` to the rounded value of an expression.

Where `round(n/q) = floor((n + k)/q)`, a requantization `y = round(acc * p/q)` is, over the integers, exactly

    p*acc + k - (q - 1)  <=  q*y  <=  p*acc + k

because that window holds q consecutive integers, one of which is a multiple of q. No tolerance is added
anywhere. The other roundings differ from such a floor only in the k, and one binary says which applies:
for HALF_EVEN the parity of y, for the roundings that look at the sign the sign of acc.

Rows with a large p or q would drown in a solver's integrality tolerance. For them the staircase: one binary
for each threshold that the accumulator may reach, `y = first + sum of b`, where `b = 1 iff acc >= t`; a table that also
falls has steps down.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from qsmt.arith.requantize import pieces
from qsmt.arith.rounding import Rounding, floor_offset
from qsmt_milp.model import Builder, Exact, Linear, combination
from qsmt_milp.neuron import NONNEGATIVE, NONPOSITIVE, Neuron
from qsmt_milp.ranges import LARGEST

MAX_FACTOR = 2**24
"""The largest p or q in a row: an integer that is off by a tolerance of 1e-9 then moves it by 0.02 units."""


@dataclass(frozen=True, slots=True)
class Window:
    """`below <= unit * y <= above`, true of one y only; with the extreme values that the sides take."""

    below: Linear
    above: Linear
    unit: int
    greatest_below: Exact
    least_above: Exact


def fits_rows(neuron: Neuron) -> bool:
    """Can the neuron's rule be written as a window, rather than as a staircase?"""
    assert neuron.rule is not None
    if neuron.rule.exact_kind is None:
        return False
    p, q = _ratio(neuron)
    return max(p, q) <= MAX_FACTOR and p * max(-neuron.low, neuron.high) <= 2**LARGEST


def _ratio(neuron: Neuron) -> tuple[int, int]:
    """The multiplier of an exact rule."""
    assert neuron.rule is not None
    return neuron.rule.exact.multiplier.as_integer_ratio()


def window(builder: Builder, name: str, *, neuron: Neuron, value: Linear) -> Window:
    """What pins `value` to the neuron before its clamp."""
    if neuron.rule is None:
        return Window(neuron.form, neuron.form, 1, neuron.high, neuron.low)
    if neuron.rounding is Rounding.HALF_EVEN:
        return _half_even(builder, name, neuron, value)
    if neuron.rounding in NONNEGATIVE:
        return _signed(builder, name, neuron)
    return _floor_like(neuron)


def _floor_like(neuron: Neuron) -> Window:
    p, q = _ratio(neuron)
    k = offset(q, neuron.rounding)
    above = neuron.form * p + k
    return Window(above - (q - 1), above, q, p * neuron.high + k - (q - 1), p * neuron.low + k)


def _signed(builder: Builder, name: str, neuron: Neuron) -> Window:
    """Two offsets: one for acc >= 0, one for acc < 0, and a binary that is 1 iff acc < 0."""
    p, q = _ratio(neuron)
    plus, minus = (offset(q, twin[neuron.rounding]) for twin in (NONNEGATIVE, NONPOSITIVE))
    negative = builder.binary(f"{name}.neg")
    builder.at_least(f"{name}.neg.if", neuron.form - negative * neuron.low)
    builder.at_most(f"{name}.neg.iff", neuron.form + negative * (neuron.high + 1), neuron.high)
    above = combination((p, minus - plus), (neuron.form, negative), plus)
    greatest = max(p * neuron.high + plus, minus - p)
    least = min(p * neuron.low + minus, plus)
    return Window(above - (q - 1), above, q, greatest - (q - 1), least)


def _half_even(builder: Builder, name: str, neuron: Neuron, value: Linear) -> Window:
    """`|p*acc - q*y| <= q/2` for an even y, which takes both of its ties, and `< q/2` for an odd one."""
    p, q = _ratio(neuron)
    least, greatest = (int(neuron(end)) for end in (neuron.low, neuron.high))
    odd = builder.binary(f"{name}.odd")
    pairs = builder.variable(f"{name}.pairs", least // 2, greatest // 2, integer=True)
    builder.equal(f"{name}.parity", combination((1, -2, -1), (value, pairs, odd)))
    scaled, half = neuron.form * p, q // 2
    return Window(
        scaled + odd - half, scaled - odd + half, q, p * neuron.high + 1 - half, p * neuron.low - 1 + half
    )


def offset(denominator: int, rounding: Rounding) -> int:
    """The k of a rounding that is a floor in disguise."""
    k = floor_offset(denominator, rounding)
    assert k is not None, f"{rounding} over {denominator} is not floor-like"
    return k


def stairs(builder: Builder, name: str, neuron: Neuron) -> Linear:
    """The rounded and clamped neuron, threshold by threshold."""
    assert neuron.rule is not None
    steps = pieces(lambda acc: int(neuron(acc)), neuron.rule.table, int(neuron.low), int(neuron.high))
    reached = [_reached(builder, f"{name}.ge{t}.{k}", neuron, t) for k, t in enumerate(steps.thresholds)]
    for k, (first, then) in enumerate(pairwise(reached)):
        builder.at_most(f"{name}.order.{k}", then - first)
    heights = [after - before for before, after in pairwise(steps.values)]
    return combination(heights, reached, steps.values[0])


def _reached(builder: Builder, name: str, neuron: Neuron, threshold: int) -> Linear:
    """A binary that is 1 iff acc >= threshold."""
    reached = builder.binary(name)
    builder.at_least(f"{name}.if", neuron.form - reached * (threshold - neuron.low), neuron.low)
    builder.at_most(f"{name}.iff", neuron.form - reached * (neuron.high - threshold + 1), threshold - 1)
    return reached
