"""A layer whose activation is no clamp, as the dual of qsmt.dra.multipliers wants it: slopes and an interval.

From planes above and below delta, and lines above and below the reference's value h, to

    delta in phi_d d + phi_z z + phi,        h in r_z z + r,

with the mean of both slopes: what is left of a plane, its half-difference times a bounded variable, goes into the
interval. The dual multiplies the slopes by what reaches a neuron and rounds the products, each by at most u of
itself; per unit of what reaches the neuron that is at most u |slope| |variable|, which the intervals hold too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import SMALLEST, UNIT_ROUNDOFF, inflate, raised, step
from qsmt.arith.real import FloatArray
from qsmt.dra.deeppoly import Lines
from qsmt.dra.domain import BoolArray
from qsmt.dra.planes import Planes
from qsmt.facts import Interval


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Arrays (boxes, m); `known` says where all of it is finite."""

    phi_d: FloatArray
    phi_z: FloatArray
    r_z: FloatArray
    phi: Interval
    r: Interval
    known: BoolArray


def held(planes: Planes, lines: Lines, d: Interval, z: Interval) -> Held:
    """What planes and lines say, where d and z have these bounds."""
    phi_d, phi_z, r_z = _mean(planes.alpha), _mean(planes.beta), _mean(lines.slope)
    far_d, far_z = _magnitude(d), _magnitude(z)
    lost = _lost(phi_d, far_d) + _lost(phi_z, far_z)
    phi = []
    for i, sign in enumerate((1.0, -1.0)):
        of_d = raised(sign * planes.gamma[i] + _rest(planes.alpha[i], phi_d, d, sign))
        phi.append(raised(of_d + _rest(planes.beta[i], phi_z, z, sign)))
    r = [
        raised(lines.intercept[i] + _rest(lines.slope[i], r_z, z, sign)) for i, sign in enumerate((1.0, -1.0))
    ]
    phi_upper, phi_lower = (raised(end + raised(lost)) for end in phi)
    r_upper, r_lower = (raised(end + _lost(r_z, far_z)) for end in r)
    ends = np.stack([phi_upper, phi_lower, r_upper, r_lower, phi_d, phi_z, r_z])
    known = np.asarray(np.isfinite(ends).all(axis=0))
    return Held(phi_d, phi_z, r_z, Interval(-phi_lower, phi_upper), Interval(-r_lower, r_upper), known)


def _mean(slopes: FloatArray) -> FloatArray:
    return np.asarray(0.5 * slopes[0] + 0.5 * slopes[1])


def _rest(slope: FloatArray, mean: FloatArray, x: Interval, sign: float) -> FloatArray:
    """An upper bound of `sign * (slope - mean) x`, above every rounding of its parts."""
    difference = sign * (slope - mean)
    product = np.maximum(difference * x.lower, difference * x.upper)
    return raised(raised(product) + raised(step(difference) * _magnitude(x)))


def _lost(slope: FloatArray, far: FloatArray) -> FloatArray:
    """What rounding a product with the slope can change, per unit of the other factor."""
    return inflate(2.0 * UNIT_ROUNDOFF * np.abs(slope) * far + 4 * SMALLEST * (1.0 + far), 4)


def _magnitude(x: Interval) -> FloatArray:
    return np.maximum(np.abs(x.lower), np.abs(x.upper))
