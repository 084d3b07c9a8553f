"""What else a file holds decides how onnxruntime executes a layer: each of these was once read as if it stood alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime
from tests.support.hostile_quantized import F32, PARAMETERS, model
from tests.support.quantized_onnx import between, by_the_batch, executed, random_inputs

FUSED, UNFUSED = Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED
TIES: dict[str, Any] = {
    "w": np.array([[3, -2, 1], [1, 4, -3]], np.int8),
    "b": np.array([7, -5], np.int32),
    "y.scale": F32(0.002),
    "y.zero": np.uint8(120),
}
"""A tenth of all sums is a tie, which a layer of integers and one of floats round differently."""
SIGNED: dict[str, Any] = {"x.zero": np.int8(0), "y.zero": np.int8(-5)}
Change = Callable[[list[Any]], None]


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"this {outputs}", **attributes)


def before_rounding(*new: Any) -> Change:
    """Between the layer, z, and its rounding, which then reads `moved`."""

    def change(made: list[Any]) -> None:
        made[5:5] = new
        made[5 + len(new)].input[0] = "moved"

    return change


def with_ties(change: Change | None = None, **parameters: Any) -> onnx.ModelProto:
    named = {key.replace("_", "."): value for key, value in parameters.items()}
    return model(change=change, parameters={**TIES, **named})


def replaceable(made: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A parameter is an input too."""
    (tensor,) = [t for t in made.graph.initializer if t.name == name]
    value = helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
    made.graph.input.append(value)
    return made


def with_mask() -> onnx.ModelProto:
    """A Dropout whose other result is read."""
    made = with_ties(before_rounding(node("Dropout", "z", "moved mask")))
    made.graph.node.append(node("Not", "mask", "dead"))
    return made


def read_from_within() -> onnx.ModelProto:
    """A branch of an If reads the layer's result."""
    made = with_ties()
    branches = [
        helper.make_graph([node(op, "z", op)], op, [], [helper.make_tensor_value_info(op, 1, None)])
        for op in ("Relu", "Neg")
    ]
    made.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    either = {"then_branch": branches[0], "else_branch": branches[1]}
    made.graph.node.append(node("If", "condition", "dead", **either))
    return made


def through_halves(place: int, source: str) -> onnx.ModelProto:
    """A cast to another float type and back, before the node at this place."""

    def change(made: list[Any]) -> None:
        made[place:place] = [
            node("Cast", source, "half", to=TensorProto.FLOAT16),
            node("Cast", "half", "moved", to=TensorProto.FLOAT),
        ]
        made[place + 2].input[0] = "moved"

    return with_ties(change)


def apart(bias: str, **parameters: Any) -> onnx.ModelProto:
    """A MatMul and an Add, of which onnxruntime makes one layer."""

    def change(made: list[Any]) -> None:
        made[4:5] = [node("MatMul", "x.values w.values", "m"), node("Add", f"m {bias}", "z")]

    return with_ties(change, w=TIES["w"].T.copy(), **parameters)


def signed_product() -> onnx.ModelProto:
    """Of unsigned bytes, rounded to signed ones that are moved before they are dequantized."""

    def change(made: list[Any]) -> None:
        made[-1].output[0] = "y.values"
        made += [
            node("DequantizeLinear", "c c.scale c.zero", "c.values"),
            node("Mul", "y.values c.values", "u"),
            node("QuantizeLinear", "u v.scale v.zero", "v"),
            node("Reshape", "v shape", "v.moved"),
            node("DequantizeLinear", "v.moved v.scale v.zero", "y"),
        ]

    constant = {"c": np.array([137, 33], np.uint8), "c_scale": F32(1 / 32), "c_zero": np.uint8(0)}
    result = {"v_scale": F32(0.05), "v_zero": np.int8(5), "shape": np.array([-1, 2])}
    return with_ties(change, y_scale=F32(0.1), **constant, **result)


def moved_and_rounded_again() -> onnx.ModelProto:
    """Signed codes that are moved, dequantized and quantized as before: a step that onnxruntime leaves out."""

    def change(made: list[Any]) -> None:
        made[1:2] = [
            node("Reshape", "x.codes shape", "moved"),
            node("DequantizeLinear", "moved x.scale x.zero", "first"),
            node("QuantizeLinear", "first x.scale x.zero", "again"),
            node("DequantizeLinear", "again x.scale x.zero", "x.values"),
        ]

    return with_ties(change, shape=np.array([-1, 3]), **SIGNED)


NEUTRAL = before_rounding(node("Mul", "z one", "moved"))
RELU = before_rounding(node("Relu", "z", "moved"))
REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a zero point that may be replaced": (
        lambda: replaceable(with_ties(**SIGNED), "x.zero"),
        "lists the parameter 'x.zero' among its inputs",
    ),
    "an end of a ReLU that may be replaced": (
        lambda: replaceable(with_ties(RELU, y_zero=np.uint8(0)), "y.zero"),
        "lists the parameter 'y.zero' among its inputs",
    ),
    "a factor of one that may be replaced": (
        lambda: replaceable(with_ties(NEUTRAL, one=F32(1)), "one"),
        "lists the parameter 'one' among its inputs",
    ),
    "a mask that is read": (with_mask, "has a second output that is read, 'mask'"),
    "a branch that reads a layer's result": (read_from_within, "that several nodes read, 'z'"),
    "sums that are rounded to halves": (lambda: through_halves(5, "z"), "changes the type"),
    "an input that is rounded to halves": (lambda: through_halves(0, "x"), "changes the type"),
    "activations that are rounded to halves": (lambda: through_halves(4, "x.values"), "changes the type"),
    "a bias of another scale, apart": (lambda: apart("b.values", b_scale=F32(0.003)), "do not look at"),
    "a bias with a zero point, apart": (lambda: apart("b.values", b_zero=np.int32(3)), "do not look at"),
    "signed codes that are moved and rounded again": (moved_and_rounded_again, "hides its codes"),
    "a product of signed codes that are moved": (signed_product, "not read by one DequantizeLinear alone"),
}


def read(made: onnx.ModelProto, folder: Path, runtime: Runtime = FUSED) -> Any:
    path = folder / "q.onnx"
    path.write_bytes(made.SerializeToString())
    return load_network(path, runtime=runtime)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_rest_of_the_file_changes_is_refused(name: str, tmp_path: Path) -> None:
    make, why = REFUSED[name]
    with pytest.raises(InputError, match=why):
        read(make(), tmp_path)


def is_right(made: onnx.ModelProto, folder: Path, runtime: Runtime = FUSED) -> bool:
    network = read(made, folder, runtime)
    inputs = random_inputs(network, 4000, reach=3.0)
    found = executed(folder / "q.onnx", inputs, optimized=runtime is FUSED)
    if network.is_exact:
        return np.array_equal(by_the_batch(network, inputs), found)
    least, most = between(network, inputs)
    return bool(((least <= found) & (found <= most)).all())


@pytest.mark.parametrize("units", [0.4999999, 11.4999995, 11.5, 12.5, 10.5000004])
def test_a_bias_that_is_added_apart_may_be_rounded_either_way(units: float, tmp_path: Path) -> None:
    unit = float(PARAMETERS["b.scale"])
    for sign in (1, -1):
        bias = np.array([units, -units], F32) * F32(sign * unit)
        for runtime in (FUSED, UNFUSED):
            assert is_right(apart("added", added=bias), tmp_path, runtime)


def test_a_quantized_bias_of_the_right_scale_may_be_added_apart(tmp_path: Path) -> None:
    assert is_right(apart("b.values"), tmp_path)
    assert is_right(apart("b.values", **SIGNED), tmp_path)


def test_parameters_are_inputs_too_in_old_files(tmp_path: Path) -> None:
    """Before IR version 4 none of them could be replaced."""
    made = with_ties(**SIGNED)
    for name in [tensor.name for tensor in made.graph.initializer]:
        replaceable(made, name)
    made.ir_version = 3
    assert is_right(made, tmp_path)


def test_a_zero_point_has_the_type_that_it_is_cast_to(tmp_path: Path) -> None:
    def change(made: list[Any]) -> None:
        made.insert(0, node("Cast", "zero", "y.zero", to=TensorProto.INT8))

    parameters = {**TIES, "zero": np.uint8(5)}
    made = model(change=change, parameters=parameters, without=("y.zero",))
    assert is_right(made, tmp_path) and is_right(made, tmp_path, UNFUSED)


def test_a_constant_may_be_a_node(tmp_path: Path) -> None:
    def change(made: list[Any]) -> None:
        NEUTRAL(made)
        made.insert(0, helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(F32(1))))

    made = with_ties(change)
    assert read(made, tmp_path).is_exact
    assert is_right(made, tmp_path)
