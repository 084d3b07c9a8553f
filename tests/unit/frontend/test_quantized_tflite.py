"""Quantized ONNX files read as TFLite's runtimes would execute them: multipliers, and what has other kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx.helper import make_attribute, make_node, make_tensor
from onnx.numpy_helper import from_array

from qsmt.arith.requantize import RequantKind
from qsmt.arith.runtime_kinds import DoubleAway, DoubleUp
from qsmt.errors import UnsupportedOp
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime, fixed_point
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, PerNeuron, Requantize
from qsmt.ir.types import Real, TensorType, units_of
from tests.support.hostile_quantized import F32, W_SCALE, X_SCALE, Y_SCALE, Make, model, using
from tests.support.quantized_images import Image, write_images
from tests.support.quantized_onnx import Recipe

TFLITE = [runtime for runtime in Runtime if runtime.runs_tflite]
every_tflite = pytest.mark.parametrize("runtime", TFLITE, ids=str)
ROUNDS = {Runtime.TFLITE_RUY: DoubleUp, Runtime.CMSIS_NN: DoubleAway}


def read(make: Make, folder: Path, runtime: Runtime) -> Network:
    path = folder / "made.onnx"
    path.write_bytes(make().SerializeToString())
    return load_network(path, runtime=runtime)


def kinds(network: Network) -> list[RequantKind]:
    """Of the first layer."""
    op = next(op for op in network.ops if isinstance(op, Requantize))
    return list(op.kind.kinds) if isinstance(op.kind, PerNeuron) else [op.kind]


def per_channel() -> Any:
    """With a scale for each of the two rows of the weights; the first is that of the whole."""
    scales, zeros = np.array([W_SCALE, 2 * W_SCALE], dtype=np.float32), np.zeros(2, dtype=np.int8)
    several = {
        "w.scale": scales,
        "w.zero": zeros,
        "b.scale": X_SCALE * scales,
        "b.zero": zeros.astype(np.int32),
    }

    def along_rows(made: list[Any]) -> None:
        for node in made[2:4]:
            node.attribute.append(make_attribute("axis", 0))

    return model(parameters=several, change=along_rows)


@pytest.mark.parametrize("runtime", ROUNDS, ids=str)
def test_scales_of_a_dense_layer_are_multiplied_in_single_precision_unless_it_has_several(
    runtime: Runtime, tmp_path: Path
) -> None:
    in_single = fixed_point(float(X_SCALE * W_SCALE) / float(Y_SCALE))
    in_double = fixed_point(float(X_SCALE) * float(W_SCALE) / float(Y_SCALE))
    assert in_single != in_double
    assert kinds(read(model, tmp_path, runtime)) == [ROUNDS[runtime](*in_single)]
    assert kinds(read(per_channel, tmp_path, runtime))[0] == ROUNDS[runtime](*in_double)


@pytest.mark.parametrize("runtime", ROUNDS, ids=str)
def test_scales_of_a_convolution_are_multiplied_in_double_precision(runtime: Runtime, tmp_path: Path) -> None:
    _, path = write_images(Image(quantized=Recipe(format="QOperator")), tmp_path)
    network = load_network(path, runtime=runtime)
    sums, result = network.ops[:2]
    assert isinstance(sums, Affine) and isinstance(result, Requantize)
    x, w, y = (scale_of(v.type) for v in (network.input, sums.weight, result.out))
    assert fixed_point(x * w / y) != fixed_point(float(np.float32(x) * np.float32(w)) / y)
    assert kinds(network) == [ROUNDS[runtime](*fixed_point(x * w / y))]


def scale_of(kind: TensorType) -> float:
    """Of a tensor that has one."""
    assert not isinstance(kind.element, Real)
    unit = units_of(kind.element)
    return float(unit[0] if isinstance(unit, tuple) else unit)


# --- what those runtimes compute with other kernels ------------------------------------------------------------


def words(name: str) -> Make:
    """Sixteen bits before or after the layer."""
    return using(**{f"{name}_zero": np.int16(0)})


def nibbles() -> Any:
    made = model(
        parameters={
            "w": make_tensor("w", TensorProto.INT4, (2, 3), [1] * 6),
            "w.zero": make_tensor("w.zero", TensorProto.INT4, (), [0]),
        }
    )
    made.opset_import[0].version = 21
    return made


REFUSED: dict[str, tuple[Make, str]] = {
    "inputs of 16 bits": (words("x"), "not of 8 bits"),
    "results of 16 bits": (words("y"), "not of 8 bits"),
    "weights of 4 bits": (nibbles, "weights of 4 bits"),
    "a zero point of the weights": (using(w_zero=np.int8(1)), "weights with a zero point"),
}


@every_tflite
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_other_widths_and_zero_points_of_weights_are_refused(
    make: Make, message: str, runtime: Runtime, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedOp, match=message):
        read(make, tmp_path, runtime)
    assert read(make, tmp_path, Runtime.ONNXRUNTIME_UNFUSED).ops


@every_tflite
def test_unsigned_weights_around_128_are_signed_ones(runtime: Runtime, tmp_path: Path) -> None:
    w = np.array([[100, -50, 7], [3, 127, -128]])
    unsigned = using(w=(w + 128).astype(np.uint8), w_zero=np.uint8(128))
    assert kinds(read(unsigned, tmp_path, runtime)) == kinds(read(model, tmp_path, runtime))


def test_convolutions_in_groups_are_refused_where_litert_has_several_kernels_for_them(tmp_path: Path) -> None:
    _, path = write_images(Image(group=2, quantized=Recipe(format="QOperator")), tmp_path)
    with pytest.raises(UnsupportedOp, match="has 2 groups"):
        load_network(path, runtime=Runtime.TFLITE_RUY)
    for runtime in (Runtime.TFLITE_XNNPACK, Runtime.TFLITE_REFERENCE, Runtime.CMSIS_NN):
        assert load_network(path, runtime=runtime).ops


@every_tflite
def test_convolutions_over_three_axes_have_no_integer_kernel(runtime: Runtime, tmp_path: Path) -> None:
    def over_three_axes() -> Any:
        made = model(parameters={"w": np.ones((2, 3, 1, 1, 1), dtype=np.int8)}, inputs=(1, 3, 1, 1, 1))
        made.graph.node[4].op_type = "Conv"
        del made.graph.node[4].attribute[:]
        return made

    with pytest.raises(UnsupportedOp, match="3 axes"):
        read(over_three_axes, tmp_path, runtime)
    assert read(over_three_axes, tmp_path, Runtime.ONNXRUNTIME_UNFUSED).ops


@every_tflite
def test_sums_that_a_kernel_may_scale_beyond_32_bits_are_refused(runtime: Runtime, tmp_path: Path) -> None:
    """A multiplier of 2: a sum of 2**30 wraps where the zero point is added."""
    parts = {"x_scale": F32(1), "w_scale": F32(2), "b_scale": F32(2), "y_scale": F32(1)}
    for largest in (2**30, -(2**30)):
        with pytest.raises(UnsupportedOp, match="beyond 32 bits"):
            read(using(b=np.array([largest, 0], dtype=np.int32), **parts), tmp_path, runtime)
    assert read(using(b=np.array([2**28, 0], dtype=np.int32), **parts), tmp_path, runtime).ops


@pytest.mark.parametrize("runtime", ROUNDS, ids=str)
def test_a_dense_layer_with_several_scales_has_them_however_its_sums_are_arranged(
    runtime: Runtime, tmp_path: Path
) -> None:
    def in_a_column() -> Any:
        made = per_channel()
        made.graph.initializer.append(from_array(np.array([2, 1]), "shape"))
        made.graph.node.insert(5, make_node("Reshape", ["z", "shape"], ["column"], name="it"))
        made.graph.node[6].input[0] = "column"
        return made

    assert kinds(read(in_a_column, tmp_path, runtime)) == kinds(read(per_channel, tmp_path, runtime))


@every_tflite
def test_an_average_in_another_format_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    """TFLite averages in the format that it reads, and then rounds again."""

    def averaged(y_scale: Any) -> Make:
        def make() -> Any:
            made = model(inputs=(1, 1, 3), parameters={"y.scale": y_scale, "y.zero": np.uint8(128)})
            made.graph.node[4].CopyFrom(make_node("AveragePool", ["x.values"], ["z"], kernel_shape=[2]))
            return made

        return make

    assert read(averaged(X_SCALE), tmp_path, runtime).ops
    with pytest.raises(UnsupportedOp, match="averages into another format"):
        read(averaged(Y_SCALE), tmp_path, runtime)
    assert read(averaged(Y_SCALE), tmp_path, Runtime.ONNXRUNTIME_UNFUSED).ops
