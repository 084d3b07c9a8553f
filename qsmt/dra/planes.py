"""Planes around the difference after an activation, as tight as the region of (d, z) allows.

With reference z, difference d and noise r, the difference after the activation is

    phi(d, z) = clamp_q(z + d + r) - clamp_r(z).

`planes` finds `alpha d + beta z + gamma` above and below phi on the hexagon

    H = {l <= z <= u,  a <= d <= c,  q <= z + d <= p}.

**Any slopes are sound.** phi grows with r, so r is taken at its upper end. In the coordinates z and
s = z + d + r, phi minus a plane is f(s) + g(z) with f and g piecewise linear; f has its only concave kink
where the quantized side saturates, g where the reference leaves its lower limit. Convex kinks split a
maximum into a maximum of maxima, each over the whole of H. So the least gamma for given slopes is the
greatest of f + g over eleven points: the six corners of H, the four points where a concave kink meets
the border, and the one where the kinks cross. What rounding does to the points and to f + g is covered
by a slack, a few units in the last place of the largest number involved.

**Which slopes.** Those with the least value at the centre of H, out of: a constant; the Lipschitz plane of
min(0, d) <= phi <= max(0, d); the planes that are exact at one side of H and an edge of the envelope across
it; and the separate lines of both networks. Where both sides pass their values on, phi = d + r, exactly.

The lower plane is the upper plane of the negated problem; both are computed in one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import SMALLEST, add_up, step
from qsmt.arith.real import FloatArray
from qsmt.dra.activation import Activation, Before
from qsmt.dra.domain import BoolArray, cut, minus, plus
from qsmt.facts import Interval

ULPS = 64 * 2.0**-53
"""Each point is two sums away from the ends of H, its value five more; both are doubled."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """`alpha d + beta z + gamma`: arrays (2, boxes, m), the upper planes first."""

    alpha: FloatArray
    beta: FloatArray
    gamma: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Hexagon:
    """H as an upper problem, with the noise added to d and s; arrays of one shape.

    The limits of the quantized side are rounded up and those of the reference down, so that f + g is an upper
    bound of phi whatever the limits are exactly.
    """

    z: Interval
    d: Interval
    s: Interval
    cut_off: FloatArray  # of the quantized side
    saturation: FloatArray
    floor: FloatArray  # of the reference
    ceiling: FloatArray

    def quantized(self, s: FloatArray) -> FloatArray:
        return np.minimum(np.maximum(s, self.cut_off), self.saturation)

    def reference(self, z: FloatArray) -> FloatArray:
        return np.minimum(np.maximum(z, self.floor), self.ceiling)

    def top(self, z: FloatArray) -> FloatArray:
        """The greatest s over z."""
        return np.minimum(self.s.upper, z + self.d.upper)

    def bottom(self, z: FloatArray) -> FloatArray:
        """The least s over z."""
        return np.maximum(self.s.lower, z + self.d.lower)

    @property
    def size(self) -> FloatArray:
        """The largest number that occurs."""
        ends = [self.z.lower, self.z.upper, self.d.lower, self.d.upper, self.s.lower, self.s.upper]
        ends += [self.quantized(ends[4]), self.quantized(ends[5])]
        ends += [self.reference(ends[0]), self.reference(ends[1])]
        greatest: FloatArray = np.maximum.reduce([np.abs(v) for v in ends])
        return greatest

    def __getitem__(self, where: BoolArray) -> Hexagon:
        z, d, s = (Interval(x.lower[where], x.upper[where]) for x in (self.z, self.d, self.s))
        return Hexagon(
            z, d, s, self.cut_off[where], self.saturation[where], self.floor[where], self.ceiling[where]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """The eleven points of a hexagon and phi there; arrays (11, ...)."""

    z: FloatArray
    d: FloatArray
    value: FloatArray


def planes(known: Before, quantized: Activation, reference: Activation, after: Interval) -> Planes:
    """The planes, out of all slopes; `after` bounds the difference after the activation."""
    flat = np.stack([after.upper, -after.lower])
    zero = np.zeros_like(flat)
    region, noise = hexagon(known, quantized, reference)
    passed = _passes(region)
    several = ~passed & (after.lower != after.upper)
    alpha, beta, gamma = np.where(passed, 1.0, zero), zero, np.where(passed, noise, flat)
    if several.any():
        found = _tightest(region[several], noise[several], flat[several])
        alpha[several], beta[several], gamma[several] = found
    return Planes(alpha, beta, _oriented(gamma))


def hexagon(known: Before, quantized: Activation, reference: Activation) -> tuple[Hexagon, FloatArray]:
    """The region as two upper problems, and the noise of each: arrays (2, boxes, m)."""
    shape = (2, *known.difference.lower.shape)
    z, d, s = (_both(x) for x in (known.reference, known.difference, known.quantized))
    z, d, s = z.meet(minus(s, d)), d.meet(minus(s, z)), s.meet(plus(z, d))
    noise = _spread((quantized.noise[1], -quantized.noise[0]), shape)
    noisy = Interval(noise, noise)
    q = (quantized.limits, quantized.limits.negated)
    r = (reference.limits, reference.limits.negated)
    limits = (
        (q[0].lower_up, q[1].lower_up),
        (q[0].upper_up, q[1].upper_up),
        (r[0].lower_down, r[1].lower_down),
        (r[0].upper_down, r[1].upper_down),
    )
    return Hexagon(z, plus(d, noisy), plus(s, noisy), *(_spread(v, shape) for v in limits)), noise


def least_constant(region: Hexagon, alpha: FloatArray, beta: FloatArray) -> FloatArray:
    """The least gamma for slopes in [-1, 1]; leading axes of the slopes beyond the region's are candidates."""
    at = corners(region)
    alpha, beta = alpha[..., None, :], beta[..., None, :]
    greatest: FloatArray = (at.value - alpha * at.d - beta * at.z).max(axis=-2)
    return greatest + (ULPS * region.size + SMALLEST)


def corners(region: Hexagon) -> Corners:
    """All points where f + g can be greatest."""
    z, d, s = region.z, region.d, region.s
    kink, knee = cut(region.floor, z), cut(region.saturation, s)
    middle = np.minimum(np.maximum(knee, region.bottom(kink)), region.top(kink))
    zs = [z.lower, z.lower, z.upper, z.upper, kink, kink, kink]
    ss = [f(v) for v in (z.lower, z.upper, kink) for f in (region.top, region.bottom)] + [middle]
    zs += [np.maximum(z.lower, s.upper - d.upper), np.minimum(z.upper, s.lower - d.lower)]
    zs += [np.maximum(z.lower, knee - d.upper), np.minimum(z.upper, knee - d.lower)]
    ss += [s.upper, s.lower, knee, knee]
    points, sums = np.stack(zs), np.stack(ss)
    return Corners(points, sums - points, region.quantized(sums) - region.reference(points))


def _passes(region: Hexagon) -> BoolArray:
    """Where neither side is limited."""
    passes: BoolArray = (
        (region.s.lower >= region.cut_off)
        & (region.s.upper <= region.saturation)
        & (region.z.lower >= region.floor)
        & (region.z.upper <= region.ceiling)
    )
    return passes


def _tightest(
    region: Hexagon, noise: FloatArray, flat: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The candidate with the least value at the centre, neuron by neuron; arrays (neurons,)."""
    at = corners(region)
    alpha, beta = _slopes(region, at)
    values = at.value[:, None] - alpha * at.d[:, None] - beta * at.z[:, None]
    gamma = values.max(axis=0) + (ULPS * region.size + SMALLEST)
    d, z = at.d[:6].mean(axis=0), at.z[:6].mean(axis=0)
    height = np.concatenate([flat[None], gamma + alpha * d + beta * z])
    best = np.argmin(np.where(np.isnan(height), np.inf, height), axis=0)
    zero = np.zeros_like(flat)[None]
    moved = alpha * noise
    gamma = np.concatenate([flat[None], add_up(gamma, moved + step(moved))])
    found = (np.concatenate([zero, alpha]), np.concatenate([zero, beta]), gamma)
    alpha, beta, gamma = (np.take_along_axis(v, best[None], axis=0)[0] for v in found)
    return alpha, beta, gamma


def _slopes(region: Hexagon, at: Corners) -> tuple[FloatArray, FloatArray]:
    """The slopes of all candidates but the constant: arrays (candidates, neurons)."""
    d, s = region.d, region.s
    zero = np.zeros_like(d.lower)
    one = zero + 1.0
    share = _slope(np.maximum(d.upper, 0.0) - np.maximum(d.lower, 0.0), d.upper - d.lower)
    chord = _slope(region.quantized(s.upper) - region.quantized(s.lower), s.upper - s.lower)
    rest = at.value - at.d
    edges = [_edge(at.z, at.value, 0, 9), _edge(at.z, at.value, 9, 2), _edge(at.z, at.value, 0, 2)]
    across = [_edge(at.z, rest, 1, 5), _edge(at.z, rest, 5, 3), _edge(at.z, rest, 1, 3)]
    alpha = [share, one, one, zero, chord, chord, zero, zero, zero, one, one, one]
    beta = [zero, zero, one, -one, chord, chord - 1.0, *edges, *across]
    return np.stack(alpha), np.stack(beta)


def _edge(z: FloatArray, value: FloatArray, i: int, j: int) -> FloatArray:
    return _slope(value[j] - value[i], z[j] - z[i])


def _slope(rise: FloatArray, run: FloatArray) -> FloatArray:
    slope = rise / run
    return np.where(np.isfinite(slope), np.minimum(np.maximum(slope, -1.0), 1.0), 0.0)


def _both(x: Interval) -> Interval:
    """A quantity and its negation."""
    return Interval(np.stack([x.lower, -x.upper]), np.stack([x.upper, -x.lower]))


def _spread(pair: tuple[float, float], shape: tuple[int, ...]) -> FloatArray:
    """One number for each of the two problems."""
    return np.broadcast_to(np.array(pair).reshape(2, *(1,) * (len(shape) - 1)), shape)


def _oriented(gamma: FloatArray) -> FloatArray:
    """The constants of the planes themselves: the second problem was negated."""
    return np.stack([gamma[0], -gamma[1]])
