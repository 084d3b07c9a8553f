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
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from tests.support.hostile_quantized import F32, model

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
