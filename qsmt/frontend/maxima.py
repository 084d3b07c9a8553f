"""Maxima over windows as layers of affine maps and ReLUs, exactly: max(a, b) = b + relu(a - b).

A window's elements meet in pairs, the winners in pairs again, until one is left. A layer computes a - b of every pair
and hands b on, which passes a ReLU as relu(b) - relu(-b), or as itself where it cannot be negative. So every op and
every consumer of the IR is the one that is there for ReLU networks, and nothing is rounded. The price is width:
two or three neurons per pair.

All matrices hold -1, 0 and 1 (or small sums of them), and serve real numbers and codes alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmt.arith.real import IntArray
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.frontend.windows import PADDING, Taps
from qsmt.ir.verify import MAX_ELEMENTS

SmallArray = npt.NDArray[np.int8]

NOTHING = -1
"""No element."""


@dataclass(frozen=True, slots=True, eq=False)
class Maxima:
    """ReLU of each of `layers` in turn, then the linear map `last`: matrices (results, inputs)."""

    layers: tuple[SmallArray, ...]
    last: SmallArray


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Values as `v[first] + v[second] - v[third]` of a vector, where NOTHING is zero; an array (values, 3)."""

    parts: IntArray

    def rows(self, size: int) -> SmallArray:
        """The values as rows over a vector of this size."""
        count = len(self.parts)
        _affordable(count * size)
        matrix = np.zeros((count, size), dtype=np.int8)
        for column, sign in enumerate((1, 1, -1)):
            rows = np.flatnonzero(self.parts[:, column] != NOTHING)
            np.add.at(matrix, (rows, self.parts[rows, column]), np.int8(sign))
        return matrix


def maxima(taps: Taps, size: int, *, nonnegative: bool) -> Maxima:
    """The maximum over each row of `taps`, whose columns are those of a vector of this size.

    `nonnegative` promises that no element of the vector is negative.

    Raises:
        BeyondLimits: if a layer is too large.
    """
    elements = np.full((size, 3), NOTHING)
    elements[:, 0] = np.arange(size)
    values, windows = _Sums(elements), _compact(taps.columns)
    found: list[SmallArray] = []
    while windows.shape[1] > 1:
        rows, values, windows = _halved(values.rows(size), windows, nonnegative=nonnegative)
        found.append(rows)
        size = len(rows)
    return Maxima(tuple(found), _Sums(values.parts[windows[:, 0]]).rows(size))


def _compact(columns: IntArray) -> IntArray:
    """Each window's elements first, then its padding; no column that is all padding."""
    order = np.argsort(columns == PADDING, axis=1, kind="stable")
    packed = np.take_along_axis(columns, order, axis=1)
    widest = int((columns != PADDING).sum(axis=1).max())
    return packed[:, :widest]


def _halved(rows: SmallArray, windows: IntArray, *, nonnegative: bool) -> tuple[SmallArray, _Sums, IntArray]:
    """One layer: its matrix, the winners as sums over it, and which winners are left in each window."""
    if windows.shape[1] % 2:
        windows = np.concatenate([windows, np.full((len(windows), 1), NOTHING)], axis=1)
    pairs, left = np.unique(windows.reshape(-1, 2), axis=0, return_inverse=True)
    first, second = pairs.T
    duel, alone = second != NOTHING, first != NOTHING
    kept = np.where(duel, second, first)
    passed, place = np.unique(kept[alone], return_inverse=True)
    _affordable((int(duel.sum()) + len(passed) * (1 if nonnegative else 2)) * rows.shape[1])
    differences = rows[first[duel]] - rows[second[duel]]
    handed = [rows[passed]] if nonnegative else [rows[passed], -rows[passed]]
    parts = np.full((len(pairs), 3), NOTHING)
    parts[duel, 0] = np.arange(int(duel.sum()))
    parts[alone, 1] = len(differences) + place.ravel()
    if not nonnegative:
        parts[alone, 2] = len(differences) + len(passed) + place.ravel()
    winners = np.where(alone[left.ravel()], left.ravel(), NOTHING)
    return np.concatenate([differences, *handed]), _Sums(parts), winners.reshape(len(windows), -1)


def _affordable(elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise BeyondLimits(f"a matrix of {elements} elements; the limit is {MAX_ELEMENTS}")
