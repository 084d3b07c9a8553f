"""Where an activation is evaluated, and the points that decide everything piecewise linear there.

With reference z, difference d and s = z + d, a neuron's activation is evaluated somewhere in the hexagon

    H = {l <= z <= u,  a <= d <= c,  q <= s <= p}.

The quantized side puts out a value that grows with s and lies in [least, most] on H. Values are multiples
of a step (zero for reals), and a value above the lower limit is at most s + noise. So a value above `least`
is at least least + step and needs s >= least + step - noise, and

    value <= F(s) = min(s + noise, most)  if s >= jump = least + step - noise,   else least.

The reference puts out R(z) = clamp(z, floor, ceiling), and phi = value - R(z) is what the difference becomes.

**The greatest value of A phi + B R - alpha d - beta z on H**, for any numbers with A >= 0, is that of a function
which is linear on the pieces into which the kinks z = floor, z = ceiling, s = jump and s = most - noise cut H. So it is
attained at one of at most eighteen points: the corners of H, where a kink meets the border, and where two
kinks cross. At s = jump, F takes its upper value, so that nothing is lost there.

The case A < 0 is the same for the negated problem: (-z, -d, -s), value between -most and -least, noise
and limits negated. Both are held in one array, the negated problem second.

**Rounding.** A point is found with a few sums of numbers of at most `size`, so its coordinates, F and R are off
by at most 16 u size each, and the objective by at most `SLACK * size`, and a few of the smallest doubles, per
unit of |A| + |B| + |alpha| + |beta|. The jump is moved down by more than that, so that a point at it is never
taken to be below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsmt.arith.outward import SMALLEST
from qsmt.arith.real import FloatArray
from qsmt.dra.activation import Activation, Before
from qsmt.dra.domain import BoolArray, both, cut, minus, pair, plus
from qsmt.facts import Interval

SLACK = 32 * 2.0**-53
"""Twice what the rounding of a point can change per unit of slope and of size."""


@dataclass(frozen=True, slots=True, eq=False)
class Hexagons:
    """One hexagon per neuron, as two problems: arrays (2, ..., m), the negated problem second."""

    z: Interval
    d: Interval
    s: Interval
    least: FloatArray
    most: FloatArray
    noise: FloatArray
    step: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    limit: FloatArray  # the quantized side's lower limit, rounded up: above it, a value is at most s + noise
    size: FloatArray  # no number that occurs is larger

    def reference(self, z: FloatArray) -> FloatArray:
        """R(z)."""
        return np.minimum(np.maximum(z, self.floor), self.ceiling)

    def quantized(self, s: FloatArray) -> FloatArray:
        """F(s)."""
        above = np.maximum(np.minimum(s + self.noise, self.most), self.least)
        return np.where(s >= self.jump - 4 * self.margin, above, self.least)

    def over(self, z: FloatArray, s: FloatArray) -> FloatArray:
        """The s that is nearest to the given one over z."""
        bottom, top = np.maximum(self.s.lower, z + self.d.lower), np.minimum(self.s.upper, z + self.d.upper)
        return np.minimum(np.maximum(s, bottom), top)

    @property
    def margin(self) -> FloatArray:
        """What rounding can change per unit of slope; limits that are no doubles are off by the smallest one."""
        return SLACK * self.size + 32 * SMALLEST

    @property
    def jump(self) -> FloatArray:
        """Below this, the value is `least`."""
        return self.least + self.step - self.noise

    @property
    def full(self) -> FloatArray:
        """From here on, the value may be `most`."""
        return self.most - self.noise

    @property
    def constant(self) -> BoolArray:
        """Where the quantized side puts out one value only."""
        same: BoolArray = self.least == self.most
        return same

    @property
    def reference_active(self) -> BoolArray:
        active: BoolArray = (self.z.lower >= self.floor) & (self.z.upper <= self.ceiling)
        return active

    def __getitem__(self, where: Any) -> Hexagons:
        return self._each(lambda values: values[where])

    @property
    def flat(self) -> Hexagons:
        """All of them along one axis."""
        return self._each(lambda values: values.reshape(-1))

    def _each(self, of: Callable[[FloatArray], FloatArray]) -> Hexagons:
        def made(value: FloatArray | Interval) -> FloatArray | Interval:
            return Interval(of(value.lower), of(value.upper)) if isinstance(value, Interval) else of(value)

        return Hexagons(*(made(getattr(self, name)) for name in Hexagons.__slots__))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Vertices:
    """The deciding points, (points, 2, ..., m), in the orientation of their problem; phi and R there."""

    z: FloatArray
    d: FloatArray
    phi: FloatArray
    r: FloatArray
    margin: FloatArray  # (2, ..., m): what rounding can change, per unit of slope


def hexagons(known: Before, quantized: Activation, reference: Activation, *, step: float) -> Hexagons:
    """The hexagons of a layer whose quantized values are multiples of `step` (rounded down).

    They are tight if z, d and s have been cut to each other (`tightened`).
    """
    z, d, s, value = known.reference, known.difference, known.quantized, known.quantized_post
    size = _largest([z, d, s, value, reference.limits.of(z)], step + max(map(abs, quantized.noise)))
    two, ours = both(value), (reference.limits, reference.limits.negated)

    def constant(first: float, second: float) -> FloatArray:
        out = np.empty_like(two.lower)
        out[0], out[1] = first, second
        return out

    return Hexagons(
        both(z),
        both(d),
        both(s),
        least=two.lower,
        most=two.upper,
        noise=constant(quantized.noise[1], -quantized.noise[0]),
        step=constant(step, step),
        floor=constant(ours[0].lower_down, ours[1].lower_down),
        ceiling=constant(ours[0].upper_down, ours[1].upper_down),
        limit=constant(quantized.limits.lower_up, quantized.limits.negated.lower_up),
        size=pair(size, size),
    )


def _largest(values: Sequence[Interval], least: float) -> FloatArray:
    """The largest size of any end, neuron by neuron, at least `least`."""
    largest = np.full_like(values[0].lower, least)
    for value in values:
        for end in (value.lower, value.upper):
            np.maximum(largest, np.abs(end), out=largest)
    largest += SMALLEST
    return largest


def tightened(z: Interval, d: Interval, s: Interval) -> tuple[Interval, Interval, Interval]:
    """Bounds of z, d and s = z + d, each cut to what the other two allow."""
    z, d = z.meet(minus(s, d)), d.meet(minus(s, z))
    return z, d, s.meet(plus(z, d))


LEFT_TOP, LEFT_BOTTOM, RIGHT_TOP, RIGHT_BOTTOM = range(4)
CORNERS, FULL_LEFT, FLOOR_BOTTOM = slice(4), 8, 11
"""Where in the list of vertices some of them are."""


def vertices(region: Hexagons) -> Vertices:
    """All points where a piecewise linear function of the module's form can be greatest."""
    points = _on_the_border(region)
    zs, targets = np.empty((2, len(points), *region.least.shape))
    for i, (z, s) in enumerate(points):
        zs[i], targets[i] = z, s
    zs = cut(zs, region.z)
    ss, r = region.over(zs, targets), region.reference(zs)
    return Vertices(zs, ss - zs, region.quantized(ss) - r, r, region.margin)


def _on_the_border(region: Hexagons) -> list[tuple[FloatArray, FloatArray | float]]:
    """The points (z, s): corners, where kinks of s and of z meet the border, and where they cross.

    Each stands for the nearest z there is, and over it for the nearest s.
    """
    z, d, s, top, bottom = region.z, region.d, region.s, np.inf, -np.inf
    levels = [cut(region.jump, s), cut(region.full, s)]
    targets: list[FloatArray | float] = [top, bottom, *levels]
    kinks = [region.floor, region.ceiling][: 2 if np.isfinite(region.ceiling).any() else 1]
    return [
        *((at, end) for at in (z.lower, z.upper) for end in (top, bottom)),
        (s.upper - d.upper, top),
        (s.lower - d.lower, bottom),
        *((level - end, level) for level in levels for end in (d.upper, d.lower)),
        *((kink, target) for kink in kinks for target in targets),
    ]
