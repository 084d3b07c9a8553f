"""Does a float runtime compute an ONNX file layer by layer, as qsmt reads it?

The networks that are proved about have their constants folded: a normalisation becomes part of the first layer. Over
the real numbers that is the same; what rounds, rounds elsewhere. What is said of a runtime's rounding
(qsmt.dra.float_error) is said of files whose nodes are the layers themselves: a MatMul and perhaps an Add, or a Gemm,
each followed by a ReLU or a clip, but for the last; and nodes that move elements, or subtract or add zeros.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, numpy_helper

from qsmt.frontend.base import read_file
from qsmt.frontend.onnx_shape_ops import MOVING

_LAYERS = re.compile("(?:(?:MA?|G)[RC])*(?:MA?|G)")
_LETTERS = {"MatMul": "M", "Add": "A", "Gemm": "G", "Relu": "R", "Clip": "C"}


def is_plain(path: Path) -> bool:
    """Is the ONNX file, which can be loaded, a chain of such nodes, its parameters of one float type?"""
    graph = ModelProto.FromString(read_file(path)).graph
    parameters = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds = {values.dtype for values in parameters.values() if values.dtype.kind == "f"}
    letters = "".join(_letter(node, parameters) for node in graph.node)
    return len(kinds) == 1 and _is_chain(graph, parameters) and _LAYERS.fullmatch(letters) is not None


def _letter(node: NodeProto, parameters: dict[str, np.ndarray]) -> str:
    """What a node is in a chain of layers; nothing where it computes nothing, "?" where it is something else."""
    if node.op_type in MOVING.names and node.op_type != "Cast":
        return ""
    if (
        node.op_type in ("Add", "Sub")
        and node.input[-1] in parameters
        and not parameters[node.input[-1]].any()
    ):
        return ""
    if node.op_type == "Gemm" and any(a.type == AttributeProto.FLOAT and a.f != 1.0 for a in node.attribute):
        return "?"
    return _LETTERS.get(node.op_type, "?")


def _is_chain(graph: GraphProto, parameters: dict[str, np.ndarray]) -> bool:
    """Does each node read the result of the one before, and else parameters only?"""
    computed = next(value.name for value in graph.input if value.name not in parameters)
    known = set(parameters)
    for node in graph.node:
        if node.op_type == "Constant":
            known.add(node.output[0])
            continue
        if [name for name in node.input if name and name not in known] != [computed]:
            return False
        computed = node.output[0]
    return bool(computed == graph.output[0].name)
