"""The program in doubles, for solvers: where exactness ends, in one place.

A row may be multiplied by any positive number. The number chosen here clears odd denominators, so that an
input scale like 1/255 leaves no rounding in coefficients that are dyadic otherwise. A power of two then
raises a row's largest coefficient to about 1, where a solver's absolute tolerance means something; or it
lowers a row whose terms are large until the rounding errors of its sum are below that tolerance. Then every
number becomes the nearest double; only the bounds of variables, which are redundant, are rounded outward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf, isfinite, lcm

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt_milp.gap import uncertainty
from qsmt_milp.model import Exact, Model

MAX_ODD = 2**20
"""Larger odd denominators are not cleared: they come from decimals, which are not exact in doubles anyway."""

LARGEST = 18
"""The power of two that no term of a row exceeds, unless a solver says otherwise: a thousand are off by 1e-9 at worst.

The least step of a row of integers is far above that as long as its terms are below 2**`ranges.LARGEST`.
"""


@dataclass(frozen=True, slots=True, eq=False)
class FloatModel:
    """Row-wise sparse: row i has the entries from `starts[i]` to `starts[i + 1]`."""

    lower: FloatArray
    upper: FloatArray
    integer: tuple[bool, ...]
    objective: FloatArray  # to be maximised
    enough: float | None
    row_lower: FloatArray
    row_upper: FloatArray
    starts: IntArray
    columns: IntArray
    values: FloatArray

    def rows(self) -> Iterator[tuple[list[int], list[float], float, float]]:
        """Columns, values, lower and upper side of each row."""
        sides = zip(self.row_lower.tolist(), self.row_upper.tolist(), strict=True)
        for (start, end), (low, high) in zip(pairwise(self.starts.tolist()), sides, strict=True):
            yield self.columns[start:end].tolist(), self.values[start:end].tolist(), low, high


def to_floats(model: Model, largest: int = LARGEST) -> FloatModel:
    """The nearest doubles of a model whose rows are scaled as above."""
    reach = [v.modulus for v in model.variables]
    factors = [scale(row.terms, reach, largest) for row in model.rows]
    pairs = list(zip(model.rows, factors, strict=True))
    goal = np.zeros(len(model.variables))
    factor = scale(model.objective.terms, reach, largest)
    for index, coefficient in model.objective.terms.items():
        goal[index] = float(coefficient * factor)
    return FloatModel(
        lower=np.array([float_down(Fraction(v.lower)) for v in model.variables]),
        upper=np.array([float_up(Fraction(v.upper)) for v in model.variables]),
        integer=tuple(v.integer for v in model.variables),
        objective=goal,
        enough=None if model.enough is None else float((model.enough - model.objective.constant) * factor),
        row_lower=np.array([-inf if r.lower is None else float(r.lower * f) for r, f in pairs]),
        row_upper=np.array([inf if r.upper is None else float(r.upper * f) for r, f in pairs]),
        starts=np.cumsum([0, *(len(row.terms) for row in model.rows)]),
        columns=np.array([i for row in model.rows for i in row.terms], dtype=np.int64),
        values=np.array([float(c * f) for row, f in pairs for c in row.terms.values()]),
    )


def too_wide(model: Model, widest: int) -> str | None:
    """None; or that a row has terms beyond the power of two up to which claims of a solver in doubles count.

    Of integers, the unit decides. The larger the terms beside it, the more often does what a solver derives of rows,
    such as a cut, miss a solution, by far more than its tolerances. Up to where they have not been seen to is measured
    (benchmarks/results/claims.md).
    """
    reach = [float(v.modulus) for v in model.variables]
    terms = (abs(float(c)) * reach[i] for row in model.rows for i, c in row.terms.items())
    if max(terms, default=0.0) <= 2.0**widest:
        return None
    return f"its rows have terms beyond 2**{widest}, where solvers in doubles miss solutions"


def highest(model: Model, bound: float, largest: int = LARGEST) -> Fraction | None:
    """What no solution's objective exceeds, if no solution's scaled objective exceeds `bound`; as far as doubles go.

    It is raised by what solvers in doubles may be off by (see `gap`).
    """
    if not isfinite(bound):
        return None
    factor = scale(model.objective.terms, [v.modulus for v in model.variables], largest)
    return Fraction(bound) / factor + model.objective.constant + uncertainty(model.objective, model.variables)


def scale(terms: Mapping[int, Exact], reach: Sequence[Exact], largest: int = LARGEST) -> Fraction:
    """The positive number that a row is multiplied by; `reach` is the modulus of each variable."""
    if not terms:
        return Fraction(1)
    exact = {i: Fraction(c) for i, c in terms.items()}
    odd = lcm(*(c.denominator // (c.denominator & -c.denominator) for c in exact.values()))
    odd = odd if odd <= MAX_ODD else 1
    coefficient = _log2(max(abs(c) for c in exact.values()) * odd)
    term = _log2(max(abs(c) * reach[i] for i, c in exact.items()) * odd)
    return odd * Fraction(2) ** min(max(-coefficient, 0), largest - term)


def _log2(value: Fraction) -> int:
    """The power of two just above or below."""
    return value.numerator.bit_length() - value.denominator.bit_length()
