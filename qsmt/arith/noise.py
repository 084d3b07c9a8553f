"""How far a runtime's requantization is from the exact multiple of the accumulator, from its thresholds.

Let y = apply(acc), which lies in [lo, hi] (a format's range, or a table's), M the exact multiplier (the ratio
of the units), and

    t_k = min {acc in reach : apply(acc) >= k}          for lo < k <= hi.

Then for every acc in reach there is a noise r in [low, high] with y = min(max(acc * M + r, lo), hi), where

    high = max over reached k of  k - t_k * M           and 0
    low  = min over reached k of  (k - 1) - (t_k - 1) * M   and 0

For y > lo, acc >= t_y, so y - acc * M <= y - t_y * M <= high. For y < hi, acc <= t_{y+1} - 1 (or no acc
reaches y + 1, see below), so y - acc * M >= y - (t_{y+1} - 1) * M >= low. Between the two lies y - acc * M for
lo < y < hi; for y = lo take r = min(0, y - acc * M), for y = hi r = max(0, y - acc * M), and 0 is in between.
Where y + 1 is never reached, the upper end of reach stands for its threshold.

It is computed in doubles, and widened by more than their errors. No theory of the kind is used, only that
`apply` is monotone on reach; a table that is not has no such noise. The noise of a hull is that of rounding to
nearest, and its slack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from qsmt.arith.real import IntArray
from qsmt.arith.runtime_kinds import Hull, RuntimeKind, stacked
from qsmt.arith.table import Table

_SLACK = 2.0**-48
"""Relative to a level: the errors of M, of its product with a threshold and of a difference are 2**-53 each."""


def thresholds(kinds: Sequence[RuntimeKind], levels: IntArray, reach: tuple[int, int]) -> IntArray:
    """The least accumulator of reach where each kind, monotone, is at least each level; (levels, kinds).

    Where a level is never reached: one more than the upper end of reach.
    """
    rule = stacked(kinds)
    shape = (len(levels), len(kinds))
    low, high = np.full(shape, reach[0], dtype=np.int64), np.full(shape, reach[1] + 1, dtype=np.int64)
    while (open_ := low < high).any():
        middle = low + (high - low) // 2
        reached = rule(np.minimum(middle, reach[1])) >= levels[:, None]
        high = np.where(open_ & reached, middle, high)
        low = np.where(open_ & ~reached, middle + 1, low)
    return low


def noise_of(
    kinds: Sequence[RuntimeKind],
    ratios: Sequence[Fraction],
    limits: tuple[int, int],
    reach: tuple[int, int],
) -> tuple[Fraction, Fraction]:
    """`(low, high)` for all of the kinds, each with its exact multiplier, in units of the result."""
    pairs = list(dict.fromkeys(zip(kinds, ratios, strict=True)))
    if any(isinstance(kind, Hull) for kind in kinds):
        slack = max(kind.slack for kind in kinds if isinstance(kind, Hull))
        return -Fraction(1, 2) - slack, Fraction(1, 2) + slack
    if any(isinstance(kind, Table) for kind in kinds):
        tables = [_of_table(kind, ratio, limits) for kind, ratio in pairs if isinstance(kind, Table)]
        return min(low for low, _ in tables), max(high for _, high in tables)
    kinds, multipliers = [kind for kind, _ in pairs], np.array([float(ratio) for _, ratio in pairs])
    levels = np.arange(limits[0] + 1, limits[1] + 1)
    t = thresholds(kinds, levels, reach)
    reached, inside = t <= reach[1], t > reach[0]
    k, last = levels[:, None].astype(np.float64), _results(kinds, limits, reach[1])
    above = np.where(reached, k - t * multipliers, 0.0).max(initial=0.0)
    below = np.where(reached & inside, (k - 1) - (t - 1) * multipliers, 0.0).min(initial=0.0)
    below = min(below, np.where(last < limits[1], last - reach[1] * multipliers, 0.0).min())
    slack = 4 * _SLACK * (float(np.abs(levels).max()) + 1 + max(above, -below))
    return -Fraction(-float(below) + slack), Fraction(float(above) + slack)


def _of_table(kind: Table, ratio: Fraction, limits: tuple[int, int]) -> tuple[Fraction, Fraction]:
    """The same of the accumulators that a table is about: its first, and every so many."""
    low, high = limits
    p, q = ratio.as_integer_ratio()
    codes = [min(max(code, low), high) for code in kind.codes]
    apart = [(code, code * q - (kind.first + i * kind.step) * p) for i, code in enumerate(codes)]
    least = min((over for code, over in apart if code < high), default=0)
    most = max((over for code, over in apart if code > low), default=0)
    return Fraction(min(least, 0), q), Fraction(max(most, 0), q)


def _results(kinds: Sequence[RuntimeKind], limits: tuple[int, int], acc: int) -> IntArray:
    """What each kind makes of one accumulator, saturated."""
    rule: Callable[[IntArray], IntArray] = stacked(kinds)
    return np.clip(rule(np.full(len(kinds), acc, dtype=np.int64)), *limits)
