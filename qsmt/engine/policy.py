"""What a search is after, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from qsmt.arith.outward import float_down
from qsmt.facts import Interval


@dataclass(frozen=True, slots=True)
class Policy:
    """What a search is after."""

    limits: Callable[[], Interval]  # of the claimed outputs, (m,); they may only ever move outward
    finished: Callable[[], bool]  # is there no need to go on?
    dive_share: float = 0.0  # of each batch, how much goes to the worst of the newest boxes
    exact_points: float = np.inf  # of one piece, how many are executed exactly at most


@dataclass(slots=True)
class Tally:
    """How far a search is."""

    analysed: int = 0  # boxes
    enumerated: int = 0  # points
    settled: int = 0  # boxes that their bounds closed
    closed: float = 0.0  # measure of the closed boxes
    proved: float = 0.0  # ... of those that their bounds closed
    half_analysed: int = 0  # `analysed` and `proved` when the search had come half as far
    half_proved: float = 0.0
    next_analysed: int = 0
    next_proved: float = 0.0

    def count(self, boxes: int) -> None:
        """So many boxes more are analysed."""
        self.analysed += boxes
        if self.analysed >= 2 * self.next_analysed:
            self.half_analysed, self.half_proved = self.next_analysed, self.next_proved
            self.next_analysed, self.next_proved = self.analysed, self.proved

    @property
    def pace(self) -> float:
        """What analysis has proved of each box lately, on average."""
        return (self.proved - self.half_proved) / max(self.analysed - self.half_analysed, 1)


def claim_limits(claim_bounds: Sequence[Fraction]) -> Interval:
    """The bounds of a claim as limits: doubles that are not beyond them."""
    upper = np.array([float_down(bound) for bound in claim_bounds])
    return Interval(-upper, upper)
