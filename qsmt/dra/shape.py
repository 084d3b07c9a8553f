"""Activations that are no clamps: images, slopes, and lines around them, sound over the reals.

A shape is an elementwise function f of reals that consists of a few pieces, each linear, convex or concave: leaky
ReLU, tanh, sigmoid, hard swish. All that is asked of it is

    image      bounds of f(z) on an interval of z; f turns only at known points
    slopes     bounds of every divided difference (f(b) - f(a)) / (b - a) on an interval
    lines      one line above and one below f on an interval

**Lines.** Any slope s gives a line above f: its intercept is the greatest value of g(z) = f(z) - s z. On a piece
where g is convex that is attained at an end. On one where g is concave, with any point p of it,

    g(z) <= g(p) + g'(p) (z - p)    for all z of the piece,

so the right-hand side's greatest value over the piece is a bound, and no good p can be missed unsoundly: next to the
true maximum g'(p) is nearly zero and little is lost. The line below is the line above -f. Out of a few slopes the one
counts whose line is the lowest in the middle of the interval, and so encloses the least area.

**Rounding.** f and f' come as doubles on both sides (qsmt.arith.curves); every sum and product is rounded up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qsmt.arith.curves import Bounds, Function, bounds, slope_bounds
from qsmt.arith.outward import float_down, float_up, raised
from qsmt.arith.real import FloatArray
from qsmt.dra.domain import cut, pair
from qsmt.facts import Interval
from qsmt.ir.ops import Curve, LeakyRelu

SAMPLES = 12
"""Points of an interval at which a tangent from an end is looked for."""

CONCAVE, LINEAR, CONVEX = -1, 0, 1

FunctionBounds = Callable[[FloatArray], Bounds]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Where a function is linear, convex or concave.

    `flat_at(s)` is about where its derivative is s; `derivative` bounds that on the piece. A linear one needs neither.
    """

    lower: float
    upper: float
    curvature: int = LINEAR
    flat_at: Callable[[FloatArray], FloatArray] = lambda s: s
    derivative: FunctionBounds = lambda z: Bounds(z, z)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A function in pieces; `turns` are the points where it stops falling or rising."""

    op: LeakyRelu | Curve
    bounds: FunctionBounds
    slopes: Callable[[Interval], Interval]
    pieces: tuple[Piece, ...]
    turns: tuple[float, ...] = ()

    def equals(self, other: Shape | None) -> bool:
        """Is this the same function?"""
        return other is not None and _meaning(self.op) == _meaning(other.op)

    def image(self, z: Interval) -> Interval:
        """Bounds of f on z."""
        found = [self.bounds(at) for at in (z.lower, z.upper, *(cut(np.array(t), z) for t in self.turns))]
        lower = np.minimum.reduce([b.lower for b in found])
        return Interval(lower, np.maximum.reduce([b.upper for b in found]))

    def lines(self, z: Interval) -> tuple[FloatArray, FloatArray]:
        """Slopes and intercepts, (2, ...): `f(z) <= slope z + intercept`, and `-f(z) <= slope (-z) + intercept`."""
        image = self.image(z)
        middle = 0.5 * z.lower + 0.5 * z.upper
        slopes = self._candidates(z, middle)
        found = [_least(self, z, slopes[side], middle, sign) for side, sign in enumerate((1.0, -1.0))]
        flat = pair(image.upper, -image.lower)
        slope, intercept = (np.stack(values) for values in zip(*found, strict=True))
        height = intercept + slope * np.stack([middle, -middle])
        better = height < flat
        return np.where(better, slope, 0.0), np.where(better, intercept, flat)

    def _candidates(self, z: Interval, middle: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Slopes for the line above and for the one below: chord, tangent in the middle, tangents from both ends."""
        share = np.linspace(0.0, 1.0, SAMPLES + 2).reshape(-1, *(1,) * z.lower.ndim)
        at = z.lower + share * (z.upper - z.lower)
        value = _middle(self.bounds(at))
        rise, far = (value - value[0])[1:], (at - at[0])[1:]
        from_left = rise / far
        from_right = (value[-1] - value)[:-1] / (at[-1] - at)[:-1]
        half = SAMPLES // 2
        tangent = (value[half + 1] - value[half]) / (at[half + 1] - at[half])
        common = [from_left[-1], tangent, _middle_slope(self, middle)]
        above = np.stack([*common, from_left.max(axis=0), from_right.min(axis=0)])
        below = np.stack([*common, from_left.min(axis=0), from_right.max(axis=0)])
        return np.nan_to_num(above, posinf=0.0, neginf=0.0), np.nan_to_num(below, posinf=0.0, neginf=0.0)


def _meaning(op: LeakyRelu | Curve) -> object:
    return op.slope if isinstance(op, LeakyRelu) else op.function


def _middle(found: Bounds) -> FloatArray:
    return 0.5 * found.lower + 0.5 * found.upper


def _middle_slope(shape: Shape, at: FloatArray) -> FloatArray:
    """About the derivative at a point."""
    found = shape.slopes(Interval(at, at))
    return 0.5 * found.lower + 0.5 * found.upper


def _least(
    shape: Shape, z: Interval, slopes: FloatArray, middle: FloatArray, sign: float
) -> tuple[FloatArray, FloatArray]:
    """Of the lines with these slopes above `sign * f`, the lowest in the middle: slope and intercept."""
    intercepts = greatest(shape, z, slopes, sign)
    height = np.where(np.isnan(intercepts), np.inf, intercepts + sign * slopes * middle)
    best = height.argmin(axis=0)[None]
    return np.take_along_axis(slopes, best, axis=0)[0], np.take_along_axis(intercepts, best, axis=0)[0]


def greatest(shape: Shape, z: Interval, slope: FloatArray, sign: float) -> FloatArray:
    """An upper bound of `sign * (f(z) - slope z)` on z; not a number where nothing is known."""
    found = np.maximum(_value(shape, z.lower, slope, sign), _value(shape, z.upper, slope, sign))
    for piece in shape.pieces:
        inside = (piece.lower < z.upper) & (piece.upper > z.lower)
        if not inside.any():
            continue
        own = Interval(np.maximum(z.lower, piece.lower), np.minimum(z.upper, piece.upper))
        if sign * piece.curvature == CONCAVE:
            here = _of_concave(shape, piece, own, slope, sign)
        else:
            here = np.maximum(_value(shape, own.lower, slope, sign), _value(shape, own.upper, slope, sign))
        found = np.where(inside, np.maximum(found, here), found)
    return found


def _of_concave(shape: Shape, piece: Piece, z: Interval, slope: FloatArray, sign: float) -> FloatArray:
    """The same on a piece where it is concave: by the tangent at a point near the maximum."""
    with np.errstate(all="ignore"):
        at = cut(np.nan_to_num(piece.flat_at(slope)), z)
    derivative = piece.derivative(at)
    rising = sign * slope
    up, down = (derivative.upper, derivative.lower) if sign > 0 else (-derivative.lower, -derivative.upper)
    right = raised(np.maximum(raised(up - rising), 0.0) * raised(z.upper - at))
    left = raised(np.maximum(raised(rising - down), 0.0) * raised(at - z.lower))
    return raised(_value(shape, at, slope, sign) + np.maximum(right, left))


def _value(shape: Shape, at: FloatArray, slope: FloatArray, sign: float) -> FloatArray:
    """An upper bound of `sign * (f(z) - slope z)` at points."""
    value = shape.bounds(at)
    f = value.upper if sign > 0 else -value.lower
    return raised(f + raised(-sign * slope * at))


# --- the shapes -----------------------------------------------------------------------------------------


def shape_of(op: LeakyRelu | Curve) -> Shape:
    """What an op that stands alone computes."""
    if isinstance(op, LeakyRelu):
        return _leaky_relu(op)
    return _hard_swish(op) if op.function is Function.HARD_SWISH else _sigmoidal(op)


def _sigmoidal(op: Curve) -> Shape:
    """tanh or sigmoid: convex below zero, concave above; the derivative falls with the distance from zero."""
    function = op.function

    def derivative(z: FloatArray) -> Bounds:
        return slope_bounds(function, z)

    def slopes(z: Interval) -> Interval:
        nearest, farthest = cut(np.array(0.0), z), np.maximum(np.abs(z.lower), np.abs(z.upper))
        return Interval(derivative(farthest).lower, derivative(nearest).upper)

    def flat_at(s: FloatArray) -> FloatArray:
        if function is Function.TANH:
            return np.asarray(np.arctanh(np.sqrt(1.0 - s)))
        y = 0.5 + np.sqrt(0.25 - s)
        return np.asarray(np.log(y / (1.0 - y)))

    pieces = (
        Piece(-np.inf, 0.0, CONVEX, lambda s: -flat_at(s), derivative),
        Piece(0.0, np.inf, CONCAVE, flat_at, derivative),
    )
    return Shape(op, lambda z: bounds(function, z), slopes, pieces)


def _hard_swish(op: Curve) -> Shape:
    """x (x + 3) / 6 between -3 and 3, 0 below and x above: it turns at -3/2 and has corners at -3 and 3."""

    def derivative(z: FloatArray) -> Bounds:
        value = (2.0 * z + 3.0) / 6.0
        error = np.abs(value) * 2.0**-50 + 2.0**-1000
        return Bounds(value - error, value + error)

    def slopes(z: Interval) -> Interval:
        inner = Interval(cut(z.lower, _INNER), cut(z.upper, _INNER))
        met = (z.lower < 3.0) & (z.upper > -3.0)
        first = np.where(met, derivative(inner.lower).lower, np.inf)
        last = np.where(met, derivative(inner.upper).upper, -np.inf)
        below, above = (z.lower < -3.0) | (z.upper <= -3.0), (z.upper > 3.0) | (z.lower >= 3.0)
        lower = np.minimum.reduce([first, np.where(below, 0.0, np.inf), np.where(above, 1.0, np.inf)])
        upper = np.maximum.reduce([last, np.where(below, 0.0, -np.inf), np.where(above, 1.0, -np.inf)])
        return Interval(lower, upper)

    pieces = (
        Piece(-np.inf, -3.0),
        Piece(-3.0, 3.0, CONVEX, lambda s: 3.0 * s - 1.5, derivative),
        Piece(3.0, np.inf),
    )
    return Shape(op, lambda z: bounds(op.function, z), slopes, pieces, turns=(-1.5,))


_INNER = Interval(np.array(-3.0), np.array(3.0))


def _leaky_relu(op: LeakyRelu) -> Shape:
    """Linear below and above zero."""
    low, high = float_down(op.slope), float_up(op.slope)

    def values(z: FloatArray) -> Bounds:
        below = np.minimum(z, 0.0)
        lower, upper = -raised(-high * below), np.fmin(raised(low * below), 0.0)
        return Bounds(np.where(z < 0.0, lower, z), np.where(z < 0.0, upper, z))

    def slopes(z: Interval) -> Interval:
        lower, upper = np.where(z.lower < 0.0, low, 1.0), np.where(z.upper > 0.0, 1.0, high)
        return Interval(np.minimum(lower, upper), upper)

    return Shape(op, values, slopes, (Piece(-np.inf, 0.0), Piece(0.0, np.inf)))
