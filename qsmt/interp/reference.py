"""The exact meaning of a real network: rational arithmetic, no rounding. An oracle.

Values are held as integers over one denominator, because a network's denominators are the same for
all neurons of a layer: a layer is one integer matrix product, and no fraction is ever reduced.

What tanh or sigmoid make of a rational number is none. From there on, values are held between two rationals
(qsmt.arith.curves), and every op maps both ends outward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TypeAlias

import numpy as np

from qsmt.arith.curves import PRECISION, Function, scaled_enclosure
from qsmt.arith.real import ExactArray
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Curve, LeakyRelu, Relu
from qsmt.ir.rules import Rules


@dataclass(frozen=True, slots=True)
class Enclosed:
    """Real vectors, one per point, each number between `middle - radius` and `middle + radius`.

    The radii are None where all numbers are known exactly.
    """

    middle: list[tuple[Fraction, ...]]
    radius: list[tuple[Fraction, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Ratios:
    """An array (points, n) of rationals over one positive denominator.

    With `upper`, of numbers between two such rationals; without, the rationals themselves.
    """

    numerators: ExactArray
    denominator: int
    upper: ExactArray | None = None

    def mapped(self, rule: Callable[[ExactArray], ExactArray], denominator: int) -> Ratios:
        """Through a rule that nowhere falls."""
        upper = None if self.upper is None else rule(self.upper)
        return Ratios(rule(self.numerators), denominator, upper)

    def fractions(self) -> list[tuple[Fraction, ...]]:
        """The rationals, or the lower ones, as one tuple per point."""
        return _over(self.numerators, self.denominator)

    def enclosed(self) -> Enclosed:
        """As fractions."""
        if self.upper is None:
            return Enclosed(self.fractions())
        twice = 2 * self.denominator
        middle, width = self.numerators + self.upper, self.upper - self.numerators
        return Enclosed(_over(middle, twice), _over(width, twice))


def _over(numerators: ExactArray, denominator: int) -> list[tuple[Fraction, ...]]:
    return [tuple(Fraction(n, denominator) for n in row) for row in numerators.tolist()]


Rule: TypeAlias = Callable[..., Ratios]
RULES: Rules[Rule] = Rules("the exact interpreter of real networks")


def ratios(points: Sequence[Sequence[Fraction]]) -> Ratios:
    """Points of equal length, over their least common denominator."""
    denominator = lcm(*(v.denominator for point in points for v in point))
    numerators = np.empty((len(points), len(points[0]) if points else 0), dtype=object)
    for row, point in enumerate(points):
        numerators[row] = [int(v * denominator) for v in point]
    return Ratios(numerators, denominator)


def enclose(network: Network, points: Sequence[Sequence[Fraction]]) -> Enclosed:
    """The outputs, one vector per point: exact unless the network has a tanh or a sigmoid."""
    if not points:
        return Enclosed([])
    value = ratios(points)
    for op in network.ops:
        value = RULES[type(op)](op, value)
    return value.enclosed()


def run(network: Network, points: Sequence[Sequence[Fraction]]) -> list[tuple[Fraction, ...]]:
    """The exact outputs, one tuple per point.

    Raises:
        ValueError: they are not rational (`enclose` takes such networks).
    """
    found = enclose(network, points)
    if found.radius is not None:
        raise ValueError(f"the outputs of @{network.name} are not rational")
    return found.middle


@RULES.register(Affine)
def _affine(op: Affine, x: Ratios) -> Ratios:
    weight, weight_denominator = op.weight.reals.scaled
    bias, bias_denominator = op.bias.reals.scaled
    denominator = lcm(weight_denominator * x.denominator, bias_denominator)
    factor = denominator // (weight_denominator * x.denominator)
    offset = bias * (denominator // bias_denominator)
    if x.upper is None:
        return Ratios((x.numerators @ weight.T) * factor + offset, denominator)
    middle = ((x.numerators + x.upper) @ weight.T) * factor + 2 * offset
    radius = ((x.upper - x.numerators) @ np.abs(weight).T) * factor
    return Ratios(middle - radius, 2 * denominator, middle + radius)


@RULES.register(Relu)
def _relu(_: Relu, x: Ratios) -> Ratios:
    return x.mapped(lambda v: np.maximum(v, 0), x.denominator)


@RULES.register(Clamp)
def _clamp(op: Clamp, x: Ratios) -> Ratios:
    limits = [v for v in (op.lower, op.upper) if v is not None]
    denominator = lcm(x.denominator, *(v.denominator for v in limits))

    def clamped(numerators: ExactArray) -> ExactArray:
        value = numerators * (denominator // x.denominator)
        if op.lower is not None:
            value = np.maximum(value, int(op.lower * denominator))
        return value if op.upper is None else np.asarray(np.minimum(value, int(op.upper * denominator)))

    return x.mapped(clamped, denominator)


@RULES.register(LeakyRelu)
def _leaky_relu(op: LeakyRelu, x: Ratios) -> Ratios:
    top, bottom = op.slope.numerator, op.slope.denominator
    return x.mapped(lambda v: np.maximum(v * bottom, v * top), x.denominator * bottom)


@RULES.register(Curve)
def _curve(op: Curve, x: Ratios) -> Ratios:
    if op.function is Function.HARD_SWISH:
        return _hard_swish(x)
    above = x.numerators if x.upper is None else x.upper

    def end(v: int, which: int) -> int:
        return scaled_enclosure(op.function, v, x.denominator)[which]

    of = np.frompyfunc(end, 2, 1)
    lower, upper = (np.asarray(of(v, i), dtype=object) for i, v in enumerate((x.numerators, above)))
    return Ratios(lower, 2**PRECISION, upper)


def _hard_swish(x: Ratios) -> Ratios:
    """x (x + 3) / 6 between -3 and 3: falls until -3/2, where it is -3/8, and rises from there."""
    three = 3 * x.denominator

    def quadruple(v: ExactArray) -> ExactArray:
        inner = np.minimum(np.maximum(v, -three), three)
        return np.asarray(4 * (inner * (inner + three) + 6 * x.denominator * np.maximum(v - three, 0)))

    denominator = 24 * x.denominator**2
    if x.upper is None:
        return Ratios(quadruple(x.numerators), denominator)
    ends = quadruple(x.numerators), quadruple(x.upper)
    turns = (2 * x.numerators < -three) & (2 * x.upper > -three)
    least = np.where(turns, -9 * x.denominator**2, np.minimum(*ends))
    return Ratios(least, denominator, np.maximum(*ends))
