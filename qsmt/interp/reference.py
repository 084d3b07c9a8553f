"""The exact meaning of a real network: rational arithmetic, no rounding. An oracle.

Values are held as integers over one denominator, because a network's denominators are the same for
all neurons of a layer: a layer is one integer matrix product, and no fraction is ever reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TypeAlias

import numpy as np

from qsmt.arith.real import ExactArray
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Relu
from qsmt.ir.rules import Rules


@dataclass(frozen=True, slots=True)
class Ratios:
    """An array (points, n) of rationals over one positive denominator."""

    numerators: ExactArray
    denominator: int

    def fractions(self) -> list[tuple[Fraction, ...]]:
        """One tuple per point."""
        return [tuple(Fraction(n, self.denominator) for n in row) for row in self.numerators.tolist()]


Rule: TypeAlias = Callable[..., Ratios]
RULES: Rules[Rule] = Rules("the exact interpreter of real networks")


def ratios(points: Sequence[Sequence[Fraction]]) -> Ratios:
    """Points of equal length, over their least common denominator."""
    denominator = lcm(*(v.denominator for point in points for v in point))
    numerators = np.empty((len(points), len(points[0]) if points else 0), dtype=object)
    for row, point in enumerate(points):
        numerators[row] = [int(v * denominator) for v in point]
    return Ratios(numerators, denominator)


def run(network: Network, points: Sequence[Sequence[Fraction]]) -> list[tuple[Fraction, ...]]:
    """The exact outputs, one tuple per point."""
    if not points:
        return []
    value = ratios(points)
    for op in network.ops:
        value = RULES[type(op)](op, value)
    return value.fractions()


@RULES.register(Affine)
def _affine(op: Affine, x: Ratios) -> Ratios:
    weight, weight_denominator = op.weight.reals.scaled
    bias, bias_denominator = op.bias.reals.scaled
    denominator = lcm(weight_denominator * x.denominator, bias_denominator)
    products = (x.numerators @ weight.T) * (denominator // (weight_denominator * x.denominator))
    return Ratios(products + bias * (denominator // bias_denominator), denominator)


@RULES.register(Relu)
def _relu(_: Relu, x: Ratios) -> Ratios:
    return Ratios(np.maximum(x.numerators, 0), x.denominator)


@RULES.register(Clamp)
def _clamp(op: Clamp, x: Ratios) -> Ratios:
    limits = [v for v in (op.lower, op.upper) if v is not None]
    denominator = lcm(x.denominator, *(v.denominator for v in limits))
    value = x.numerators * (denominator // x.denominator)
    if op.lower is not None:
        value = np.maximum(value, int(op.lower * denominator))
    if op.upper is not None:
        value = np.minimum(value, int(op.upper * denominator))
    return Ratios(value, denominator)
