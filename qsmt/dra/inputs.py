"""The input relation as intervals: what each network reads of a box of x, and their difference.

grid        the reference reads s_r x, the quantized network x, which stands for s_q x;
            the difference is (s_q - s_r) x
continuous  both read s_r x, the quantized one through round-half-even and saturation: an
            activation whose difference is zero before it and whose noise is half a unit
two reals   both read s_r x; no difference
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
from qsmt.dra.domain import Boxes, scaled
from qsmt.dra.interval import type_limits
from qsmt.dra.rounding import ScaledRounding
from qsmt.facts import Interval
from qsmt.problem import INPUT_ROUNDING, InputModel

LEAST_DRIFT = Fraction(1, 2**1000)
"""A smaller drift has no double within a rounding error of it; then only the bounds of the difference are used."""


@dataclass(frozen=True, eq=False)
class InputFacts:
    """Bounds of what the first layers read: reals, codes (or reals), and quantized minus reference.

    The reference reads `scale` x. The difference is `drift` x, or only known by its bounds.
    """

    reference: Interval
    quantized: Interval
    difference: Interval
    x: Interval
    scale: float
    drift: float | None

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
        names = ("reference", "quantized", "difference", "x")
        return self if count == 1 else replace(self, **{n: getattr(self, n).repeated(count) for n in names})


def middle_of(x: Interval) -> tuple[FloatArray, FloatArray]:
    """Centre and radius (boxes, 1, n) of a box, widened for the rounding of a product with them."""
    mean = 0.5 * x.lower + 0.5 * x.upper
    half = np.maximum(x.upper - mean, mean - x.lower)
    half = half + gamma(4 * mean.shape[-1] + 32) * (np.abs(mean) + half) + SMALLEST * 8
    return mean[:, None, :], half[:, None, :]


def input_facts(relation: InputRelation, boxes: Boxes) -> InputFacts:
    """The relation's image of a batch of boxes."""
    x = boxes.interval
    reference = scaled(x, relation.scale)
    scale = float(relation.scale)
    if relation.format is None:
        zero = np.zeros_like(x.lower)
        return InputFacts(reference, reference, Interval(zero, zero), x, scale, 0.0)
    if relation.model is InputModel.GRID:
        codes, drift = Interval(np.floor(x.lower), np.ceil(x.upper)), relation.format.scale - relation.scale
        as_form = float(drift) if drift == 0 or abs(drift) >= LEAST_DRIFT else None
        return InputFacts(reference, codes, scaled(x, drift), x, scale, as_form)
    codes = _quantized(relation, relation.format, x)
    return InputFacts(reference, codes, _rounding_error(relation.format, reference, codes), x, scale, None)


def _quantized(relation: InputRelation, kind: Format, x: Interval) -> Interval:
    """The codes of a box of reals: the input quantizer is monotone, so its ends decide."""
    if isinstance(kind, Quantized):
        ends = scaled(x, relation.scale)
        return Interval(kind.read_array(ends.lower), kind.read_array(ends.upper))
    rounding = ScaledRounding(relation.scale / kind.scale, INPUT_ROUNDING, integral=False)
    return type_limits(kind).of(rounding.of_interval(x))


def _rounding_error(kind: Format, reference: Interval, codes: Interval) -> Interval:
    """Bounds of clamp(r + noise) - r, r the real input."""
    noise = kind.read_noise * kind.scale
    quantizer = Formula(kind.min * kind.scale, kind.max * kind.scale, -noise, noise)
    zero = np.zeros_like(reference.lower)
    known = Before(reference, reference, Interval(zero, zero), scaled(codes, kind.scale))
    return difference_after(known, compiled(quantizer), compiled(Formula()))
