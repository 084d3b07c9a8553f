"""Real networks on thousands of inputs at once, in doubles, with a bound of the error.

`radius` is a bound of |double - exact| per neuron that holds for every point of the batch (qsmt.arith.outward gives the
error model).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from qsmt.arith.curves import STEEPEST, bounds
from qsmt.arith.outward import SMALLEST, float_up, gamma, inflate, up
from qsmt.arith.real import FloatArray
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Clamp, Curve, LeakyRelu, Relu
from qsmt.ir.rules import Rules


@dataclass(frozen=True, slots=True)
class Enclosure:
    """Values (points, n), and a bound of their error (n,) that holds for every point."""

    values: FloatArray
    radius: FloatArray

    @property
    def magnitude(self) -> FloatArray:
        """An upper bound of |exact| and |value| per neuron, shape (n,).

        The largest value of all neurons stands for each: that costs a thirtieth of one maximum per column,
        which would be a third of all the time, and the error bound of the next layer is hardly larger.
        """
        return up(max(self.values.max(initial=0.0), -self.values.min(initial=0.0)) + self.radius)


def largest(values: FloatArray) -> FloatArray:
    """The largest absolute value per column, zero if there are no rows."""
    largest: FloatArray = np.maximum(values.max(axis=0, initial=0.0), -values.min(axis=0, initial=0.0))
    return largest


Step: TypeAlias = Callable[[Enclosure], Enclosure]
F = TypeVar("F", bound=npt.NDArray[np.floating[Any]])

REAL_RULES: Rules[Callable[..., Step]] = Rules("the batch interpreter of real networks")


def real_side(network: Network) -> Step:
    """From a real network's input to its output; zeros of a network that puts out nothing else are not computed."""
    if network.is_silent:
        zero = np.zeros(network.output.size)
        return lambda x: Enclosure(np.zeros((len(x.values), len(zero))), zero)
    steps = [REAL_RULES[type(op)](op) for op in network.ops]

    def through(value: Enclosure) -> Enclosure:
        for step in steps:
            value = step(value)
        return value

    return through


def scaled_input(points: FloatArray, scale: Fraction) -> Enclosure:
    """`scale * x`: one rounding for the factor, one for the product; none for a power of two."""
    nearest = float(scale)
    off = abs(scale - Fraction(nearest))
    exact = off == 0 and (scale.numerator & (scale.numerator - 1)) == 0
    magnitude = largest(points)
    per_unit = 0.0 if exact else float_up(off + abs(scale) * Fraction(1, 2**52))
    radius = inflate(magnitude * per_unit, 2) if per_unit else np.zeros_like(magnitude)
    return Enclosure(points * nearest, radius if scale >= 1 else radius + SMALLEST)  # it may underflow


def layer_values(network: Network, points: FloatArray) -> list[FloatArray]:
    """What each layer of a real network computes on points (points, n), after its activation, nearly."""
    ends = {layer.post.name for layer in layers(network)}
    value, found = Enclosure(points, np.zeros(points.shape[1])), []
    with np.errstate(over="ignore", invalid="ignore"):
        for op in network.ops:
            value = REAL_RULES[type(op)](op)(value)
            if op.out.name in ends:
                found.append(value.values.copy())
    return found


@REAL_RULES.register(Affine)
def _real_affine(op: Affine) -> Step:
    weight, bias = op.weight.reals, op.bias.reals
    transposed = np.ascontiguousarray(weight.nearest.T)
    absolute, off = np.abs(weight.nearest), weight.radius
    terms = weight.shape[1] + 1
    inexact = bool(off.any() or bias.radius.any())

    def step(x: Enclosure) -> Enclosure:
        magnitude = x.magnitude
        rounding = gamma(terms) * (absolute @ magnitude + np.abs(bias.nearest))
        error = absolute @ x.radius + rounding
        if inexact:
            error = error + off @ magnitude + bias.radius
        values = x.values @ transposed
        values += bias.nearest
        return Enclosure(values, inflate(error, 4 * terms))

    return step


@REAL_RULES.register(Relu)
def _real_relu(_: Relu) -> Step:
    return lambda x: Enclosure(clipped(x.values, 0.0, np.inf), x.radius)


@REAL_RULES.register(Clamp)
def _real_clamp(op: Clamp) -> Step:
    limits = [v for v in (op.lower, op.upper) if v is not None]
    low, high = _limits(op)
    off = float_up(max((abs(v - Fraction(float(v))) for v in limits), default=Fraction(0)))
    return lambda x: Enclosure(clipped(x.values, low, high), x.radius if off == 0 else up(x.radius + off))


@REAL_RULES.register(LeakyRelu)
def _real_leaky_relu(op: LeakyRelu) -> Step:
    slope = float(op.slope)
    per_unit = float_up(abs(op.slope - Fraction(slope)) + op.slope * Fraction(1, 2**52))

    def step(x: Enclosure) -> Enclosure:
        error = x.radius + per_unit * x.magnitude + SMALLEST
        return Enclosure(np.where(x.values < 0.0, slope * x.values, x.values), inflate(error, 4))

    return step


@REAL_RULES.register(Curve)
def _real_curve(op: Curve) -> Step:
    """The value lies between doubles; an error before it is multiplied by at most the greatest slope."""
    steepest = STEEPEST[op.function]

    def step(x: Enclosure) -> Enclosure:
        found = bounds(op.function, x.values)
        width = largest(found.upper - found.lower)
        return Enclosure(0.5 * found.lower + 0.5 * found.upper, inflate(width + steepest * x.radius, 4))

    return step


def clipped(values: F, low: float, high: float) -> F:
    """In place; `np.clip` is several times faster than `np.maximum` with a scalar."""
    np.clip(values, low, high, out=values)
    return values


def _limits(op: Clamp) -> tuple[float, float]:
    low = -np.inf if op.lower is None else float(op.lower)
    return low, np.inf if op.upper is None else float(op.upper)
