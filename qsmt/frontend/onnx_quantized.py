"""From the graph of a quantized ONNX model to a network on codes, as a runtime executes it.

Both forms are read: QOperator (QGemm, QLinearMatMul, QLinearConv, ...) and QDQ, where an operator between
DequantizeLinear and QuantizeLinear is float on paper and an integer kernel when onnxruntime has optimized the
graph. Only graphs are read whose execution is known exactly; for the rest it is said which node is not, and why.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np
from onnx import TensorProto

from qsmt.arith.real import FloatArray, IntArray, RealTensor
from qsmt.errors import MalformedModel
from qsmt.frontend.onnx_affine import Computed, Elementwise, Lowering
from qsmt.frontend.onnx_code_tensors import Codes, Floats, Sums
from qsmt.frontend.onnx_codes import Branches, CodeLowering
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.frontend.onnx_graph import OUTPUT, Graph, Node
from qsmt.frontend.onnx_quantized_ops import OPERATORS
from qsmt.frontend.onnx_quantized_rules import Constant, QuantizedCall, Tensor, Unquantized
from qsmt.frontend.onnx_quantized_sums import loosened
from qsmt.frontend.onnx_rules import Call
from qsmt.frontend.onnx_rules import Tensor as PlainTensor
from qsmt.frontend.onnx_shape_ops import MOVING
from qsmt.frontend.onnx_tensor import quoted, read_constant
from qsmt.frontend.runtimes import Runtime
from qsmt.ir.network import Network


def read_quantized(graph: Graph, runtime: Runtime) -> Network:
    """The network on codes that a runtime executes for this graph.

    Raises:
        InputError: one line with the path, the node, and what is wrong.
    """
    return _Evaluation(graph, runtime).network()


class _Evaluation:
    """One pass over the graph, from the input to the output."""

    def __init__(self, graph: Graph, runtime: Runtime) -> None:
        self._graph, self._runtime = graph, runtime
        size = int(np.prod(graph.shape, dtype=object))
        self._lowering = CodeLowering(graph.path.stem, str(runtime), source=graph.input, size=size)
        self._rounds_floats = (
            False  # did the last integers come out of a QuantizeLinear after float operators?
        )
        self._tensors: dict[str, Tensor] = {graph.input: Unquantized(np.arange(size).reshape(graph.shape))}

    def network(self) -> Network:
        at: Node | str = "the output"
        self._check_fixed()
        try:
            for node in self._graph.nodes:
                at = node
                self._tensors[node.outputs[0]] = self._evaluate(node)
                self._check_readers(node)
            at = f"the output {quoted(self._graph.output)}"
            return self._lowering.network(self._output())
        except OverflowError as error:
            what = f"{at} needs a number that {self._runtime} does not have: {error}"
            raise MalformedModel(what, where=self._graph.path) from None
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
        rule = OPERATORS.find(node)
        if rule is not None:
            if node.op_type.startswith("Q"):
                self._rounds_floats = isinstance(call.optional(0), Sums | Floats)
            return rule(call)
        if node.op_type in MOVING.names:
            return _moved(call)
        node.refuse("is not read in a quantized network", hint=OPERATORS.hint(node))

    def _check_fixed(self) -> None:
        """onnxruntime fuses nothing that depends on a parameter that a caller may replace."""
        if self._runtime is Runtime.ONNXRUNTIME and self._graph.replaceable:
            name = quoted(self._graph.replaceable[0])
            what = (
                f"lists the parameter {name} among its inputs, so that layers which depend on it stay float"
            )
            raise MalformedModel(what, where=self._graph.path, hint="export without initializers as inputs")

    def _check_readers(self, node: Node) -> None:
        """onnxruntime keeps an operator in float if its result has several readers, needed or not.

        Not so if the result is unsigned codes, or these dequantized. Signed ones it makes unsigned where one
        DequantizeLinear alone reads them; else the neighbours differ in type and stay float.
        """
        found, name = self._tensors[node.outputs[0]], node.outputs[0]
        readers = self._graph.readers[name]
        if self._runtime is not Runtime.ONNXRUNTIME:
            return
        for other in node.outputs[1:]:
            if self._graph.readers[other]:
                node.refuse(f"has a second output that is read, {quoted(other)}, so that it is not left out")
        if readers in ((), ("DequantizeLinear",)) or not isinstance(found, Sums | Floats | Codes):
            return
        if len(readers) > 1 and isinstance(found, Sums | Floats) and not _is_unsigned(found):
            node.refuse(f"has a result that several nodes read, {quoted(name)}; branches are not read")
        signed = isinstance(found, Codes) and found.format.signed and node.op_type == "QuantizeLinear"
        if signed and (len(readers) > 1 or (self._ends_kernel(node) and readers != (OUTPUT,))):
            what = f"makes signed codes that are not read by one DequantizeLinear alone, {quoted(name)}"
            node.refuse(f"{what}: its layer stays float", hint="quantize activations to unsigned bytes")

    def _ends_kernel(self, node: Node) -> bool:
        """Does this QuantizeLinear round what an integer kernel may have computed?"""
        source = self._tensors.get(node.inputs[0])
        while isinstance(source, Floats) and source.clip is not None:
            source = source.clip.before
        return isinstance(source, Sums) or (isinstance(source, Floats) and source.joined is not None)

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
            self._check_output(output)
            return output
        if isinstance(output, Sums) and self._runtime is Runtime.IDEAL and output.limits == (-inf, inf):
            return self._lowering.accumulator(output, name)
        what = "is computed in float after the last integer layer, which is not read yet"
        raise MalformedModel(
            f"the output {quoted(name)} {what}", where=self._graph.path, hint="quantize the output"
        )

    def _check_output(self, output: Codes) -> None:
        """onnxruntime makes signed codes unsigned before it fuses operators, but not those of the graph's output."""
        if self._runtime is Runtime.ONNXRUNTIME and output.format.signed and self._rounds_floats:
            name = quoted(self._graph.output)
            what = f"the output {name} is of signed codes, so that its last layer is executed in float"
            hint = "dequantize the output, or use --runtime onnxruntime-unfused"
            raise MalformedModel(what, where=self._graph.path, hint=hint)


def _is_unsigned(found: Sums | Floats) -> bool:
    """Is it nothing but dequantized unsigned codes?"""
    return isinstance(found, Floats) and found.is_plain and not found.codes.format.signed


# --- operators that only move numbers ------------------------------------------------------------------


def _moved(call: QuantizedCall) -> Tensor:
    """What a shape operator does to positions, it does to codes."""
    moved = [
        operand for operand in call.operands if operand is not None and not isinstance(operand, Constant)
    ]
    if not moved:
        return _folded(call)
    source = moved[0]
    if call.node.op_type == "Cast" and (
        isinstance(source, Codes) or call.node.integer("to", 0) != TensorProto.FLOAT
    ):
        call.node.refuse("changes the type of a computed tensor, which may round it")
    if len(moved) > 1 or call.operands[0] is not source:
        call.node.refuse("joins several quantized tensors, or dequantized parameters; neither is read")
    lowering = Lowering("moved", "x", source.shape)
    operands: list[PlainTensor | None] = [
        operand.values if isinstance(operand, Constant) else None for operand in call.operands
    ]
    operands[0] = lowering.input
    result = MOVING.rule_of(call.node).evaluate(Call(call.node, tuple(operands), lowering))
    if not isinstance(result, Computed):
        call.node.refuse("depends on the shape of a computed tensor", hint="fold shapes into constants")
    assert isinstance(result.pending, Elementwise)
    return _rearranged(call, source, result.pending.index.reshape(result.shape))


def _rearranged(call: QuantizedCall, source: Tensor, index: IntArray) -> Tensor:
    """Elements of a tensor, in another order."""

    def take(elements: IntArray) -> IntArray:
        return elements.ravel()[index]

    match source:
        case Unquantized():
            return Unquantized(take(source.index))
        case Codes():
            is_paired = source.is_paired and call.node.op_type in DROPPED
            return replace(source, index=take(source.index), is_paired=is_paired)
        case Floats():
            is_direct = source.is_direct and call.node.op_type in (*DROPPED, *PASSED)
            return replace(_rearranged_floats(source, index), is_direct=is_direct)
        case Sums():
            return _rearranged_sums(call, source, index)
        case _:
            call.node.refuse("rearranges dequantized parameters", hint="fold it into the parameters")


DROPPED = ("Identity", "Dropout", "Cast")
"""What moves nothing, and is removed before operators are fused."""

PASSED = ("Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze")
"""What onnxruntime moves a DequantizeLinear through, to the next layer."""


def _rearranged_sums(call: QuantizedCall, source: Sums, index: IntArray) -> Sums:
    """Between a layer and its QuantizeLinear: whether it becomes one kernel with it depends on too much."""
    moved = source.rows(index)
    if call.node.op_type in DROPPED or call.runtime is not Runtime.ONNXRUNTIME:
        return moved
    return loosened(call, moved, "its sums are moved before they are quantized")


def _rearranged_floats(source: Floats, index: IntArray) -> Floats:
    flat = index.ravel()

    def rows(table: FloatArray) -> FloatArray:
        return table if len(table) == 1 else table[flat]

    def each(values: tuple[Fraction, ...] | None) -> tuple[Fraction, ...] | None:
        return None if values is None else tuple(values[i] for i in flat)

    clip, joined = source.clip, source.joined
    if clip is not None:
        clip = replace(clip, before=_rearranged_floats(clip.before, index))
    if joined is not None:
        codes = joined.constant.codes.ravel()[index]
        joined = replace(joined, constant=replace(joined.constant, codes=codes))
    fused, separate = source.table
    return replace(
        source,
        codes=replace(source.codes, index=source.codes.index.ravel()[index]),
        table=(rows(fused), rows(separate)),
        factor=each(source.factor),
        offset=each(source.offset),
        clip=clip,
        joined=joined,
        loose=None if source.loose is None else source.loose.rows(index),
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
    if call.node.op_type == "Cast":
        kind = call.node.integer("to", 0)
    return Constant(result, kind)


def _constant_kind(node: Node, result: RealTensor | IntArray) -> int:
    """The ONNX type of what a node without operands makes."""
    value = node.attributes.get("value")
    if value is not None:
        return int(value.t.data_type)
    return 1 if isinstance(result, RealTensor) else 7
