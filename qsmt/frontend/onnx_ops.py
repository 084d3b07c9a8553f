"""ONNX operators that compute: matrix products, elementwise arithmetic with constants, activations."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Any, NoReturn

import numpy as np

from qsmt.arith.real import IntArray, RealTensor
from qsmt.frontend.onnx_affine import Computed
from qsmt.frontend.onnx_exact import (
    is_filled,
    negated,
    nonzero,
    product,
    rearranged,
    reciprocal,
    scalar,
    total,
)
from qsmt.frontend.onnx_rules import Call, Operators, Tensor
from qsmt.ir.ops import Clamp, Op, Relu, Value

COMPUTING = Operators()
_ONE, _TWO, _THREE = range(1, 2), range(2, 3), range(3, 4)

# --- matrix products ---------------------------------------------------------------------------------


@COMPUTING.rule("MatMul", inputs=_TWO)
def _matmul(call: Call) -> Tensor:
    return _matrix_product(call, call.tensor(0), call.tensor(1), factor=scalar(1.0))


@COMPUTING.rule("Gemm", inputs=_THREE, attributes="alpha beta transA transB")
@COMPUTING.rule("Gemm", inputs=range(2, 4), since=11, attributes="alpha beta transA transB")
def _gemm(call: Call) -> Tensor:
    left, right = _gemm_operand(call, 0, "transA"), _gemm_operand(call, 1, "transB")
    y = _matrix_product(call, left, right, factor=_factor(call, "alpha"))
    if call.optional(2) is None:
        return y
    shape = _broadcast_shape(call, y.shape, call.tensor(2).shape)
    if shape != y.shape:
        call.node.fail(f"adds shape {list(call.tensor(2).shape)} to a product of shape {list(y.shape)}")
    if isinstance(call.tensor(2), Computed):
        _refuse_residual(call)
    return shifted(call, y, product(call.reals(2), _factor(call, "beta")))


def _gemm_operand(call: Call, position: int, flag: str) -> Tensor:
    operand = call.tensor(position)
    if len(operand.shape) != 2:
        call.node.fail(f"multiplies a tensor of shape {list(operand.shape)}, which is not a matrix")
    transposed = call.node.integer(flag, 0)
    return call.rearrange(operand, lambda array: array.T) if transposed else operand


def _factor(call: Call, name: str) -> RealTensor:
    value = call.node.number(name)
    return call.node.real(name, 1.0 if value is None else value)


def _matrix_product(call: Call, left: Tensor, right: Tensor, *, factor: RealTensor) -> Computed:
    computed_left = isinstance(left, Computed)
    x, constant = (left, right) if computed_left else (right, left)
    if not isinstance(x, Computed):
        call.node.refuse("multiplies two constant matrices", hint="fold constants before export")
    if isinstance(constant, Computed):
        call.node.refuse("multiplies two computed tensors, which is not linear")
    weight = call.as_reals(constant, int(computed_left))
    if not is_filled(factor, 1.0):
        weight = product(weight, factor)
    try:
        return call.lowering.contract(x, weight, computed_left=computed_left)
    except ValueError as error:
        call.node.fail(str(error))


# --- elementwise arithmetic with constants ---------------------------------------------------------------


@COMPUTING.rule("Add", inputs=_TWO)
def _add(call: Call) -> Tensor:
    return _sum_of(call, call.tensor(0), call.tensor(1), at=1)


@COMPUTING.rule("Sum", inputs=range(1, 1025))
def _sum(call: Call) -> Tensor:
    return reduce(
        lambda partial_sum, i: _sum_of(call, partial_sum, call.tensor(i), at=i),
        range(1, len(call.operands)),
        call.tensor(0),
    )


def _sum_of(call: Call, a: Tensor, b: Tensor, *, at: int) -> Tensor:
    """`a + b`; `b` is the operand at position `at`, and `a` the sum of those before it."""
    if isinstance(a, Computed) and isinstance(b, Computed):
        _refuse_residual(call)
    if isinstance(a, Computed):
        return shifted(call, a, call.as_reals(b, at))
    if isinstance(b, Computed):
        return shifted(call, b, call.as_reals(a, 0))
    return _folded(call, a, b, (total, np.add))


@COMPUTING.rule("Sub", inputs=_TWO)
def _sub(call: Call) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if isinstance(a, Computed) and isinstance(b, Computed):
        _refuse_residual(call)
    if isinstance(a, Computed):
        return shifted(call, a, negated(call.reals(1)))
    if isinstance(b, Computed):
        return shifted(call, scaled(call, b, scalar(-1.0)), call.reals(0))
    return _folded(call, a, b, (lambda x, y: total(x, negated(y)), np.subtract))


@COMPUTING.rule("Mul", inputs=_TWO)
def _mul(call: Call) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if isinstance(a, Computed) and isinstance(b, Computed):
        call.node.refuse("multiplies two computed tensors, which is not linear")
    if isinstance(a, Computed):
        return scaled(call, a, call.reals(1))
    if isinstance(b, Computed):
        return scaled(call, b, call.reals(0))
    return _folded(call, a, b, (product, np.multiply))


@COMPUTING.rule("Div", inputs=_TWO)
def _div(call: Call) -> Tensor:
    a = call.tensor(0)
    if isinstance(call.tensor(1), Computed):
        call.node.refuse("divides by a computed tensor, which is not linear")
    divisor = call.reals(1)
    if not nonzero(divisor).all():
        call.node.fail("divides by zero")
    if isinstance(a, Computed):
        return scaled(call, a, reciprocal(divisor))
    return _folded(call, call.as_reals(a, 0), reciprocal(divisor), (product, np.multiply))


@COMPUTING.rule("Neg", inputs=_ONE)
def _neg(call: Call) -> Tensor:
    x = call.tensor(0)
    if isinstance(x, Computed):
        return scaled(call, x, scalar(-1.0))
    return negated(x) if isinstance(x, RealTensor) else -x


def _refuse_residual(call: Call) -> NoReturn:
    call.node.refuse("adds two computed tensors; residual connections are not read")


def _broadcast_shape(call: Call, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        call.node.fail(f"combines shapes {list(a)} and {list(b)}, which do not fit")
    call.affordable(shape)
    return shape


def _aligned(call: Call, x: Computed, constant: RealTensor) -> tuple[Computed, RealTensor]:
    """Both operands, broadcast to their common shape."""
    shape = _broadcast_shape(call, x.shape, constant.shape)
    if 0 in shape:
        call.node.fail("combines a computed tensor with one that has no elements")

    def spread(array: Any) -> Any:
        return np.broadcast_to(array, shape)

    return call.lowering.rearrange(x, spread), rearranged(constant, spread)


def shifted(call: Call, x: Computed, offset: RealTensor) -> Computed:
    """`x + offset`, broadcast."""
    return call.lowering.shift(*_aligned(call, x, offset))


def scaled(call: Call, x: Computed, factor: RealTensor) -> Computed:
    """`factor * x`, broadcast."""
    return call.lowering.scale(*_aligned(call, x, factor))


def _folded(
    call: Call,
    a: RealTensor | IntArray,
    b: RealTensor | IntArray,
    rules: tuple[Callable[[RealTensor, RealTensor], RealTensor], Callable[[Any, Any], Any]],
) -> Tensor:
    """Two constants, which are both real or both integers."""
    _broadcast_shape(call, a.shape, b.shape)
    on_reals, on_integers = rules
    if isinstance(a, RealTensor) and isinstance(b, RealTensor):
        return on_reals(a, b)
    if isinstance(a, RealTensor) or isinstance(b, RealTensor):
        call.node.fail("combines real numbers with integers")
    exact = np.asarray(on_integers(a.astype(object), b.astype(object)), dtype=object)
    if any(abs(v) >= 2**63 for v in exact.ravel().tolist()):
        call.node.fail("computes an integer of more than 64 bits")
    return exact.astype(np.int64)


# --- activations -----------------------------------------------------------------------------------------


@COMPUTING.rule("Relu", inputs=_ONE)
def _relu(call: Call) -> Tensor:
    return call.lowering.activate(call.computed(0), call.node.outputs[0], Relu)


@COMPUTING.rule("Clip", inputs=_ONE, attributes="min max")
def _clip_7(call: Call) -> Tensor:
    lower, upper = (_limit_attribute(call, name) for name in ("min", "max"))
    return _clip(call, lower, upper)


def _limit_attribute(call: Call, name: str) -> Fraction | None:
    limit = call.node.number(name)
    return None if limit is None else Fraction(call.node.real(name, limit).nearest.item())


@COMPUTING.rule("Clip", inputs=range(1, 4), since=11)
def _clip_11(call: Call) -> Tensor:
    lower, upper = (None if call.optional(i) is None else _limit(call, i) for i in (1, 2))
    return _clip(call, lower, upper)


def _limit(call: Call, position: int) -> Fraction:
    limit = call.reals(position)
    if limit.nearest.size != 1:
        call.node.fail(f"has a limit of shape {list(limit.shape)}, not one number")
    return Fraction(limit.fractions.ravel()[0])


def _clip(call: Call, lower: Fraction | None, upper: Fraction | None) -> Tensor:
    if lower is not None and upper is not None and lower > upper:
        call.node.fail(f"clips to the empty range [{float(lower)}, {float(upper)}]")
    x = call.computed(0)
    if lower is None and upper is None:
        return x

    def op(out: Value, source: Value) -> Op:
        return Relu(out, source) if lower == 0 and upper is None else Clamp(out, source, lower, upper)

    return call.lowering.activate(x, call.node.outputs[0], op)
