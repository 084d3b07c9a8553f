"""ONNX operators on codes: what an operator of a quantized graph computes when a runtime executes it.

The QDQ form is float on paper. Which of its operators become integer kernels was read off the graphs that
onnxruntime 1.32.0 makes of them (docs/semantics.md); everything else is refused, or is a function of single
codes that is known bit for bit (qsmt.frontend.float32).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray, RealTensor
from qsmt.arith.single import fused_sums, rounded
from qsmt.frontend import float32
from qsmt.frontend.onnx_codes import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_graph import Node
from qsmt.frontend.onnx_quantized import (
    Constant,
    QuantizedCall,
    Tensor,
    Unquantized,
    singles,
)
from qsmt.frontend.onnx_tensor import quoted
from qsmt.frontend.runtimes import Runtime

Rule: TypeAlias = Callable[[QuantizedCall], Tensor]

MICROSOFT = "com.microsoft"
_PLAIN = ("", "ai.onnx")

DYNAMIC = (
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
)
"""Operators whose scales depend on the data."""


class QuantizedOperators:
    """The rules by domain and name."""

    def __init__(self) -> None:
        self._table: dict[tuple[str, str], tuple[range, frozenset[str], Rule]] = {}

    def rule(
        self, *names: str, inputs: range, attributes: str = "", domains: tuple[str, ...] = _PLAIN
    ) -> Callable[[Rule], Rule]:
        """Decorator: this function is the meaning of these operators."""

        def add(rule: Rule) -> Rule:
            for domain in domains:
                for name in names:
                    self._table[domain, name] = (inputs, frozenset(attributes.split()), rule)
            return rule

        return add

    def find(self, node: Node) -> Rule | None:
        """The rule of a node, whose form it fits; None if there is none.

        Raises:
            InputError: if there is one, and the node does not fit it.
        """
        if (node.domain, node.op_type) not in self._table:
            return None
        inputs, attributes, rule = self._table[node.domain, node.op_type]
        unknown = sorted(node.attributes.keys() - attributes)
        if unknown:
            node.refuse(f"has the attribute {quoted(unknown[0])}, which is not read")
        if len(node.inputs) not in inputs:
            node.fail(f"has {len(node.inputs)} inputs")
        return rule

    def hint(self, node: Node) -> str:
        if node.op_type in DYNAMIC:
            return "dynamic quantization has no fixed scales; quantize the model statically"
        return "read are dense and convolutional layers, additions of constants, and activations"


OPERATORS = QuantizedOperators()

# --- from float to codes and back -----------------------------------------------------------------------


@OPERATORS.rule(
    "QuantizeLinear", inputs=range(2, 4), attributes="axis saturate", domains=(*_PLAIN, MICROSOFT)
)
def _quantize(call: QuantizedCall) -> Tensor:
    target, x, name = call.format(1, 2), call.tensor(0), call.node.outputs[0]
    match x:
        case Unquantized():
            return Codes(call.lowering.input(target), x.index)
        case Sums():
            return _rounded_sums(call, x, target, name)
        case Floats():
            return _rounded_floats(call, x, target, name)
        case Codes() | QuantizedConstant() | Constant():
            call.node.refuse("quantizes something else than a computed float tensor")


@OPERATORS.rule("DequantizeLinear", inputs=range(2, 4), attributes="axis", domains=(*_PLAIN, MICROSOFT))
def _dequantize(call: QuantizedCall) -> Tensor:
    x = call.tensor(0)
    if isinstance(x, Constant):
        return call.parameters(0, 1, 2, axis=call.node.integer("axis", 1))
    codes = call.codes(0)
    _expect(call, codes, 1, 2)
    return dequantized(codes)


def dequantized(codes: Codes) -> Floats:
    """`fl((q - zero) * scale)` of every code."""
    kind = codes.format
    if kind.bits > 8:
        table = np.zeros((1, 1))  # too long to be of use; only matrix products read such a tensor
    else:
        table = rounded(np.arange(kind.min, kind.max + 1, dtype=np.float64)[None, :] * float(kind.scale))
    return Floats(codes, (table, table))


def _expect(call: QuantizedCall, codes: Codes, scale: int, zero: int) -> None:
    """The operands that say how a tensor is quantized say what quantized it."""
    kind = codes.format
    default = next(k for k, w in _INTEGERS.items() if w == (kind.signed, kind.bits))
    stated = call.format(scale, zero, default=default)
    if stated != kind:
        call.node.refuse(f"reads {kind} as if it were {stated}")


_INTEGERS = {3: (True, 8), 2: (False, 8), 5: (True, 16), 4: (False, 16), 6: (True, 32), 12: (False, 32)}


def _rounded_sums(call: QuantizedCall, sums: Sums, target: Quantized, name: str) -> Codes:
    source = sums.value.type.element
    assert isinstance(source, Quantized)
    if call.runtime is Runtime.ONNXRUNTIME:
        for kind in (source, target):
            if kind.bits != 8:
                call.refuse_float(f"there is no integer kernel for {kind.width}")
    low, high = sums.limits
    if (low is not None and low > target.min * target.scale) or (
        high is not None and high < target.max * target.scale
    ):
        call.refuse_float(
            "an activation stands between the layer and its QuantizeLinear, which does not cover it"
        )
    scales = sums.scales if isinstance(sums.scales, tuple) else (sums.scales,) * len(sums.weight)
    try:
        made = {s: call.runtime.kind(source.scale, s, target.scale, dense=sums.dense) for s in set(scales)}
    except (ValueError, OverflowError) as error:
        call.node.refuse(f"needs a multiplier that {call.runtime} does not have: {error}")
    return call.lowering.matrix(sums, name, target, [made[s] for s in scales])


def _rounded_floats(call: QuantizedCall, floats: Floats, target: Quantized, name: str) -> Codes:
    """The table of codes; refused where it depends on the CPU or is not monotone."""
    if floats.is_plain and floats.codes.format == target:
        return floats.codes
    if call.runtime is not Runtime.ONNXRUNTIME:
        call.node.refuse(f"rounds a float that {call.runtime} computes in a way that is not known")
    if target.bits > 8 or floats.codes.format.bits > 8:
        call.node.refuse("is an elementwise operation on more than 8 bits, which is not read")
    fused, separate = (quantized(table, target) for table in floats.table)
    if floats.added is not None and _is_fused_addition(floats, target):
        fused = separate = _qlinear_add(floats.codes.format, floats.added, target)
    return tabulated(call, floats, name, target, (fused, separate))


def quantized(values: FloatArray, target: Quantized) -> IntArray:
    """QuantizeLinear of single-precision numbers, centred."""
    ratio = rounded(values / float(target.scale))
    codes: IntArray = np.clip(np.rint(ratio), target.min, target.max).astype(np.int64)
    return codes


def tabulated(
    call: QuantizedCall, floats: Floats, name: str, target: Quantized, codes: tuple[IntArray, IntArray]
) -> Codes:
    """The map of codes, if it does not depend on the CPU and is monotone."""
    fused, separate = codes
    if not np.array_equal(fused, separate):
        hint = "another scale would avoid it"
        call.node.refuse("rounds a tie that depends on whether the CPU has fused multiply-adds", hint=hint)
    rising = np.ones(len(fused), dtype=np.bool_)
    if floats.factor is not None:
        rising = np.array([f > 0 for f in floats.factor])
    steps = np.diff(fused, axis=1) * np.where(rising, 1, -1)[:, None]
    if (steps < 0).any():
        call.node.refuse("applies a function that is not monotone on the codes it reads")
    return call.lowering.table(floats, name, target, fused)


# --- matrix products --------------------------------------------------------------------------------------


@OPERATORS.rule("Gemm", inputs=range(2, 4), attributes="alpha beta transA transB")
def _gemm(call: QuantizedCall) -> Tensor:
    _check_gemm(call)
    x, weight = _plain(call, 0), _weights(call, 1)
    beta = call.node.number("beta")
    if beta not in (None, 1.0):
        call.refuse_float(f"beta is {beta}, not 1")
    sums = _product(call, x, weight, transposed=bool(call.node.integer("transB", 0)))
    bias = None if call.optional(2) is None else _quantized_operand(call, 2)
    return _with_bias(call, sums, bias)


def _check_gemm(call: QuantizedCall) -> None:
    if call.node.number("alpha") not in (None, 1.0):
        call.refuse_float(f"alpha is {call.node.number('alpha')}, not 1")
    if call.node.integer("transA", 0):
        call.node.refuse("transposes its first operand")


@OPERATORS.rule("MatMul", inputs=range(2, 3))
def _matmul(call: QuantizedCall) -> Tensor:
    return _product(call, _plain(call, 0), _weights(call, 1), transposed=False)


@OPERATORS.rule("QGemm", inputs=range(9, 10), attributes="alpha transA transB", domains=(MICROSOFT,))
def _qgemm(call: QuantizedCall) -> Tensor:
    _check_gemm(call)
    x, transposed = call.codes(0), bool(call.node.integer("transB", 0))
    _expect(call, x, 1, 2)
    weight = call.parameters(3, 4, 5, axis=0 if transposed else 1)
    sums = _product(call, x, weight, transposed=transposed)
    if call.optional(6) is not None:
        sums = replace(sums, bias=_int32(call, 6, len(sums.weight)))
    return _rounded_sums(call, sums, call.format(7, 8), call.node.outputs[0])


@OPERATORS.rule("QLinearMatMul", inputs=range(8, 9), domains=(*_PLAIN, MICROSOFT))
def _qlinear_matmul(call: QuantizedCall) -> Tensor:
    x = call.codes(0)
    _expect(call, x, 1, 2)
    sums = _product(call, x, call.parameters(3, 4, 5, axis=1), transposed=False)
    return _rounded_sums(call, sums, call.format(6, 7), call.node.outputs[0])


def _plain(call: QuantizedCall, position: int) -> Codes:
    """A float operand that is nothing but dequantized codes."""
    operand = call.tensor(position)
    if isinstance(operand, Floats) and operand.is_plain:
        return operand.codes
    name = quoted(call.node.inputs[position])
    if isinstance(operand, Unquantized):
        call.refuse_float(f"{name} is the graph's input and is not quantized")
    call.refuse_float(f"{name} is not a tensor that was just dequantized")


def _quantized_operand(call: QuantizedCall, position: int) -> QuantizedConstant:
    operand = call.tensor(position)
    if isinstance(operand, QuantizedConstant):
        return operand
    call.refuse_float(f"{quoted(call.node.inputs[position])} is not a quantized constant")


def _weights(call: QuantizedCall, position: int) -> QuantizedConstant:
    weight = _quantized_operand(call, position)
    if call.runtime is Runtime.ONNXRUNTIME and weight.bits != 8:
        call.refuse_float(f"there is no integer kernel for weights of {weight.bits} bits")
    return weight


def _product(call: QuantizedCall, x: Codes, weight: QuantizedConstant, *, transposed: bool) -> Sums:
    """`x @ weight` (or its transpose), for codes (..., k) and a matrix."""
    if weight.codes.ndim != 2:
        call.node.refuse(f"multiplies with a tensor of shape {list(weight.shape)}, not a matrix")
    if weight.axis is not None and weight.axis != (0 if transposed else 1):
        call.refuse_float("its weights are quantized along the axis that is summed over")
    matrix = weight.codes if transposed else weight.codes.T
    m, k = matrix.shape
    if not x.shape or x.shape[-1] != k:
        call.node.fail(f"multiplies shapes {list(x.shape)} and {list(weight.shape)}, which do not fit")
    columns = x.index.reshape(-1, k)
    rows = len(columns) * m
    call.lowering.spend(rows * x.value.size)
    dense = np.zeros((len(columns), m, x.value.size), dtype=np.int64)
    np.add.at(
        dense,
        (np.arange(len(columns))[:, None, None], np.arange(m)[None, :, None], columns[:, None, :]),
        matrix[None],
    )
    scales = (
        weight.scale
        if weight.axis is None
        else tuple(np.tile(np.array(weight.scales, dtype=object), len(columns)))
    )
    shape = (*x.shape[:-1], m)
    return Sums(x.value, dense.reshape(rows, -1), np.zeros(rows, dtype=np.int64), scales, shape, dense=True)


def _with_bias(call: QuantizedCall, sums: Sums, bias: QuantizedConstant | None) -> Sums:
    """A dequantized bias: fused kernels add its integers, and never look at its scale."""
    if bias is None:
        return sums
    if bias.bits != 32 or not bias.signed or any(bias.zero_points):
        call.refuse_float("its bias is not a 32-bit integer with zero point 0")
    kind = sums.value.type.element
    assert isinstance(kind, Quantized)
    units = sums.scales if isinstance(sums.scales, tuple) else (sums.scales,)
    expected = [Fraction(single.product(float(kind.scale), float(s))) for s in units]
    count = len(sums.weight)
    if bias.codes.size not in (1, sums.shape[-1]) or bias.codes.size != bias.codes.shape[-1]:
        call.node.fail(f"adds a bias of shape {list(bias.shape)} to {list(sums.shape)}")
    given = list(bias.scales) * (len(expected) // len(bias.scales) if len(bias.scales) == 1 else 1)
    given = given * (len(expected) // max(len(given), 1)) if len(given) < len(expected) else given
    if len(given) != len(expected) and len(set(expected)) == 1:
        expected = expected * len(given)
    if given != expected:
        call.node.refuse(
            f"adds a bias of scale {float(given[0])!r}, not {float(expected[0])!r} (that of the input times that "
            "of the weights, in single precision), which integer kernels do not look at",
            hint="quantize the bias with the scale that the kernel assumes",
        )
    return replace(
        sums, bias=np.tile(np.broadcast_to(bias.codes.ravel(), sums.shape[-1:]), count // sums.shape[-1])
    )


def _int32(call: QuantizedCall, position: int, count: int) -> IntArray:
    values, kind = call.integers(position)
    if kind != 6:
        call.node.fail("has a bias that is not of 32-bit integers")
    if values.size not in (1, count):
        call.node.fail(f"has a bias of shape {list(values.shape)} for {count} sums")
    return np.broadcast_to(values.ravel(), (count,)).copy()


# --- additions of constants -----------------------------------------------------------------------------------


@OPERATORS.rule("Add", inputs=range(2, 3))
def _add(call: QuantizedCall) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if isinstance(a, Floats) and isinstance(b, Floats):
        call.node.refuse("adds two computed tensors; residual connections are not read")
    x, constant = (a, b) if isinstance(a, Floats) else (b, a)
    if not isinstance(x, Floats):
        call.refuse_float("it adds to something else than a tensor that was just dequantized")
    if not x.is_linear:
        call.node.refuse("adds a constant after an activation, which is not read")
    values, added = _addend(call, constant, x, second=constant is b)
    shape = np.broadcast_shapes(x.shape, values.shape)
    if shape != x.shape:
        call.node.refuse(f"broadcasts a tensor of shape {list(x.shape)} to {list(shape)}")
    numbers = np.broadcast_to(values, shape).ravel()
    fused, separate = (rounded(table + numbers[:, None]) for table in x.table)
    before = x.offset or (Fraction(0),) * numbers.size
    offset = tuple(o + Fraction(v) for o, v in zip(before, numbers.tolist(), strict=True))
    return replace(
        x, table=(fused, separate), offset=offset, is_plain=False, added=added if x.is_plain else None
    )


def _addend(
    call: QuantizedCall, constant: Tensor, x: Floats, *, second: bool
) -> tuple[FloatArray, QuantizedConstant | None]:
    """The numbers to be added; and their codes, where an integer kernel may add those."""
    if isinstance(constant, QuantizedConstant):
        values = (
            rounded(constant.codes.astype(np.float64) * float(constant.scale))
            if constant.axis is None
            else None
        )
        if values is None:
            call.node.refuse("adds a constant that is quantized per channel")
        same = (constant.signed, constant.bits) == (x.codes.format.signed, x.codes.format.bits)
        if same and not second and not constant.signed:
            call.node.refuse("adds a computed tensor to a constant: give the constant second")
        spread = np.broadcast_to(constant.codes, x.shape) if same else constant.codes
        return values, replace(constant, codes=spread) if same else None
    if isinstance(constant, Constant) and isinstance(constant.values, RealTensor):
        return _singles(call, constant.values), None
    call.refuse_float("it adds something else than a constant")


def _singles(call: QuantizedCall, values: RealTensor) -> FloatArray:
    try:
        return singles(values)
    except ValueError as error:
        call.node.refuse(str(error))


def _is_fused_addition(floats: Floats, target: Quantized) -> bool:
    """Does onnxruntime make a QLinearAdd of this? Of unsigned bytes alone: of signed ones, activations are made
    unsigned first and constants are not, so that the types differ."""
    kinds = (floats.codes.format, target)
    return floats.added is not None and all((k.signed, k.bits) == (False, 8) for k in kinds)


@OPERATORS.rule("QLinearAdd", inputs=range(8, 9), domains=(MICROSOFT,))
def _qlinear_add_node(call: QuantizedCall) -> Tensor:
    x = call.tensor(0)
    if not isinstance(x, Codes) or isinstance(call.tensor(3), Codes):
        call.node.refuse("does not add a constant to a quantized tensor, in this order")
    _expect(call, x, 1, 2)
    constant = call.parameters(3, 4, 5, axis=0)
    if constant.axis is not None:
        call.node.refuse("adds a constant that is quantized per channel")
    target, count = call.format(6, 7), x.index.size
    spread = np.broadcast_to(constant.codes, x.shape)
    offset = tuple(int(c) * constant.scale for c in spread.ravel())
    floats = replace(dequantized(x), offset=offset, is_plain=False)
    codes = _qlinear_add(x.format, replace(constant, codes=spread), target)
    return tabulated(call, floats, call.node.outputs[0], target, (codes, codes)) if count else x


def _qlinear_add(source: Quantized, constant: QuantizedConstant, target: Quantized) -> IntArray:
    """MLAS's QLinearAdd: a row for each element of the constant, a column for each code; centred.

    y = RNE(fma(a, r_a, fma(b, r_b, fix))) with stored integers, r = fl(s / s_y) and
    fix = fl(z_y - fma(r_a, z_a, fl(r_b * z_b))).
    """
    ratio = single.quotient(float(source.scale), float(target.scale))
    other = single.quotient(float(constant.scale), float(target.scale))
    zero = constant.zero_points[0]
    inner = single.fused(ratio, float(source.zero_point), single.product(other, float(zero)))
    fix = single.single(Fraction(target.zero_point) - Fraction(inner))
    b = (constant.codes.ravel() + zero).astype(np.float64)[:, None]
    a = np.arange(source.min, source.max + 1, dtype=np.float64)[None, :] + source.zero_point
    a, b = np.broadcast_arrays(a, b)
    offset = fused_sums(b, np.full_like(b, other), np.full_like(b, fix))
    y = np.rint(fused_sums(a, np.full_like(a, ratio), offset)) - target.zero_point
    codes: IntArray = np.clip(y, target.min, target.max).astype(np.int64)
    return codes


# --- activations --------------------------------------------------------------------------------------------


def _applied(call: QuantizedCall, function: float32.Function) -> Floats:
    """An elementwise function of floats that are known for each code."""
    x = call.tensor(0)
    if not isinstance(x, Floats):
        call.refuse_float("it is applied to something else than a tensor that was just dequantized")
    if x.codes.format.bits > 8:
        call.node.refuse("is an elementwise operation on more than 8 bits, which is not read")
    fused, separate = x.table
    return replace(
        x, table=(function(fused)[0], function(separate)[1]), is_plain=False, is_linear=False, added=None
    )


@OPERATORS.rule("Relu", inputs=range(1, 2))
def _relu(call: QuantizedCall) -> Tensor:
    return _clipped(call, 0.0, np.inf)


@OPERATORS.rule("Clip", inputs=range(1, 4), attributes="min max")
def _clip(call: QuantizedCall) -> Tensor:
    low, high = (_limit(call, name, at) for name, at in (("min", 1), ("max", 2)))
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    if low > high:
        call.node.fail(f"clips to the empty range [{low}, {high}]")
    return _clipped(call, low, high)


def _limit(call: QuantizedCall, name: str, position: int) -> float | None:
    if call.optional(position) is None:
        return call.node.number(name)
    found = call.constant(position)
    if not isinstance(found.values, RealTensor) or found.values.nearest.size != 1:
        call.node.fail("has a limit that is not one real number")
    return float(found.values.nearest.ravel()[0])


def _clipped(call: QuantizedCall, low: float, high: float) -> Tensor:
    x = call.tensor(0)
    if isinstance(x, Sums):
        before = x.limits
        least = (
            None
            if low == -np.inf
            else max(Fraction(low), before[0] if before[0] is not None else Fraction(low))
        )
        most = (
            None
            if high == np.inf
            else min(Fraction(high), before[1] if before[1] is not None else Fraction(high))
        )
        return replace(x, limits=(before[0] if least is None else least, before[1] if most is None else most))
    return _applied(call, float32.clip(low, high))


@OPERATORS.rule("LeakyRelu", inputs=range(1, 2), attributes="alpha")
def _leaky_relu(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.leaky_relu(_attribute(call, "alpha", 0.01)))


@OPERATORS.rule("Sigmoid", inputs=range(1, 2))
def _sigmoid(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.sigmoid)


@OPERATORS.rule("Tanh", inputs=range(1, 2))
def _tanh(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.tanh)


@OPERATORS.rule("HardSigmoid", inputs=range(1, 2), attributes="alpha beta")
def _hard_sigmoid(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.hard_sigmoid(_attribute(call, "alpha", 0.2), _attribute(call, "beta", 0.5)))


@OPERATORS.rule("HardSwish", inputs=range(1, 2))
def _hard_swish(call: QuantizedCall) -> Tensor:
    return _applied(call, float32.hard_swish)


@OPERATORS.rule("QLinearSigmoid", inputs=range(4, 6), domains=(MICROSOFT,))
def _qlinear_sigmoid(call: QuantizedCall) -> Tensor:
    return _qlinear_function(call, float32.sigmoid)


@OPERATORS.rule("QLinearLeakyRelu", inputs=range(4, 6), attributes="alpha", domains=(MICROSOFT,))
def _qlinear_leaky_relu(call: QuantizedCall) -> Tensor:
    return _qlinear_function(call, float32.leaky_relu(_attribute(call, "alpha", 0.01)))


def _qlinear_function(call: QuantizedCall, function: float32.Function) -> Tensor:
    x, target = call.codes(0), call.format(3, 4)
    _expect(call, x, 1, 2)
    floats = dequantized(x)
    table = floats.table[0]
    both = function(table)
    floats = replace(floats, table=both, is_plain=False, is_linear=False)
    return _rounded_floats(call, floats, target, call.node.outputs[0])


def _attribute(call: QuantizedCall, name: str, default: float) -> float:
    value = call.node.number(name)
    number = float(np.float32(default)) if value is None else value
    if not np.isfinite(number):
        call.node.fail(f"has the attribute {quoted(name)} with a number that is not finite")
    return number
