"""From the bytes of an ONNX model to a network: parse, check the graph, evaluate it symbolically."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto

from qsmt.errors import MalformedModel, UnsupportedOp
from qsmt.frontend.onnx_activations import ACTIVATING
from qsmt.frontend.onnx_affine import Computed, Lowering
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.frontend.onnx_graph import Graph, Node, read_graph
from qsmt.frontend.onnx_ops import COMPUTING
from qsmt.frontend.onnx_quantized import read_quantized
from qsmt.frontend.onnx_rules import Call, Operators, Tensor, is_qonnx, is_quantized
from qsmt.frontend.onnx_shape_ops import MOVING
from qsmt.frontend.onnx_tensor import quoted, read_constant, type_name
from qsmt.frontend.onnx_windows import WINDOWED
from qsmt.frontend.runtimes import Runtime
from qsmt.ir.network import Network

OPERATORS = Operators(MOVING, COMPUTING, WINDOWED, ACTIVATING)


def read_model(content: bytes, path: Path, *, runtime: Runtime | None = None) -> Network:
    """The network that a model's bytes spell; `path` is where they come from. A quantized one is read as
    `runtime` executes it, by default onnxruntime; one of QONNX is ideal.

    Raises:
        InputError: one line with the path and what is wrong.
    """
    try:
        graph = read_graph(ModelProto.FromString(content), path)
    except (DecodeError, UnicodeDecodeError):  # the latter from protobuf versions that decode names eagerly
        raise MalformedModel("is not an ONNX model, or is cut short", where=path) from None
    if any(is_qonnx(node) for node in graph.nodes):
        if runtime not in (None, Runtime.IDEAL):
            what = f"is a QONNX network, which {runtime} does not execute"
            raise UnsupportedOp(what, where=path, hint="it is read with --runtime ideal")
        return read_quantized(graph, Runtime.IDEAL)
    if any(is_quantized(node) for node in graph.nodes):
        return read_quantized(graph, runtime or Runtime.ONNXRUNTIME)
    return _Evaluation(graph).network()


def stored_types(content: bytes) -> tuple[str, str]:
    """The element types of a model's input and output, by ONNX's names; the model is one that can be read.

    "undefined" where the model does not say it.
    """
    graph = ModelProto.FromString(content).graph
    parameters = {tensor.name for tensor in graph.initializer}
    source = next(value for value in graph.input if value.name not in parameters)
    first, last = (type_name(v.type.tensor_type.elem_type) for v in (source, graph.output[0]))
    return _LONG_NAMES.get(first, first), _LONG_NAMES.get(last, last)


_LONG_NAMES = {"float": "float32", "double": "float64"}


class _Evaluation:
    """One pass over the graph, from the input to the output."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._steps = [(node, OPERATORS.rule_of(node)) for node in graph.nodes]
        self._tensors: dict[str, Tensor] = {}

    def network(self) -> Network:
        at: Node | str = f"the input {quoted(self._graph.input)}"
        try:
            lowering = Lowering(self._graph.path.stem, self._graph.input, self._graph.shape)
            self._tensors[self._graph.input] = lowering.input
            for node, rule in self._steps:
                at = node
                result = rule.evaluate(Call(node, self._operands(node), lowering))
                self._tensors[node.outputs[0]] = _named(result, node.outputs[0])
            return lowering.network(self._output())
        except BeyondLimits as error:
            raise MalformedModel(f"{at} needs {error}", where=self._graph.path) from None

    def _operands(self, node: Node) -> tuple[Tensor | None, ...]:
        return tuple(self._tensor(name, node) if name else None for name in node.inputs)

    def _tensor(self, name: str, node: Node) -> Tensor:
        if name not in self._tensors and name in self._graph.initializers:
            proto = self._graph.initializers[name]
            self._tensors[name] = read_constant(proto, self._graph.path, name=name)
        return self._tensors[name] if name in self._tensors else _refuse_second_output(node, name)

    def _output(self) -> Computed:
        name = self._graph.output
        output = self._tensors.get(name)
        if isinstance(output, Computed):
            return output
        is_constant = output is not None or name in self._graph.initializers
        what = "does not depend on the input" if is_constant else "is not the first output of its operator"
        raise MalformedModel(f"the output {quoted(name)} {what}", where=self._graph.path)


def _named(tensor: Tensor, name: str) -> Tensor:
    return tensor.named(name) if isinstance(tensor, Computed) else tensor


def _refuse_second_output(node: Node, name: str) -> Tensor:
    node.refuse(f"reads {quoted(name)}, which is not the first output of its operator")
