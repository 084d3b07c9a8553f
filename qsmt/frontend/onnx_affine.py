"""Lowers a graph of linear ops and activations to a chain of `Affine` ops and activations, exactly.

A computed tensor is held as a shape and a pending affine map from the last value that was emitted:

    Elementwise   y_i = scale_i * base[index_i] + offset_i     (also every relabelling and broadcast)
    Full          y   = weight @ base + bias

Linear ops compose maps; an activation emits ("flushes") the pending one. An elementwise map folds into the
full map before it if that is pending, else into the one after it; two full maps in a row stay two ops,
so that no product of two layers is ever formed. All numbers are exact (`onnx_exact`).

Memory is bounded before it is allocated: `Lowering.spend` counts the elements of all maps of one model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias, TypeVar

import numpy as np

from qsmt.arith.real import IntArray, RealTensor
from qsmt.frontend.onnx_contraction import contraction, product_shape
from qsmt.frontend.onnx_exact import (
    Array,
    BeyondLimits,
    concatenated,
    image,
    is_filled,
    product,
    rearranged,
    scattered,
    total,
)
from qsmt.ir.network import Network
from qsmt.ir.ops import ALONE, Affine, Clamp, Const, Op, Relu, Value
from qsmt.ir.types import Real, TensorType
from qsmt.ir.verify import MAX_ELEMENTS, verify

MAX_WORK = MAX_ELEMENTS
"""The elements of all affine maps that are formed for one model, a rational counting as 16: half a gigabyte."""

_RATIONAL_COST = 16
_MAX_NAME = 80


@dataclass(frozen=True, slots=True, eq=False)
class Elementwise:
    """`y_i = scale_i * base[index_i] + offset_i`."""

    index: IntArray
    scale: RealTensor
    offset: RealTensor

    @property
    def is_relabelling(self) -> bool:
        """Are the elements of `y` just elements of the base?"""
        return is_filled(self.scale, 1.0) and is_filled(self.offset, 0.0)

    def is_in_order(self, size: int) -> bool:
        """Does `y_i` read `base[i]`, for the whole base of this size?"""
        return np.array_equal(self.index, np.arange(size))

    @property
    def is_injective(self) -> bool:
        """Is no element of the base read twice?"""
        return np.unique(self.index).size == self.index.size


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """`y = weight @ base + bias`."""

    weight: RealTensor
    bias: RealTensor


Pending: TypeAlias = Elementwise | Full
P = TypeVar("P", Elementwise, Full)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A tensor that depends on the network's input: in row-major order, `pending` applied to `base`."""

    name: str
    shape: tuple[int, ...]
    base: Value
    pending: Pending

    @property
    def size(self) -> int:
        return prod(self.shape)

    def named(self, name: str) -> Computed:
        """The same tensor by another name, which a value that holds it will have."""
        return replace(self, name=name)

    @property
    def labels(self) -> IntArray:
        """Each element's position in row-major order."""
        return np.arange(self.size).reshape(self.shape)


def identity(size: int) -> Elementwise:
    """`y = base`."""
    ones, zeros = RealTensor.of_floats(np.ones(size)), RealTensor.of_floats(np.zeros(size))
    return Elementwise(np.arange(size), ones, zeros)


class Lowering:
    """The network under construction. Values are emitted once; what the output does not need is dropped."""

    def __init__(self, name: str, source: str, shape: tuple[int, ...]) -> None:
        self._name = legal_name(name)
        self._taken: dict[str, int] = {}
        self._definitions: dict[str, Op] = {}
        self._spent = 0
        size = self.affordable(prod(shape))
        self.spend(4 * size)  # the identity map, and the labels that rearrange it
        self._source = Value(self._unique(source), TensorType((size,), Real()))
        self.input = Computed(source, shape, self._source, identity(size))

    # --- linear ops ---

    def rearrange(self, x: Computed, how: Callable[[Array], Array]) -> Computed:
        """`x` in another arrangement; `how` moves, drops or repeats elements and computes nothing."""
        labels = how(x.labels)
        index = labels.ravel()
        self.affordable(index.size)
        if np.array_equal(index, np.arange(x.size)):
            return replace(x, shape=labels.shape)
        return replace(x, shape=labels.shape, pending=self._select(x.pending, index))

    def scale(self, x: Computed, factor: RealTensor) -> Computed:
        """`factor * x`, elementwise; the factor has the shape of `x`."""
        flat = rearranged(factor, np.ravel)
        if is_filled(flat, 1.0):
            return x
        match x.pending:
            case Elementwise(index, scale, offset):
                scaled = Elementwise(index, product(scale, flat), product(offset, flat))
                return replace(x, pending=self._charged(scaled))
            case Full(weight, bias):
                rows = rearranged(flat, lambda v: v[:, None])
                return replace(x, pending=self._charged(Full(product(weight, rows), product(bias, flat))))

    def shift(self, x: Computed, offset: RealTensor) -> Computed:
        """`x + offset`, elementwise; the offset has the shape of `x`."""
        flat = rearranged(offset, np.ravel)
        match x.pending:
            case Elementwise():
                pending: Pending = replace(x.pending, offset=total(x.pending.offset, flat))
            case Full():
                pending = replace(x.pending, bias=total(x.pending.bias, flat))
        self.spend(x.size)
        return replace(x, pending=pending)

    def join(self, parts: Sequence[Computed | RealTensor], axis: int) -> Computed:
        """Tensors side by side along an axis: parts of one value, and constants.

        Raises:
            ValueError: if the shapes do not fit, or the parts come from several values.
        """
        computed = [part for part in parts if isinstance(part, Computed)]
        if (
            len(computed) == 1
        ):  # a quantized network joins what it has rounded: an affine op of its own there, and here
            own = self.flush(computed[0]) if isinstance(computed[0].pending, Full) else computed[0]
            parts = [own if isinstance(part, Computed) else part for part in parts]
            computed = [own]
        base = computed[0].base
        if any(part.base != base for part in computed):
            raise ValueError("joins tensors of different layers; branches are not read")
        if len({(len(p.shape), p.shape[:axis], p.shape[axis + 1 :]) for p in parts}) > 1:
            raise ValueError("joins tensors whose shapes do not agree")
        starts = np.cumsum([0, *(prod(part.shape) for part in parts)])
        places = [
            np.arange(a, b).reshape(p.shape) for a, b, p in zip(starts, starts[1:], parts, strict=False)
        ]
        labels = np.concatenate(places, axis=axis)
        self.affordable(labels.size)
        stacked = self._stacked([self._pending(part) for part in parts], base.size)
        joined = replace(computed[0], shape=(int(starts[-1]),), pending=stacked)
        return self.rearrange(joined, lambda flat: flat[labels])

    def _pending(self, part: Computed | RealTensor) -> Pending:
        """A constant reads an element that it does not depend on."""
        if isinstance(part, Computed):
            return part.pending
        size = part.nearest.size
        zeros = RealTensor.of_floats(np.zeros(size))
        return Elementwise(np.zeros(size, dtype=np.int64), zeros, rearranged(part, np.ravel))

    def _stacked(self, parts: Sequence[Pending], size: int) -> Pending:
        """Maps of one base of this size, one after the other."""
        elementwise = [part for part in parts if isinstance(part, Elementwise)]
        if len(elementwise) == len(parts):
            index = np.concatenate([part.index for part in elementwise])
            scale, offset = (
                concatenated([p.scale for p in elementwise]),
                concatenated([p.offset for p in elementwise]),
            )
            return self._charged(Elementwise(index, scale, offset))
        full = [part if isinstance(part, Full) else self._of_elementwise(part, size) for part in parts]
        return self._charged(
            Full(concatenated([p.weight for p in full]), concatenated([p.bias for p in full]))
        )

    def contract(self, x: Computed, constant: RealTensor, *, computed_left: bool) -> Computed:
        """The matrix product of `x` and a constant, in the order told, as numpy and ONNX define it.

        Raises:
            ValueError: if the shapes do not fit.
        """
        shape = product_shape(*((x.shape, constant.shape) if computed_left else (constant.shape, x.shape)))
        self.affordable(prod(shape) * x.size)
        weight = contraction(x.labels, constant, shape, computed_left=computed_left)
        bias = RealTensor.of_floats(np.zeros(weight.shape[0]))
        return self.apply(x, Full(weight, bias), shape)

    def apply(self, x: Computed, full: Full, shape: tuple[int, ...]) -> Computed:
        """`full` applied to `x`, a tensor of this shape; folded into what is pending if that is elementwise."""
        self._charged(full)
        if isinstance(x.pending, Elementwise) and x.pending.is_injective:
            folded = self._folded(full, x.pending, x.base.size)
            return replace(x, shape=shape, pending=folded)
        return replace(self.flush(x), shape=shape, pending=full)

    def _folded(self, full: Full, inner: Elementwise, size: int) -> Full:
        """`full` after `inner`, which reads each element of a base of this size at most once."""
        weight = full.weight
        if not is_filled(inner.scale, 1.0):
            weight = product(weight, inner.scale)
        if not inner.is_in_order(size):
            m = weight.shape[0]
            self.affordable(m * size)
            weight = scattered((m, size), (np.arange(m)[:, None], inner.index[None, :]), weight)
        bias = full.bias
        if not is_filled(inner.offset, 0.0):
            bias = total(bias, image(full.weight, inner.offset))
        return full if weight is full.weight and bias is full.bias else self._charged(Full(weight, bias))

    def _select(self, pending: Pending, index: IntArray) -> Pending:
        """The rows of `pending` with these numbers."""

        def rows(numbers: RealTensor) -> RealTensor:
            return rearranged(numbers, lambda array: array[index])

        match pending:
            case Elementwise():
                chosen = pending.index[index]
                return self._charged(Elementwise(chosen, rows(pending.scale), rows(pending.offset)))
            case Full(weight, bias):
                self.affordable(index.size * weight.shape[1])
                return self._charged(Full(rows(weight), rows(bias)))

    # --- emission ---

    def activate(self, x: Computed, name: str, op: Callable[[Value, Value], Op]) -> Computed:
        """An elementwise op `op(out, x)` on `x`; it commutes with a pending relabelling."""
        if not self._is_relabelled(x) or isinstance(self._definitions.get(x.base.name), ALONE):
            x = self.flush(x)
        return self._activated(x, name, op)

    def activate_alone(self, x: Computed, name: str, op: Callable[[Value, Value], Op]) -> Computed:
        """The same for an op that must read an affine one."""
        if not self._is_relabelled(x) or not isinstance(self._definitions.get(x.base.name), Affine):
            x = self.flush(x)
        return self._activated(x, name, op)

    def is_nonnegative(self, x: Computed) -> bool:
        """Are the elements of `x` seen to be none below zero?"""
        match self._definitions.get(x.base.name):
            case Relu():
                return self._is_relabelled(x)
            case Clamp(lower=lower):
                return lower is not None and lower >= 0 and self._is_relabelled(x)
            case _:
                return False

    def _is_relabelled(self, x: Computed) -> bool:
        """Are the elements of `x` just elements of a value that an op has defined?"""
        is_relabelling = isinstance(x.pending, Elementwise) and x.pending.is_relabelling
        return is_relabelling and x.base != self._source

    def _activated(self, x: Computed, name: str, op: Callable[[Value, Value], Op]) -> Computed:
        out = Value(self._unique(name), x.base.type)
        self._definitions[out.name] = op(out, x.base)
        return replace(x, base=out)

    def flush(self, x: Computed) -> Computed:
        """`x` as a value of its own, defined by one affine op."""
        full = self._full(x)
        m = x.size
        out = Value(self._unique(x.name), TensorType((m,), Real()))
        weight = Const(f"{out.name}.weight", TensorType(full.weight.shape, Real()), full.weight)
        bias = Const(f"{out.name}.bias", TensorType((m,), Real()), full.bias)
        self._definitions[out.name] = Affine(out, x.base, weight, bias)
        return replace(x, base=out, pending=identity(m))

    def _full(self, x: Computed) -> Full:
        return x.pending if isinstance(x.pending, Full) else self._of_elementwise(x.pending, x.base.size)

    def _of_elementwise(self, pending: Elementwise, size: int) -> Full:
        shape = (pending.index.size, size)
        self.affordable(prod(shape))
        weight = scattered(shape, (np.arange(shape[0]), pending.index), pending.scale)
        return self._charged(Full(weight, pending.offset))

    def network(self, output: Computed) -> Network:
        """The network that ends with this tensor, verified."""
        done = (
            isinstance(output.pending, Elementwise)
            and output.pending.is_relabelling
            and output.pending.is_in_order(output.base.size)
        )
        value = output.base if done and output.base != self._source else self.flush(output).base
        ops: list[Op] = []
        while value != self._source:
            ops.append(self._definitions[value.name])
            value = ops[-1].x
        return verify(Network(self._name, "real", self._source, tuple(reversed(ops))))

    # --- limits and names ---

    def affordable(self, elements: int) -> int:
        """`elements`, if one tensor may have so many."""
        if not 1 <= elements <= MAX_ELEMENTS:
            what = (
                "a tensor with no elements" if elements < 1 else f"a tensor or matrix of {elements} elements"
            )
            raise BeyondLimits(f"{what}; the limit is {MAX_ELEMENTS}")
        return elements

    def spend(self, elements: int) -> None:
        """Count the elements of a map that is about to be formed."""
        self._spent += elements
        if self._spent > MAX_WORK:
            raise BeyondLimits(f"more than {MAX_WORK} elements in all its affine maps together")

    def _charged(self, pending: P) -> P:
        """`pending`, counted."""
        parts = (
            (pending.weight, pending.bias) if isinstance(pending, Full) else (pending.scale, pending.offset)
        )
        for part in parts:
            self.spend(part.nearest.size * (1 if part.rationals is None else _RATIONAL_COST))
        return pending

    def _unique(self, name: str) -> str:
        """A legal name like this one that no other value has."""
        base = candidate = legal_name(name)
        while candidate in self._taken:
            self._taken[base] += 1
            candidate = f"{base}.{self._taken[base]}"
        self._taken[candidate] = 1
        return candidate


def legal_name(name: str) -> str:
    """`name` with every character that IR names cannot have replaced, and cut to a readable length."""
    return re.sub(r"[^\w.:/-]", "_", name[:_MAX_NAME]) or "_"
