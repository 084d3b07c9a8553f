"""Interval propagation through one network: every op's exact image, at the speed of arrays.

Reals are bounded outward. Codes are integers and their bounds are exact as long as doubles hold them:
affine ops through integer arithmetic below 2**52, requantization by the exact rule at both ends, which
is the exact image because rounding and saturation are monotone. Where an accumulator or a code may
leave its range and wrap, the image is the full range; where it becomes zero, the part in range and zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.arith.fixed import Format, Overflow
from qsmt.dra.affine import AffineMap, affine_map, integer_map, of_const
from qsmt.dra.domain import BoolArray, Limits, limits_between
from qsmt.dra.rounding import IntervalRounding, RuntimeRounding, ScaledRounding
from qsmt.dra.shape import shape_of
from qsmt.facts import Interval
from qsmt.ir.ops import Affine, Clamp, Curve, LeakyRelu, Op, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow


@dataclass(frozen=True, slots=True, eq=False)
class Ranged:
    """Bounds of the values of a vector, in units of its type.

    `regular` says where the layer's ops so far have computed what their formula says (see
    qsmt.dra.activation): nothing has wrapped or been zeroed.
    """

    interval: Interval
    regular: BoolArray


AffineStep: TypeAlias = Callable[[Interval], Ranged]
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
    transfer = affine_step(op, linear_part(op))
    return lambda x: transfer(x.interval)


def affine_step(op: Affine, linear: AffineMap) -> AffineStep:
    """The transfer function of an affine op, from its prepared map."""
    kind = op.out.type.element
    if isinstance(kind, Accumulator):
        return lambda x: _wrapped(kind, _integers(linear.image(x)))
    return lambda x: _regular(linear.image(x))


def _regular(values: Interval) -> Ranged:
    return Ranged(values, np.ones(values.lower.shape, dtype=np.bool_))


def _integers(values: Interval) -> Interval:
    """The integers inside: what rounding outward has added to an integer goes away again."""
    return Interval(np.ceil(values.lower), np.floor(values.upper))


def _wrapped(kind: Accumulator, sums: Interval) -> Ranged:
    if kind.overflow is AccumulatorOverflow.EXACT:
        return _regular(sums)
    return _wrap(sums, type_limits(kind))


def type_limits(kind: Format | Accumulator) -> Limits:
    """The range of an integer type."""
    return limits_between(Fraction(kind.min), Fraction(kind.max))


@RULES.register(Relu)
def _relu(_: Relu) -> Step:
    return _clamp_to(limits_between(Fraction(0), None))


@RULES.register(Clamp)
def _clamp(op: Clamp) -> Step:
    return _clamp_to(limits_between(op.lower, op.upper))


def _clamp_to(limits: Limits) -> Step:
    return lambda x: Ranged(limits.of(x.interval), x.regular)


@RULES.register(LeakyRelu, Curve)
def _shape(op: LeakyRelu | Curve) -> Step:
    shape = shape_of(op)
    return lambda x: Ranged(shape.image(x.interval), x.regular)


@RULES.register(Requantize)
def _requantize(op: Requantize) -> Step:
    rounding = rounding_of(op)
    limits = type_limits(op.target)

    def apply(x: Ranged) -> Ranged:
        codes = _overflow(op, rounding.of_interval(x.interval), limits)
        return Ranged(codes.interval, codes.regular & x.regular)

    return apply


def rounding_of(op: Requantize) -> IntervalRounding:
    """A requantization without its overflow."""
    if op.runtime_kinds:
        source = op.x.type.element
        assert isinstance(source, Format | Accumulator)
        return RuntimeRounding(op.runtime_kinds, (source.min, source.max))
    return ScaledRounding(op.rule.exact.multiplier, op.rule.exact.rounding, integral=True)


def _overflow(op: Requantize, codes: Interval, limits: Limits) -> Ranged:
    """The image of rounded codes under the target's overflow rule."""
    match op.overflow:
        case Overflow.SATURATE:
            return _regular(limits.of(codes))
        case Overflow.SATURATE_SYMMETRIC:
            least = -op.target.max if op.target.signed else 0
            return _regular(limits_between(Fraction(least), Fraction(op.target.max)).of(codes))
        case Overflow.WRAP:
            return _wrap(codes, limits)
        case Overflow.SATURATE_ZERO:
            return _zero(codes, limits)


def _fits(values: Interval, limits: Limits) -> BoolArray:
    """Where no value can leave the range."""
    fits: BoolArray = (values.lower >= limits.lower_up) & (values.upper <= limits.upper_down)
    return fits


def _wrap(values: Interval, limits: Limits) -> Ranged:
    fits = _fits(values, limits)
    lower = np.where(fits, values.lower, limits.lower_down)
    return Ranged(Interval(lower, np.where(fits, values.upper, limits.upper_up)), fits)


def _zero(values: Interval, limits: Limits) -> Ranged:
    """The part in range, if there is one, and zero if some are not in it. Zero is in every range."""
    fits = _fits(values, limits)
    some = (values.lower <= limits.upper_up) & (values.upper >= limits.lower_down)
    part = limits.of(values)
    lower = np.where(some, np.where(fits, part.lower, np.minimum(part.lower, 0.0)), 0.0)
    upper = np.where(some, np.where(fits, part.upper, np.maximum(part.upper, 0.0)), 0.0)
    return Ranged(Interval(lower, upper), fits)
