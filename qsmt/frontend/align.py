"""Aligns the layers of a reference with those of the network that was quantized from it.

Analysis compares layer by layer, so both networks need as many affine layers, of equal sizes. They come from
files of different structure: a bias that is its own layer of codes on one side (MatMul, then Add) is folded
into one affine layer on the other (Gemm). A layer that only scales and shifts each neuron is diagonal, so

    W x + b   =   I (W x) + b

splits any reference layer in two without changing its function, and a diagonal layer of the quantized network
that has no counterpart gets one. So does one that comes before the first matrix: it meets an identity. Activations
need no counterpart: a saturation on one side is a clamp there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import numpy as np

from qsmt.arith.real import RealTensor
from qsmt.errors import MalformedProblem
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Affine, Const, Op, Value
from qsmt.ir.types import Real, TensorType
from qsmt.ir.verify import verify


def aligned(reference: Network, quantized: Network) -> Network:
    """The reference, its layers split where the quantized network has a diagonal layer more.

    Raises:
        MalformedProblem: if the layers do not match, naming the first that does not.
    """
    ours, theirs = layers(reference), layers(quantized)
    if [a.pre.size for a in ours] == [b.pre.size for b in theirs]:
        return reference
    first, *split = _splits(ours, theirs)
    ops: list[Op] = []
    x = reference.input
    for k in range(first):
        ops.append(_copy(x, f"{reference.input.name}.same{k}"))
        x = ops[-1].out
    if first:
        layer = ours[0]
        ours = (replace(layer, affine=replace(layer.affine, x=x)), *ours[1:])
    for layer, times in zip(ours, split, strict=True):
        ops += _split(layer, times)
    return verify(replace(reference, ops=tuple(ops)))


def _splits(ours: Sequence[Layer], theirs: Sequence[Layer]) -> list[int]:
    """How many diagonal layers come before the reference's first layer; and after the matrix of each."""
    times = [0] * (len(ours) + 1)
    at = -1
    for k, other in enumerate(theirs):
        following = ours[at + 1] if at + 1 < len(ours) else None
        left = len(theirs) - k
        needed = len(ours) - at - 1
        matches = following is not None and following.pre.size == other.pre.size
        if _is_diagonal(other) and (not matches or left > needed):
            if at < 0 and other.affine.x.size != ours[0].affine.x.size:
                _explain(ours, theirs, 0, k)
            if matches and _is_diagonal_reference(following):
                at += 1
                continue
            times[at + 1] += 1
        elif matches:
            at += 1
        else:
            _explain(ours, theirs, at + 1, k)
    if at + 1 < len(ours):
        _explain(ours, theirs, at + 1, len(theirs))
    return times


def _is_diagonal(layer: Layer) -> bool:
    """Does each neuron of a quantized layer read the neuron of its own number, and no other?"""
    return _diagonal(layer.affine.weight.codes)


def _is_diagonal_reference(layer: Layer | None) -> bool:
    return layer is not None and _diagonal(layer.affine.weight.reals.nearest)


def _diagonal(weight: np.ndarray) -> bool:
    if weight.shape[0] != weight.shape[1]:
        return False
    return bool(
        np.count_nonzero(weight) == np.count_nonzero(np.diagonal(weight)) and np.diagonal(weight).all()
    )


def _split(layer: Layer, times: int) -> list[Op]:
    """The layer's ops; with `times` diagonal layers between its matrix and its bias."""
    affine = layer.affine
    if not times:
        return [affine, *layer.activation]
    zero = RealTensor.of_floats(np.zeros(affine.out.size))
    ops: list[Op] = []
    x = affine.x
    for k in range(times + 1):
        last = k == times
        out = affine.out if last else Value(f"{affine.out.name}.part{k}", affine.out.type)
        weight = affine.weight if k == 0 else _identity(affine, k)
        bias = affine.bias if last else Const(f"{out.name}.none", affine.bias.type, zero)
        ops.append(Affine(out, x, weight, bias))
        x = out
    return [*ops, *layer.activation]


def _identity(affine: Affine, k: int) -> Const:
    return _eye(f"{affine.out.name}.same{k}", affine.out.size)


def _eye(name: str, size: int) -> Const:
    return Const(name, TensorType((size, size), Real()), RealTensor.of_floats(np.eye(size)))


def _copy(x: Value, name: str) -> Affine:
    """An affine op that changes nothing."""
    none = Const(f"{name}.none", TensorType((x.size,), Real()), RealTensor.of_floats(np.zeros(x.size)))
    return Affine(Value(name, x.type), x, _eye(f"{name}.weight", x.size), none)


def _explain(ours: Sequence[Layer], theirs: Sequence[Layer], at: int, k: int) -> NoReturn:
    """Which layers do not match."""
    a, b = (_named(ours, at, "reference"), _named(theirs, k, "quantized network"))
    what = f"the reference has {len(ours)} layers, the quantized network {len(theirs)}: {a}, {b}"
    sizes = [", ".join(str(layer.pre.size) for layer in found) for found in (ours, theirs)]
    raise MalformedProblem(what, hint=f"their layers have {sizes[0]}, and {sizes[1]} neurons")


def _named(found: Sequence[Layer], i: int, whose: str) -> str:
    if i >= len(found):
        return f"the {whose} has no layer {i}"
    return f"layer {i} of the {whose} (%{found[i].pre.name}) has {found[i].pre.size} neurons"
