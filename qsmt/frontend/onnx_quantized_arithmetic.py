"""Arithmetic with constants: on single codes bit for bit, on sums between bounds, and exactly where it is ideal.

Between a DequantizeLinear and a QuantizeLinear, `x + c`, `x - c`, `c - x`, `x * c` and `x / c` are one operation of
single precision on each code. After a matrix product they are steps of a float computation whose order is not known:
the sums get another factor and bias, and a wider hull. The `ideal` runtime knows neither case: there, a code is a
sum too, and factors and offsets are the rational numbers that they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from qsmt.arith.real import FloatArray, RealTensor
from qsmt.arith.single import rounded
from qsmt.frontend.onnx_code_tensors import Floats, Join, Joined, QuantizedConstant, Sums
from qsmt.frontend.onnx_exact import Array
from qsmt.frontend.onnx_quantized_dense import added_to
from qsmt.frontend.onnx_quantized_rules import (
    Constant,
    QuantizedCall,
    QuantizedOperators,
    Tensor,
    Unquantized,
    singles,
)
from qsmt.frontend.onnx_quantized_sums import as_sums, moved_sums
from qsmt.frontend.runtimes import Runtime

ARITHMETIC = QuantizedOperators()


@dataclass(frozen=True, slots=True)
class Operation:
    """`x op c`, for the number c: as single precision has it, and as a factor and an offset."""

    on_singles: Callable[[FloatArray, FloatArray], FloatArray]
    exactly: Callable[[Fraction], tuple[Fraction, Fraction]]
    neutral: float | None = None  # the c that changes nothing
    join: Join | None = None  # the integer kernel for two bytes


_ONE, _ZERO = Fraction(1), Fraction(0)
ADD = Operation(lambda x, c: rounded(x + c), lambda c: (_ONE, c), 0.0, Join.ADD)
MUL = Operation(lambda x, c: rounded(x * c), lambda c: (c, _ZERO), 1.0, Join.MUL)
SUB = Operation(lambda x, c: rounded(x - c), lambda c: (_ONE, -c), 0.0)
SUB_FROM = Operation(lambda x, c: rounded(c - x), lambda c: (-_ONE, c))
DIV = Operation(lambda x, c: rounded(x / c), lambda c: (1 / c, _ZERO), 1.0)
"""A double has more than twice the digits of a single, and two: rounding its result again is the operation."""


@ARITHMETIC.rule("Add", inputs=range(2, 3))
def _add(call: QuantizedCall) -> Tensor:
    return _commutative(call, ADD)


@ARITHMETIC.rule("Mul", inputs=range(2, 3))
def _mul(call: QuantizedCall) -> Tensor:
    return _commutative(call, MUL)


@ARITHMETIC.rule("Sub", inputs=range(2, 3))
def _sub(call: QuantizedCall) -> Tensor:
    first = _is_computed(call.tensor(0))
    return _applied(call, SUB if first else SUB_FROM, 0 if first else 1)


@ARITHMETIC.rule("Div", inputs=range(2, 3))
def _div(call: QuantizedCall) -> Tensor:
    if not _is_computed(call.tensor(0)):
        call.node.refuse("divides by a computed tensor, which is not linear")
    return _applied(call, DIV, 0)


def _commutative(call: QuantizedCall, operation: Operation) -> Tensor:
    return _applied(call, operation, 0 if _is_computed(call.tensor(0)) else 1)


def _is_computed(operand: Tensor) -> bool:
    return not isinstance(operand, Constant | QuantizedConstant)


def _applied(call: QuantizedCall, operation: Operation, at: int) -> Tensor:
    """The operation on the operand at this position, with the other one as its constant."""
    x, constant = call.tensor(at), call.tensor(1 - at)
    if not isinstance(constant, Constant | QuantizedConstant):
        does = "multiplies or divides" if operation in (MUL, DIV) else "adds"
        call.node.refuse(f"{does} two computed tensors; residual connections are not read")
    if call.runtime is Runtime.IDEAL and not isinstance(x, Unquantized):
        return _ideally(call, operation, x, constant)
    numbers = _numbers(call, constant)
    if operation is DIV and not numbers.all():
        call.node.fail("divides by zero")
    if isinstance(x, Unquantized):
        return _unchanged(call, x, numbers, operation)
    spread = spread_over(call, numbers, x)
    if isinstance(constant, Constant) and numbers.size == 1 and numbers.ravel()[0] == operation.neutral:
        return x  # onnxruntime leaves it out, and so merges what is quantized before and after
    if isinstance(x, Sums):
        exact = [operation.exactly(Fraction(c)) for c in spread.tolist()]
        if operation is ADD and call.runtime is Runtime.ONNXRUNTIME:
            x = added_to(call, x, constant)
        return moved_sums(call, x, [f for f, _ in exact], [o for _, o in exact])
    if not isinstance(x, Floats):
        call.refuse_float("it is applied to something else than a tensor that was just dequantized")
    return _on_codes(call, operation, x, spread, _joined(call, operation, x, constant, second=at == 0))


def _ideally(
    call: QuantizedCall, operation: Operation, x: Tensor, constant: Constant | QuantizedConstant
) -> Sums:
    """With the exact numbers that the constant stands for."""
    if isinstance(constant, QuantizedConstant):
        scales = np.array(constant.scales, dtype=object)
        if constant.axis is not None:
            scales = scales.reshape(-1, *(1,) * (len(constant.shape) - 1 - constant.axis))
        numbers = constant.codes.astype(object) * scales
    elif isinstance(constant.values, RealTensor):
        numbers = constant.values.fractions
    else:
        call.node.fail("combines a computed tensor with integers")
    sums = x if isinstance(x, Sums) else as_sums(call, x)
    spread = [Fraction(c) for c in spread_over(call, numbers, sums).tolist()]
    if operation is DIV and not all(spread):
        call.node.fail("divides by zero")
    exact = list(map(operation.exactly, spread))
    return moved_sums(call, sums, [f for f, _ in exact], [o for _, o in exact])


def spread_over(call: QuantizedCall, numbers: Array, x: Tensor) -> Array:
    """A number for each element of the tensor."""
    try:
        shape = np.broadcast_shapes(x.shape, numbers.shape)
    except ValueError:
        call.node.fail(f"combines shapes {list(x.shape)} and {list(numbers.shape)}, which do not fit")
    if shape != x.shape:
        call.node.refuse(f"broadcasts a tensor of shape {list(x.shape)} to {list(shape)}")
    return np.broadcast_to(numbers, shape).ravel()


def _numbers(call: QuantizedCall, constant: Constant | QuantizedConstant) -> FloatArray:
    """The single-precision numbers of a constant."""
    if isinstance(constant, QuantizedConstant):
        return dequantized_constant(call, constant)
    if not isinstance(constant.values, RealTensor):
        call.node.fail("combines a computed tensor with integers")
    try:
        return singles(constant.values)
    except ValueError as error:
        call.node.refuse(str(error))


def dequantized_constant(call: QuantizedCall, constant: QuantizedConstant) -> FloatArray:
    """`fl(code * scale)`, as a DequantizeLinear makes it; each axis its own scale."""
    if constant.axis is not None:
        call.node.refuse("has an operand that is quantized per channel")
    return rounded(constant.codes.astype(np.float64) * float(constant.scale))


def _unchanged(call: QuantizedCall, x: Unquantized, numbers: FloatArray, operation: Operation) -> Tensor:
    """The graph's input, to which nothing is done: exporters leave such a normalization in."""
    if operation.neutral is not None and (spread_over(call, numbers, x) == operation.neutral).all():
        return x
    hint = "scale and shift inputs before they reach the network"
    call.node.refuse("changes a tensor that is not quantized", hint=hint)


def _joined(
    call: QuantizedCall,
    operation: Operation,
    x: Floats,
    constant: Constant | QuantizedConstant,
    *,
    second: bool,
) -> Joined | None:
    """The two bytes that an integer kernel may join."""
    if (
        operation.join is None
        or not isinstance(constant, QuantizedConstant)
        or not x.is_plain
        or constant.bits != 8
    ):
        return None
    if operation.join is Join.ADD and not second and not (constant.signed and x.codes.format.signed):
        call.node.refuse("adds a computed tensor to a constant", hint="give the constant second")
    is_sure = x.is_direct and x.is_scalar and constant.is_scalar
    spread = replace(constant, codes=np.broadcast_to(constant.codes, x.shape))
    return Joined(operation.join, spread, is_sure)


def _on_codes(
    call: QuantizedCall, operation: Operation, x: Floats, numbers: FloatArray, joined: Joined | None
) -> Floats:
    """The table of each element, if its numbers differ."""
    check_narrow(call, x)
    if x.loose is not None:
        call.node.refuse("follows an operation whose rounding is not known")
    column = numbers[:, None]
    call.lowering.spend(2 * len(numbers) * x.table[0].shape[1])
    fused, separate = (operation.on_singles(table, column) for table in x.table)
    if not (np.isfinite(fused).all() and np.isfinite(separate).all()):
        call.node.refuse("has results beyond single precision")
    count, exact = len(numbers), [operation.exactly(Fraction(c)) for c in numbers.tolist()]
    factors = [f * before for (f, _), before in zip(exact, x.factor or (_ONE,) * count, strict=True)]
    offsets = [f * before + o for (f, o), before in zip(exact, x.offset or (_ZERO,) * count, strict=True)]
    return replace(
        x,
        table=(fused, separate),
        factor=tuple(factors) if any(f != 1 for f in factors) else None,
        offset=tuple(offsets),
        is_plain=False,
        joined=joined,
        clip=None,
    )


def check_narrow(call: QuantizedCall, x: Floats) -> None:
    """Tables have one entry for each code."""
    if x.codes.format.bits > 8:
        call.node.refuse("is an elementwise operation on more than 8 bits, which is not read")
