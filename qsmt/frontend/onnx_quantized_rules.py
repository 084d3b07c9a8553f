"""The table of ONNX operators on codes, and how a rule reads its operands.

An operand is the graph's input before it is quantized, a constant, a constant that was dequantized, a tensor of
codes, or one of the two float tensors in between (qsmt.frontend.onnx_codes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn, TypeAlias

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray, RealTensor
from qsmt.frontend.onnx_code_tensors import Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_codes import CodeLowering
from qsmt.frontend.onnx_graph import Node
from qsmt.frontend.onnx_tensor import INTEGERS, NIBBLES, quoted, type_name
from qsmt.frontend.runtimes import Runtime

WIDTHS: dict[int, tuple[bool, int]] = {
    kind: (name.startswith(("i", "<i")), 8 * np.dtype(name).itemsize)
    for kind, name in INTEGERS.items()
    if name != "?"
} | {kind: (name == "i1", 4) for kind, name in NIBBLES.items()}
"""Of an ONNX integer type: is it signed, and how many bits has it?"""


@dataclass(frozen=True, slots=True, eq=False)
class Unquantized:
    """The graph's input, or a rearrangement of it, before an input quantizer."""

    index: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Numbers from the file; `kind` is their ONNX type."""

    values: RealTensor | IntArray
    kind: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape


Tensor: TypeAlias = Unquantized | Constant | QuantizedConstant | Codes | Floats | Sums


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedCall:
    """One node, its operands, and the network under construction."""

    node: Node
    operands: tuple[Tensor | None, ...]
    lowering: CodeLowering
    runtime: Runtime

    def optional(self, position: int) -> Tensor | None:
        return self.operands[position] if position < len(self.operands) else None

    def tensor(self, position: int) -> Tensor:
        operand = self.optional(position)
        return self.node.fail(f"lacks its input {position}") if operand is None else operand

    def codes(self, position: int) -> Codes:
        operand = self.tensor(position)
        return operand if isinstance(operand, Codes) else self._refuse_operand(position, "a quantized tensor")

    def constant(self, position: int) -> Constant:
        operand = self.tensor(position)
        if isinstance(operand, Constant):
            return operand
        if isinstance(operand, QuantizedConstant):
            self._refuse_operand(position, "a constant that is not dequantized")
        hint = "dynamic quantization has no fixed scales; quantize the model statically"
        self.node.refuse(f"needs {self._name(position)} to be a constant", hint=hint)

    def integers(self, position: int) -> tuple[IntArray, int]:
        """A constant of integers, and its ONNX type."""
        found = self.constant(position)
        if isinstance(found.values, RealTensor):
            self.node.fail(f"needs integers, but {self._name(position)} holds real numbers")
        return found.values, found.kind

    def scales(self, position: int) -> tuple[Fraction, ...]:
        """Positive numbers of single precision; a scalar or a vector."""
        found = self.constant(position)
        if not isinstance(found.values, RealTensor):
            self.node.fail(f"needs a scale, but {self._name(position)} holds integers")
        if type_name(found.kind) != "float":
            self.node.refuse(
                f"has the scale {self._name(position)} of type {type_name(found.kind)}, not float"
            )
        if len(found.shape) > 1:
            self.node.refuse(f"has scales of shape {list(found.shape)}; blocks are not read")
        numbers = found.values.nearest.ravel().tolist()
        if not numbers or min(numbers) < LEAST_SCALE:
            shown = min(numbers, default=None)
            self.node.fail(f"has the scale {shown}, which is not a positive normal number")
        return tuple(map(Fraction, numbers))

    def zero_points(self, position: int) -> tuple[tuple[int, ...], int | None]:
        """Zero points and their ONNX type; zero if they are left out."""
        if self.optional(position) is None:
            return (0,), None
        values, kind = self.integers(position)
        if values.ndim > 1:
            self.node.refuse(f"has zero points of shape {list(values.shape)}; blocks are not read")
        return tuple(values.ravel().tolist()), kind

    def format(self, scale: int, zero: int, *, default: int = 2) -> Quantized:
        """The per-tensor format that two operands describe; `default` is the ONNX type without a zero point."""
        scales, (zeros, kind) = self.scales(scale), self.zero_points(zero)
        if len(scales) != 1 or len(zeros) != 1:
            self.node.refuse("quantizes an activation per channel, which no integer kernel does")
        signed, bits = self.width(default if kind is None else kind)
        try:
            return Quantized(signed, bits, scales[0], zeros[0])
        except ValueError as error:
            self.node.fail(f"cannot be: {error}")

    def are_scalars(self, *positions: int) -> bool:
        """Is none of these operands a vector of one?"""
        operands = [self.optional(position) for position in positions]
        return not any(operand.shape for operand in operands if operand is not None)

    def width(self, kind: int) -> tuple[bool, int]:
        if kind not in WIDTHS:
            self.node.fail(f"has a zero point of type {type_name(kind)}")
        return WIDTHS[kind]

    def parameters(self, at: int, scale: int, zero: int, *, axis: int) -> QuantizedConstant:
        """A quantized constant given by three operands; `axis` counts if there are several scales."""
        values, kind = self.integers(at)
        scales, (zeros, zero_kind) = self.scales(scale), self.zero_points(zero)
        if zero_kind is not None and zero_kind != kind:
            self.node.fail(f"has a zero point of type {type_name(zero_kind)} for {type_name(kind)}")
        signed, bits = self.width(kind)
        count = max(len(scales), len(zeros))
        if count > 1:
            axis = axis + values.ndim if axis < 0 else axis
            if not 0 <= axis < values.ndim or values.shape[axis] != count:
                what = f"{count} scales or zero points along axis {axis} of shape {list(values.shape)}"
                self.node.fail(f"has {what}")
        if len(scales) not in (1, count) or len(zeros) not in (1, count):
            self.node.fail(f"has {len(scales)} scales and {len(zeros)} zero points")
        shape = [1] * values.ndim
        if len(zeros) > 1:
            shape[axis] = count
        codes = values - np.array(zeros, dtype=np.int64).reshape(shape if values.ndim else ())
        return QuantizedConstant(
            codes,
            scales * (count // len(scales)),
            axis if count > 1 else None,
            signed,
            bits,
            zeros,
            self.optional(zero) is not None,
            self.are_scalars(scale, zero),
        )

    def refuse_float(self, why: str) -> NoReturn:
        """The node is executed in float, in an order that is not known."""
        hint = "quantize with onnxruntime.quantization's defaults, or use the QOperator format"
        self.node.refuse(f"is executed in float by {self.runtime}: {why}", hint=hint)

    def _refuse_operand(self, position: int, wanted: str) -> NoReturn:
        self.node.refuse(f"needs {self._name(position)} to be {wanted}")

    def _name(self, position: int) -> str:
        return quoted(self.node.inputs[position])


LEAST_SCALE = 2.0**-126
"""Smaller scales are subnormal, and lose their precision when they are multiplied."""


Rule: TypeAlias = Callable[[QuantizedCall], Tensor]

MICROSOFT = "com.microsoft"
PLAIN = ("", "ai.onnx")

DYNAMIC = (
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
)
"""Operators whose scales depend on the data."""


class QuantizedOperators:
    """The rules by domain and name; groups are joined by naming them."""

    def __init__(self, *groups: QuantizedOperators) -> None:
        self._table: dict[tuple[str, str], tuple[range, frozenset[str], Rule]] = {}
        for group in groups:
            self._table |= group._table

    @property
    def names(self) -> tuple[str, ...]:
        """The operators that are read, with their domain unless it is ONNX's own."""
        return tuple(sorted({f"{d}.{name}" if d not in PLAIN else name for d, name in self._table}))

    def rule(
        self, *names: str, inputs: range, attributes: str = "", domains: tuple[str, ...] = PLAIN
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


def singles(values: RealTensor) -> FloatArray:
    """Constants of single precision as doubles.

    Raises:
        ValueError: one is not of single precision.
    """
    if values.rationals is not None or not all(map(single.is_single, values.nearest.ravel().tolist())):
        raise ValueError("holds a number that is not of single precision")
    return values.nearest
