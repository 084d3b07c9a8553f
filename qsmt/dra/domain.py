"""What an analysis is asked and what its domains share: modes, batches of boxes, interval arithmetic.

Interval operations round outward. An end that overflows becomes infinite on its own side, and so does
one of which nothing is known (NaN): a bound may be lost, but it never lies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from qsmt.arith.outward import add_down, add_up, float_down, float_up, raised, times_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.units import Unit
from qsmt.facts import Interval
from qsmt.problem import Region

BoolArray = npt.NDArray[np.bool_]


class Mode(StrEnum):
    """How the difference is bounded. None of the middle three is always the tightest."""

    NAIVE = "naive"  # bound each network by intervals, subtract
    INTERVAL = "interval"  # DeepPoly for the reference, differences forward by intervals
    SYMBOLIC = "symbolic"  # DeepPoly for both networks, their forms over the input subtracted
    DIFFERENCE = "difference"  # differences substituted back jointly with the reference
    BEST = "best"  # at least as tight as all of these
    OPTIMIZED = "optimized"  # then relaxations and cases are searched for, within limits


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Effort:
    """What the mode `optimized` may take per box: nodes per bound of an output, and seconds in all.

    A bound that has come down to `goal` on either side is good enough; `stop`, asked now and then, ends the
    search early. With enough time, and without either, the number of nodes alone decides the result.
    """

    nodes: float = 2000
    seconds: float = 10.0
    goal: float = -np.inf
    stop: Callable[[], bool] = _never


@dataclass(frozen=True, slots=True)
class Deadline:
    """Until when something may be searched for."""

    at: float
    stop: Callable[[], bool] = _never

    @property
    def passed(self) -> bool:
        return self.stop() or time.monotonic() >= self.at


DEFAULT_EFFORT = Effort()


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """A batch of sub-boxes of a problem's region, in the coordinates of x: ends (boxes, n), outward.

    Parts of a search also stand for the reals between them and the doubles next to them, as far as these read a code
    that a part reads (qsmt.dra.inputs).
    """

    lower: FloatArray
    upper: FloatArray
    are_parts: bool = field(default=False, kw_only=True)

    @staticmethod
    def of_region(region: Region) -> Boxes:
        """The region itself, as a batch of one."""
        lower = np.array([[float_down(v) for v in region.lower]])
        return Boxes(lower, np.array([[float_up(v) for v in region.upper]]))

    @property
    def interval(self) -> Interval:
        return Interval(self.lower, self.upper)

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, part: slice) -> Boxes:
        return replace(self, lower=self.lower[part], upper=self.upper[part])


def outward(lower: FloatArray, upper: FloatArray) -> Interval:
    """The interval with these ends, where they are numbers; no end where they are not."""
    return Interval(np.where(np.isfinite(lower), lower, -np.inf), np.where(np.isfinite(upper), upper, np.inf))


def mirrored_rows(neurons: IntArray, m: int) -> IntArray:
    """Where chosen ones of m neurons, and then their negations, are among all neurons and all negations."""
    return np.concatenate([neurons, neurons + m])


def mirrored(upper: FloatArray) -> Interval:
    """Bounds of m quantities from upper bounds of them and then of their negations, (.., 2m)."""
    m = upper.shape[-1] // 2
    known = np.where(np.isfinite(upper), upper, np.inf)
    return Interval(-known[..., m:], known[..., :m])


def plus(a: Interval, b: Interval) -> Interval:
    """Bounds of a sum."""
    if a.lower.ndim != b.lower.ndim:
        return Interval(add_down(a.lower, b.lower), add_up(a.upper, b.upper))
    ends = add_up(_raising(a), _raising(b))
    return Interval(-ends[0], ends[1])


def _raising(a: Interval) -> FloatArray:
    """Both ends as numbers that may be rounded up, (2, ...)."""
    return pair(-a.lower, a.upper)


def pair(first: FloatArray, second: FloatArray) -> FloatArray:
    """Two arrays of one shape as one, (2, ...)."""
    out = np.empty((2, *first.shape))
    out[0], out[1] = first, second
    return out


def negated(a: Interval) -> Interval:
    return Interval(-a.upper, -a.lower)


def minus(a: Interval, b: Interval) -> Interval:
    """Bounds of a difference of values of which nothing is known but their bounds."""
    ends = add_up(_raising(a), pair(b.upper, -b.lower))
    return Interval(-ends[0], ends[1])


def scaled(a: Interval, factor: Unit) -> Interval:
    """Bounds of `factor` times a value, whatever the sign of the factor; one for each element is positive."""
    if isinstance(factor, tuple):
        return _scaled_each(a, factor)
    if factor.numerator < 0:
        return scaled(negated(a), -factor)
    ends = times_up(_raising(a), factor)
    return Interval(-ends[0], ends[1])


def _scaled_each(a: Interval, factors: tuple[Fraction, ...]) -> Interval:
    low, high = _around(factors)
    ends = _raising(a)
    product = np.where(ends > 0, ends * high, ends * low)
    ends = np.where(ends == 0, 0.0, np.where(np.isnan(product), np.inf, raised(product)))
    return Interval(-ends[0], ends[1])


@lru_cache(maxsize=256)
def _around(factors: tuple[Fraction, ...]) -> tuple[FloatArray, FloatArray]:
    return np.array([float_down(f) for f in factors]), np.array([float_up(f) for f in factors])


def both(a: Interval) -> Interval:
    """A quantity and its negation, (2, ...)."""
    return Interval(pair(a.lower, -a.upper), pair(a.upper, -a.lower))


def paired(first: float, second: float, like: FloatArray) -> FloatArray:
    """One number for a quantity, one for its negation: an array that broadcasts against `like`, (2, ...)."""
    return np.array([first, second]).reshape(2, *(1,) * (like.ndim - 1))


def cut(points: FloatArray, z: Interval) -> FloatArray:
    """The points, each moved to the nearest point of z."""
    return np.minimum(np.maximum(points, z.lower), z.upper)


def select(where: BoolArray, a: Interval, b: Interval) -> Interval:
    """`a` where the mask holds, else `b`."""
    return Interval(np.where(where, a.lower, b.lower), np.where(where, a.upper, b.upper))


@dataclass(frozen=True, slots=True)
class Limits:
    """A clamp's two limits, each between two doubles."""

    lower_down: float
    lower_up: float
    upper_down: float
    upper_up: float

    @property
    def are_doubles(self) -> bool:
        """Is each limit a double, or none?"""
        return self.lower_down == self.lower_up and self.upper_down == self.upper_up

    @property
    def negated(self) -> Limits:
        """The limits of -clamp(-v)."""
        return Limits(-self.upper_up, -self.upper_down, -self.lower_up, -self.lower_down)

    def down(self, values: FloatArray) -> FloatArray:
        """A lower bound of the clamp of values that are at least these."""
        return np.minimum(np.maximum(values, self.lower_down), self.upper_down)

    def up(self, values: FloatArray) -> FloatArray:
        """An upper bound of the clamp of values that are at most these."""
        return np.minimum(np.maximum(values, self.lower_up), self.upper_up)

    def varies(self, values: Interval) -> BoolArray:
        """Where the clamp is not the same limit for all values; the bounds' own rounding may be ignored."""
        varies: BoolArray = (values.upper > self.lower_down) & (values.lower < self.upper_up)
        return varies

    def of(self, values: Interval) -> Interval:
        return Interval(self.down(values.lower), self.up(values.upper))


def limits_between(lower: Fraction | None, upper: Fraction | None) -> Limits:
    """The limits of a clamp to exact numbers; None means no limit."""
    below = (-np.inf, -np.inf) if lower is None else (float_down(lower), float_up(lower))
    above = (np.inf, np.inf) if upper is None else (float_down(upper), float_up(upper))
    return Limits(*below, *above)


@dataclass(frozen=True, slots=True, eq=False)
class Clamps:
    """A clamp's limits and those of its negation, as arrays that broadcast against (2, boxes, m)."""

    low_down: FloatArray
    low_up: FloatArray
    high_down: FloatArray
    high_up: FloatArray

    @staticmethod
    def of(limits: Limits, like: FloatArray) -> Clamps:
        """For pairs of arrays with as many axes as this one."""
        return _clamps(limits, like.ndim)

    def down(self, values: FloatArray) -> FloatArray:
        """A lower bound of the clamp of values that are at least these."""
        return np.minimum(np.maximum(values, self.low_down), self.high_down)

    def up(self, values: FloatArray) -> FloatArray:
        """An upper bound of the clamp of values that are at most these."""
        return np.minimum(np.maximum(values, self.low_up), self.high_up)


@lru_cache(maxsize=256)
def _clamps(limits: Limits, axes: int) -> Clamps:
    like = np.empty((2, *(1,) * (axes - 1)))
    a, b = limits, limits.negated
    return Clamps(
        paired(a.lower_down, b.lower_down, like),
        paired(a.lower_up, b.lower_up, like),
        paired(a.upper_down, b.upper_down, like),
        paired(a.upper_up, b.upper_up, like),
    )
