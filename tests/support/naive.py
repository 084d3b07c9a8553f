"""What a network computes, written down a second time as plainly as possible: loops over `Fraction`s.

Shares no code with `qsmt.interp` or `qsmt.arith`: roundings and overflows are stated by their definitions.
Codes are never scaled by the rules under test either: an affine op multiplies the values that its
operands stand for, and divides by the unit of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor

from qsmt.arith.curves import Function, enclosure
from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Shift
from qsmt.arith.rounding import Rounding
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Curve, LeakyRelu, Op, Relu, Requantize
from qsmt.ir.types import Accumulator, AccumulatorOverflow, ElementType, Real

Vector = list[Fraction]
HALF = Fraction(1, 2)


def run(network: Network, point: Sequence[Fraction], *, middle: bool = False) -> tuple[Fraction, ...]:
    """The values of the outputs: reals, or what the output codes stand for.

    `middle`: where a value is not rational, the middle of its enclosure stands for it.
    """
    values = list(point)
    for op in network.ops:
        values = middles(op, values) if middle and isinstance(op, Curve) else step(op, values)
    return tuple(v * unit(network.output.type.element) for v in values)


def middles(op: Curve, x: Vector) -> Vector:
    return [sum(enclosure(op.function, v), Fraction(0)) / 2 for v in x]


def unit(kind: ElementType) -> Fraction:
    match kind:
        case Real():
            return Fraction(1)
        case Fixed():
            return Fraction(1, 2**kind.frac) if kind.frac >= 0 else Fraction(2**-kind.frac)
        case _:
            return kind.scale


def step(op: Op, x: Vector) -> Vector:
    match op:
        case Affine():
            return affine(op, x)
        case Relu():
            return [v if v > 0 else Fraction(0) for v in x]
        case Clamp():
            return [clamped(v, op.lower, op.upper) for v in x]
        case Requantize():
            return [requantized(op, v) for v in x]
        case LeakyRelu():
            return [v if v > 0 else op.slope * v for v in x]
        case Curve(function=Function.HARD_SWISH):
            return [v * clamped(v + 3, Fraction(0), Fraction(6)) / 6 for v in x]
        case Curve():
            raise AssertionError(f"{op.function} has no rational values")


def affine(op: Affine, x: Vector) -> Vector:
    kind, scale = op.out.type.element, unit(op.x.type.element)
    weights, biases = numbers(op.weight), numbers(op.bias)
    sums = []
    for i, bias in enumerate(biases):
        row = weights[i * len(x) : (i + 1) * len(x)]
        total = bias + sum(w * v * scale for w, v in zip(row, x, strict=True))
        sums.append(total / unit(kind))
    if isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP:
        return [wrapped(v, -(2 ** (kind.bits - 1)), 2**kind.bits) for v in sums]
    return sums


def numbers(const: Const) -> Vector:
    """What a constant's elements stand for, in row-major order."""
    if isinstance(const.type.element, Real):
        return list(const.reals.fractions.ravel())
    return [int(code) * unit(const.type.element) for code in const.codes.ravel()]


def clamped(value: Fraction, lower: Fraction | None, upper: Fraction | None) -> Fraction:
    if lower is not None and value < lower:
        return lower
    if upper is not None and value > upper:
        return upper
    return value


def requantized(op: Requantize, code: Fraction) -> Fraction:
    kind, target = op.rule.exact, op.out.type.element
    assert isinstance(target, Fixed)
    factor = Fraction(2) ** -kind.shift if isinstance(kind, Shift) else kind.multiplier
    return OVERFLOWS[op.overflow](target, Fraction(ROUNDINGS[kind.rounding](code * factor)))


def nearest(value: Fraction, tie: int) -> int:
    """The nearer integer; `tie` when two are equally near."""
    if value - floor(value) == HALF:
        return tie
    return floor(value) if value - floor(value) < HALF else ceil(value)


ROUNDINGS: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.FLOOR: floor,
    Rounding.CEIL: ceil,
    Rounding.TOWARD_ZERO: lambda v: floor(v) if v > 0 else ceil(v),
    Rounding.AWAY: lambda v: ceil(v) if v > 0 else floor(v),
    Rounding.HALF_UP: lambda v: nearest(v, ceil(v)),
    Rounding.HALF_DOWN: lambda v: nearest(v, floor(v)),
    Rounding.HALF_EVEN: lambda v: nearest(v, floor(v) if floor(v) % 2 == 0 else ceil(v)),
    Rounding.HALF_AWAY: lambda v: nearest(v, ceil(v) if v > 0 else floor(v)),
    Rounding.HALF_TOWARD_ZERO: lambda v: nearest(v, floor(v) if v > 0 else ceil(v)),
}


def ends(kind: Fixed) -> tuple[int, int]:
    return (-(2 ** (kind.bits - 1)), 2 ** (kind.bits - 1) - 1) if kind.signed else (0, 2**kind.bits - 1)


def wrapped(value: Fraction, low: int, count: int) -> Fraction:
    """`value` moved by multiples of `count` into the `count` integers from `low` on."""
    while value < low:
        value += count * max(1, floor((low - value) / count))
    while value >= low + count:
        value -= count * max(1, floor((value - low) / count))
    return value


def saturated(kind: Fixed, v: Fraction, *, symmetric: bool = False) -> Fraction:
    low, high = ends(kind)
    return clamped(v, Fraction(-high if symmetric and kind.signed else low), Fraction(high))


OVERFLOWS: dict[Overflow, Callable[[Fixed, Fraction], Fraction]] = {
    Overflow.SATURATE: saturated,
    Overflow.WRAP: lambda kind, v: wrapped(v, ends(kind)[0], 2**kind.bits),
    Overflow.SATURATE_SYMMETRIC: lambda kind, v: saturated(kind, v, symmetric=True),
    Overflow.SATURATE_ZERO: lambda kind, v: v if ends(kind)[0] <= v <= ends(kind)[1] else Fraction(0),
}
