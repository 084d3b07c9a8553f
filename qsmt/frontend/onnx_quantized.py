"""From the graph of a quantized ONNX model to a network on codes, as a runtime executes it.

Both forms are read: QOperator (QGemm, QLinearMatMul, QLinearConv, ...) and QDQ, where an operator between
DequantizeLinear and QuantizeLinear is float on paper and an integer kernel when onnxruntime has optimized the
graph. Only graphs are read whose execution is known exactly; for the rest it is said which node is not, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NoReturn, TypeAlias

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray, IntArray, RealTensor
from qsmt.errors import MalformedModel
from qsmt.frontend.onnx_affine import Computed, Elementwise, Lowering
from qsmt.frontend.onnx_codes import Branches, CodeLowering, Codes, Floats, QuantizedConstant, Sums
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.frontend.onnx_graph import Graph, Node
from qsmt.frontend.onnx_rules import Call
from qsmt.frontend.onnx_rules import Tensor as PlainTensor
from qsmt.frontend.onnx_shape_ops import MOVING
from qsmt.frontend.onnx_tensor import INTEGERS, quoted, read_constant, type_name
from qsmt.frontend.runtimes import Runtime
from qsmt.ir.network import Network

WIDTHS: dict[int, tuple[bool, int]] = {
    kind: (name.startswith(("i", "<i")), 8 * np.dtype(name).itemsize)
    for kind, name in INTEGERS.items()
    if name != "?"
}
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
            codes, scales * (count // len(scales)), axis if count > 1 else None, signed, bits, zeros
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


def read_quantized(graph: Graph, runtime: Runtime) -> Network:
    """The network on codes that a runtime executes for this graph.

    Raises:
        InputError: one line with the path, the node, and what is wrong.
    """
    return _Evaluation(graph, runtime).network()


class _Evaluation:
    """One pass over the graph, from the input to the output."""

    def __init__(self, graph: Graph, runtime: Runtime) -> None:
        from qsmt.frontend.onnx_quantized_ops import OPERATORS

        self._graph, self._runtime = graph, runtime
        self._rules = OPERATORS
        size = int(np.prod(graph.shape, dtype=object))
        self._lowering = CodeLowering(graph.path.stem, str(runtime), source=graph.input, size=size)
        self._tensors: dict[str, Tensor] = {graph.input: Unquantized(np.arange(size).reshape(graph.shape))}

    def network(self) -> Network:
        at: Node | str = "the output"
        try:
            for node in self._graph.nodes:
                at = node
                self._tensors[node.outputs[0]] = self._evaluate(node)
            at = f"the output {quoted(self._graph.output)}"
            return self._lowering.network(self._output())
        except BeyondLimits as error:
            raise MalformedModel(f"{at} needs {error}", where=self._graph.path) from None
        except MalformedModel as error:  # of the verifier, which knows no file
            if str(error.where).startswith(str(self._graph.path)):
                raise
            raise MalformedModel(
                error.what, where=f"{self._graph.path}, {error.where}", hint=error.hint
            ) from None
        except Branches as error:
            if isinstance(at, Node):
                at.refuse(str(error))
            raise MalformedModel(f"{at} {error}", where=self._graph.path) from None

    def _evaluate(self, node: Node) -> Tensor:
        call = QuantizedCall(node, self._operands(node), self._lowering, self._runtime)
        rule = self._rules.find(node)
        if rule is not None:
            return rule(call)
        if node.op_type in MOVING.names:
            return _moved(call)
        node.refuse("is not read in a quantized network", hint=self._rules.hint(node))

    def _operands(self, node: Node) -> tuple[Tensor | None, ...]:
        return tuple(self._tensor(name, node) if name else None for name in node.inputs)

    def _tensor(self, name: str, node: Node) -> Tensor:
        if name not in self._tensors and name in self._graph.initializers:
            proto = self._graph.initializers[name]
            self._tensors[name] = Constant(read_constant(proto, self._graph.path, name=name), proto.data_type)
        if name not in self._tensors:
            node.refuse(f"reads {quoted(name)}, which is not the first output of its operator")
        return self._tensors[name]

    def _output(self) -> Codes:
        name = self._graph.output
        output = self._tensors.get(name)
        if isinstance(output, Floats) and output.is_plain:
            return output.codes
        if isinstance(output, Codes):
            return output
        what = "is computed in float after the last integer layer, which is not read yet"
        raise MalformedModel(
            f"the output {quoted(name)} {what}", where=self._graph.path, hint="quantize the output"
        )


# --- operators that only move numbers ------------------------------------------------------------------


def _moved(call: QuantizedCall) -> Tensor:
    """What a shape operator does to positions, it does to codes."""
    moved = [
        operand for operand in call.operands if operand is not None and not isinstance(operand, Constant)
    ]
    if not moved:
        return _folded(call)
    source = moved[0]
    if len(moved) > 1 or call.operands[0] is not source:
        call.node.refuse("joins several quantized tensors, or dequantized parameters; neither is read")
    if isinstance(source, QuantizedConstant):
        call.node.refuse("rearranges dequantized parameters", hint="fold it into the parameters")
    lowering = Lowering("moved", "x", source.shape)
    operands: list[PlainTensor | None] = [
        operand.values if isinstance(operand, Constant) else None for operand in call.operands
    ]
    operands[0] = lowering.input
    result = MOVING.rule_of(call.node).evaluate(Call(call.node, tuple(operands), lowering))
    assert isinstance(result, Computed) and isinstance(result.pending, Elementwise)
    return _rearranged(call, source, result.pending.index.reshape(result.shape))


def _rearranged(call: QuantizedCall, source: Tensor, index: IntArray) -> Tensor:
    """Elements of a tensor, in another order."""

    def take(elements: IntArray) -> IntArray:
        return elements.ravel()[index]

    match source:
        case Unquantized():
            return Unquantized(take(source.index))
        case Codes():
            return replace(source, index=take(source.index))
        case Floats():
            return _rearranged_floats(source, index)
        case _:
            if np.array_equal(index.ravel(), np.arange(index.size)) and isinstance(source, Sums):
                return replace(source, shape=index.shape)
            call.refuse_float("it stands between a matrix product and its QuantizeLinear")


def _rearranged_floats(source: Floats, index: IntArray) -> Floats:
    flat = index.ravel()

    def rows(table: FloatArray) -> FloatArray:
        return table if len(table) == 1 else table[flat]

    def each(values: tuple[Fraction, ...] | None) -> tuple[Fraction, ...] | None:
        return None if values is None else tuple(values[i] for i in flat)

    fused, separate = source.table
    return replace(
        source,
        codes=replace(source.codes, index=source.codes.index.ravel()[index]),
        table=(rows(fused), rows(separate)),
        factor=each(source.factor),
        offset=each(source.offset),
    )


def _folded(call: QuantizedCall) -> Tensor:
    """A shape operator on constants, or a constant."""
    operands = tuple(
        None if o is None else o.values for o in call.operands if o is None or isinstance(o, Constant)
    )
    result = MOVING.rule_of(call.node).evaluate(Call(call.node, operands, Lowering("constant", "x", (1,))))
    if isinstance(result, Computed):
        call.node.refuse("depends on the shape of the input in a way that is not read")
    first = call.optional(0)
    kind = first.kind if isinstance(first, Constant) else _constant_kind(call.node, result)
    return Constant(result, kind)


def _constant_kind(node: Node, result: RealTensor | IntArray) -> int:
    """The ONNX type of what a node without operands makes."""
    value = node.attributes.get("value")
    if value is not None:
        return int(value.t.data_type)
    return 1 if isinstance(result, RealTensor) else 7


def singles(values: RealTensor) -> FloatArray:
    """Constants of single precision as doubles.

    Raises:
        ValueError: one is not of single precision.
    """
    if values.rationals is not None or not all(map(single.is_single, values.nearest.ravel().tolist())):
        raise ValueError("holds a number that is not of single precision")
    return values.nearest
