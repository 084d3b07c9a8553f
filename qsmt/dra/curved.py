"""The difference after an activation that is no clamp, in at least one of the two networks.

With reference z, difference d and s = z + d, delta = g(s) - f(z), where g and f are shapes (qsmt.dra.shape) or
clamps with noise. It is held between planes `alpha d + beta z + gamma`, any of

    a constant        the bounds of delta: those of the two values, subtracted, and what the next one says of it;
    both slopes       f and g are one function: delta / d lies between its least and its greatest slope on the hull of
                      z and s, so delta <= h(d), the greater of two multiples of d. h is convex: its chord is above;
    two lines         a line above g at s, minus a line below f at z.

Of those the lowest at the centre of the box counts; the lower plane is the upper one of the negated difference.
Slopes are the doubles that they are; what their own rounding means to a plane is in its constant.
"""

from __future__ import annotations

import numpy as np

from qsmt.arith.outward import raised, step
from qsmt.arith.real import FloatArray
from qsmt.dra.activation import Before
from qsmt.dra.deeppoly import Lines
from qsmt.dra.domain import both, minus, pair
from qsmt.dra.planes import Planes
from qsmt.dra.shape import Shape
from qsmt.facts import Interval


def slopes_between(known: Before, ours: Shape | None, theirs: Shape | None) -> Interval | None:
    """Bounds of delta / d, if both networks apply one function."""
    if ours is None or not ours.equals(theirs):
        return None
    z, s = known.reference, known.quantized
    return ours.slopes(Interval(np.minimum(z.lower, s.lower), np.maximum(z.upper, s.upper)))


def difference_of_values(known: Before, reference: Interval, slopes: Interval | None) -> Interval:
    """Bounds of delta, from those of both values (`reference` bounds f(z)) and from the slopes."""
    found = minus(known.quantized_post, reference)
    if slopes is None:
        return found
    d = both(known.difference)
    upper = np.maximum(_steepest(d.lower, slopes), _steepest(d.upper, slopes))
    return found.meet(Interval(-upper[1], upper[0]))


def _steepest(d: FloatArray, slopes: Interval) -> FloatArray:
    """An upper bound of delta (negated: of -delta), (2, ..), where the difference (negated) is d."""
    product = np.maximum(slopes.lower * d, slopes.upper * d)
    bound = np.where(d == 0.0, 0.0, raised(product))
    return np.where(np.isnan(bound), np.inf, bound)


def curved_planes(
    known: Before, after: Interval, slopes: Interval | None, ours: Lines, theirs: Lines
) -> Planes:
    """The planes; `after` bounds delta, the lines are those of both networks."""
    z, d = both(known.reference), both(known.difference)
    alpha, beta, gamma = np.zeros_like(z.lower), np.zeros_like(z.lower), pair(after.upper, -after.lower)
    options = [_two_lines(known, ours, theirs)]
    if slopes is not None:
        options.append(_chord(d, slopes))
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
