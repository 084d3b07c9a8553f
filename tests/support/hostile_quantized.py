"""Awkward and hostile quantized models: one small QDQ network, and everything that can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Make = Callable[[], onnx.ModelProto]
F32 = np.float32

X_SCALE, W_SCALE, Y_SCALE = F32(0.02), F32(0.01), F32(0.05)

PARAMETERS: dict[str, Any] = {
    "x.scale": X_SCALE,
    "x.zero": np.uint8(128),
    "w": np.array([[100, -50, 7], [3, 127, -128]], dtype=np.int8),
    "w.scale": W_SCALE,
    "w.zero": np.int8(0),
    "b": np.array([1000, -500], dtype=np.int32),
    "b.scale": F32(X_SCALE * W_SCALE),
    "b.zero": np.int32(0),
    "y.scale": Y_SCALE,
    "y.zero": np.uint8(10),
}


def nodes() -> list[Any]:
    """x -> Q -> DQ -> Gemm(DQ w, DQ b) -> Q -> DQ -> y."""

    def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(op, inputs.split(), [output], name=f"the {output}", **attributes)

    return [
        node("QuantizeLinear", "x x.scale x.zero", "x.codes"),
        node("DequantizeLinear", "x.codes x.scale x.zero", "x.values"),
        node("DequantizeLinear", "w w.scale w.zero", "w.values"),
        node("DequantizeLinear", "b b.scale b.zero", "b.values"),
        node("Gemm", "x.values w.values b.values", "z", transB=1),
        node("QuantizeLinear", "z y.scale y.zero", "y.codes"),
        node("DequantizeLinear", "y.codes y.scale y.zero", "y"),
    ]


def model(
    *,
    parameters: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    change: Callable[[list[Any]], None] | None = None,
    inputs: tuple[str | int, ...] = ("batch", 3),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """The network with some parameters replaced, or left out, and its nodes changed."""
    made = nodes()
    if change is not None:
        change(made)
    chosen = {k: v for k, v in {**PARAMETERS, **(parameters or {})}.items() if k not in without}
    tensors = [
        v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), k)
        for k, v in chosen.items()
    ]
    graph = helper.make_graph(
        made,
        "hostile",
        [helper.make_tensor_value_info("x", kind, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def using(**parameters: Any) -> Make:
    """With these parameters, `x_scale` for "x.scale"."""
    named = {key.replace("_", "."): value for key, value in parameters.items()}
    return lambda: model(parameters=named)


def with_nodes(change: Callable[[list[Any]], None], **extra: Any) -> Make:
    return lambda: model(change=change, parameters={k.replace("_", "."): v for k, v in extra.items()})


def raw_tensor(name: str, kind: int, dims: list[int], content: bytes) -> TensorProto:
    tensor = TensorProto()
    tensor.name, tensor.data_type, tensor.raw_data = name, kind, content
    tensor.dims.extend(dims)
    return tensor


# --- changes of nodes -------------------------------------------------------------------------------------


def _between(op: str, *extra: str, **attributes: Any) -> Callable[[list[Any]], None]:
    """An operator between the layer and its rounding."""

    def change(made: list[Any]) -> None:
        made.insert(5, helper.make_node(op, ["z", *extra], ["between"], name="it", **attributes))
        made[6].input[0] = "between"

    return change


def _input_of(index: int, position: int, name: str) -> Callable[[list[Any]], None]:
    def change(made: list[Any]) -> None:
        made[index].input[position] = name

    return change


def _attribute(index: int, name: str, value: Any) -> Callable[[list[Any]], None]:
    def change(made: list[Any]) -> None:
        kept = [a for a in made[index].attribute if a.name != name]
        del made[index].attribute[:]
        made[index].attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def _replaced(index: int, *new: Any) -> Callable[[list[Any]], None]:
    def change(made: list[Any]) -> None:
        made[index : index + 1] = list(new)

    return change


def _after(*new: Any) -> Callable[[list[Any]], None]:
    """Nodes after the rounding of the layer, in the place of the last DequantizeLinear."""

    def change(made: list[Any]) -> None:
        made[6:] = list(new)

    return change


def _node(op: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=f"it, {output}", domain=domain, **attributes)


def _without_last(*indices: int) -> Callable[[list[Any]], None]:
    """Nodes without their last operand."""

    def change(made: list[Any]) -> None:
        for i in indices:
            made[i].input.pop()

    return change


def _each(*changes: Callable[[list[Any]], None]) -> Callable[[list[Any]], None]:
    def change(made: list[Any]) -> None:
        for one in changes:
            one(made)

    return change


def _then(op: str, inputs: str, **attributes: Any) -> Make:
    """An operator on the dequantized result, `v`, which is quantized again; and constants that it may read."""
    constants = {
        "c": np.array([0.5, 2], dtype=F32),
        "zero": np.array([1, 0], dtype=F32),
        "two": np.array([1, 2], dtype=F32),
        "three": np.array([1, 2, 3], dtype=F32),
        "minus": np.array([1, -2], dtype=F32),
        "rows": np.array([[1], [2]], dtype=F32),
        "row": np.array([[1, 2, 3]], dtype=F32),
        "integer": np.array([1, 2]),
        "double": np.array([0.1, 0.2]),
        "huge": np.array([3e38, -3e38], dtype=F32),
    }
    change = _after(
        _node("DequantizeLinear", "y.codes y.scale y.zero", "v"),
        _node(op, inputs, "u", **attributes),
        _node("QuantizeLinear", "u y.scale y.zero", "u.codes"),
        _node("DequantizeLinear", "u.codes y.scale y.zero", "y"),
    )
    return lambda: model(change=change, parameters=constants)


MICROSOFT = "com.microsoft"
TINY, NOTHING = F32(1e-40), np.zeros((0,), F32)

REFUSED: dict[str, tuple[Make, str]] = {
    # scales
    "a scale of zero": (using(w_scale=F32(0)), "scale 0.0, which is not a positive normal"),
    "a negative scale": (using(x_scale=F32(-0.02)), "which is not a positive normal"),
    "a scale that is no number": (using(y_scale=F32("nan")), "not finite"),
    "an infinite scale": (using(w_scale=F32("inf")), "not finite"),
    "a denormal scale": (using(x_scale=TINY), "which is not a positive normal"),
    "an empty scale": (using(w_scale=NOTHING), "not a positive normal number"),
    "a scale of doubles": (using(x_scale=np.float64(0.02)), "of type double, not float"),
    "a scale of halves": (using(x_scale=np.float16(0.02)), "of type float16, not float"),
    "a scale of integers": (using(w_scale=np.int8(1)), "needs a scale"),
    "a matrix of scales": (using(w_scale=np.full((2, 3), W_SCALE)), "blocks are not read"),
    "a scale too small for a multiplier": (
        using(x_scale=F32(1e-30), w_scale=F32(1e-30), b_scale=F32(0), y_scale=F32(1e30)),
        "which is not a positive normal",
    ),
    "a scale too large for a multiplier": (
        using(x_scale=F32(1e30), w_scale=F32(1e30), b=np.zeros(2, np.int32), b_scale=F32(1)),
        "needs a number that onnxruntime does not have",
    ),
    "a bias with a zero point": (using(b_zero=np.int32(3)), "adds a bias with a zero point"),
    # per channel
    "too many scales": (using(w_scale=np.full(4, W_SCALE)), "4 scales or zero points along axis 1"),
    "scales of the axis that is summed over": (
        with_nodes(_attribute(2, "axis", 1), w_scale=np.full(3, W_SCALE), w_zero=np.zeros(3, np.int8)),
        "quantized along the axis that is summed over",
    ),
    "an axis out of range": (
        with_nodes(_attribute(2, "axis", 5), w_scale=np.full(2, W_SCALE), w_zero=np.zeros(2, np.int8)),
        "along axis 5",
    ),
    "as many zero points as nothing": (
        with_nodes(_attribute(2, "axis", 0), w_scale=np.full(2, W_SCALE), w_zero=np.zeros(3, np.int8)),
        "3 scales or zero points",
    ),
    "an activation per channel": (using(x_scale=np.full(3, X_SCALE)), "an activation per channel"),
    # zero points
    "a zero point of another type": (using(w_zero=np.uint8(0)), "zero point of type uint8 for int8"),
    "a zero point of floats": (using(x_zero=F32(3)), "needs integers"),
    "a zero point out of range": (
        using(x_zero=raw_tensor("x.zero", TensorProto.UINT8, [], b"\x01\x02")),
        "holds 2 bytes",
    ),
    "codes read as other codes": (with_nodes(_input_of(1, 2, "y.zero")), "as if it were"),
    # biases
    "a bias of another scale": (using(b_scale=F32(0.003)), "which integer kernels do not look at"),
    "a bias whose scale is one digit off": (
        using(b_scale=np.nextafter(F32(X_SCALE * W_SCALE), F32(1))),
        "which integer kernels do not look at",
    ),
    "a bias of another length": (using(b=np.zeros(5, np.int32)), "adds a bias of shape [5]"),
    # what is missing or circular
    "no weights": (lambda: model(without=("w",)), "reads 'w', which is not defined"),
    "no scale": (lambda: model(without=("y.scale",)), "which is not defined"),
    "a cycle": (with_nodes(_input_of(0, 0, "z")), "depends on its own result"),
    "weights that depend on the input": (
        with_nodes(_input_of(4, 1, "x.values")),
        "is not a quantized constant",
    ),
    # tensors that are not what they declare
    "two gigabytes that are declared": (
        using(w=raw_tensor("w", TensorProto.INT8, [2**15, 2**16], b"\x00")),
        "the limits are",
    ),
    "weights that are cut short": (using(w=raw_tensor("w", TensorProto.INT8, [2, 3], b"\x00")), "needs 6"),
    "a negative extent": (using(w=raw_tensor("w", TensorProto.INT8, [-2, 3], b"")), "negative dimension"),
    "weights of eight-bit floats": (
        using(w=raw_tensor("w", TensorProto.FLOAT8E4M3FN, [2, 3], bytes(6))),
        "element type float8e4m3fn",
    ),
    "weights of another shape": (using(w=np.ones((2, 4), np.int8)), "which do not fit"),
    "weights of three axes": (using(w=np.ones((1, 2, 3), np.int8)), "not a matrix"),
    # graphs that no integer kernel executes
    "an input of bytes": (lambda: model(kind=TensorProto.INT8), "is int8, not a float tensor"),
    "a layer of floats": (with_nodes(_input_of(4, 0, "x")), "is the graph's input and is not quantized"),
    "an activation that saturation does not do": (with_nodes(_between("Relu")), "does not cover it"),
    "another activation in between": (with_nodes(_between("Tanh")), "is executed in float"),
    "a factor": (with_nodes(_attribute(4, "alpha", 0.5)), "alpha is 0.5, not 1"),
    "a factor of the bias": (with_nodes(_attribute(4, "beta", 2.0)), "beta is 2.0, not 1"),
    "a float function at the end": (
        with_nodes(_after(_node("DequantizeLinear", "y.codes y.scale y.zero", "v"), _node("Tanh", "v", "y"))),
        "is computed in float after the last integer layer",
    ),
    "quantized twice in a row": (
        with_nodes(
            _after(
                _node("DequantizeLinear", "y.codes y.scale y.zero", "v"),
                _node("QuantizeLinear", "v x.scale y.zero", "v.codes"),
                _node("DequantizeLinear", "v.codes x.scale y.zero", "y"),
            )
        ),
        "which onnxruntime merges",
    ),
    "a residual connection": (
        with_nodes(
            _after(_node("DequantizeLinear", "y.codes y.scale y.zero", "v"), _node("Add", "v v", "y"))
        ),
        "residual connections are not read",
    ),
    "a product of two computed tensors": (
        with_nodes(
            _after(_node("DequantizeLinear", "y.codes y.scale y.zero", "v"), _node("Mul", "v v", "y"))
        ),
        "residual connections are not read",
    ),
    "a division by the input": (_then("Div", "c v"), "divides by a computed tensor"),
    "a division by zero": (_then("Div", "v zero"), "divides by zero"),
    "a factor of another shape": (_then("Mul", "v three"), "which do not fit"),
    "a factor that enlarges": (_then("Mul", "v rows"), "broadcasts a tensor of shape"),
    "a factor of integers": (_then("Mul", "v integer"), "with integers"),
    "a factor of doubles": (_then("Mul", "v double"), "not of single precision"),
    "a factor beyond single precision": (_then("Mul", "v huge"), "beyond single precision"),
    "a join along no axis": (_then("Concat", "v row", axis=2), "names axis 2"),
    "a join of other shapes": (_then("Concat", "v row", axis=0), "whose shapes do not agree"),
    "a join of a function": (
        with_nodes(
            _after(
                _node("DequantizeLinear", "y.codes y.scale y.zero", "v"),
                _node("Relu", "v", "r"),
                _node("Concat", "r r", "u", axis=1),
                _node("QuantizeLinear", "u y.scale y.zero", "u.codes"),
                _node("DequantizeLinear", "u.codes y.scale y.zero", "y"),
            )
        ),
        "that several nodes read",
    ),
    "a normalization without variance": (
        _then("BatchNormalization", "v two two two minus"),
        "a variance that is not positive",
    ),
    "a normalization of other channels": (
        _then("BatchNormalization", "v two two two three"),
        "with parameters of shapes",
    ),
    "a normalization that is trained": (
        _then("BatchNormalization", "v two two two two", training_mode=1),
        "in another way than by stored statistics",
    ),
    "QLinearMul of constants": (
        with_nodes(
            _after(
                _node("QLinearMul", "w w.scale w.zero w w.scale w.zero y.scale y.zero", "v", MICROSOFT),
                _node("DequantizeLinear", "v y.scale y.zero", "y"),
            )
        ),
        "does not multiply a quantized tensor with a constant",
    ),
    "QLinearConcat without its operands": (
        with_nodes(
            _after(_node("QLinearConcat", "y.scale y.zero y.codes y.scale y.zero y.codes", "y", MICROSOFT))
        ),
        "has 6 inputs",
    ),
    "a quantizer of QONNX among others": (
        with_nodes(
            _replaced(0, _node("Quant", "x x.scale x.zero x.zero", "x.codes", "qonnx.custom_op.general"))
        ),
        "has 128 bits",
    ),
    "dynamic quantization": (
        with_nodes(
            _replaced(0, helper.make_node("DynamicQuantizeLinear", ["x"], ["x.codes", "s", "t"], name="it"))
        ),
        "dynamic quantization has no fixed scales",
    ),
    "a dynamic matrix product": (
        with_nodes(_replaced(4, _node("MatMulInteger", "x.codes w", "z"))),
        "dynamic quantization has no fixed scales",
    ),
    "a float matrix product of integers": (
        with_nodes(_replaced(4, _node("MatMulIntegerToFloat", "x.codes w x.scale w.scale", "z", MICROSOFT))),
        "dynamic quantization has no fixed scales",
    ),
    "an operator nobody knows": (with_nodes(_between("Erf")), "is not read in a quantized network"),
    "an operator of somebody's domain": (
        with_nodes(_replaced(4, _node("QGemm", "x.codes w", "z", "my.ops"))),
        "is not read in a quantized network",
    ),
    "QGemm without its operands": (
        with_nodes(_replaced(4, _node("QGemm", "x.codes x.scale x.zero w", "z", MICROSOFT))),
        "has 4 inputs",
    ),
    "an attribute nobody knows": (with_nodes(_attribute(0, "block_size", 16)), "the attribute 'block_size'"),
    "blocks": (with_nodes(_attribute(2, "block_size", 2)), "the attribute 'block_size'"),
}


def _swished() -> onnx.ModelProto:
    """A function that falls before it rises, on codes of both signs."""
    change = _after(
        _node("DequantizeLinear", "y.codes y.scale y.zero", "v"),
        _node("HardSwish", "v", "u"),
        _node("QuantizeLinear", "u y.scale y.zero", "w.codes"),
        _node("DequantizeLinear", "w.codes y.scale y.zero", "y"),
    )
    return model(change=change, parameters={"y.zero": np.uint8(120)})


def _added(op: str, *, zero: int, **attributes: Any) -> onnx.ModelProto:
    """A byte is added to each result, and an operator follows before the sum is rounded."""
    change = _after(
        _node("DequantizeLinear", "y.codes y.scale y.zero", "v"),
        _node("DequantizeLinear", "c c.scale c.zero", "c.values"),
        _node("Add", "v c.values", "sum"),
        _node(op, "sum", "done", **attributes),
        _node("QuantizeLinear", "done u.scale u.zero", "u.codes"),
        _node("DequantizeLinear", "u.codes u.scale u.zero", "y"),
    )
    extra = {
        "c": np.array([31, 90], np.uint8),
        "c.scale": F32(0.0137),
        "c.zero": np.uint8(50),
        "u.scale": F32(0.025),
        "u.zero": np.uint8(zero),
    }
    return model(change=change, parameters={**extra, "y.zero": np.uint8(100)})


HANDLED: dict[str, Make] = {
    "as it should be": model,
    "no zero points of bias and result": lambda: model(
        change=_without_last(3, 5, 6), without=("b.zero", "y.zero")
    ),
    "no bias": lambda: model(change=_without_last(4)),
    "the same scale for each channel": with_nodes(
        _each(_attribute(2, "axis", 0), _attribute(3, "axis", 0)),
        w_scale=np.full(2, W_SCALE),
        w_zero=np.zeros(2, np.int8),
        b_scale=np.full(2, F32(X_SCALE * W_SCALE)),
        b_zero=np.zeros(2, np.int32),
    ),
    "a ReLU that is dropped after an addition": lambda: _added("Relu", zero=0),
    "a ReLU that is kept after an addition": lambda: _added("Relu", zero=9),
    "an addition, transposed": lambda: _added("Transpose", zero=3, perm=[0, 1]),
    "a function that is not monotone": _swished,
    "weights of the least code": using(w=np.full((2, 3), -128, np.int8)),
    "a bias of the least code": using(b=np.array([-(2**31), 2**31 - 1], np.int32)),
    "a sum that wraps": using(b=np.array([2**31 - 1, -(2**31)], np.int32), x_zero=np.uint8(0)),
    "a zero point at either end": using(x_zero=np.uint8(255), y_zero=np.uint8(0)),
    "results that all saturate": using(y_scale=F32(1e-6)),
    "results that are all zero": using(y_scale=F32(1e6)),
    "one neuron, of no weight": using(w=np.zeros((2, 3), np.int8)),
}
"""Models that are read; onnxruntime computes the same."""


BETWEEN: dict[str, Make] = {
    "no zero point of the weights": lambda: model(change=_without_last(2), without=("w.zero",)),
    "no zero point of the input": lambda: model(change=_without_last(0, 1), without=("x.zero",)),
    "a bias of bytes": using(b=np.array([10, -5], np.int8), b_zero=np.int8(0), b_scale=F32(0.003)),
    "a bias of floats": lambda: model(
        change=_each(_input_of(4, 2, "floats"), _replaced(3)),
        parameters={"floats": np.array([0.1, -0.2], F32)},
    ),
}
"""Models that are read with a hull, because onnxruntime does not make an integer kernel of them as they are."""
