"""Matrix products of a computed tensor and a constant, as numpy and ONNX define them, as one matrix."""

from __future__ import annotations

from math import prod

import numpy as np

from qsmt.arith.real import IntArray, RealTensor
from qsmt.frontend.onnx_exact import Array, rearranged, scattered


def contraction(
    labels: IntArray, constant: RealTensor, result: tuple[int, ...], *, computed_left: bool
) -> RealTensor:
    """The matrix of a matrix product; `labels` are the positions of the computed operand's elements.

    Both operands get the axes (batch, row, column, inner): entry (b, i, j) of the result sums over k
    the constant's element times the element of `x` at the same place, so every element of the constant
    is one entry of the matrix (or, if it is broadcast, several).
    """
    align = (_left, _right) if computed_left else (_right, _left)
    columns, entries = align[0](labels), rearranged(constant, align[1])
    axes = np.broadcast_shapes(columns.shape, entries.shape)
    rows = np.arange(prod(result)).reshape(axes[:-1])[..., None]
    return scattered((prod(result), labels.size), (rows, columns), entries)


def product_shape(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a matrix product, for operands of one axis or more."""
    if not left or not right or left[-1] != right[-min(2, len(right))]:
        raise ValueError(f"multiplies shapes {list(left)} and {list(right)}, which do not fit")
    try:
        batch = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise ValueError(f"multiplies shapes {list(left)} and {list(right)}, which do not fit") from None
    return batch + left[-2:-1] + (right[-1:] if len(right) > 1 else ())


def _left(array: Array) -> Array:
    """A left operand on the axes (batch, row, column, inner)."""
    matrix = array[None, :] if array.ndim == 1 else array
    return matrix[..., :, None, :]


def _right(array: Array) -> Array:
    """A right operand on the axes (batch, row, column, inner)."""
    matrix = array[:, None] if array.ndim == 1 else array
    return np.swapaxes(matrix, -1, -2)[..., None, :, :]
