"""Convolutions and pools as rows of an affine map: which element meets which weight, for each result.

A window of some kernel slides over the spatial axes of a tensor (channels, *spatial). Result r sums over the
places t of its window: `weight.flat[entry[r, t]] * x.flat[column[r, t]]`. What lies in the padding has the column
`PADDING` and counts as nothing: a zero of the real numbers, the zero point of codes. The structure does not
depend on what the weights are, so it serves float and integer networks alike (`dense`).

Definitions: ONNX operators Conv, AveragePool, MaxPool. Everything is counted before it is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmt.arith.real import IntArray
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.ir.verify import MAX_ELEMENTS

PADDING = -1
"""The column of a place that lies in the padding."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a window slides; one number per spatial axis.

    `extent` counts the results. `begins` and `ends` are the padding before and after; a window of a pool that
    rounds its extent up (`ceil_mode`) may reach beyond even that. `leaves_out`: windows that are shorter than their
    stride end before an axis does that is padded so that they end with it.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    extent: tuple[int, ...]
    leaves_out: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """What each result reads: arrays (results, places).

    `shape` is that of the result, (channels, *spatial), and `results` its product. A row reads no column twice.
    """

    shape: tuple[int, ...]
    columns: IntArray
    entries: IntArray

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Which places are not in the padding."""
        return np.asarray(self.columns != PADDING)


def window(
    spatial: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: bool = False,
) -> Window:
    """The window that an ONNX operator's attributes describe, over axes of these sizes.

    Raises:
        ValueError: if they describe none, saying why.
    """
    axes = len(kernel)
    if len(spatial) != axes or not axes:
        raise ValueError(f"slides a window of {axes} axes over {len(spatial)}")
    strides, dilations = tuple(strides or (1,) * axes), tuple(dilations or (1,) * axes)
    pads = tuple(pads or (0,) * (2 * axes))
    if not len(strides) == len(dilations) == axes or len(pads) != 2 * axes:
        raise ValueError(f"has strides, dilations or pads that are not those of {axes} axes")
    if min((*kernel, *strides, *dilations)) < 1 or min(pads) < 0:
        raise ValueError("has a kernel, a stride or a dilation below one, or a negative padding")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if auto_pad.startswith("SAME") and max(dilations) > 1:
        raise ValueError(f"dilates a window and pads it {auto_pad}, which runtimes do not agree on")
    begins, ends = _padding(auto_pad, spatial, spans, strides, pads)
    sizes = zip(spatial, spans, strides, begins, ends, strict=True)
    extent = tuple(_extent(*size, ceil_mode=ceil_mode) for size in sizes)
    if min(extent) < 1:
        raise ValueError(f"slides a window that spans {spans} over axes of sizes {list(spatial)}")
    leaves_out = auto_pad.startswith("SAME") and any(
        (count - 1) * stride + span < n
        for count, stride, span, n in zip(extent, strides, spans, spatial, strict=True)
    )
    return Window(tuple(kernel), strides, dilations, begins, ends, extent, leaves_out)


def _padding(
    auto_pad: str, spatial: Sequence[int], spans: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padding before and after every axis."""
    axes = len(spatial)
    match auto_pad:
        case "NOTSET" | "":
            return tuple(pads[:axes]), tuple(pads[axes:])
        case "VALID":
            return (0,) * axes, (0,) * axes
        case "SAME_UPPER" | "SAME_LOWER":
            needed = [
                max((-(-n // stride) - 1) * stride + span - n, 0)
                for n, span, stride in zip(spatial, spans, strides, strict=True)
            ]
            smaller, larger = tuple(n // 2 for n in needed), tuple(n - n // 2 for n in needed)
            return (smaller, larger) if auto_pad == "SAME_UPPER" else (larger, smaller)
        case _:
            raise ValueError(f"has the padding {auto_pad[:20]!r}, which is none")


def _extent(size: int, span: int, stride: int, begin: int, end: int, *, ceil_mode: bool) -> int:
    """How many windows fit on one axis; the last one must begin within the axis or the padding before it."""
    room = size + begin + end - span
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + begin else count


def convolution(shape: tuple[int, ...], weight: tuple[int, ...], over: Window, *, groups: int = 1) -> Taps:
    """A convolution of a tensor (channels, *spatial) with a weight (results, channels / groups, *kernel).

    Raises:
        ValueError: if the shapes do not fit.
        BeyondLimits: if the affine map is too large.
    """
    out, per_group = weight[0], weight[1]
    if groups < 1 or out % groups or per_group * groups != shape[0]:
        raise ValueError(f"convolves {shape[0]} channels with a weight {list(weight)} in {groups} groups")
    _affordable(out * prod(over.extent) * per_group * prod(over.kernel))
    _affordable(out * prod(over.extent) * prod(shape))
    at = _spatial(shape[1:], over)  # (windows, places)
    volume, places = prod(shape[1:]), at.shape[1]
    group = np.arange(out) // (out // groups)
    channel = group[:, None] * per_group + np.arange(per_group)  # (out, per_group)
    columns = np.where(
        at[None, :, None] == PADDING, PADDING, channel[:, None, :, None] * volume + at[None, :, None]
    )
    entries = np.arange(out * per_group * places).reshape(out, 1, per_group, places)
    rows = out * at.shape[0]
    return Taps(
        (out, *over.extent),
        columns.reshape(rows, -1),
        np.broadcast_to(entries, columns.shape).reshape(rows, -1),
    )


def pooling(shape: tuple[int, ...], over: Window) -> Taps:
    """What a pool reads of a tensor (channels, *spatial), each channel by itself; entries are places of the window.

    Raises:
        ValueError: if a window lies in the padding altogether, and so has nothing to average or to compare; or if less
            than nothing would be padded, which onnxruntime refuses for some types, and for others skips elements at
            the start.
        BeyondLimits: if an affine map of these rows is too large.
    """
    if over.leaves_out:
        raise ValueError("pads SAME a window that is shorter than its stride, which runtimes do not agree on")
    rows = shape[0] * prod(over.extent)
    _affordable(rows * prod(over.kernel))
    _affordable(rows * prod(shape))
    at, volume = _spatial(shape[1:], over), prod(shape[1:])
    if (at == PADDING).all(axis=1).any():
        raise ValueError("has a window that lies in the padding altogether")
    columns = np.where(at == PADDING, PADDING, np.arange(shape[0])[:, None, None] * volume + at)
    entries = np.broadcast_to(np.arange(at.shape[1]), columns.shape)
    return Taps((shape[0], *over.extent), columns.reshape(rows, -1), entries.reshape(rows, -1))


def counted(shape: tuple[int, ...], over: Window, *, padding: bool) -> IntArray:
    """How many elements each window of an average pool averages, (results,), with the padding or without.

    What a window reaches beyond the padding is never counted.
    """
    begins = over.begins if padding else (0,) * len(over.kernel)
    ends = over.ends if padding else (0,) * len(over.kernel)
    counts = np.ones((), dtype=np.int64)
    for axis, size in enumerate(shape[1:]):
        position = _positions(over, axis)
        within = (position >= -begins[axis]) & (position < size + ends[axis])
        counts = np.asarray(np.multiply.outer(counts, within.sum(axis=1)))
    return np.asarray(np.tile(counts.ravel(), shape[0]), dtype=np.int64)


def dense(taps: Taps, weight: npt.NDArray[Any], columns: int, zero: Any = 0) -> npt.NDArray[Any]:
    """The rows as a matrix (results, columns) of the weight's type."""
    matrix = np.full((len(taps.columns), columns), zero, dtype=weight.dtype)
    rows, places = np.nonzero(taps.inside)
    matrix[rows, taps.columns[rows, places]] = weight.ravel()[taps.entries[rows, places]]
    return matrix


def _spatial(spatial: tuple[int, ...], over: Window) -> IntArray:
    """The position that each place of each window reads, (windows, places), row-major."""
    axes = len(spatial)
    position = np.zeros((1,) * (2 * axes), dtype=np.int64)
    outside = np.zeros((1,) * (2 * axes), dtype=np.bool_)
    for axis, size in enumerate(spatial):
        own = _positions(over, axis)
        shape = [1] * (2 * axes)
        shape[axis], shape[axes + axis] = own.shape
        own = own.reshape(shape)
        position = position * size + own
        outside = outside | (own < 0) | (own >= size)
    return np.where(outside, PADDING, position).reshape(prod(over.extent), prod(over.kernel))


def _positions(over: Window, axis: int) -> IntArray:
    """Where on an axis each place of each window is, (windows, places)."""
    start = np.arange(over.extent[axis]) * over.strides[axis] - over.begins[axis]
    return start[:, None] + np.arange(over.kernel[axis]) * over.dilations[axis]


def _affordable(elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise BeyondLimits(f"a tensor or matrix of {elements} elements; the limit is {MAX_ELEMENTS}")
