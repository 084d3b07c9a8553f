"""ONNX operators that only move numbers: shapes, selections, and constants.

Each is one function on arrays. It is applied to the numbers of a constant, or to the positions of the
elements of a computed tensor, which says what the operator does to any values.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
from onnx import TensorProto

from qsmt.arith.real import ExactArray, IntArray, RealTensor, exact_array
from qsmt.frontend.onnx_affine import Computed
from qsmt.frontend.onnx_exact import concatenated, nonzero, rearranged
from qsmt.frontend.onnx_rules import Call, Operators, Tensor
from qsmt.frontend.onnx_tensor import FLOATS, INTEGERS, MAX_AXES, type_name, volume

MOVING = Operators()
_ONE, _TWO = range(1, 2), range(2, 3)


def _axis(call: Call, axis: int, *, bound: int, inclusive: bool = False) -> int:
    """An axis, counted from the end if negative."""
    if not -bound <= axis < bound + inclusive:
        call.node.fail(f"names axis {axis} of a tensor with {bound} axes")
    return axis + bound if axis < 0 else axis


def _distinct_axes(call: Call, axes: tuple[int, ...], bound: int) -> tuple[int, ...]:
    found = tuple(sorted(_axis(call, axis, bound=bound) for axis in axes))
    if any(a == b for a, b in pairwise(found)):
        call.node.fail("names an axis twice")
    return found


# --- identity ---------------------------------------------------------------------------------------


@MOVING.rule("Identity", inputs=_ONE)
def _identity(call: Call) -> Tensor:
    return call.tensor(0)


@MOVING.rule("Dropout", inputs=_ONE, attributes="ratio")
def _dropout_7(call: Call) -> Tensor:
    return call.tensor(0)


@MOVING.rule("Dropout", inputs=range(1, 4), since=12, attributes="seed")
def _dropout_12(call: Call) -> Tensor:
    if call.optional(2) is not None and call.integers(2).any():
        call.node.refuse("is in training mode", hint="export the network for inference")
    return call.tensor(0)


# --- shapes -------------------------------------------------------------------------------------------


@MOVING.rule("Flatten", inputs=_ONE, attributes="axis")
def _flatten(call: Call) -> Tensor:
    x = call.tensor(0)
    axis = _axis(call, call.node.integer("axis", 1), bound=len(x.shape), inclusive=True)
    return _reshaped(call, x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


@MOVING.rule("Reshape", inputs=_TWO)
@MOVING.rule("Reshape", inputs=_TWO, since=14, attributes="allowzero")
def _reshape(call: Call) -> Tensor:
    x, target = call.tensor(0), call.axes(1)
    if not call.node.integer("allowzero", 0):
        target = _with_copies(call, x.shape, target)
    if target.count(-1) > 1 or any(d < -1 for d in target):
        call.node.fail(f"reshapes to {list(target)}, which is no shape")
    known = prod(d for d in target if d != -1)
    if -1 in target and known and prod(x.shape) % known == 0:
        target = tuple(prod(x.shape) // known if d == -1 else d for d in target)
    if prod(target) != prod(x.shape) or -1 in target:
        call.node.fail(f"reshapes {list(x.shape)} to {list(target)}, which has another number of elements")
    return _reshaped(call, x, target)


def _with_copies(call: Call, shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
    """`target` with each 0 replaced by the operand's size on the same axis."""
    if any(d == 0 for d in target[len(shape) :]):
        call.node.fail(f"copies an axis that shape {list(shape)} does not have to {list(target)}")
    return tuple(shape[i] if d == 0 else d for i, d in enumerate(target))


@MOVING.rule("Squeeze", inputs=_ONE, attributes="axes")
def _squeeze_7(call: Call) -> Tensor:
    return _squeeze(call, call.node.integers("axes"))


@MOVING.rule("Squeeze", inputs=range(1, 3), since=13)
def _squeeze_13(call: Call) -> Tensor:
    return _squeeze(call, None if call.optional(1) is None else call.axes(1))


def _squeeze(call: Call, axes: tuple[int, ...] | None) -> Tensor:
    x = call.tensor(0)
    chosen = _distinct_axes(call, axes, len(x.shape)) if axes is not None else None
    dropped = [i for i, d in enumerate(x.shape) if d == 1] if chosen is None else chosen
    if any(x.shape[i] != 1 for i in dropped):
        call.node.fail(f"squeezes an axis of {list(x.shape)} that is not of size 1")
    return _reshaped(call, x, tuple(d for i, d in enumerate(x.shape) if i not in dropped))


@MOVING.rule("Unsqueeze", inputs=_ONE, attributes="axes")
def _unsqueeze_7(call: Call) -> Tensor:
    return _unsqueeze(call, call.node.integers("axes") or call.node.fail("does not say which axes"))


@MOVING.rule("Unsqueeze", inputs=_TWO, since=13)
def _unsqueeze_13(call: Call) -> Tensor:
    return _unsqueeze(call, call.axes(1))


def _unsqueeze(call: Call, axes: tuple[int, ...]) -> Tensor:
    x = call.tensor(0)
    new = _distinct_axes(call, axes, len(x.shape) + len(axes))
    old = iter(x.shape)
    return _reshaped(call, x, tuple(1 if i in new else next(old) for i in range(len(x.shape) + len(new))))


def _reshaped(call: Call, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) > MAX_AXES:
        call.node.fail(f"makes a tensor of {len(shape)} axes; the limit is {MAX_AXES}")
    call.lowering.affordable(volume(shape))
    return call.rearrange(x, lambda array: array.reshape(shape))


# --- selections -----------------------------------------------------------------------------------------


@MOVING.rule("Transpose", inputs=_ONE, attributes="perm")
def _transpose(call: Call) -> Tensor:
    x = call.tensor(0)
    axes = call.node.integers("perm")
    order = tuple(range(len(x.shape)))[::-1] if axes is None else axes
    if sorted(order) != list(range(len(x.shape))):
        call.node.fail(f"permutes {len(x.shape)} axes by {list(order)}, which is no permutation of them")
    return call.rearrange(x, lambda array: array.transpose(order))


@MOVING.rule("Gather", inputs=_TWO, attributes="axis")
def _gather(call: Call) -> Tensor:
    x, index = call.tensor(0), call.integers(1)
    axis = _axis(call, call.node.integer("axis", 0), bound=len(x.shape))
    extent = x.shape[axis]
    if index.size and not (-extent <= index.min() and index.max() < extent):
        call.node.fail(f"takes an element outside an axis of size {extent}")
    call.affordable((*x.shape[:axis], index.size, *x.shape[axis + 1 :]))
    return call.rearrange(x, lambda array: np.take(array, index, axis=axis))


@MOVING.rule("Slice", inputs=_ONE, attributes="starts ends axes")
def _slice_7(call: Call) -> Tensor:
    starts, ends = call.node.integers("starts"), call.node.integers("ends")
    if starts is None or ends is None:
        call.node.fail("does not say where the slice starts and ends")
    return _slice(call, starts, ends, call.node.integers("axes"), steps=None)


@MOVING.rule("Slice", inputs=range(3, 6), since=10)
def _slice_10(call: Call) -> Tensor:
    axes, steps = (None if call.optional(i) is None else call.axes(i) for i in (3, 4))
    return _slice(call, call.axes(1), call.axes(2), axes, steps=steps)


def _slice(
    call: Call,
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    axes: tuple[int, ...] | None,
    *,
    steps: tuple[int, ...] | None,
) -> Tensor:
    """As Python slices: the same counting from the end, and the same clipping to the axis."""
    x = call.tensor(0)
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        call.node.fail("has starts, ends, axes and steps of different lengths")
    if any(step < 1 for step in steps):
        call.node.refuse("runs backwards, which is not read")
    _distinct_axes(call, axes, len(x.shape))
    cuts = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cuts[axis] = slice(start, end, step)
    return call.rearrange(x, lambda array: array[tuple(cuts)])


@MOVING.rule("Concat", inputs=range(1, 1025), attributes="axis")
def _concat(call: Call) -> Tensor:
    """Of integers, as exporters build the shape of a Reshape; or of real numbers, of which some may be computed."""
    parts = [call.tensor(i) for i in range(len(call.operands))]
    axis = _axis(call, call.node.integer("axis", 0), bound=len(parts[0].shape))
    if any(isinstance(part, Computed) for part in parts):
        reals = [part if isinstance(part, Computed) else call.reals(i) for i, part in enumerate(parts)]
        try:
            return call.lowering.join(reals, axis)
        except ValueError as error:
            call.node.refuse(str(error))
    call.affordable((sum(prod(part.shape) for part in parts),))
    if len({(len(p.shape), p.shape[:axis], p.shape[axis + 1 :]) for p in parts}) > 1:
        call.node.fail("joins tensors whose shapes do not agree")
    if isinstance(parts[0], RealTensor):
        moved = [rearranged(call.reals(i), lambda a: np.moveaxis(a, axis, 0)) for i in range(len(parts))]
        return rearranged(concatenated(moved), lambda a: np.moveaxis(a, 0, axis))
    return np.concatenate([call.integers(i) for i in range(len(parts))], axis=axis)


# --- constants --------------------------------------------------------------------------------------------


@MOVING.rule("Shape", inputs=_ONE)
@MOVING.rule("Shape", inputs=_ONE, since=15, attributes="start end")
def _shape(call: Call) -> Tensor:
    shape = call.tensor(0).shape
    window = slice(call.node.integer("start", 0), call.node.integer("end", len(shape)))
    return np.array(shape[window], dtype=np.int64)


@MOVING.rule(
    "Constant",
    inputs=range(1),
    attributes="value value_float value_floats value_int value_ints value_string value_strings sparse_value",
)
def _constant(call: Call) -> Tensor:
    node = call.node
    if len(node.attributes) != 1:
        node.fail(f"has {len(node.attributes)} values, not one")
    (form,) = node.attributes
    match form:
        case "value":
            tensor = node.tensor(form)
            assert tensor is not None
            return tensor
        case "value_float":
            return node.real(form, node.number(form))
        case "value_floats":
            return node.real(form, node.numbers(form))
        case "value_int":
            return np.array(node.integer(form, 0), dtype=np.int64)
        case "value_ints":
            return np.array(node.integers(form) or (), dtype=np.int64)
        case _:
            node.refuse(f"holds a {form}, which is not read")


@MOVING.rule("Cast", inputs=_ONE, attributes="to")
@MOVING.rule("Cast", inputs=_ONE, since=19, attributes="to saturate")
@MOVING.rule("Cast", inputs=_ONE, since=24, attributes="to saturate round_mode")
def _cast(call: Call) -> Tensor:
    """A cast rounds a constant. What is computed is read as real numbers, which have no precision."""
    x, to = call.tensor(0), call.node.integer("to", 0)
    if to not in FLOATS and to not in INTEGERS:
        call.node.refuse(f"casts to {type_name(to)}, which is not read")
    if isinstance(x, Computed):
        return x if to in FLOATS else call.node.refuse(f"rounds a computed tensor to {type_name(to)}")
    if to in FLOATS:
        return _cast_to_float(call, x, to)
    return _cast_to_integer(call, x, to)


def _cast_to_float(call: Call, x: RealTensor | IntArray, to: int) -> RealTensor:
    if isinstance(x, RealTensor) and x.rationals is not None:
        return x  # the result of folding, which has no precision either
    if to == TensorProto.BFLOAT16:
        call.node.refuse("casts a constant to bfloat16, which is not read")
    with np.errstate(over="ignore"):
        numbers = (x.nearest if isinstance(x, RealTensor) else x).astype(FLOATS[to])
    if not np.isfinite(numbers).all():
        call.node.fail(f"casts a number to {type_name(to)} that is too large for it")
    return RealTensor.of_floats(numbers)


def _cast_to_integer(call: Call, x: RealTensor | IntArray, to: int) -> IntArray:
    if to == TensorProto.BOOL:
        return np.asarray(nonzero(x) if isinstance(x, RealTensor) else x != 0, dtype=np.int64)
    numbers = x if isinstance(x, np.ndarray) else _truncated(x)
    limits = np.iinfo(INTEGERS[to])
    if numbers.size and not (limits.min <= numbers.min() and numbers.max() <= min(limits.max, 2**63 - 1)):
        call.node.fail(f"casts a number to {type_name(to)} that is too large for it")
    return numbers.astype(np.int64)


def _truncated(x: RealTensor) -> ExactArray:
    """The integers next to the numbers, toward zero."""
    return exact_array((int(v) for v in x.fractions.ravel().tolist()), x.shape)
