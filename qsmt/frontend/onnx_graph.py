"""The graph of an ONNX model, checked as a graph: what defines every tensor, and in which order.

Only what the single output needs is kept. Nodes may stand in any order in the file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from qsmt.arith.real import RealTensor
from qsmt.errors import MalformedModel, UnsupportedOp
from qsmt.frontend.onnx_tensor import FLOATS, Constant, quoted, read_constant, type_name
from qsmt.ir.verify import MAX_ELEMENTS

OPSETS = range(7, 29)
"""The versions of the default operator set whose definitions the rules follow."""

OUTPUT = "the output"
"""Reads the output, beside operators."""

_DEFAULT_DOMAINS = ("", "ai.onnx")
_MAX_AXES = 16


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of the graph; reads its attributes strictly."""

    path: Path
    opset: int
    label: str
    domain: str
    op_type: str
    inputs: tuple[str, ...]  # "" for an optional input that is left out
    outputs: tuple[str, ...]
    attributes: dict[str, AttributeProto] = field(repr=False)

    def integer(self, name: str, default: int) -> int:
        attribute = self._attribute(name, AttributeProto.INT)
        return default if attribute is None else int(attribute.i)

    def text(self, name: str, default: str) -> str:
        attribute = self._attribute(name, AttributeProto.STRING)
        return default if attribute is None else bytes(attribute.s).decode("ascii", "replace")

    def integers(self, name: str) -> tuple[int, ...] | None:
        attribute = self._attribute(name, AttributeProto.INTS)
        return None if attribute is None else tuple(int(i) for i in attribute.ints)

    def number(self, name: str) -> float | None:
        attribute = self._attribute(name, AttributeProto.FLOAT)
        return None if attribute is None else float(attribute.f)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        attribute = self._attribute(name, AttributeProto.FLOATS)
        return None if attribute is None else tuple(float(f) for f in attribute.floats)

    def tensor(self, name: str) -> Constant | None:
        attribute = self._attribute(name, AttributeProto.TENSOR)
        return None if attribute is None else read_constant(attribute.t, self.path, name=self.outputs[0])

    def real(self, name: str, value: float | tuple[float, ...] | None) -> RealTensor:
        """The finite numbers of the attribute of this name."""
        try:
            return RealTensor.of_floats(() if value is None else value)
        except ValueError:
            self.fail(f"has the attribute {quoted(name)} with a number that is not finite")

    def _attribute(self, name: str, kind: int) -> Any:
        attribute = self.attributes.get(name)
        if attribute is not None and (attribute.type != kind or attribute.ref_attr_name):
            self.fail(f"has the attribute {quoted(name)} with a value of the wrong type")
        return attribute

    def fail(self, what: str) -> NoReturn:
        """The model contradicts itself here."""
        raise MalformedModel(f"{self} {what}", where=self.path)

    def refuse(self, what: str, *, hint: str | None = None) -> NoReturn:
        """The model may be right, but it is not of the kind that is read."""
        raise UnsupportedOp(f"{self} {what}", where=self.path, hint=hint)

    def __str__(self) -> str:
        kind = self.op_type if self.domain in _DEFAULT_DOMAINS else f"{self.domain}.{self.op_type}"
        return f"node {quoted(self.label)} ({quoted(kind)[1:-1]})"


@dataclass(frozen=True, slots=True)
class Graph:
    """What computes the output from the input: every tensor is defined once, before it is read.

    `readers` names the operators that read a tensor, of all nodes of the file, needed or not, also from within a
    subgraph; and the output. `replaceable` are parameters that are inputs as well: a caller may give others.
    """

    path: Path
    nodes: tuple[Node, ...]
    input: str
    shape: tuple[int, ...]
    output: str
    initializers: dict[str, TensorProto]
    readers: Mapping[str, tuple[str, ...]]
    replaceable: tuple[str, ...]


def read_graph(model: ModelProto, path: Path) -> Graph:
    """The graph of a model that was read from `path`.

    Raises:
        InputError: if it is not one graph from one float input to one output.
    """
    if model.ir_version < 1 or not model.HasField("graph"):
        raise MalformedModel("is not an ONNX model", where=path)
    if any(isinstance(name, bytes) for name in _names(model)):
        raise MalformedModel("holds a name that is not UTF-8 text", where=path)
    if model.functions:
        name = quoted(model.functions[0].name)
        raise UnsupportedOp(
            f"defines the function {name}; functions are not read", where=path, hint="inline it before export"
        )
    return _Checker(model.graph, path, _opset(model, path), model.ir_version).graph()


def _names(model: ModelProto) -> Iterator[str | bytes]:
    """Every name that means something; protobuf hands out as bytes what is not UTF-8."""
    yield from (entry.domain for entry in model.opset_import)
    yield from (named.name for named in (*model.functions, *model.graph.input, *model.graph.output))
    yield from (tensor.name for tensor in model.graph.initializer)
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _opset(model: ModelProto, path: Path) -> int:
    versions = {entry.version for entry in model.opset_import if entry.domain in _DEFAULT_DOMAINS}
    if len(versions) != 1:
        what = f"imports {len(versions)} versions of" if versions else "does not say which version it uses of"
        raise MalformedModel(f"{what} the default operator set", where=path)
    version = int(versions.pop())
    if version not in OPSETS:
        what = f"opset {version} is not read, only {OPSETS[0]} to {OPSETS[-1]}"
        raise UnsupportedOp(what, where=path, hint="convert the model with onnx.version_converter")
    return version


class _Checker:
    def __init__(self, proto: GraphProto, path: Path, opset: int, ir_version: int) -> None:
        self._proto, self._path, self._opset, self._ir_version = proto, path, opset, ir_version

    def graph(self) -> Graph:
        if not self._proto.node:
            self._fail("the graph has no nodes")
        if self._proto.sparse_initializer:
            name = quoted(self._proto.sparse_initializer[0].values.name)
            raise UnsupportedOp(f"tensor {name} is sparse, which is not read", where=self._path)
        initializers = {tensor.name: tensor for tensor in self._proto.initializer}
        source, output = self._input(initializers), self._output()
        nodes = [self._node(proto) for proto in self._proto.node]
        self._check_names(nodes, source.name)
        producers = {name: node for node in nodes for name in node.outputs if name}
        known = {source.name, *initializers, *producers}
        self._check_defined(nodes, output, known)
        order = self._order(producers, output)
        readers: defaultdict[str, tuple[str, ...]] = defaultdict(tuple, {output: (OUTPUT,)})
        for node in nodes:
            for name in (*node.inputs, *_read_within(node.attributes.values())):
                readers[name] += (node.op_type,)
        shape, replaceable = self._shape(source), self._replaceable(initializers)
        return Graph(self._path, order, source.name, shape, output, initializers, readers, replaceable)

    def _replaceable(self, initializers: dict[str, TensorProto]) -> tuple[str, ...]:
        """Before IR version 4 every parameter is listed among the inputs, and none can be replaced."""
        if self._ir_version < 4:
            return ()
        return tuple(value.name for value in self._proto.input if value.name in initializers)

    def _input(self, initializers: dict[str, TensorProto]) -> ValueInfoProto:
        """The one graph input; before IR version 4, the parameters are listed there too."""
        inputs = [value for value in self._proto.input if value.name not in initializers]
        if len(inputs) != 1:
            self._fail(f"the graph has {_listed([v.name for v in inputs], 'input')}; one is needed")
        return inputs[0]

    def _output(self) -> str:
        outputs = [str(value.name) for value in self._proto.output]
        if len(outputs) != 1:
            self._fail(f"the graph has {_listed(outputs, 'output')}; one is needed")
        return outputs[0]

    def _node(self, proto: NodeProto) -> Node:
        named = next((name for name in proto.output if name), "")
        node = Node(
            self._path,
            self._opset,
            proto.name or named,
            proto.domain,
            proto.op_type,
            tuple(proto.input),
            tuple(proto.output),
            {attribute.name: attribute for attribute in proto.attribute},
        )
        if not named:
            node.fail("has no output")
        if len(node.attributes) < len(proto.attribute):
            node.fail("has an attribute twice")
        return node

    # --- names ---

    def _check_names(self, nodes: list[Node], source: str) -> None:
        """Every tensor is defined once."""
        parameters = [tensor.name for tensor in self._proto.initializer]
        produced = [name for node in nodes for name in node.outputs if name]
        defined = Counter([source, *parameters, *produced])
        name, times = defined.most_common(1)[0]
        if times > 1:
            self._fail(f"tensor {quoted(name)} is defined {times} times")
        if "" in defined:
            self._fail("a graph input or a parameter has no name")

    def _check_defined(self, nodes: list[Node], output: str, known: set[str]) -> None:
        if output not in known:
            self._fail(f"the output {quoted(output)} is not produced by any node")
        for node in nodes:
            for name in node.inputs:
                if name and name not in known:
                    node.fail(f"reads {quoted(name)}, which is not defined")

    def _order(self, producers: dict[str, Node], output: str) -> tuple[Node, ...]:
        """The nodes that the output needs, each after those it reads from."""
        sorter: TopologicalSorter[str] = TopologicalSorter()
        found: set[str] = set()
        pending = [output]
        while pending:
            name = pending.pop()
            if name in found or name not in producers:
                continue
            found.add(name)
            read = [other for other in producers[name].inputs if other in producers]
            sorter.add(name, *read)
            pending += read
        try:
            return tuple(_distinct(producers[name] for name in sorter.static_order()))
        except CycleError as error:
            producers[error.args[1][0]].fail("depends on its own result")

    # --- the input ---

    def _shape(self, value: ValueInfoProto) -> tuple[int, ...]:
        """The input's shape, for a batch of one where the batch size is left open."""
        name = f"the input {quoted(value.name)}"
        tensor = value.type.tensor_type
        if value.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in FLOATS:
            kind = type_name(tensor.elem_type) if tensor.elem_type else "not a tensor"
            raise UnsupportedOp(f"{name} is {kind}, not a float tensor", where=self._path)
        if not tensor.HasField("shape"):
            self._fail(f"{name} does not say its shape")
        dims = [d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in tensor.shape.dim]
        if len(dims) > 1 and dims[0] is None:
            dims[0] = 1
        shape = tuple(d for d in dims if d is not None)
        if len(shape) < len(dims):
            self._fail(f"axis {dims.index(None)} of {name} has no fixed size; only a batch axis may be open")
        if len(shape) > _MAX_AXES or any(d < 1 for d in shape) or prod(shape) > MAX_ELEMENTS:
            what = f"has shape {list(shape[:_MAX_AXES])}, not that of 1 to {MAX_ELEMENTS} elements"
            self._fail(f"{name} {what} on at most {_MAX_AXES} axes")
        return shape

    def _fail(self, what: str) -> NoReturn:
        raise MalformedModel(what, where=self._path)


def _read_within(attributes: Iterable[AttributeProto]) -> Iterator[str]:
    """What the nodes of subgraphs read, of the graph around them or of their own."""
    for attribute in attributes:
        for graph in (attribute.g, *attribute.graphs):
            yield from (output.name for output in graph.output)
            for node in graph.node:
                yield from node.input
                yield from _read_within(node.attribute)


def _distinct(nodes: Iterator[Node]) -> Iterator[Node]:
    """Each node once: one with several outputs appears for each of them."""
    seen: set[int] = set()
    for node in nodes:
        if id(node) not in seen:
            seen.add(id(node))
            yield node


def _listed(names: list[str], noun: str) -> str:
    if not names:
        return f"no {noun}s"
    shown = ", ".join(quoted(name) for name in names[:4]) + (", …" if len(names) > 4 else "")
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''} ({shown})"
