"""Graphs that onnxruntime executes otherwise than they look, each once read as something it is not: all are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime
from qsmt.ir.ops import Requantize
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from tests.support.hostile_quantized import F32, model
from tests.support.quantized_onnx import between, by_the_batch, executed, random_inputs

Change = Callable[[list[Any]], None]
GEMM, ROUNDING = 4, 5
FUSED, UNFUSED = Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED


def relu(made: list[Any]) -> None:
    """Between the layer and its rounding."""
    made.insert(ROUNDING, helper.make_node("Relu", ["z"], ["limited"]))
    made[ROUNDING + 1].input[0] = "limited"


def float_bias(made: list[Any]) -> None:
    made[GEMM].input[2] = "b.float"


def both(*changes: Change) -> Change:
    def change(made: list[Any]) -> None:
        for one in changes:
            one(made)

    return change


def unsaid_zero_of_weights(made: list[Any]) -> None:
    made[2].input.remove("w.zero")


def clipped_again(made: list[Any]) -> None:
    """After the layer, a clip of codes to a narrower format."""
    made[-1].output[0] = "y.values"
    made += [
        helper.make_node("Clip", ["y.values", "low", "high"], ["clipped"]),
        helper.make_node("QuantizeLinear", ["clipped", "v.scale", "y.zero"], ["v.codes"]),
        helper.make_node("DequantizeLinear", ["v.codes", "v.scale", "y.zero"], ["y"]),
    ]


WIDE = {"x.zero": np.uint16(32768), "y.zero": np.uint16(32768)}
SIGNED = {"x.zero": np.int8(0), "y.zero": np.int8(0)}
BIAS = {"b.float": np.array([0.2, -0.1], dtype=np.float32)}
TINY_STEPS = {
    "y.scale": F32(1e-10),
    "v.scale": F32(1.5e-10),
    "low": F32(-3e-9),
    "high": F32(5e-9),
}
HUGE = {"x.scale": F32(2.0**60), "w.scale": F32(2.0**60), "y.scale": F32(2.0**119)}


def after(*new: Any) -> Change:
    """In the place of the last DequantizeLinear."""

    def change(made: list[Any]) -> None:
        made[-1].output[0] = "y.values"
        made += new

    return change


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=f"this {output}", **attributes)


ROUNDED = (node("QuantizeLinear", "u v.scale v.zero", "v"), node("DequantizeLinear", "v v.scale v.zero", "y"))
AGAIN = {"v.scale": F32(0.0371), "v.zero": np.uint8(100)}
CODES = {"c.codes": np.uint8(90), "c.scale": F32(1 / 32), "c.zero": np.uint8(0)}
DEQUANTIZED = node("DequantizeLinear", "c.codes c.scale c.zero", "c")
TIES = {"y.scale": F32(0.1), "y.zero": np.uint8(97), "v.scale": F32(0.05), "v.zero": np.uint8(255)}
"""With a constant of -127/32: one tie that a QLinearMul rounds otherwise than a product of floats."""
ONES = {"v.scale": np.array([0.05], np.float32), "v.zero": np.array([255], np.uint8)}


def joined(op: str, **parameters: Any) -> tuple[Change, dict[str, Any]]:
    """The codes, joined with a constant that is quantized."""
    return after(DEQUANTIZED, node(op, "y.values c", "u"), *ROUNDED), {**AGAIN, **CODES, **parameters}


def neutral(op: str, value: float) -> tuple[Change, dict[str, Any]]:
    """A number that changes nothing, between two formats."""
    return after(node(op, "y.values c", "u"), *ROUNDED), {**AGAIN, "c": F32(value)}


def also_read(name: str) -> Change:
    """By a node whose result nobody needs."""
    return lambda made: made.append(node("Relu" if "codes" not in name else "Identity", name, "dead"))


def moved(place: int, source: str, op: str, *extra: str, **attributes: Any) -> Change:
    """An operator before the node at this place, on its first operand."""

    def change(made: list[Any]) -> None:
        made.insert(place, helper.make_node(op, [source, *extra], ["moved"], name="the moved", **attributes))
        made[place + 1].input[0] = "moved"

    return change


SHAPES = {"shape": np.array([-1, 3]), "order": np.array([2, 0, 1]), "result": np.array([-1, 2])}

REFUSED: dict[str, tuple[Runtime, Change, dict[str, Any], str]] = {
    "a ReLU before a layer that stays float": (FUSED, both(relu, float_bias), BIAS, "does not cover it"),
    "a ReLU before a layer in a graph that is not optimized": (UNFUSED, relu, {}, "does not cover it"),
    "16-bit activations, which are quantized again": (FUSED, lambda made: None, WIDE, "more than 8 bits"),
    "a float bias that 32 bits do not hold": (
        FUSED,
        float_bias,
        {**BIAS, "w.scale": F32(1e-12)},
        "does not fit 32 bits",
    ),
    "signed codes whose weights do not say their zero point": (
        FUSED,
        unsaid_zero_of_weights,
        SIGNED,
        "reads signed activations",
    ),
    "an activation before a vector of one scale": (
        FUSED,
        relu,
        {"y.scale": np.array([0.05], dtype=np.float32), "y.zero": np.array([0], dtype=np.uint8)},
        "a vector of one scale",
    ),
    "a clip in tiny steps": (FUSED, clipped_again, TINY_STEPS, "steps so small"),
    "a layer whose result a second node reads": (FUSED, also_read("z"), {}, "that several nodes read, 'z'"),
    "signed codes that a second node reads": (
        FUSED,
        also_read("y.codes"),
        SIGNED,
        "not read by one DequantizeLinear alone",
    ),
    "signed input codes that a second node reads": (
        FUSED,
        also_read("x.codes"),
        SIGNED,
        "not read by one DequantizeLinear alone",
    ),
    "signed activations that a second node reads": (
        FUSED,
        also_read("x.values"),
        SIGNED,
        "that several nodes read, 'x.values'",
    ),
    "signed codes that are moved": (
        FUSED,
        moved(1, "x.codes", "Reshape", "shape"),
        SIGNED | SHAPES,
        "hides its codes",
    ),
    "signed activations that are flattened": (
        FUSED,
        moved(4, "x.values", "Flatten"),
        SIGNED,
        "hides its codes",
    ),
    "signed results that are moved as codes": (
        FUSED,
        moved(6, "y.codes", "Reshape", "result"),
        SIGNED | SHAPES,
        "not read by one DequantizeLinear alone",
    ),
    "a zero that is added": (FUSED, *neutral("Add", 0.0), "which onnxruntime merges"),
    "a zero that is subtracted": (FUSED, *neutral("Sub", 0.0), "which onnxruntime merges"),
    "a factor of one": (FUSED, *neutral("Mul", 1.0), "which onnxruntime merges"),
    "a divisor of one": (FUSED, *neutral("Div", 1.0), "which onnxruntime merges"),
    "a product beyond 32 bits": (
        FUSED,
        *joined("Mul", **{"c.scale": F32(1e9), "v.scale": F32(1e-6)}),
        "beyond 32 bits",
    ),
    "a sum beyond 32 bits": (
        FUSED,
        *joined("Add", **{"c.scale": F32(1e9), "v.scale": F32(1e-6)}),
        "beyond 32 bits",
    ),
    "a product of other types": (
        FUSED,
        *joined("Mul", **TIES, **{"c.codes": np.int8(-127), "c.zero": np.int8(0)}),
        "a constant of another form",
    ),
    "a product that is quantized with vectors of one": (
        FUSED,
        *joined("Mul", **TIES | ONES, **{"c.codes": np.uint8(0), "c.zero": np.uint8(127)}),
        "a constant of another form",
    ),
    "sums that overflow in float": (UNFUSED, lambda made: None, HUGE, "may overflow"),
}


def read(made: onnx.ModelProto, folder: Path, runtime: Runtime) -> Any:
    path = folder / "q.onnx"
    path.write_bytes(made.SerializeToString())
    return load_network(path, runtime=runtime)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_executed_as_it_looks_is_refused(name: str, tmp_path: Path) -> None:
    runtime, change, parameters, why = REFUSED[name]
    with pytest.raises(InputError, match=why):
        read(model(change=change, parameters=parameters), tmp_path, runtime)


def test_signed_codes_as_the_graphs_output_are_refused(tmp_path: Path) -> None:
    def codes(made: list[Any]) -> None:
        del made[-1]
        made[-1].output[0] = "y"

    made = model(change=codes, parameters=SIGNED)
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    with pytest.raises(InputError, match="signed codes"):
        read(made, tmp_path, FUSED)
    unsigned = model(change=codes)
    unsigned.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert read(unsigned, tmp_path, FUSED).output.size == 2


LOOSE: dict[str, tuple[Change, dict[str, Any]]] = {
    "activations that are flattened": (moved(4, "x.values", "Flatten"), {}),
    "activations that are gathered": (moved(4, "x.values", "Gather", "order", axis=1), SHAPES),
    "a layer that is flattened": (moved(5, "z", "Flatten"), {}),
    "a layer that is reshaped": (moved(5, "z", "Reshape", "result"), SHAPES),
    "a signed layer that is reshaped": (moved(5, "z", "Reshape", "result"), SIGNED | SHAPES),
    "a layer and a factor": (moved(5, "z", "Mul", "factor"), {"factor": np.array([0.7, -1.3], np.float32)}),
}


@pytest.mark.parametrize("name", LOOSE)
def test_a_layer_that_may_stay_float_is_read_between_bounds(name: str, tmp_path: Path) -> None:
    change, parameters = LOOSE[name]
    made = model(change=change, parameters=parameters)
    network = read(made, tmp_path, FUSED)
    assert not network.is_exact
    inputs = random_inputs(network, 10_000, reach=3.0)
    found = executed(tmp_path / "q.onnx", inputs)
    least, most = between(network, inputs)
    assert np.count_nonzero((found < least) | (found > most)) == 0
    assert np.count_nonzero(least != most) < found.size / 2


def test_a_tie_that_depends_on_the_kernel_is_read_as_the_kernel_that_runs(tmp_path: Path) -> None:
    """Of unsigned bytes a QLinearMul, of others a product of floats; the files differ in nothing else."""
    change, parameters = joined("Mul", **TIES, **{"c.codes": np.uint8(0), "c.zero": np.uint8(127)})
    made = model(change=change, parameters=parameters)
    network = read(made, tmp_path, FUSED)
    inputs = random_inputs(network, 10_000, reach=6.0)
    assert np.array_equal(by_the_batch(network, inputs), executed(tmp_path / "q.onnx", inputs))
    unfused = read(made, tmp_path, UNFUSED)
    tables = [
        [op.rules[0].table for op in n.ops if isinstance(op, Requantize)][-1] for n in (network, unfused)
    ]
    assert tables[0] != tables[1]


def test_unsigned_codes_may_have_several_readers(tmp_path: Path) -> None:
    for name in ("x.codes", "x.values", "y.codes"):
        network = read(model(change=also_read(name)), tmp_path, FUSED)
        inputs = random_inputs(network, 2000, reach=3.0)
        assert np.array_equal(by_the_batch(network, inputs), executed(tmp_path / "q.onnx", inputs))


def test_a_large_constant_that_is_added_in_float_does_not_wrap(tmp_path: Path) -> None:
    def added(made: list[Any]) -> None:
        made[-1].output[0] = "y.values"
        made += [
            helper.make_node("Add", ["y.values", "far"], ["moved"]),
            helper.make_node("QuantizeLinear", ["moved", "v.scale", "v.zero"], ["v.codes"]),
            helper.make_node("DequantizeLinear", ["v.codes", "v.scale", "v.zero"], ["y"]),
        ]

    far = F32(2.0**20)
    parameters = {"y.scale": F32(1.0), "far": far, "v.scale": F32(far / 100.5), "v.zero": np.uint8(0)}
    network = read(model(change=added, parameters=parameters), tmp_path, FUSED)
    (wide,) = [op.out.type.element for op in network.ops[2:] if isinstance(op.out.type.element, Accumulator)]
    assert wide.bits > 32 and wide.overflow is AccumulatorOverflow.EXACT
