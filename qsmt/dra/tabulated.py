"""A table of codes in one network that stands for a function of reals in the other.

An integer network computes a tanh code by code, from a table T. With the function f of the reference, the code w
that T reads and the value that it gives, both in real units,

    T(w) = f(w) + error(w),        w = clamp(s + noise)       (qsmt.dra.activation, of what comes before the table)

so the difference after the activation is f(w) - f(z) + error(w): what the two networks have in common cancels in
f(w) - f(z), and the error is that of rounding, plus what the table's format cuts off. It is known at each code, and its
least and greatest on any range of codes are two entries of a table: those of the ranges of 2**k codes.

Nothing is assumed of T, not even that it is near f: a table of another function has a larger error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from qsmt.arith.fixed import Format
from qsmt.arith.outward import add_down, add_up, float_down, float_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt.arith.runtime_kinds import Hull
from qsmt.arith.table import Table
from qsmt.dra.activation import Activation, compiled, formula, one_unit
from qsmt.dra.domain import plus
from qsmt.dra.shape import Shape
from qsmt.facts import Interval
from qsmt.ir.ops import Op, Requantize
from qsmt.ir.types import Accumulator

MOST_BITS = 8
"""Of codes that a table reads."""

FARTHEST = Fraction(2) ** 900
"""Powers of two and single-precision numbers up to here, times a code, are doubles."""

LARGEST_CODE = 2**30

MARGIN = 2.0**-20
"""In codes: more than the error of a quotient of at most LARGEST_CODE, and less than any distance that matters."""


@dataclass(frozen=True, slots=True, eq=False)
class Tabulated:
    """A table at the end of an activation, beside the function that it stands for.

    `least[k, i]` and `greatest[k, i]` bound the error on the 2**k codes from the i-th on.
    """

    shape: Shape
    inner: Activation  # from what the layer sums to the codes that the table reads
    first: int  # the least of these codes
    unit: float  # of these codes, which doubles hold exactly in real units
    least: FloatArray  # (levels, codes)
    greatest: FloatArray

    def read(self, s: Interval) -> Interval:
        """Bounds of w, which is a code, in real units; s bounds the sums."""
        low, high = self.inner.noise
        w = self.inner.limits.of(plus(s, Interval(np.array(low), np.array(high))))
        lower, upper = self._codes(w)
        codes = Interval((lower + self.first).astype(np.float64), (upper + self.first).astype(np.float64))
        return Interval(codes.lower * self.unit, codes.upper * self.unit)

    def error(self, w: Interval) -> Interval:
        """Bounds of the error on codes with these bounds."""
        lower, upper = self._codes(w)
        level = np.frexp((upper - lower + 1).astype(np.float64))[1] - 1
        other = upper - (1 << level) + 1
        return Interval(
            np.minimum(self.least[level, lower], self.least[level, other]),
            np.maximum(self.greatest[level, lower], self.greatest[level, other]),
        )

    def _codes(self, w: Interval) -> tuple[IntArray, IntArray]:
        """The numbers of the first and of the last code within bounds; all codes where nothing is known."""
        last = self.least.shape[-1] - 1
        lower, upper = np.ceil(w.lower / self.unit - MARGIN), np.floor(w.upper / self.unit + MARGIN)
        lower = np.nan_to_num(lower - self.first, nan=0.0, neginf=0.0)
        upper = np.nan_to_num(upper - self.first, nan=last, posinf=last)
        found = np.clip(lower, 0, last).astype(np.int64)
        return found, np.maximum(np.clip(upper, 0, last).astype(np.int64), found)


def tabulated(shape: Shape | None, activation: Sequence[Op]) -> Tabulated | None:
    """The table that ends a layer's activation, if it has one and the reference has this shape there."""
    op = activation[-1] if activation else None
    if len(activation) == 1 and isinstance(activation[0].x.type.element, Format):
        return None  # it reads another layer's codes
    if (
        shape is None
        or not isinstance(op, Requantize)
        or len(op.runtime_kinds) != 1
        or isinstance(op.kind, Hull)
    ):
        return None
    read = _read(op)
    if read is None or len(read[0]) > 1 << MOST_BITS or not 1 / FARTHEST < read[1] < FARTHEST:
        return None
    codes, scale = read
    unit, ends = float(scale), (codes[0] * scale, codes[-1] * scale)
    if any(abs(code) > LARGEST_CODE or Fraction(code * unit) != code * scale for code in codes):
        return None  # a unit of sums is a product of two singles: too long for a double, times a code
    given = [op.rule.apply(code) * op.target.scale for code in codes]
    f = shape.bounds(np.array(codes, dtype=np.float64) * unit)
    least = add_down(np.array([float_down(v) for v in given]), -f.upper)
    greatest = add_up(np.array([float_up(v) for v in given]), -f.lower)
    inner = compiled(formula(tuple(activation[:-1])).clamped(*ends))
    return Tabulated(shape, inner, codes[0], unit, -_powers(-least), _powers(greatest))


def _read(op: Requantize) -> tuple[range, Fraction] | None:
    """What a table reads, and its unit: codes; or sums, beyond the ends of which it goes on as it ends."""
    kind, table = op.x.type.element, op.kind
    if isinstance(kind, Format):
        return range(kind.min, kind.max + 1), kind.scale
    if isinstance(kind, Accumulator) and isinstance(table, Table) and table.step == 1:
        return range(table.first, table.first + len(table.codes)), one_unit(op.x)
    return None


def _powers(values: FloatArray) -> FloatArray:
    """Row k holds at i the greatest of the 2**k values from i on, as far as there are that many."""
    rows = [values]
    while 2 ** len(rows) <= len(values):
        before, half = rows[-1], 2 ** (len(rows) - 1)
        shifted = np.concatenate([before[half:], before[-half:]])
        rows.append(np.maximum(before, shifted))
    return np.stack(rows)
