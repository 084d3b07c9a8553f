"""Planes above and below the difference after an activation, chosen per neuron, before anybody asks for it.

`alpha d + beta z + gamma` with any slopes is above phi(d, z) on the hexagon of qsmt.dra.hexagon if gamma is the
greatest value of phi - alpha d - beta z there. Out of several slopes, those count that give the least value
at the centre of the hexagon:

    a constant; the Lipschitz plane of min(0, d) <= phi <= max(0, d); planes that are exact where one or both
    networks pass their value on or are constant; the chord of the quantized side with either piece of the reference;
    and the planes that are exact along one side of the hexagon and along an edge of the envelope across it.

Where both networks pass their values on, phi = d + noise; where the quantized side is constant and the
reference passes its value on, phi = constant - z. Both are exact, and need no search.
The lower plane is the upper plane of the negated problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import add_down, add_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra.domain import BoolArray, pair
from qsmt.dra.hexagon import (
    CORNERS,
    FLOOR_BOTTOM,
    FULL_LEFT,
    LEFT_BOTTOM,
    LEFT_TOP,
    RIGHT_BOTTOM,
    RIGHT_TOP,
    Hexagons,
    Vertices,
    vertices,
)
from qsmt.facts import Interval

FEW_STEPS = 2.0
"""Up to this many steps between the least and the greatest value, a rounding is more than its noise."""


AT_ONCE = 512
"""Neurons whose candidates are compared at once: few enough for a second-level cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """`alpha d + beta z + gamma`: arrays (2, boxes, m), the upper planes first."""

    alpha: FloatArray
    beta: FloatArray
    gamma: FloatArray


def planes(region: Hexagons, after: Interval) -> Planes:
    """The planes; `after` bounds the difference after the activation, (boxes, m)."""
    flat = pair(after.upper, -after.lower)
    passed, opposed = passes(region), region.constant & region.reference_active
    alpha, beta = np.where(passed, 1.0, 0.0), np.where(opposed, -1.0, 0.0)
    gamma = np.where(passed, region.noise, np.where(opposed, region.most, flat))
    several = ~passed & ~opposed & (after.lower != after.upper)
    neurons, every = np.flatnonzero(several), region.flat
    for i in range(0, len(neurons), AT_ONCE):
        piece = neurons[i : i + AT_ONCE]
        found = _tightest(every[piece], flat.reshape(-1)[piece])
        for values, tightest in zip((alpha, beta, gamma), found, strict=True):
            values.reshape(-1)[piece] = tightest
    return Planes(alpha, beta, pair(gamma[0], -gamma[1]))


def passes(region: Hexagons) -> BoolArray:
    """Where both networks pass their values on, and the rounding is no more than its noise."""
    found: BoolArray = region.reference_active & quantized_passes(region)
    return found


def quantized_passes(region: Hexagons) -> BoolArray:
    """Where the quantized network passes its value on, and the rounding is no more than its noise."""
    many = region.most - region.least > FEW_STEPS * region.step
    above = (region.least > region.limit) | (add_down(region.s.lower, region.noise) >= region.limit)
    unlimited = above & (region.s.upper + region.noise <= region.most + region.step)
    found: BoolArray = unlimited & many
    return found


def _tightest(region: Hexagons, flat: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The slopes with the least value at the centre, neuron by neuron; arrays (neurons,)."""
    at = vertices(region)
    alpha, beta = _slopes(region, at)
    gamma = (at.phi - alpha[:, None] * at.d - beta[:, None] * at.z).max(axis=1)
    gamma = add_up(gamma, (1.0 + np.abs(alpha) + np.abs(beta)) * at.margin)
    d, z = (0.25 * np.add.reduce(v[CORNERS]) for v in (at.d, at.z))
    height = gamma + alpha * d + beta * z
    height = np.where(height < flat, height, np.inf)  # never where something is unknown
    best = height.argmin(axis=0), np.arange(len(flat))
    better = height[best] < np.inf
    return (
        np.where(better, alpha[best], 0.0),
        np.where(better, beta[best], 0.0),
        np.where(better, gamma[best], flat),
    )


_CROSSED = np.array([(LEFT_TOP, FULL_LEFT), (FULL_LEFT, RIGHT_TOP), (LEFT_TOP, RIGHT_TOP)]).T
_ALONG = np.array([(LEFT_BOTTOM, FLOOR_BOTTOM), (FLOOR_BOTTOM, RIGHT_BOTTOM), (LEFT_BOTTOM, RIGHT_BOTTOM)]).T
"""Edges of the envelope: pairs of vertices, where d does not matter and where it is passed on."""


def _slopes(region: Hexagons, at: Vertices) -> tuple[FloatArray, FloatArray]:
    """alpha and beta of all candidates but the constant, within [-1, 1]: arrays (candidates, neurons)."""
    d, s = region.d, region.s
    zero, one = np.zeros_like(d.lower), np.ones_like(d.lower)
    share = _slope(np.maximum(d.upper, 0.0) - np.maximum(d.lower, 0.0), d.upper - d.lower)
    chord = _slope(region.most - region.least, s.upper - s.lower)
    crossed, along = _edges(at.z, at.phi, _CROSSED), _edges(at.z, at.phi - at.d, _ALONG)
    alpha = np.stack([share, one, one, zero, chord, chord, *[zero] * 3, *[one] * 3])
    return alpha, np.concatenate([[zero, zero, one, -one, chord, chord - one], crossed, along])


def _edges(z: FloatArray, value: FloatArray, ends: IntArray) -> FloatArray:
    """The slope over z between vertices."""
    return _slope(value[ends[1]] - value[ends[0]], z[ends[1]] - z[ends[0]])


def _slope(rise: FloatArray, run: FloatArray) -> FloatArray:
    slope = rise / run
    return np.where(np.isfinite(slope), np.minimum(np.maximum(slope, -1.0), 1.0), 0.0)
