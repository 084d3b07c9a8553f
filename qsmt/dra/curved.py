"""The difference after an activation that is no clamp, in at least one of the two networks.

With reference z, difference d and s = z + d, delta = g(s) - f(z), where g and f are shapes (qsmt.dra.shape), clamps
with noise, or tables of codes (qsmt.dra.tabulated). Where both networks apply one function f, or a table of it,

    delta = f(w) - f(z) + error,

with w = s, or w the code that the table reads. Then delta - error is w - z times a slope of f, which lies between the
least and the greatest on the hull of z and w (`Relation`). delta is held between planes `alpha d + beta z + gamma`:

    a constant        the bounds of delta: those of the two values, subtracted, and what the next one says of it;
    both slopes       one function: delta <= h(w - z) + error, where h is the greater of two multiples. It is convex:
                      its chord is above. A code's w - z is held between planes of its own (qsmt.dra.planes);
    two lines         a line above g at s, minus a line below f at z.

Of those the lowest at the centre of the box counts; the lower plane is the upper one of the negated difference.
Slopes are the doubles that they are; what their own rounding means to a plane is in its constant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qsmt.arith.outward import add_up, raised, step
from qsmt.arith.real import FloatArray
from qsmt.dra.activation import Activation, Before, difference_after
from qsmt.dra.compiled import Side
from qsmt.dra.deeppoly import Lines
from qsmt.dra.domain import both, limits_between, minus, pair
from qsmt.dra.hexagon import hexagons
from qsmt.dra.planes import Planes, planes
from qsmt.dra.shape import Shape
from qsmt.dra.tabulated import Tabulated
from qsmt.facts import Interval

PASSED_ON = Activation(limits_between(None, None), (0.0, 0.0))
"""An activation that does nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """Of a layer where both networks apply one function: delta = slope (w - z) + error."""

    slopes: Interval
    apart: Interval  # w - z
    error: Interval
    table: Tabulated | None  # what reads w, if w is a code


def relation(known: Before, ours: Side, theirs: Side) -> Relation | None:
    """What relates the values of two networks that apply one function, or one a table of the other's."""
    if ours.shape is None:
        return None
    if theirs.table is not None:
        w = theirs.table.read(known.quantized)
        apart = difference_after(replace(known, quantized_post=w), theirs.table.inner, PASSED_ON)
        return Relation(_slopes(ours.shape, known, w), apart, theirs.table.error(w), theirs.table)
    if not ours.shape.equals(theirs.shape):
        return None
    none = np.zeros_like(known.difference.lower)
    return Relation(_slopes(ours.shape, known, known.quantized), known.difference, Interval(none, none), None)


def _slopes(shape: Shape, known: Before, w: Interval) -> Interval:
    """Bounds of the function's slopes on the hull of z and w."""
    z = known.reference
    return shape.slopes(Interval(np.minimum(z.lower, w.lower), np.maximum(z.upper, w.upper)))


def difference_of_values(known: Before, reference: Interval, related: Relation | None) -> Interval:
    """Bounds of delta, from those of both values (`reference` bounds f(z)) and from what relates them."""
    found = minus(known.quantized_post, reference)
    if related is None:
        return found
    d = both(related.apart)
    steepest = np.maximum(_steepest(d.lower, related.slopes), _steepest(d.upper, related.slopes))
    upper = add_up(steepest, pair(related.error.upper, -related.error.lower))
    return found.meet(Interval(-upper[1], upper[0]))


def _steepest(d: FloatArray, slopes: Interval) -> FloatArray:
    """An upper bound of delta (negated: of -delta), (2, ..), where the difference (negated) is d."""
    product = np.maximum(slopes.lower * d, slopes.upper * d)
    bound = np.where(d == 0.0, 0.0, raised(product))
    return np.where(np.isnan(bound), np.inf, bound)


def curved_planes(
    known: Before, after: Interval, related: Relation | None, ours: Lines, theirs: Lines
) -> Planes:
    """The planes; `after` bounds delta, the lines are those of both networks."""
    z, d = both(known.reference), both(known.difference)
    alpha, beta, gamma = np.zeros_like(z.lower), np.zeros_like(z.lower), pair(after.upper, -after.lower)
    options = [_two_lines(known, ours, theirs)]
    if related is not None:
        options.append(_related(known, related))
    middle_d, middle_z = 0.5 * d.lower + 0.5 * d.upper, 0.5 * z.lower + 0.5 * z.upper
    height = gamma
    for a, b, c in options:
        found = a * middle_d + b * middle_z + c
        lower = found < height
        height = np.where(lower, found, height)
        alpha, beta, gamma = (np.where(lower, *v) for v in ((a, alpha), (b, beta), (c, gamma)))
    return Planes(alpha, beta, pair(gamma[0], -gamma[1]))


_Plane = tuple[FloatArray, FloatArray, FloatArray]


def _two_lines(known: Before, ours: Lines, theirs: Lines) -> _Plane:
    """g(z + d) <= p (z + d) + i and -f(z) <= q (-z) + j, so delta <= p d + (p - q) z + i + j."""
    p, q = theirs.slope, ours.slope[::-1]
    beta = p - q
    far = np.maximum(np.abs(known.reference.lower), np.abs(known.reference.upper))
    lost = raised(step(beta) * far)
    return p, beta, raised(raised(theirs.intercept + ours.intercept[::-1]) + lost)


def _related(known: Before, related: Relation) -> _Plane:
    """The chord over w - z, and through it the planes of w - z over d and z."""
    alpha, beta, gamma = _chord(both(related.apart), related.slopes)
    if related.table is None:
        return alpha, beta, gamma
    read = replace(known, quantized_post=related.table.read(known.quantized))
    inner = planes(hexagons(read, related.table.inner, PASSED_ON, step=related.table.unit), related.apart)
    rises, size = alpha >= 0.0, np.abs(alpha)

    def above(values: FloatArray) -> FloatArray:
        """Of the plane above w - z where the chord rises, else of the one below."""
        return np.where(rises, values, values[::-1])

    of_d, of_z = alpha * above(inner.alpha), alpha * above(inner.beta)
    constant = raised(size * above(pair(inner.gamma[0], -inner.gamma[1])))
    far = [np.maximum(np.abs(v.lower), np.abs(v.upper)) for v in (known.difference, known.reference)]
    lost = raised(raised(step(of_d) * far[0]) + raised(step(of_z) * far[1]))
    error = pair(related.error.upper, -related.error.lower)
    return of_d, of_z, raised(raised(raised(gamma + error) + constant) + lost)


def _chord(d: Interval, slopes: Interval) -> _Plane:
    """The chord of h(d) = max(least d, greatest d) over the ends of d."""
    ends = (
        np.maximum(slopes.lower * d.lower, slopes.upper * d.lower),
        np.maximum(slopes.lower * d.upper, slopes.upper * d.upper),
    )
    alpha = np.nan_to_num((ends[1] - ends[0]) / (d.upper - d.lower), nan=0.0, posinf=0.0, neginf=0.0)
    gamma = [
        raised(raised(end) + raised(-alpha * at)) for end, at in zip(ends, (d.lower, d.upper), strict=True)
    ]
    return alpha, np.zeros_like(alpha), np.maximum(*gamma)
