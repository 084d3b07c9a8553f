"""What analysis has proved about the values of a problem: bounds of both networks and of their difference.

All bounds are doubles rounded outward. A bound of a code is in units of the code (an integer, unless it
is too large for a double to hold); a bound of a difference is in real units, quantized minus reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from qsmt.arith.real import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Elementwise bounds, shape (boxes, n) in a batch, (n,) for one box."""

    lower: FloatArray
    upper: FloatArray

    @property
    def width(self) -> FloatArray:
        return self.upper - self.lower

    def meet(self, other: Interval) -> Interval:
        """The intersection of two bounds of the same values."""
        return Interval(np.maximum(self.lower, other.lower), np.minimum(self.upper, other.upper))

    def repeated(self, count: int) -> Interval:
        """The same batch so many times, one copy after the other."""
        if count == 1:
            return self
        shape = (count, *self.lower.shape)
        lower, upper = np.broadcast_to(self.lower, shape), np.broadcast_to(self.upper, shape)
        return Interval(lower.reshape(-1, shape[-1]), upper.reshape(-1, shape[-1]))

    def meet_lanes(self, lanes: int) -> Interval:
        """Of a batch that bounds the same values several times: the last copy, met with all of them."""
        if lanes == 1:
            return self
        size = len(self.lower) // lanes
        lower, upper = self.lower.copy(), self.upper.copy()
        lower[-size:] = np.maximum.reduce(lower.reshape(lanes, size, -1))
        upper[-size:] = np.minimum.reduce(upper.reshape(lanes, size, -1))
        return Interval(lower, upper)

    @staticmethod
    def joined(parts: Sequence[Interval]) -> Interval:
        """Parts of a batch, one after the other."""
        return Interval(
            np.concatenate([part.lower for part in parts]), np.concatenate([part.upper for part in parts])
        )

    def __getitem__(self, box: int | slice) -> Interval:
        return Interval(self.lower[box], self.upper[box])


class Stability(StrEnum):
    """What a hidden neuron does over a whole region."""

    ACTIVE = "active"  # its activation passes the value on
    INACTIVE = "inactive"  # constant at its lower limit
    SATURATED = "saturated"  # constant at its upper limit
    UNSTABLE = "unstable"


@dataclass(frozen=True, slots=True, eq=False)
class LayerFacts:
    """One aligned layer: before (`pre`) and after (`post`) its activation."""

    reference_pre: Interval
    quantized_pre: Interval
    difference_pre: Interval
    reference_post: Interval
    quantized_post: Interval
    difference_post: Interval

    def meet(self, other: LayerFacts) -> LayerFacts:
        """The intersection of two analyses of the same layer."""
        names = LayerFacts.__slots__
        return LayerFacts(*(getattr(self, name).meet(getattr(other, name)) for name in names))

    def __getitem__(self, box: int | slice) -> LayerFacts:
        return LayerFacts(*(getattr(self, name)[box] for name in LayerFacts.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class LinearForm:
    """For every x of the box, `lower . x + lower_constant <= difference <= upper . x + upper_constant`.

    One row per output, in the coordinates of x; the inequalities hold over the reals, with the doubles as
    they are.
    """

    lower: FloatArray  # (boxes, outputs, inputs)
    upper: FloatArray
    lower_constant: FloatArray  # (boxes, outputs)
    upper_constant: FloatArray

    def __getitem__(self, box: int | slice) -> LinearForm:
        return LinearForm(*(getattr(self, name)[box] for name in LinearForm.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Bounds of every aligned layer, first to last; the last layer's `post` are the outputs.

    `form` is there if the analysis had one, and bounds the difference of the outputs.
    """

    layers: tuple[LayerFacts, ...]
    form: LinearForm | None = None

    @property
    def difference(self) -> Interval:
        """Bounds of quantized minus reference, per output."""
        return self.layers[-1].difference_post

    def __getitem__(self, box: int) -> Facts:
        return Facts(tuple(layer[box] for layer in self.layers), self.form and self.form[box])
