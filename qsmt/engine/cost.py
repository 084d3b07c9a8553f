"""Who is likely to be fast on a query: an estimate from two numbers that are known before anything is encoded.

Seconds are taken to double with every so many unstable neurons and bits of input. The constants are fitted to
benchmarks/results/levers.md (`make bench-scaling` measures it again); they only order solvers, so a factor of
two does no harm. Of a solver that nobody has measured, the estimate is a pessimistic one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log2
from typing import Any

from qsmt.dra.stability import unstable
from qsmt.encoding import Query
from qsmt.problem import InputModel
from qsmt.solver.base import Backend


@dataclass(frozen=True, slots=True)
class Growth:
    """Seconds on a query with nothing to search, and how often they double per bit of input and per neuron."""

    seconds: float
    per_input_bit: float
    per_unstable_neuron: float
    per_point: float = inf  # of a grid: trying every one of them, it never takes longer than this


BY_TRUST = {
    "milp-certified": Growth(0.05, 0.0, 0.19, 1.5e-4),
    "milp": Growth(0.1, 0.0, 0.08),
    "smt": Growth(0.02, 0.4, 0.14),
}
"""By what an answer rests on: the whole label, or what is before its colon."""

UNMEASURED = Growth(0.2, 0.4, 0.2)

NUMERICAL = 1.5
"""A numerical claim is worth less than a proof: one that takes this much longer is preferred."""


def estimate(backend: Backend[Any], *, input_bits: float, neurons: int) -> float:
    """Seconds, roughly; weighted by what the answer would be worth."""
    label = backend.trust
    growth = BY_TRUST.get(label, BY_TRUST.get(label.partition(":")[0], UNMEASURED))
    doublings = growth.per_input_bit * input_bits + growth.per_unstable_neuron * neurons
    seconds: float = growth.seconds * 2.0 ** min(doublings, 500.0)
    if input_bits > 0:  # a grid
        seconds = min(seconds, growth.seconds + growth.per_point * 2.0 ** min(input_bits, 500.0))
    return seconds if backend.exact else seconds * NUMERICAL


def size(query: Query) -> tuple[float, int]:
    """The bits of input (of a continuous region, none are counted), and the unstable neurons of both networks."""
    region = query.problem.region
    bits = 0.0
    if region.model is InputModel.GRID:
        ends = zip(region.lower, region.upper, strict=True)
        bits = sum(log2(int(high - low) + 1) for low, high in ends)
    return bits, sum(unstable(query.problem, query.facts))
