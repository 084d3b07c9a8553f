"""Small ONNX models: a short way to spell one, and a table of malformed and hostile ones.

`MALFORMED[name](folder)` writes a model into a folder and returns its path; `EXPECTED[name]` is a fragment of
the one line that must come of loading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Writer: TypeAlias = Callable[[Path], Path]

node = helper.make_node


def f32(*rows: Any) -> Array:
    """A single-precision array of these rows (or of one number)."""
    return np.array(rows if len(rows) != 1 else rows[0], dtype=np.float32)


def i64(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def model(
    nodes: Sequence[NodeProto],
    *,
    x: Sequence[int | str | None] = ("N", 3),
    constants: Mapping[str, Array | TensorProto] | None = None,
    opset: int = 13,
    output: str = "y",
    kind: int = TensorProto.FLOAT,
    ir_version: int = 8,
) -> ModelProto:
    """A model with the input `x` of this shape, one output, and these parameters."""
    tensors = [
        tensor if isinstance(tensor, TensorProto) else numpy_helper.from_array(tensor, name)
        for name, tensor in (constants or {}).items()
    ]
    for name, tensor in zip(constants or {}, tensors, strict=True):
        tensor.name = name
    source = helper.make_tensor_value_info("x", kind, list(x))
    inputs = [source]
    if ir_version < 4:  # parameters are graph inputs too
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    graph = helper.make_graph(
        list(nodes), "graph", inputs, [helper.make_empty_tensor_value_info(output)], initializer=tensors
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def changed(proto: ModelProto, change: Callable[[ModelProto], object]) -> ModelProto:
    """A copy of a model, after a change in place."""
    copy = ModelProto.FromString(proto.SerializeToString())
    change(copy)
    return copy


def small(**options: Any) -> ModelProto:
    """A sound little network: 3 inputs, 2 hidden neurons, 1 output."""
    constants = {
        "w0": f32([1, 2, 3], [-1, 0, 1]),
        "b0": f32([1, -1]),
        "w1": f32([[2, -1]]),
        "b1": f32([0.5]),
    }
    nodes = [
        node("Gemm", ["x", "w0", "b0"], ["z"], name="first", transB=1),
        node("Relu", ["z"], ["h"], name="relu"),
        node("Gemm", ["h", "w1", "b1"], ["y"], name="last", transB=1),
    ]
    return model(nodes, constants=constants | options.pop("constants", {}), **options)


# --- malformed and hostile models -------------------------------------------------------------------------


def _write(content: bytes, *, name: str = "model.onnx") -> Writer:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def _save(proto: ModelProto) -> Writer:
    return _write(proto.SerializeToString())


def _one(op: str, inputs: Sequence[str] = ("x",), **options: Any) -> Writer:
    """A model of one node named `it`."""
    attributes = options.pop("attributes", {})
    return _save(model([node(op, list(inputs), ["y"], name="it", **attributes)], **options))


def _conv(weight: Array, **options: Any) -> Writer:
    """A convolution of a sequence of three, or as told."""
    options = {"x": [1, 1, 3], "constants": {"w": weight}} | options
    return _one("Conv", ("x", "w"), **options)


_ONES = {name: f32([1.0]).reshape(1) for name in "abcd"}


def _edited(change: Callable[[ModelProto], object]) -> Writer:
    return _save(changed(small(), change))


def _parameter(tensor: TensorProto) -> Writer:
    """The little network, with another second weight."""
    return _save(small(constants={"w1": tensor}))


def _raw(kind: int, dims: Sequence[int], content: bytes) -> TensorProto:
    return TensorProto(data_type=kind, dims=dims, raw_data=content)


def _external(**entries: str) -> TensorProto:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1, 2], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def _beside(tensor: TensorProto, content: bytes = bytes(8)) -> Writer:
    """The little network in a folder of its own, with `weights.bin` inside it and `outside.bin` beside it."""

    def write(folder: Path) -> Path:
        home = folder / "home"
        home.mkdir()
        (folder / "outside.bin").write_bytes(bytes(8))
        (home / "weights.bin").write_bytes(content)
        (home / "link.bin").symlink_to(folder / "outside.bin")
        (home / "up").symlink_to(folder)
        (home / "loop").symlink_to(home / "loop")
        return _parameter(tensor)(home)

    return write


def _directory(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.mkdir()
    return path


def _not_utf8(text: bytes) -> Writer:
    """The little network, with one byte that is not UTF-8 in the place of a name's first."""
    return _write(_SMALL.replace(text, b"\xff" + text[1:]))


def _set_opset(*versions: int, domain: str = "") -> Callable[[ModelProto], object]:
    def change(proto: ModelProto) -> None:
        del proto.opset_import[:]
        proto.opset_import.extend(helper.make_opsetid(domain, version) for version in versions)

    return change


def _function(proto: ModelProto) -> None:
    body = [node("Relu", ["a"], ["b"])]
    function = helper.make_function("local", "MyRelu", ["a"], ["b"], body, [helper.make_opsetid("", 13)])
    proto.functions.append(function)


def _sparse(proto: ModelProto) -> None:
    values = numpy_helper.from_array(f32([1.0]), "few")
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(i64(1)), [2])
    )


def _rewire(position: int, *, reads: str | None = None, writes: str | None = None) -> Writer:
    """The little network, with one node that reads or writes another tensor."""

    def change(proto: ModelProto) -> None:
        if reads is not None:
            proto.graph.node[position].input[0] = reads
        if writes is not None:
            proto.graph.node[position].output[0] = writes

    return _edited(change)


def _branches() -> dict[str, Any]:
    graph = small().graph
    return {"then_branch": graph, "else_branch": graph}


def _input_type(make: Callable[[], onnx.TypeProto]) -> Writer:
    return _edited(lambda proto: proto.graph.input[0].type.CopyFrom(make()))


def _after_gemm(*nodes: NodeProto, **options: Any) -> Writer:
    """A Gemm from `x` to `z` (2 elements), then these nodes."""
    constants = {"w0": f32([1, 2, 3], [-1, 0, 1])} | options.pop("constants", {})
    gemm = node("Gemm", ["x", "w0"], ["z"], transB=1)
    return _save(model([gemm, *nodes], constants=constants, **options))


_SMALL = small().SerializeToString()
_BAD = TensorProto.FLOAT

_FILES: dict[str, tuple[Writer, str]] = {
    "missing file": (lambda folder: folder / "model.onnx", "no such file"),
    "a directory": (_directory, "is not a file"),
    "empty file": (_write(b""), "is empty"),
    "plain text": (_write(b"this is not a network\n" * 20), "not an ONNX model"),
    "a pickle": (_write(b"PK\x03\x04" + bytes(200)), "not an ONNX model"),
    "cut in the middle": (_write(_SMALL[: len(_SMALL) // 2]), "cut short"),
    "only a version": (_write(ModelProto(ir_version=8).SerializeToString()), "is not an ONNX model"),
    "another suffix": (_write(_SMALL, name="model.pt"), "'.pt' is not"),
}
_MODELS: dict[str, tuple[Writer, str]] = {
    "no opset": (_edited(_set_opset()), "does not say which version"),
    "foreign opset only": (_edited(_set_opset(1, domain="com.microsoft")), "does not say which version"),
    "two opsets": (_edited(_set_opset(11, 13)), "imports 2 versions"),
    "opset too old": (_edited(_set_opset(6)), "opset 6 is not read"),
    "opset too new": (_edited(_set_opset(10**9)), "opset 1000000000 is not read"),
    "local function": (_edited(_function), "function 'MyRelu'"),
    "sparse parameter": (_edited(_sparse), "'few' is sparse"),
    "no nodes": (_edited(lambda proto: proto.graph.node.__delitem__(slice(None))), "no nodes"),
    "no inputs": (_edited(lambda proto: proto.graph.input.__delitem__(slice(None))), "no inputs"),
    "two inputs": (
        _edited(lambda proto: proto.graph.input.append(helper.make_empty_tensor_value_info("x2"))),
        "2 inputs ('x', 'x2')",
    ),
    "no outputs": (_edited(lambda proto: proto.graph.output.__delitem__(slice(None))), "no outputs"),
    "two outputs": (
        _edited(lambda proto: proto.graph.output.append(helper.make_empty_tensor_value_info("h"))),
        "2 outputs ('y', 'h')",
    ),
    "output not produced": (_save(small(output="nowhere")), "'nowhere' is not produced"),
    "output is a parameter": (_save(small(output="b1")), "'b1' does not depend on the input"),
    "output is a constant": (
        _one("Constant", (), attributes={"value_float": 1.0}),
        "'y' does not depend on the input",
    ),
    "undefined tensor": (_rewire(1, reads="nothing"), "'relu' (Relu) reads 'nothing'"),
    "cycle": (_rewire(0, reads="h"), "depends on its own result"),
    "node that reads itself": (_rewire(1, reads="h"), "'relu' (Relu) depends on its own result"),
    "tensor defined twice": (_rewire(1, writes="z"), "'z' is defined 2 times"),
    "node that writes the input": (_rewire(1, writes="x"), "'x' is defined 2 times"),
    "node that writes a parameter": (_rewire(1, writes="b0"), "'b0' is defined 2 times"),
    "parameter given twice": (
        _edited(lambda proto: proto.graph.initializer.append(proto.graph.initializer[0])),
        "'w0' is defined 2 times",
    ),
    "node without outputs": (
        _edited(lambda proto: proto.graph.node[1].output.__delitem__(slice(None))),
        "'relu' (Relu) has no output",
    ),
    "second output is the output": (
        _save(model([node("Dropout", ["x"], ["z", "y"], name="it")], opset=7)),
        "'y' is not the first output",
    ),
    "second output is read": (
        _save(model([node("Dropout", ["x"], ["z", "m"]), node("Relu", ["m"], ["y"])], opset=7)),
        "'m', which is not the first output",
    ),
    "name that is not text": (_not_utf8(b"relu"), "name that is not UTF-8"),
    "operator that is not text": (_not_utf8(b"Gemm"), "name that is not UTF-8"),
    "terminal escapes in a name": (
        _save(model([node("Softmax", ["x"], ["y"], name="a\x1b[31m\nb")])),
        r"'a\x1b[31m\nb' (Softmax)",
    ),
}
_INPUTS: dict[str, tuple[Writer, str]] = {
    "input without a shape": (
        _input_type(lambda: helper.make_tensor_type_proto(TensorProto.FLOAT, None)),
        "'x' does not say its shape",
    ),
    "open feature axis": (_save(small(x=["N", "features"])), "axis 1 of the input 'x'"),
    "open only axis": (_save(small(x=["N"])), "axis 0 of the input 'x'"),
    "negative dimension": (_save(small(x=[-1, 3])), "shape [-1, 3]"),
    "no elements": (_save(small(x=[0, 3])), "shape [0, 3]"),
    "huge dimensions": (_save(small(x=[2**62, 2**62, 4])), f"shape [{2**62}, {2**62}, 4]"),
    "too many axes": (_save(small(x=[1] * 70)), "on at most 16 axes"),
    "integer input": (_save(small(kind=TensorProto.INT8)), "'x' is int8, not a float tensor"),
    "sequence input": (
        _input_type(lambda: helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [3]))),
        "not a float tensor",
    ),
    "identity of a million inputs": (_one("Relu", x=[1, 2**20]), "1099511627776 elements"),
    "sixty million inputs": (_one("Identity", x=[60_000_000]), "more than 67108864 elements"),
    "many large matrices": (
        _save(
            model(
                [
                    node("Relu" if i % 2 else "Neg", [f"t{i}" if i else "x"], [f"t{i + 1}"])
                    for i in range(300)
                ],
                x=[4096],
                output="t300",
            )
        ),
        "more than 67108864 elements",
    ),
}
_PARAMETERS: dict[str, tuple[Writer, str]] = {
    "NaN": (_save(small(constants={"w1": f32([[2, np.nan]])})), "'w1' holds a number that is not finite"),
    "signalling NaN": (_parameter(_raw(_BAD, [1, 2], b"\x01\x00\xa0\x7f" * 2)), "not finite"),
    "infinity": (_save(small(constants={"b0": f32([1, -np.inf])})), "'b0' holds a number that is not finite"),
    "raw length": (_parameter(_raw(_BAD, [1, 2], bytes(7))), "'w1' holds 7 bytes"),
    "typed length": (_parameter(TensorProto(data_type=_BAD, dims=[1, 2], float_data=[1.0])), "1 elements"),
    "stored twice": (
        _parameter(TensorProto(data_type=_BAD, dims=[1, 2], float_data=[1, 2], raw_data=bytes(8))),
        "float_data and raw_data",
    ),
    "stored in the wrong field": (
        _parameter(TensorProto(data_type=_BAD, dims=[1, 2], double_data=[1, 2])),
        "'w1' of type float holds double_data",
    ),
    "half out of range": (
        _parameter(TensorProto(data_type=TensorProto.FLOAT16, dims=[1, 2], int32_data=[1, 2**20])),
        "do not fit float16",
    ),
    "integer weights": (_save(small(constants={"w1": i64(2, -1).reshape(1, 2)})), "'w1' holds integers"),
    "string weights": (
        _parameter(TensorProto(data_type=TensorProto.STRING, dims=[1, 2], string_data=[b"2", b"-1"])),
        "element type string",
    ),
    "eight-bit floats": (_parameter(_raw(TensorProto.FLOAT8E4M3FN, [1, 2], bytes(2))), "float8e4m3fn"),
    "complex weights": (_parameter(_raw(TensorProto.COMPLEX64, [1, 2], bytes(16))), "complex64"),
    "unknown type": (_parameter(_raw(999, [1, 2], bytes(16))), "number 999"),
    "no type": (_parameter(_raw(0, [1, 2], bytes(16))), "element type undefined"),
    "negative parameter dimension": (_parameter(_raw(_BAD, [-1, -2], bytes(8))), "negative dimension -2"),
    "overflowing parameter": (_parameter(_raw(_BAD, [2**62, 4], bytes(8))), "18446744073709551616 elements"),
    "overflowing empty parameter": (_parameter(_raw(_BAD, [0, 2**62], b"")), f"{2**62} elements"),
    "parameter segment": (
        _parameter(TensorProto(data_type=_BAD, dims=[1, 2], segment=TensorProto.Segment(begin=0, end=1))),
        "is a segment",
    ),
    "external absolute": (_beside(_external(location="/etc/hostname")), "'/etc/hostname'"),
    "external drive": (_beside(_external(location="C:weights.bin")), "not a path inside"),
    "external backslash": (_beside(_external(location="..\\outside.bin")), "not a path inside"),
    "external parent": (_beside(_external(location="../outside.bin")), "'../outside.bin'"),
    "external through a folder": (_beside(_external(location="a/../../outside.bin")), "not a path inside"),
    "external link": (_beside(_external(location="link.bin")), "'link.bin', which leads out"),
    "external linked folder": (_beside(_external(location="up/outside.bin")), "which leads out"),
    "external loop": (_beside(_external(location="loop")), "'loop'"),
    "external missing": (_beside(_external(location="nothing.bin")), "'nothing.bin', which is not a file"),
    "external folder": (_beside(_external(location=".")), "'.', which is not a file"),
    "external nowhere": (_beside(_external()), "stored in ''"),
    "external offset": (_beside(_external(location="weights.bin", offset="4", length="8")), "beyond the end"),
    "external far offset": (_beside(_external(location="weights.bin", offset="9" * 18)), "beyond the end"),
    "external length": (_beside(_external(location="weights.bin", length="4")), "holds 4 bytes"),
    "external rest": (_beside(_external(location="weights.bin"), bytes(12)), "holds 12 bytes"),
    "external negative": (_beside(_external(location="weights.bin", offset="-4")), "offset or length '-4'"),
}
_WINDOWS: dict[str, tuple[Writer, str]] = {
    "Conv of other channels": (
        _conv(np.ones((1, 2, 1), np.float32)),
        "convolves 1 channels with a weight [1, 2, 1]",
    ),
    "Conv of another rank": (_conv(np.ones((1, 1), np.float32)), "with a weight of shape [1, 1]"),
    "Conv in no groups": (_conv(np.ones((1, 1, 1), np.float32), attributes={"group": 0}), "in 0 groups"),
    "Conv too wide": (_conv(np.ones((1, 1, 4), np.float32)), "slides a window that spans [4]"),
    "Conv with another kernel": (
        _conv(np.ones((1, 1, 2), np.float32), attributes={"kernel_shape": [3]}),
        "with a weight of shape [1, 1, 2]",
    ),
    "Conv with negative pads": (
        _conv(np.ones((1, 1, 1), np.float32), attributes={"pads": [-1, 0]}),
        "a negative padding",
    ),
    "Conv without strides": (
        _conv(np.ones((1, 1, 1), np.float32), attributes={"strides": [0]}),
        "a stride or a dilation below one",
    ),
    "Conv padded in a new way": (
        _conv(np.ones((1, 1, 1), np.float32), attributes={"auto_pad": "MIDDLE"}),
        "has the padding 'MIDDLE'",
    ),
    "Conv of absurd padding": (
        _conv(np.ones((1, 1, 1), np.float32), attributes={"pads": [2**40, 2**40]}),
        "elements; the limit is",
    ),
    "Conv with a long bias": (
        _one(
            "Conv",
            ("x", "w", "b"),
            x=[1, 1, 3],
            constants={"w": np.ones((1, 1, 1), np.float32), "b": f32([1, 2])},
        ),
        "a bias of shape [2]",
    ),
    "MaxPool without a kernel": (_one("MaxPool", x=[1, 1, 3]), "does not say the shape of its kernel"),
    "MaxPool of padding": (
        _one("MaxPool", x=[1, 1, 3], attributes={"kernel_shape": [1], "pads": [1, 0]}),
        "lies in the padding altogether",
    ),
    "AveragePool of absurd stride": (
        _one("AveragePool", x=[1, 1, 3], attributes={"kernel_shape": [2**40], "pads": [2**40, 0]}),
        "elements; the limit is",
    ),
    "variance below zero": (
        _one(
            "BatchNormalization",
            ("x", *"abcd"),
            x=[1, 1],
            opset=15,
            constants=_ONES | {"d": f32([-1.0]).reshape(1)},
        ),
        "a variance that is not positive",
    ),
    "variance next to nothing": (
        _one(
            "BatchNormalization",
            ("x", *"abcd"),
            x=[1, 1],
            opset=15,
            constants=_ONES | {"a": f32([1e30]).reshape(1), "d": f32([1e-44]).reshape(1)},
            attributes={"epsilon": 0.0},
        ),
        "a factor that is too large",
    ),
    "statistics of other channels": (
        _one("BatchNormalization", ("x", *"abcd"), x=[1, 2], opset=15, constants=_ONES),
        "normalizes shape [1, 2] with parameters of shapes [1]",
    ),
    "slope that is not a number": (
        _one("LeakyRelu", attributes={"alpha": float("nan")}),
        "with a number that is not finite",
    ),
}
_UNSUPPORTED: dict[str, tuple[Writer, str]] = {
    "Softmax": (_one("Softmax"), "'it' (Softmax) is not supported"),
    "unnamed Softplus": (_after_gemm(node("Softplus", ["z"], ["y"])), "'y' (Softplus) is not supported"),
    "Conv of a batch": (_conv(f32([[[1.0]]]), x=[2, 1, 3]), "not a batch of one with channels"),
    "steep LeakyRelu": (_one("LeakyRelu", attributes={"alpha": 1.5}), "has the slope 1.5"),
    "falling LeakyRelu": (_one("LeakyRelu", attributes={"alpha": -0.5}), "has the slope -0.5"),
    "BatchNormalization in training": (
        _one(
            "BatchNormalization",
            ("x", *"abcd"),
            x=[1, 1],
            opset=15,
            constants=_ONES,
            attributes={"training_mode": 1},
        ),
        "in another way than by stored statistics",
    ),
    "other domain": (
        _save(model([node("Relu", ["x"], ["y"], name="it", domain="my.ops")])),
        "'it' (my.ops.Relu) is not supported",
    ),
    "quantized input": (
        _one("QuantizeLinear", ("x", "s"), constants={"s": f32(0.5)}),
        "the output 'y' has no integer layer",
    ),
    "quantized weights": (
        _after_gemm(
            node("DequantizeLinear", ["q", "s"], ["w"], name="weights"),
            node("MatMul", ["z", "w"], ["y"]),
            constants={"q": np.ones((2, 2), np.int8), "s": f32(0.5)},
        ),
        "(Gemm) is executed in float by onnxruntime: 'x' is the graph's input and is not quantized",
    ),
    "quantized by the runtime": (
        _save(model([node("QGemm", ["x"], ["y"], name="it", domain="com.microsoft")])),
        "(com.microsoft.QGemm) has 1 inputs",
    ),
    "control flow": (
        _one("If", ("c",), constants={"c": np.array(True)}, attributes=_branches()),
        "(If) is not supported",
    ),
    "residual": (_after_gemm(node("Add", ["z", "z"], ["y"], name="it")), "'it' (Add) adds two computed"),
    "residual difference": (_after_gemm(node("Sub", ["z", "z"], ["y"], name="it")), "adds two computed"),
    "residual sum": (
        _after_gemm(node("Sum", ["b", "z", "z"], ["y"], name="it"), constants={"b": f32(1.0)}),
        "'it' (Sum) adds two computed",
    ),
    "square": (_after_gemm(node("Mul", ["z", "z"], ["y"], name="it")), "(Mul) multiplies two computed"),
    "bilinear": (_after_gemm(node("MatMul", ["z", "z"], ["y"], name="it")), "multiplies two computed"),
    "division by a computed tensor": (
        _after_gemm(node("Div", ["c", "z"], ["y"], name="it"), constants={"c": f32(1.0)}),
        "'it' (Div) divides by a computed tensor",
    ),
    "computed bias": (
        _after_gemm(node("Gemm", ["z", "w", "z"], ["y"], name="it"), constants={"w": f32([1, 0], [0, 1])}),
        "residual connections are not read",
    ),
    "computed limit": (_after_gemm(node("Clip", ["z", "z"], ["y"], name="it")), "needs 'z' to be a constant"),
    "computed shape": (_after_gemm(node("Reshape", ["z", "z"], ["y"])), "needs 'z' to be a constant"),
    "rounding cast": (
        _after_gemm(node("Cast", ["z"], ["y"], name="it", to=TensorProto.INT32)),
        "'it' (Cast) rounds a computed tensor to int32",
    ),
    "dropout in training": (
        _after_gemm(
            node("Dropout", ["z", "r", "t"], ["y"], name="it"),
            constants={"r": f32(0.5), "t": np.array(True)},
        ),
        "'it' (Dropout) is in training mode",
    ),
    "layers that are joined": (
        _save(
            model(
                [node("Relu", ["x"], ["r"]), node("Concat", ["x", "r"], ["y"], name="it", axis=1)], x=[1, 3]
            )
        ),
        "'it' (Concat) joins tensors of different layers; branches are not read",
    ),
    "string constant": (
        _after_gemm(
            node("Constant", [], ["s"], name="it", value_string=b"s"), node("Add", ["z", "s"], ["y"])
        ),
        "'it' (Constant) holds a value_string",
    ),
}
_FORMS: dict[str, tuple[Writer, str]] = {
    "Gemm shapes": (_save(small(x=["N", 4])), "'first' (Gemm) multiplies shapes [1, 4] and [3, 2]"),
    "Gemm of three axes": (
        _save(small(x=[1, 1, 3])),
        "'first' (Gemm) multiplies a tensor of shape [1, 1, 3]",
    ),
    "Gemm bias": (
        _save(small(constants={"b0": f32([1, 2, 3])})),
        "'first' (Gemm) combines shapes [1, 2] and [3]",
    ),
    "Gemm bias that enlarges": (
        _save(small(constants={"b1": f32([[1], [2]])})),
        "'last' (Gemm) adds shape [2, 1] to a product of shape [1, 1]",
    ),
    "Gemm without bias in opset 9": (
        _one("Gemm", ("x", "w"), opset=9, constants={"w": f32([1], [2], [3])}),
        "'it' (Gemm) has 2 inputs",
    ),
    "infinite factor": (
        _one("Gemm", ("x", "w"), constants={"w": f32([1], [2], [3])}, attributes={"alpha": float("inf")}),
        "'alpha' with a number that is not finite",
    ),
    "attribute of the wrong type": (
        _one("Gemm", ("x", "w"), constants={"w": f32([1], [2], [3])}, attributes={"transB": 1.5}),
        "'transB' with a value of the wrong type",
    ),
    "attribute given twice": (
        _edited(lambda proto: proto.graph.node[0].attribute.append(proto.graph.node[0].attribute[0])),
        "'first' (Gemm) has an attribute twice",
    ),
    "unknown attribute": (_one("Relu", attributes={"slope": 0.1}), "attribute 'slope'"),
    "attribute of an older opset": (_one("Clip", attributes={"max": 1.0}), "attribute 'max'"),
    "too many inputs": (_one("Relu", ("x", "x")), "'it' (Relu) has 2 inputs"),
    "input left out": (_one("Add", ("x", "")), "'it' (Add) lacks its input 1"),
    "MatMul shapes": (
        _one("MatMul", ("x", "w"), constants={"w": np.ones((1, 2), np.float32)}),
        "multiplies shapes [1, 3] and [1, 2]",
    ),
    "MatMul batches": (
        _one("MatMul", ("x", "w"), x=[2, 2, 3], constants={"w": np.ones((3, 3, 1), np.float32)}),
        "multiplies shapes [2, 2, 3] and [3, 3, 1]",
    ),
    "MatMul by a number": (_one("MatMul", ("x", "w"), constants={"w": f32(2.0)}), "shapes [1, 3] and []"),
    "Concat shapes": (
        _one("Concat", ("x", "c"), constants={"c": f32([1, 2, 3])}, attributes={"axis": 1}),
        "joins tensors whose shapes do not agree",
    ),
    "Concat of real numbers and integers": (
        _one("Concat", ("x", "c"), constants={"c": np.array([[1, 2]])}, attributes={"axis": 1}),
        "needs real numbers, but 'c' holds integers",
    ),
    "Concat beyond the axes": (
        _one("Concat", ("x", "c"), constants={"c": f32([[1]])}, attributes={"axis": 2}),
        "names axis 2",
    ),
    "Add shapes": (
        _one("Add", ("x", "c"), constants={"c": f32([1, 2])}),
        "'it' (Add) combines shapes [1, 3] and [2]",
    ),
    "Add of nothing": (
        _one("Add", ("x", "c"), x=[1], constants={"c": np.zeros(0, np.float32)}),
        "one that has no elements",
    ),
    "enormous broadcast": (
        _one(
            "Add",
            ("x", "c"),
            x=[2**14, 1],
            constants={"c": np.zeros((1, 2**13), np.float32)},
        ),
        "134217728 elements",
    ),
    "division by zero": (
        _one("Div", ("x", "c"), constants={"c": f32([1, 0, 2])}),
        "'it' (Div) divides by zero",
    ),
    "overflow while folding": (
        _save(
            model(
                [node("Mul", ["c", "c"], ["d"], name="it"), node("Add", ["x", "d"], ["y"])],
                constants={"c": np.array(1e300)},
                kind=TensorProto.DOUBLE,
            )
        ),
        "'it' (Mul) needs a folded parameter beyond the largest double",
    ),
    "Clip range": (
        _one("Clip", ("x", "a", "b"), constants={"a": f32(1.0), "b": f32(-1.0)}),
        "'it' (Clip) clips to the empty range [1.0, -1.0]",
    ),
    "Clip range of opset 7": (
        _one("Clip", opset=7, attributes={"min": 1.0, "max": -1.0}),
        "'it' (Clip) clips to the empty range",
    ),
    "Clip by a vector": (_one("Clip", ("x", "a"), constants={"a": f32([0, 1, 2])}), "limit of shape [3]"),
    "Clip by an integer": (_one("Clip", ("x", "a"), constants={"a": i64(0)}), "'a' holds integers"),
    "Reshape to another size": (
        _one("Reshape", ("x", "s"), constants={"s": i64(2, 2)}),
        "'it' (Reshape) reshapes [1, 3] to [2, 2]",
    ),
    "Reshape that does not divide": (_one("Reshape", ("x", "s"), constants={"s": i64(-1, 2)}), "[-1, 2]"),
    "Reshape with two unknowns": (_one("Reshape", ("x", "s"), constants={"s": i64(-1, -1)}), "no shape"),
    "Reshape to a negative size": (_one("Reshape", ("x", "s"), constants={"s": i64(-3, -1)}), "no shape"),
    "Reshape that copies too much": (_one("Reshape", ("x", "s"), constants={"s": i64(1, 3, 0)}), "copies an"),
    "Reshape by real numbers": (_one("Reshape", ("x", "s"), constants={"s": f32([1, 3])}), "real numbers"),
    "Squeeze of a long axis": (_one("Squeeze", ("x", "a"), constants={"a": i64(1)}), "not of size 1"),
    "Unsqueeze of an axis twice": (_one("Unsqueeze", ("x", "a"), constants={"a": i64(0, -4)}), "twice"),
    "Unsqueeze beyond the end": (_one("Unsqueeze", ("x", "a"), constants={"a": i64(3)}), "names axis 3"),
    "Transpose by no permutation": (_one("Transpose", attributes={"perm": [0, 0]}), "no permutation"),
    "Flatten beyond the end": (_one("Flatten", attributes={"axis": 3}), "names axis 3"),
    "Gather beyond the end": (
        _one("Gather", ("x", "i"), constants={"i": i64(3)}, attributes={"axis": 1}),
        "outside an axis of size 3",
    ),
    "Slice of nothing": (
        _one("Slice", ("x", "a", "a"), constants={"a": i64(0, 0)}),
        "'it' (Slice) needs a tensor with no elements",
    ),
    "constant without a value": (
        _after_gemm(node("Constant", [], ["c"], name="it"), node("Add", ["z", "c"], ["y"])),
        "'it' (Constant) has 0 values",
    ),
    "network of constants": (
        _one("MatMul", ("a", "a"), constants={"a": f32([1, 0], [0, 1])}),
        "'it' (MatMul) multiplies two constant matrices",
    ),
}

_TABLE = _FILES | _MODELS | _INPUTS | _PARAMETERS | _WINDOWS | _UNSUPPORTED | _FORMS
MALFORMED: dict[str, Writer] = {name: writer for name, (writer, _) in _TABLE.items()}
EXPECTED: dict[str, str] = {name: fragment for name, (_, fragment) in _TABLE.items()}
