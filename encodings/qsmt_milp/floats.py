"""The program in doubles, for solvers: where exactness ends, in one place.

A row may be multiplied by any positive number. The number chosen here clears odd denominators, so that an
input scale like 1/255 leaves no rounding in coefficients that are dyadic otherwise; and a power of two then
brings the largest coefficient into [1, 256]. There solvers' absolute tolerances mean something for reals, and
are far below the least step of a row of integers. Then every number becomes the nearest double; only the
bounds of variables, which are redundant, are rounded outward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf, lcm

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt_milp.model import Exact, Model

MAX_ODD = 2**20
"""Larger odd denominators are not cleared: they come from decimals, which are not exact in doubles anyway."""

LARGEST = 8
"""The power of two above which coefficients are scaled down: products with values up to 2**20 stay exact."""


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


def to_floats(model: Model) -> FloatModel:
    """The nearest doubles of a model whose rows are scaled as above."""
    factors = [scale(row.terms.values()) for row in model.rows]
    pairs = list(zip(model.rows, factors, strict=True))
    goal = np.zeros(len(model.variables))
    factor = scale(model.objective.terms.values())
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


def scale(coefficients: Iterable[Exact]) -> Fraction:
    """The positive number that a row with these coefficients is multiplied by."""
    exact = [Fraction(c) for c in coefficients]
    if not exact:
        return Fraction(1)
    odd = lcm(*(c.denominator // (c.denominator & -c.denominator) for c in exact))
    odd = odd if odd <= MAX_ODD else 1
    largest = max(abs(c) for c in exact) * odd
    magnitude = largest.numerator.bit_length() - largest.denominator.bit_length()
    return odd * Fraction(2) ** (min(max(magnitude, 0), LARGEST) - magnitude)
