"""The input relation as intervals: what each network reads of a box of x, and their difference.

grid        the reference reads s_r x, the quantized network x, which stands for s_q x;
            the difference is (s_q - s_r) x
continuous  both read s_r x, the quantized one through round-half-even and saturation: an
            activation whose difference is zero before it and whose noise is half a unit. Where a box
            holds reals of one code only, that stands for a number c, and the difference is c - s_r x
two reals   both read s_r x; no difference

A search cuts reals that are quantized between two doubles that are `NEAR`, where a code ends (`threshold`). Each part
stands for the reals up to so many doubles beyond its ends as well, as far as they read a code that the part reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from qsmt.arith.fixed import Format, Quantized
from qsmt.arith.outward import SMALLEST, gamma
from qsmt.arith.real import FloatArray
from qsmt.dra.activation import Before, Formula, compiled, difference_after
from qsmt.dra.compiled import InputRelation
from qsmt.dra.domain import BoolArray, Boxes, scaled, select
from qsmt.dra.interval import type_limits
from qsmt.dra.rounding import ScaledRounding
from qsmt.facts import Interval
from qsmt.problem import INPUT_ROUNDING, InputModel

NEAR = 8
"""Doubles: a product with the input's scale, rounded outward, reads one code for sure that far from a threshold."""

LEAST_DRIFT = Fraction(1, 2**1000)
"""A smaller drift has no double within a rounding error of it; then only the bounds of the difference are used."""


@dataclass(frozen=True, eq=False)
class InputFacts:
    """Bounds of what the first layers read: reals, codes (or reals), and quantized minus reference.

    The reference reads `scale` x. The difference is `drift` x plus `rest`, of which only bounds are known, if not zero.
    """

    reference: Interval
    quantized: Interval
    difference: Interval
    x: Interval
    scale: float
    drift: float | FloatArray  # one for all, or (boxes, n)
    rest: Interval | None

    @cached_property
    def middle(self) -> tuple[FloatArray, FloatArray]:
        """Centre and radius of x."""
        return middle_of(self.x)

    @cached_property
    def magnitude(self) -> FloatArray:
        """At least |x|."""
        return np.maximum(np.abs(self.x.lower), np.abs(self.x.upper))

    def repeated(self, count: int) -> InputFacts:
        """The same boxes so many times, one copy after the other."""
        if count == 1:
            return self
        drift = self.drift if isinstance(self.drift, float) else np.tile(self.drift, (count, 1))
        names = ("reference", "quantized", "difference", "x", *(("rest",) if self.rest else ()))
        return replace(self, drift=drift, **{n: getattr(self, n).repeated(count) for n in names})


def middle_of(x: Interval) -> tuple[FloatArray, FloatArray]:
    """Centre and radius (boxes, 1, n) of a box, widened for the rounding of a product with them."""
    mean = 0.5 * x.lower + 0.5 * x.upper
    half = np.maximum(x.upper - mean, mean - x.lower)
    half = half + gamma(4 * mean.shape[-1] + 32) * (np.abs(mean) + half) + SMALLEST * 8
    return mean[:, None, :], half[:, None, :]


def input_facts(relation: InputRelation, boxes: Boxes) -> InputFacts:
    """The relation's image of a batch of boxes."""
    x = boxes.interval
    scale = float(relation.scale)
    if relation.format is not None and relation.model is InputModel.CONTINUOUS:
        return _rounded(relation, relation.format, x, are_parts=boxes.are_parts)
    reference = scaled(x, relation.scale)
    if relation.format is None:
        zero = np.zeros_like(x.lower)
        return InputFacts(reference, reference, Interval(zero, zero), x, scale, 0.0, None)
    codes, drift = Interval(np.floor(x.lower), np.ceil(x.upper)), relation.format.scale - relation.scale
    difference, is_form = scaled(x, drift), drift == 0 or abs(drift) >= LEAST_DRIFT
    one, rest = (float(drift), None) if is_form else (0.0, difference)
    return InputFacts(reference, codes, difference, x, scale, one, rest)


def _rounded(relation: InputRelation, kind: Format, x: Interval, *, are_parts: bool) -> InputFacts:
    """Of boxes of reals that are quantized."""
    codes = codes_of(relation, x)
    x = with_neighbours(x) if are_parts else x
    reference, scale = scaled(x, relation.scale), float(relation.scale)
    difference = _rounding_error(kind, reference, codes)
    one = codes.lower == codes.upper
    rest = select(one, scaled(codes, kind.scale), difference)
    return InputFacts(reference, codes, difference, x, scale, np.where(one, -scale, 0.0), rest)


def with_neighbours(x: Interval) -> Interval:
    """The reals up to `NEAR` doubles beyond the ends."""
    for _ in range(NEAR):
        x = Interval(np.nextafter(x.lower, -np.inf), np.nextafter(x.upper, np.inf))
    return x


def codes_of(relation: InputRelation, x: Interval) -> Interval:
    """The codes of a box of reals: the input quantizer is monotone, so its ends decide."""
    kind = relation.format
    assert kind is not None
    if isinstance(kind, Quantized):
        ends = scaled(x, relation.scale)
        return Interval(kind.read_array(ends.lower), kind.read_array(ends.upper))
    rounding = ScaledRounding(relation.scale / kind.scale, INPUT_ROUNDING, integral=False)
    return type_limits(kind).of(rounding.of_interval(x))


def threshold(
    relation: InputRelation, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Two doubles near each other, between which the code in the middle of [low, high] ends; and where it does.

    A real between the two reads a code of one of the parts [low, first] and [second, high], since no code lies
    between the last of the one and the first of the other.
    """
    whole = codes_of(relation, Interval(low, high))
    last = np.floor(0.5 * whole.lower + 0.5 * whole.upper - 0.25)  # of the lower part
    first, second = low, high
    while True:
        middle = 0.5 * first + 0.5 * second
        inside = (first < middle) & (middle < second)
        if not inside.any():
            break
        stays = codes_of(relation, Interval(middle, middle)).upper <= last
        first = np.where(inside & stays, middle, first)
        second = np.where(inside & ~stays, middle, second)
    second = np.nextafter(first, np.inf)
    for _ in range(NEAR - 1):
        left = codes_of(relation, Interval(second, second)).lower <= last
        second = np.where(left, np.nextafter(second, np.inf), second)
    lower, upper = (codes_of(relation, part) for part in (Interval(low, first), Interval(second, high)))
    shorter = (lower.upper <= last) & (upper.lower > last) & (second <= high)
    return first, second, shorter & (upper.lower <= lower.upper + 1)


def _rounding_error(kind: Format, reference: Interval, codes: Interval) -> Interval:
    """Bounds of clamp(r + noise) - r, r the real input."""
    noise = kind.read_noise * kind.scale
    quantizer = Formula(kind.min * kind.scale, kind.max * kind.scale, -noise, noise)
    zero = np.zeros_like(reference.lower)
    known = Before(reference, reference, Interval(zero, zero), scaled(codes, kind.scale))
    return difference_after(known, compiled(quantizer), compiled(Formula()))
