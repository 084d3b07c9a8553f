"""Interval propagation through one network: every op's exact image, at the speed of arrays.

Reals are bounded outward. Codes are integers and their bounds are exact as long as doubles hold them:
affine ops through integer arithmetic below 2**52, requantization by the exact rule at both ends, which
is the exact image because rounding and saturation are monotone. Where an accumulator or a code may
leave its range and wrap, the image is the full range; where it becomes zero, the part in range and zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.outward import float_down, float_up
from qsmt.dra.affine import AffineMap, affine_map, integer_map, of_const
from qsmt.dra.domain import BoolArray, point
from qsmt.dra.rounding import ScaledRounding
from qsmt.facts import Interval
from qsmt.ir.ops import Affine, Clamp, Op, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real


@dataclass(frozen=True, slots=True, eq=False)
class Ranged:
    """Bounds of the values of a vector, in units of its type.

    `regular` says where the layer's ops so far have computed what their formula says (see
    qsmt.dra.activation): nothing has wrapped or been zeroed.
    """

    interval: Interval
    regular: BoolArray


Step: TypeAlias = Callable[[Ranged], Ranged]
RULES: Rules[Callable[..., Step]] = Rules("the interval domain")


def step(op: Op) -> Step:
    """The transfer function of one op."""
    return RULES[type(op)](op)


def linear_part(op: Affine) -> AffineMap:
    """An affine op's map in units of its operands' types."""
    if isinstance(op.out.type.element, Accumulator):
        return integer_map(*op.integers)
    return affine_map(of_const(op.weight), of_const(op.bias))


@RULES.register(Affine)
def _affine(op: Affine) -> Step:
    return affine_step(op, linear_part(op))


def affine_step(op: Affine, linear: AffineMap) -> Step:
    """The transfer function of an affine op, from its prepared map."""
    kind = op.out.type.element
    if isinstance(kind, Accumulator):
        return lambda x: _wrapped(kind, _integers(linear.image(x.interval)))
    return lambda x: _regular(linear.image(x.interval))


def _regular(values: Interval) -> Ranged:
    return Ranged(values, np.ones(values.lower.shape, dtype=np.bool_))


def _integers(values: Interval) -> Interval:
    """The integers inside: what rounding outward has added to an integer goes away again."""
    return Interval(np.ceil(values.lower), np.floor(values.upper))


def _wrapped(kind: Accumulator, sums: Interval) -> Ranged:
    if kind.overflow is AccumulatorOverflow.EXACT:
        return _regular(sums)
    fits = _fits(sums, kind)
    return Ranged(_within(fits, sums, kind), fits)


def _fits(values: Interval, kind: Fixed | Accumulator) -> BoolArray:
    """Where no value can leave the range of the type."""
    low, high = point_of_min(kind), point_of_max(kind)
    fits: BoolArray = (values.lower >= low.upper) & (values.upper <= high.lower)
    return fits


def _within(fits: BoolArray, values: Interval, kind: Fixed | Accumulator) -> Interval:
    """The values where they fit, else the type's full range."""
    low, high = point_of_min(kind), point_of_max(kind)
    return Interval(np.where(fits, values.lower, low.lower), np.where(fits, values.upper, high.upper))


@RULES.register(Relu)
def _relu(_: Relu) -> Step:
    return lambda x: Ranged(
        Interval(np.maximum(x.interval.lower, 0.0), np.maximum(x.interval.upper, 0.0)), x.regular
    )


@RULES.register(Clamp)
def _clamp(op: Clamp) -> Step:
    low = (-np.inf, -np.inf) if op.lower is None else (float_down(op.lower), float_up(op.lower))
    high = (np.inf, np.inf) if op.upper is None else (float_down(op.upper), float_up(op.upper))

    def apply(x: Ranged) -> Ranged:
        lower = np.minimum(np.maximum(x.interval.lower, low[0]), high[0])
        return Ranged(Interval(lower, np.minimum(np.maximum(x.interval.upper, low[1]), high[1])), x.regular)

    return apply


@RULES.register(Requantize)
def _requantize(op: Requantize) -> Step:
    rule = op.rule
    rounding = ScaledRounding(rule.kind.multiplier, rule.kind.rounding, integral=True)
    into = _OVERFLOW[rule.overflow]

    def apply(x: Ranged) -> Ranged:
        codes = into(rounding.of_interval(x.interval), rule.target)
        return Ranged(codes.interval, codes.regular & x.regular)

    return apply
