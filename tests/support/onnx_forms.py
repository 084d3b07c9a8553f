"""Every operator form that is read, as a small model, and a comparison with onnxruntime without tolerance.

The parameters and inputs are small integers and powers of two, on which onnxruntime's arithmetic is exact, so
its outputs must equal those of the exact interpreter. `kinds` says which ops a model is lowered to (A affine,
R relu, C clamp): what folds, and what does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper

from qsmt.frontend.onnx_model import read_model
from qsmt.interp import reference
from qsmt.ir.network import Network
from tests.support.onnx_models import f32, i64, model, node, small

PATH = Path("model.onnx")


def load(proto: ModelProto) -> Network:
    return read_model(proto.SerializeToString(), PATH)


def kinds(network: Network) -> str:
    return "".join(type(op).__name__[0] for op in network.ops)


def grid_points(size: int, *, count: int = 40) -> np.ndarray:
    """Integer points, some of them on the kinks."""
    return np.random.default_rng(size).integers(-8, 8, (count, size), endpoint=True)


def runtime_outputs(proto: ModelProto, points: np.ndarray) -> list[tuple[Fraction, ...]]:
    """What onnxruntime computes, as the exact numbers that its floats are."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it fails on double Clip
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    kind = np.float64 if "double" in source.type else np.float32
    shape = [d if isinstance(d, int) else 1 for d in source.shape]
    outputs = (session.run(None, {source.name: p.astype(kind).reshape(shape)})[0] for p in points)
    return [tuple(map(Fraction, out.ravel().astype(float).tolist())) for out in outputs]


def exact_outputs(network: Network, points: np.ndarray) -> list[tuple[Fraction, ...]]:
    return reference.run(network, [tuple(map(Fraction, point)) for point in points.tolist()])


def agrees(proto: ModelProto) -> bool:
    network = load(proto)
    points = grid_points(network.input.size)
    return exact_outputs(network, points) == runtime_outputs(proto, points)


def farthest(proto: ModelProto) -> float:
    """How far the runtime is from our values, at most, as a share of the largest of them."""
    network = load(proto)
    points = grid_points(network.input.size)
    found = reference.enclose(network, [tuple(map(Fraction, point)) for point in points.tolist()])
    pairs = zip(found.middle, runtime_outputs(proto, points), strict=True)
    worst = max(abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))
    return float(worst / max(abs(v) for row in found.middle for v in row))


# --- the forms ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A model, and what it is lowered to."""

    proto: ModelProto
    kinds: str


W = f32([1, -2, 3], [2, 0, -1])  # 2 by 3: transB of x @ W^T
V = f32([1, -1, 2, 0], [0, 3, -2, 1], [2, 1, 1, -1])  # 3 by 4
B2, B4 = f32([1, -3]), f32([1, -1, 0.5, 2])


def one(op: str, inputs: list[str], expected: str, **options: Any) -> Form:
    """One operator on `x` (3 elements unless told otherwise)."""
    attributes = options.pop("attributes", {})
    return Form(model([node(op, inputs, ["y"], **attributes)], **options), expected)


def chain(expected: str, *nodes: onnx.NodeProto, **options: Any) -> Form:
    return Form(model(nodes, **options), expected)


def gemm(left: str = "x", right: str = "w", *bias: str, out: str = "y", **attributes: Any) -> onnx.NodeProto:
    return node("Gemm", [left, right, *bias], [out], **attributes)


GEMM: dict[str, Form] = {
    "plain": chain("A", gemm("x", "w", "b"), constants={"w": V, "b": B4}),
    "no bias": chain("A", gemm(), constants={"w": V}),
    "transB": chain("A", gemm("x", "w", "b", transB=1), constants={"w": W, "b": B2}),
    "transB of a square": chain("A", gemm(transB=1), constants={"w": V[:, :3].copy()}),
    "transA": chain("A", gemm(transA=1), x=[3, 1], constants={"w": V}),
    "transA of a square": chain("A", gemm(transA=1), x=[3, 3], constants={"w": V}),
    "transA and transB": chain("A", gemm(transA=1, transB=1), x=[3, 2], constants={"w": W}),
    "alpha": chain("A", gemm("x", "w", "b", alpha=0.5), constants={"w": V, "b": B4}),
    "alpha and beta": chain("A", gemm("x", "w", "b", alpha=-2.0, beta=4.0), constants={"w": V, "b": B4}),
    "alpha zero": chain("A", gemm("x", "w", "b", alpha=0.0), constants={"w": V, "b": B4}),
    "beta zero": chain("A", gemm("x", "w", "b", beta=0.0), constants={"w": V, "b": B4}),
    "constant left": chain("A", gemm("w", "x", "b"), x=[3, 1], constants={"w": W, "b": f32([1], [2])}),
    "constant left, all attributes": chain(
        "A",
        gemm("w", "x", "b", transA=1, transB=1, alpha=2.0, beta=-1.0),
        x=[5, 2],
        constants={"w": W, "b": f32([1, 2, 3, 4, 5])},
    ),
    "bias number": chain("A", gemm("x", "w", "b"), constants={"w": V, "b": f32(3)}),
    "bias of one": chain("A", gemm("x", "w", "b"), constants={"w": V, "b": np.ones(1, np.float32)}),
    "bias row": chain("A", gemm("x", "w", "b"), x=[2, 3], constants={"w": V, "b": B4.reshape(1, 4)}),
    "bias column": chain("A", gemm("x", "w", "b"), x=[2, 3], constants={"w": V, "b": f32([1], [2])}),
    "bias matrix": chain(
        "A",
        gemm("x", "w", "b"),
        x=[2, 3],
        constants={"w": V, "b": np.arange(8, dtype=np.float32).reshape(2, 4)},
    ),
    "opset 7": chain("A", gemm("x", "w", "b", transB=1), opset=7, constants={"w": W, "b": B2}),
    "opset 9": chain("A", gemm("x", "w", "b", transB=1), opset=9, constants={"w": W, "b": B2}),
    "IR version 3": chain(
        "A", gemm("x", "w", "b", transB=1), opset=8, ir_version=3, constants={"w": W, "b": B2}
    ),
    "double": chain(
        "A",
        gemm("x", "w", "b"),
        kind=TensorProto.DOUBLE,
        constants={"w": V.astype(float), "b": B4.astype(float)},
    ),
    "two in a row": chain(
        "AA", gemm("x", "w", out="z"), gemm("z", "v", transB=1), constants={"w": V, "v": V}
    ),
}
MATMUL: dict[str, Form] = {
    "matrix right": one("MatMul", ["x", "w"], "A", constants={"w": V}),
    "matrix left": one("MatMul", ["w", "x"], "A", x=[3, 1], constants={"w": W}),
    "rank one right": one("MatMul", ["x", "w"], "A", x=[3], constants={"w": V}),
    "rank one left": one("MatMul", ["w", "x"], "A", x=[3], constants={"w": W}),
    "four axes": one("MatMul", ["x", "w"], "A", x=[1, 1, 1, 3], constants={"w": V}),
    "vector constant right": one("MatMul", ["x", "w"], "A", x=[2, 3], constants={"w": f32([1, -2, 3])}),
    "vector constant left": one("MatMul", ["w", "x"], "A", x=[3, 2], constants={"w": f32([1, -2, 3])}),
    "inner product": one("MatMul", ["x", "w"], "A", x=[3], constants={"w": f32([1, -2, 3])}),
    "inner rows": one("MatMul", ["x", "w"], "A", x=[2, 3], constants={"w": V}),
    "inner columns": one("MatMul", ["w", "x"], "A", x=[3, 5], constants={"w": W}),
    "batch of inputs": one("MatMul", ["x", "w"], "A", x=[4, 2, 3], constants={"w": V}),
    "batch of constants": one("MatMul", ["x", "w"], "A", constants={"w": np.stack([V, -V])}),
    "batch of both": one("MatMul", ["x", "w"], "A", x=[2, 1, 3], constants={"w": np.stack([V, -V])}),
    "crossed batches": one(
        "MatMul", ["x", "w"], "A", x=[2, 1, 1, 3], constants={"w": np.stack([V, -V, 2 * V])}
    ),
    "batch left": one("MatMul", ["w", "x"], "A", x=[2, 3, 2], constants={"w": np.stack([W, -W])}),
    "opset 7": one("MatMul", ["x", "w"], "A", opset=7, constants={"w": V}),
}
C3 = f32([1, -2, 4])
ARITHMETIC: dict[str, Form] = {
    "x + c": one("Add", ["x", "c"], "A", constants={"c": C3}),
    "c + x": one("Add", ["c", "x"], "A", constants={"c": C3}),
    "x - c": one("Sub", ["x", "c"], "A", constants={"c": C3}),
    "c - x": one("Sub", ["c", "x"], "A", constants={"c": C3}),
    "x * c": one("Mul", ["x", "c"], "A", constants={"c": C3}),
    "c * x": one("Mul", ["c", "x"], "A", constants={"c": C3}),
    "x * 0": one("Mul", ["x", "c"], "A", constants={"c": f32(0)}),
    "x / c": one("Div", ["x", "c"], "A", constants={"c": C3}),
    "-x": one("Neg", ["x"], "A"),
    "sum of one": one("Sum", ["x"], "A"),
    "sum of two": one("Sum", ["x", "c"], "A", constants={"c": C3}),
    "sum of three": one("Sum", ["c", "x", "d"], "A", constants={"c": C3, "d": f32(2)}),
    "sum, input last": one("Sum", ["c", "d", "x"], "A", constants={"c": C3, "d": f32([[1, 2, 3]])}),
    "number": one("Add", ["x", "c"], "A", constants={"c": f32(5)}),
    "more axes": one("Add", ["x", "c"], "A", x=[3], constants={"c": C3.reshape(1, 1, 3)}),
    "spread constant": one("Mul", ["x", "c"], "A", x=[2, 3], constants={"c": f32([2], [4])}),
    "spread input": one("Add", ["x", "c"], "A", x=[3, 1], constants={"c": f32([1, 2])}),
    "spread input and scale": one("Mul", ["x", "c"], "A", x=[3, 1], constants={"c": f32([1, 2])}),
    "spread input, then a layer": chain(
        "AA",
        node("Add", ["x", "c"], ["z"]),
        node("MatMul", ["z", "w"], ["y"]),
        x=[3, 1],
        constants={"c": f32([1, 2]), "w": f32([1], [3])},
    ),
    "spread layer": chain(
        "A",
        node("MatMul", ["x", "w"], ["z"]),
        node("Add", ["z", "c"], ["y"]),
        constants={"w": V[:, :1].copy(), "c": f32([[1], [2]], [[3], [4]])},
    ),
    "opset 7": one("Div", ["x", "c"], "A", opset=7, constants={"c": C3}),
}
ACTIVATIONS: dict[str, Form] = {
    "Relu on the input": one("Relu", ["x"], "AR"),
    "Relu twice": chain("ARR", node("Relu", ["x"], ["z"]), node("Relu", ["z"], ["y"])),
    "Clip of opset 7": one("Clip", ["x"], "AC", opset=7, attributes={"min": -1.5, "max": 6.0}),
    "Clip below, opset 7": one("Clip", ["x"], "AC", opset=7, attributes={"min": -1.0}),
    "Clip above, opset 10": one("Clip", ["x"], "AC", opset=10, attributes={"max": 3.0}),
    "Clip of nothing, opset 7": one("Clip", ["x"], "A", opset=7),
    "Clip": one("Clip", ["x", "a", "b"], "AC", constants={"a": f32(-1), "b": f32(6)}),
    "Clip in opset 11": one("Clip", ["x", "a", "b"], "AC", opset=11, constants={"a": f32(0), "b": f32(6)}),
    "Clip below": one("Clip", ["x", "a"], "AC", constants={"a": f32(-2)}),
    "Clip above": one("Clip", ["x", "", "b"], "AC", constants={"b": f32(2)}),
    "Clip at zero is Relu": one("Clip", ["x", "a"], "AR", constants={"a": f32(0)}),
    "Clip of nothing": one("Clip", ["x"], "A"),
    "Clip to a point": one("Clip", ["x", "a", "a"], "AC", constants={"a": f32(2)}),
    "scaled between activations": chain(
        "ARAR",
        node("Relu", ["x"], ["z"]),
        node("Sub", ["c", "z"], ["u"]),
        node("Relu", ["u"], ["y"]),
        constants={"c": C3},
    ),
    "scaled after an activation": chain(
        "ARA", node("Relu", ["x"], ["z"]), node("Mul", ["z", "c"], ["y"]), constants={"c": C3}
    ),
}


def shape_op(op: str, attributes: dict[str, Any], *inputs: str, **options: Any) -> Form:
    """The operator on a matrix of 2 by 3 that has been through a layer, so that the order matters."""
    constants = {"w": V[:, :3].copy()} | options.pop("constants", {})
    nodes = [
        node("MatMul", ["x", "w"], ["z"]),
        node("Relu", ["z"], ["h"]),
        node(op, ["h", *inputs], ["y"], **attributes),
    ]
    return Form(model(nodes, x=options.pop("x", [2, 3]), constants=constants, **options), "AR")


def moving(form: Form) -> Form:
    """A form whose last operator moves elements, which takes one more affine op at the output."""
    return Form(form.proto, "ARA")


SHAPES: dict[str, Form] = {
    "Flatten": shape_op("Flatten", {}),
    "Flatten at 0": shape_op("Flatten", {"axis": 0}),
    "Flatten from the end": shape_op("Flatten", {"axis": -1}),
    "Flatten in opset 7": shape_op("Flatten", {"axis": 2}, opset=7),
    "Flatten of one axis": one("Flatten", ["x"], "A", x=[3]),
    "Reshape": shape_op("Reshape", {}, "s", constants={"s": i64(3, 2)}),
    "Reshape with -1": shape_op("Reshape", {}, "s", constants={"s": i64(-1, 1, 2)}),
    "Reshape with 0": shape_op("Reshape", {}, "s", constants={"s": i64(0, -1, 1)}),
    "Reshape in opset 7": shape_op("Reshape", {}, "s", opset=7, constants={"s": i64(0, 0)}),
    "Reshape, allowzero": shape_op("Reshape", {"allowzero": 1}, "s", opset=14, constants={"s": i64(6)}),
    "Squeeze": shape_op("Squeeze", {}, x=[1, 2, 3]),
    "Squeeze of axes": shape_op("Squeeze", {}, "a", x=[1, 2, 3], constants={"a": i64(-3)}),
    "Squeeze in opset 11": shape_op("Squeeze", {"axes": [0]}, opset=11, x=[1, 2, 3]),
    "Unsqueeze": shape_op("Unsqueeze", {}, "a", constants={"a": i64(-1, 0)}),
    "Unsqueeze in opset 7": shape_op("Unsqueeze", {"axes": [0, 2]}, opset=7),
    "Transpose": moving(shape_op("Transpose", {})),
    "Transpose by a permutation": moving(shape_op("Transpose", {"perm": [2, 0, 1]}, x=[2, 2, 3])),
    "Transpose of nothing": shape_op("Transpose", {"perm": [0, 1]}),
    "Concat of the input": chain("A", node("Concat", ["x", "x"], ["y"], axis=-1)),
    "Concat with constants": chain(
        "AA",
        gemm("x", "w", "b", out="z"),
        node("Concat", ["c", "z", "d"], ["j"], axis=1),
        node("Mul", ["j", "f"], ["y"]),
        constants={"w": V, "b": B4, "c": f32([[2, -1]]), "d": f32([[0.5]]), "f": f32([1, 2, 3, 4, 5, 6, 7])},
    ),
    "Concat with a constant, after a ReLU": chain(
        "ARAA",
        gemm("x", "w", "b", out="z"),
        node("Relu", ["z"], ["r"]),
        node("Concat", ["r", "c"], ["j"], axis=1),
        gemm("j", "v"),
        constants={"w": V, "b": B4, "c": f32([[2, -1]]), "v": f32([[1], [2], [-3], [0.5], [1], [-1]])},
    ),
    "Concat of parts of a layer": chain(
        "A",
        gemm("x", "w", "b", out="z"),
        node("Slice", ["z", "one", "four", "one"], ["part"]),
        node("Concat", ["part", "z", "c"], ["y"], axis=1),
        constants={"w": V, "b": B4, "c": f32([[7]]), "one": i64(1), "four": i64(4)},
    ),
    "Concat of layers of one value": chain(
        "A",
        gemm("x", "w", "b", out="z"),
        node("Concat", ["x", "z"], ["y"], axis=1),
        constants={"w": V, "b": B4},
    ),
    "Concat of real constants": chain(
        "A",
        node("Concat", ["c", "d"], ["e"], axis=-1),
        node("Mul", ["x", "e"], ["y"]),
        constants={"c": f32([[2, -1]]), "d": f32([[0.5]])},
    ),
    "Identity": shape_op("Identity", {}),
    "Dropout in opset 7": shape_op("Dropout", {"ratio": 0.5}, opset=7),
    "Dropout in opset 10": shape_op("Dropout", {}, opset=10),
    "Dropout": shape_op("Dropout", {"seed": 1}, "r", constants={"r": f32(0.5)}),
    "Dropout, not in training": shape_op(
        "Dropout", {}, "r", "t", constants={"r": f32(0.5), "t": np.array(False)}
    ),
    "Gather": moving(shape_op("Gather", {"axis": 1}, "i", constants={"i": i64(2, 0, -1, 2)})),
    "Gather of one": moving(shape_op("Gather", {}, "i", constants={"i": np.array(1)})),
    "Slice": moving(shape_op("Slice", {}, "a", "b", "e", constants={"a": i64(1), "b": i64(99), "e": i64(1)})),
    "Slice with steps": moving(
        shape_op(
            "Slice",
            {},
            "a",
            "b",
            "e",
            "s",
            constants={"a": i64(-9, 0), "b": i64(-1, 9), "e": i64(0, 1), "s": i64(1, 2)},
        )
    ),
    "Slice in opset 9": moving(shape_op("Slice", {"starts": [0], "ends": [-1], "axes": [1]}, opset=9)),
    "Cast": shape_op("Cast", {"to": TensorProto.DOUBLE}),
    "Cast in opset 24": shape_op("Cast", {"to": TensorProto.FLOAT, "saturate": 1}, opset=24),
}


def constant(out: str, **form: Any) -> onnx.NodeProto:
    return node("Constant", [], [out], **form)


def folded(*nodes: onnx.NodeProto, **options: Any) -> Form:
    """Nodes that compute the constant `c`, which is then added to `x`."""
    return chain("A", *nodes, node("Add", ["x", "c"], ["y"]), **options)


CONSTANTS: dict[str, Form] = {
    "value": folded(constant("c", value=helper.make_tensor("v", TensorProto.FLOAT, [3], [1, 2, 3]))),
    "value_float": folded(constant("c", value_float=2.5)),
    "value_floats": folded(constant("c", value_floats=[1.0, 2.0, 3.0])),
    "value_int": folded(constant("i", value_int=3), node("Cast", ["i"], ["c"], to=TensorProto.FLOAT)),
    "value_ints": folded(
        constant("i", value_ints=[3, -4, 5]), node("Cast", ["i"], ["c"], to=TensorProto.FLOAT)
    ),
    "Cast to integers and back": folded(
        node("Cast", ["r"], ["i"], to=TensorProto.INT64),
        node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
        constants={"r": f32([1.75, -1.75, 0.5])},
    ),
    "Cast to booleans and back": folded(
        node("Cast", ["r"], ["i"], to=TensorProto.BOOL),
        node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
        constants={"r": f32([1.75, 0, -0.5])},
    ),
    "Cast that rounds": folded(
        node("Cast", ["d"], ["h"], to=TensorProto.FLOAT16),
        node("Cast", ["h"], ["c"], to=TensorProto.FLOAT),
        constants={"d": np.array([2049.0, 1.0, 4099.0])},
    ),
    "Transpose": chain(
        "A",
        node("Transpose", ["w"], ["v"], perm=[1, 0]),
        node("MatMul", ["x", "v"], ["y"]),
        constants={"w": W},
    ),
    "arithmetic": folded(
        node("Mul", ["a", "b"], ["m"]),
        node("Sub", ["m", "a"], ["s"]),
        node("Neg", ["s"], ["n"]),
        node("Div", ["n", "b"], ["d"]),
        node("Add", ["d", "a"], ["t"]),
        node("Sum", ["t", "b"], ["c"]),
        constants={"a": C3, "b": f32(4)},
    ),
    "Reshape and Unsqueeze": folded(
        node("Reshape", ["w", "s"], ["r"]),
        node("Gather", ["r", "i"], ["g"], axis=0),
        node("Unsqueeze", ["g", "z"], ["c"]),
        constants={"w": W, "s": i64(2, 3), "i": np.array(1), "z": i64(0)},
    ),
}
_VIEW = [  # what a PyTorch `x.view(x.size(0), -1)` becomes
    node("Shape", ["x"], ["size"]),
    node("Gather", ["size", "zero"], ["batch"], axis=0),
    node("Unsqueeze", ["batch", "axes"], ["head"]),
    node("Concat", ["head", "rest"], ["target"], axis=0),
    node("Reshape", ["x", "target"], ["flat"]),
]
_VIEW_CONSTANTS = {"zero": np.array(0), "axes": i64(0), "rest": i64(-1)}
EXPORTERS: dict[str, Form] = {
    "PyTorch": Form(small(), "ARA"),
    "PyTorch, opset 9 and IR 4": chain(
        "ARA",
        node("Flatten", ["x"], ["0"], axis=1),
        gemm("0", "w", "b", out="1", alpha=1.0, beta=1.0, transB=1),
        node("Relu", ["1"], ["2"]),
        gemm("2", "v", "b", alpha=1.0, beta=1.0, transB=1),
        x=[1, 3],
        opset=9,
        ir_version=4,
        constants={"w": W, "b": B2, "v": f32([1, 2], [3, -1])},
    ),
    "PyTorch view": chain(
        "A", *_VIEW, gemm("flat", "w", transB=1), x=["batch", 1, 3], constants=_VIEW_CONSTANTS | {"w": W}
    ),
    "PyTorch view, integer arithmetic": chain(
        "A",
        node("Shape", ["x"], ["size"]),
        node("Slice", ["size", "one", "three"], ["tail"]),
        node("Gather", ["tail", "zero"], ["rows"]),
        node("Gather", ["tail", "one"], ["columns"]),
        node("Mul", ["rows", "columns"], ["count"]),
        node("Concat", ["minus", "count"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["flat"]),
        node("MatMul", ["flat", "w"], ["y"]),
        x=["batch", 1, 3],
        constants={"zero": i64(0), "one": i64(1), "three": i64(3), "minus": i64(-1), "w": V},
    ),
    "Shape with bounds": chain(
        "A",
        node("Shape", ["x"], ["tail"], start=1, end=-1),
        node("Concat", ["tail", "minus"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["flat"]),
        node("MatMul", ["flat", "w"], ["y"]),
        x=["batch", 1, 3],
        opset=15,
        constants={"minus": i64(-1), "w": V},
    ),
    "Keras through tf2onnx": chain(
        "ARA",
        node("Sub", ["x", "mean"], ["n"]),
        node("Flatten", ["n"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Relu", ["a"], ["h"]),
        node("MatMul", ["h", "v"], ["m2"]),
        node("Add", ["b2", "m2"], ["y"]),
        x=[1, 1, 1, 3],
        opset=8,
        ir_version=3,
        constants={"mean": C3.reshape(1, 1, 1, 3), "w": V, "b": B4, "v": V.T.copy(), "b2": f32([7])},
    ),
    "Julia": chain(
        "ARA",
        node("MatMul", ["w", "x"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Relu", ["a"], ["h"]),
        node("MatMul", ["v", "h"], ["m2"]),
        node("Add", ["m2", "b"], ["y"]),
        x=[3],
        constants={"w": W, "b": B2, "v": f32([1, 2], [3, -1])},
    ),
    "Julia columns": chain(
        "ARA",
        node("MatMul", ["w", "x"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Relu", ["a"], ["h"]),
        node("MatMul", ["v", "h"], ["y"]),
        x=[3, 1],
        constants={"w": W, "b": B2.reshape(2, 1), "v": f32([1, 2], [3, -1])},
    ),
    "normalisation": chain(
        "AR",
        node("Sub", ["x", "mean"], ["c"]),
        node("Div", ["c", "range"], ["n"]),
        gemm("n", "w", "b", out="z", transB=1),
        node("Relu", ["z"], ["y"]),
        constants={"mean": C3, "range": f32([2, 4, 0.5]), "w": W, "b": B2},
    ),
    "output scaling": chain(
        "ARA",
        gemm("x", "w", "b", out="z", transB=1),
        node("Relu", ["z"], ["h"]),
        gemm("h", "v", out="o"),
        node("Mul", ["o", "range"], ["s"]),
        node("Add", ["s", "mean"], ["y"]),
        constants={"w": W, "b": B2, "v": f32([1, 2], [3, -1]), "range": f32([4, 0.25]), "mean": B2},
    ),
    "clipped actuator": chain(
        "ARAC",
        gemm("x", "w", "b", out="z", transB=1),
        node("Relu", ["z"], ["h"]),
        gemm("h", "v", out="o"),
        node("Clip", ["o", "a", "b1"], ["y"]),
        constants={"w": W, "b": B2, "v": f32([1, 2], [3, -1]), "a": f32(-4), "b1": f32(4)},
    ),
    "channels last": chain(  # a relabelling between layers costs no op, and commutes with ReLU
        "ARRA",
        node("MatMul", ["x", "w"], ["z"]),
        node("Relu", ["z"], ["h"]),
        node("Transpose", ["h"], ["t"], perm=[1, 0]),
        node("Relu", ["t"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
        x=[2, 3],
        constants={"w": V, "v": f32([1, 2], [3, -1])},
    ),
    "selected, then a layer": chain(
        "ARA",
        node("MatMul", ["x", "w"], ["z"]),
        node("Relu", ["z"], ["h"]),
        node("Gather", ["h", "i"], ["g"], axis=1),
        node("Sub", ["g", "one"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
        constants={"w": V, "i": i64(3, 0), "one": f32([1, 2]), "v": f32([1, 2], [3, -1])},
    ),
    "nodes out of order": Form(
        model(
            [
                gemm("h", "v"),
                node("Relu", ["z"], ["h"]),
                gemm("x", "w", out="z"),
            ],
            constants={"w": V, "v": V.T.copy()},
        ),
        "ARA",
    ),
    "dead branches": chain(
        "AR",
        gemm("x", "w", out="z"),
        node("Softmax", ["z"], ["unused"]),
        node("Relu", ["z"], ["y"]),
        constants={"w": V},
    ),
}

IMAGE = [1, 2, 4, 5]
K = np.random.default_rng(0).integers(-3, 4, (4, 2, 3, 2)).astype(np.float32)
GROUPED = np.random.default_rng(1).integers(-3, 4, (4, 1, 2, 2)).astype(np.float32)


def sliding(op: str, expected: str, *constants: np.ndarray, **attributes: Any) -> Form:
    """An operator that slides a window over an image."""
    names = [f"c{i}" for i in range(len(constants))]
    named = dict(zip(names, constants, strict=True))
    opset, shape = attributes.pop("opset", 19), attributes.pop("x", IMAGE)
    return one(op, ["x", *names], expected, x=shape, opset=opset, constants=named, attributes=attributes)


STATISTICS = {"s": f32([2, -4]), "o": f32([1, 3]), "m": f32([-1, 2]), "v": f32([4, 16])}


def normalized(expected: str, *before: onnx.NodeProto, opset: int = 15, **attributes: Any) -> Form:
    """A batch normalization whose standard deviations are 2 and 4."""
    read = before[-1].output[0] if before else "x"
    last = node("BatchNormalization", [read, *STATISTICS], ["y"], **({"epsilon": 0.0} | attributes))
    shape = [1, 3] if before else IMAGE
    return chain(expected, *before, last, x=shape, opset=opset, constants=STATISTICS | {"w": W})


WINDOWS: dict[str, Form] = {
    "Conv": sliding("Conv", "A", K, B4, pads=[1, 0, 2, 1], strides=[2, 1]),
    "Conv of opset 7": sliding("Conv", "A", K, opset=7, kernel_shape=[3, 2]),
    "Conv, dilated": sliding("Conv", "A", K, B4, dilations=[1, 2]),
    "Conv in groups": sliding("Conv", "A", GROUPED, B4, group=2),
    "Conv, padded as needed": sliding("Conv", "A", K, auto_pad="SAME_LOWER", strides=[2, 2]),
    "Conv of a sequence": sliding("Conv", "A", K[..., 0].copy(), B4, x=[1, 2, 6], pads=[1, 1]),
    "AveragePool": sliding("AveragePool", "A", kernel_shape=[2, 2], strides=[2, 2]),
    "AveragePool of opset 7": sliding("AveragePool", "A", kernel_shape=[2, 1], opset=7),
    "AveragePool of opset 11": sliding("AveragePool", "A", kernel_shape=[1, 2], opset=11, ceil_mode=1),
    "AveragePool, padding counted": sliding(
        "AveragePool", "A", kernel_shape=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "AveragePool, padding not counted": sliding("AveragePool", "A", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
    "GlobalAveragePool": sliding("GlobalAveragePool", "A", x=[1, 3, 4, 2]),
    "MaxPool": sliding("MaxPool", "ARARA", kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool of opset 8": sliding("MaxPool", "ARARA", kernel_shape=[1, 3], opset=8, pads=[0, 1, 0, 1]),
    "MaxPool, overlapping": sliding("MaxPool", "ARARARA", kernel_shape=[3, 2], ceil_mode=1, dilations=[1, 2]),
    "MaxPool of one": sliding("MaxPool", "A", kernel_shape=[1, 1], strides=[2, 2]),
    "GlobalMaxPool": sliding("GlobalMaxPool", "ARARARA", x=[1, 2, 2, 3]),
    "MaxPool after Relu": chain(
        "ARARARA",
        node("Conv", ["x", "k"], ["z"]),
        node("Relu", ["z"], ["h"]),
        node("MaxPool", ["h"], ["y"], kernel_shape=[2, 2]),
        x=IMAGE,
        constants={"k": K},
    ),
    "BatchNormalization": normalized("A"),
    "BatchNormalization of opset 7": normalized("A", opset=7, spatial=1),
    "BatchNormalization of opset 9": normalized("A", opset=9, momentum=0.5),
    "BatchNormalization after a layer": normalized("A", gemm("x", "w", out="z", transB=1)),
}
CURVES: dict[str, Form] = {
    "LeakyRelu": one("LeakyRelu", ["x"], "AL", attributes={"alpha": 0.25}),
    "LeakyRelu of slope 0": one("LeakyRelu", ["x"], "AR", attributes={"alpha": 0.0}),
    "LeakyRelu of slope 1": one("LeakyRelu", ["x"], "A", attributes={"alpha": 1.0}),
    "LeakyRelu after Relu": chain(
        "ARALA",
        node("Relu", ["x"], ["h"]),
        node("LeakyRelu", ["h"], ["l"], alpha=0.5),
        node("Neg", ["l"], ["y"]),
    ),
    "HardSigmoid": one("HardSigmoid", ["x"], "AC", attributes={"alpha": 0.125, "beta": 0.25}),
    "Relu after LeakyRelu": chain(
        "ALAR", node("LeakyRelu", ["x"], ["h"], alpha=0.5), node("Relu", ["h"], ["y"])
    ),
}
ROUNDED: dict[str, Form] = {
    "Tanh": one("Tanh", ["x"], "AC"),
    "Sigmoid": one("Sigmoid", ["x"], "AC"),
    "HardSwish": one("HardSwish", ["x"], "AC", opset=14),
    "HardSigmoid, default slope": one("HardSigmoid", ["x"], "AC"),
    "LeakyRelu, default slope": one("LeakyRelu", ["x"], "AL"),
    "Tanh between layers": chain(
        "ACA",
        gemm("x", "w", out="z"),
        node("Tanh", ["z"], ["h"]),
        gemm("h", "v"),
        constants={"w": V / 4, "v": V.T.copy()},
    ),
    "BatchNormalization, default epsilon": Form(
        model(
            [node("BatchNormalization", ["x", *STATISTICS], ["y"])], x=IMAGE, opset=15, constants=STATISTICS
        ),
        "A",
    ),
}
"""Forms on which the runtime rounds."""

_GROUPS = {
    "Gemm": GEMM,
    "MatMul": MATMUL,
    "arithmetic": ARITHMETIC,
    "activation": ACTIVATIONS,
    "shape": SHAPES,
    "constant": CONSTANTS,
    "exporter": EXPORTERS,
    "window": WINDOWS,
    "curve": CURVES,
}
FORMS = {f"{group}: {name}": form for group, forms in _GROUPS.items() for name, form in forms.items()}
