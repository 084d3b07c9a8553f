"""Who is likely to be fast on a query: an estimate from three numbers that are known before anything is encoded.

Seconds are taken to double with every so many bits of input and unstable neurons, and to grow with a power of the
width: the bits in which all sums of the quantized network vary. The constants are fitted to the rows of
benchmarks/results/dispatch.md (`make bench-dispatch` measures them again); they only order solvers, so a factor of
two does no harm. A solver that nobody has measured is taken to be slower than all that are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, log2
from typing import Any

import numpy as np

from qsmt.dra.stability import unstable
from qsmt.encoding import Query
from qsmt.problem import InputModel
from qsmt.solver.base import Backend


@dataclass(frozen=True, slots=True)
class Size:
    """How large a query is.

    Attributes:
        model: of the region.
        input_bits: logarithm to base 2 of the points of a grid; 0 for a continuous region.
        unstable: hidden neurons of both networks that are.
        width: bits in which the sums of the quantized network vary, all layers together.
    """

    model: InputModel
    input_bits: float
    unstable: int
    width: float

    @property
    def features(self) -> tuple[float, float, float]:
        """What the logarithm of a solver's seconds is linear in."""
        return self.input_bits, float(self.unstable), log2(1.0 + self.width)


@dataclass(frozen=True, slots=True)
class Growth:
    """Seconds on a query with nothing to search, and how often they double per unit of each feature.

    `spread` is how far, in doublings, measured seconds were from that: the root of the mean square.
    """

    seconds: float
    per_input_bit: float
    per_unstable_neuron: float
    per_width_doubling: float
    spread: float

    def expected(self, size: Size) -> float:
        """The mean of the seconds on queries of this size, if their logarithms are normally distributed.

        Who is quick on most queries and endless on some is worse than somebody steady.
        """
        rates = (self.per_input_bit, self.per_unstable_neuron, self.per_width_doubling)
        doublings = sum(rate * feature for rate, feature in zip(rates, size.features, strict=True))
        return self.seconds * exp(min(log(2.0) * doublings, MOST) + (log(2.0) * self.spread) ** 2 / 2)


MOST = 600.0
"""Exponents beyond this are not told apart."""

MEASURED: Mapping[InputModel, Mapping[str, Growth]] = {
    InputModel.GRID: {
        "smt:bitwuzla": Growth(7.3e-06, 0.26, 0.00, 1.59, 2.10),
        "smt:z3": Growth(1.8e-05, 0.15, 0.02, 1.60, 2.17),
        "smt:cvc5": Growth(3.3e-05, 0.11, 0.03, 1.56, 2.33),
        "milp-certified": Growth(0.00029, 0.20, 0.04, 0.63, 1.08),
        "milp:highs": Growth(5.6e-06, 0.10, 0.03, 1.64, 1.62),
        "milp:scip": Growth(5.2e-05, 0.09, 0.04, 1.25, 1.82),
        "milp:gurobi": Growth(3.4e-06, 0.15, 0.02, 1.59, 1.61),
    },
    InputModel.CONTINUOUS: {
        "milp-certified": Growth(1.1e-05, 0.00, 0.03, 1.53, 2.60),
        "milp:highs": Growth(4.4e-05, 0.00, 0.06, 1.22, 1.78),
        "milp:scip": Growth(0.0003, 0.00, 0.07, 0.92, 1.94),
        "milp:gurobi": Growth(3.2e-05, 0.00, 0.05, 1.16, 1.98),
    },
}
"""By the label of what an answer rests on."""

NUMERICAL = 1.5
"""A numerical claim is worth less than a proof: one that takes this much longer is preferred."""


def estimate(backend: Backend[Any], size: Size) -> float:
    """Seconds, roughly; weighted by what the answer would be worth."""
    known = MEASURED[size.model]
    growth = known.get(backend.trust)
    seconds = growth.expected(size) if growth else 2.0 * max(g.expected(size) for g in known.values())
    return seconds if backend.exact else seconds * NUMERICAL


def size(query: Query) -> Size:
    """Read off the region and the facts."""
    region = query.problem.region
    bits = 0.0
    if region.model is InputModel.GRID:
        ends = zip(region.lower, region.upper, strict=True)
        bits = sum(log2(int(high - low) + 1) for low, high in ends)
    width = sum(float(np.log2(1.0 + layer.quantized_pre.width).sum()) for layer in query.facts.layers)
    return Size(region.model, bits, sum(unstable(query.problem, query.facts)), min(width, WIDEST))


WIDEST = 2.0**60
"""Where facts are infinite."""
