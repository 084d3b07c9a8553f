"""What is easily got wrong in quantized ONNX files, each trap by itself, with onnxruntime as the judge."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qsmt.arith.fixed import Quantized
from qsmt.arith.real import FloatArray
from qsmt.arith.single import rounded
from qsmt.frontend import float32
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import remarks
from qsmt.ir.network import Network
from qsmt.ir.ops import Requantize
from tests.support.hostile_quantized import model, using
from tests.support.quantized_onnx import Recipe, write_pair

KINDS = [
    Quantized(True, 8, Fraction(float(np.float32(0.0371))), -5),
    Quantized(False, 8, Fraction(1, 64), 128),
    Quantized(False, 8, Fraction(float(np.float32(0.1))), 0),
]


def one_node(op: str, kind: Any, outputs: int, constants: dict[str, Any], **attributes: Any) -> bytes:
    """A model of one operator on a vector of floats, `x`, and constants."""
    node = helper.make_node(op, ["x", *constants], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", outputs, ["n"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = made.SerializeToString()
    return content


def by_onnxruntime(content: bytes, x: Any) -> Any:
    import onnxruntime

    runner = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return runner.run(None, {"x": x.astype(np.float32)})[0]


def awkward(kind: Quantized) -> FloatArray:
    """Ties of the quantizer and their neighbours, the ends of its range, and numbers of every size."""
    ties = (np.arange(kind.min - 3, kind.max + 4) + 0.5) * float(kind.scale)
    near = [np.nextafter(ties.astype(np.float32), np.float32(side)) for side in (-np.inf, np.inf)]
    sizes = np.random.default_rng(0).standard_normal(20_000) * 10.0 ** np.linspace(-30, 30, 20_000)
    limits = np.array([0.0, -0.0, 1e-45, 3e38, -3e38])
    return np.concatenate([ties, *near, sizes, limits]).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_real_becomes_the_code_that_quantizelinear_makes_of_it(kind: Quantized) -> None:
    """The quotient is rounded to single precision, then to even: not the quotient itself to even."""
    x = awkward(kind)
    zero = np.array(kind.zero_point, dtype=np.int8 if kind.signed else np.uint8)
    constants = {"scale": np.float32(float(kind.scale)), "zero": zero}
    outputs = TensorProto.INT8 if kind.signed else TensorProto.UINT8
    expected = by_onnxruntime(one_node("QuantizeLinear", kind, outputs, constants), x).astype(np.int64)
    assert np.array_equal(kind.read_array(x) + kind.zero_point, expected)
    some = range(0, len(x), 37)
    assert [kind.read(Fraction(x[i])) + kind.zero_point for i in some] == [expected[i] for i in some]


def test_the_exact_quotient_would_be_another_code() -> None:
    """Planted fault: rounding the real quotient half to even, as fixed point does."""
    kind = KINDS[2]
    x = awkward(kind)
    exact = [min(max(round(Fraction(v) / kind.scale), kind.min), kind.max) for v in x[:1000]]
    assert kind.read_array(x)[:1000].tolist() != exact


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_noise_of_the_input_covers_the_quantizer(kind: Quantized) -> None:
    x = awkward(kind)
    inside = np.abs(x) < 300 * float(kind.scale)
    for value, code in zip(x[inside].tolist(), kind.read_array(x[inside]).tolist(), strict=True):
        if kind.min < code < kind.max:
            assert abs(Fraction(code) - Fraction(value) / kind.scale) <= kind.read_noise


FUNCTIONS = {
    "Sigmoid": (float32.sigmoid, {}),
    "Tanh": (float32.tanh, {}),
    "LeakyRelu": (float32.leaky_relu(float(np.float32(0.01))), {"alpha": 0.01}),
    "HardSigmoid": (float32.hard_sigmoid(float(np.float32(0.2)), 0.5), {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": (float32.hard_swish, {}),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_activations_are_those_of_onnxruntime_bit_for_bit(op: str) -> None:
    """With the fused multiply-adds of this machine; without them, on one that has none."""
    function, attributes = FUNCTIONS[op]
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.uniform(-20, 20, 100_000), rng.standard_normal(100_000), np.linspace(-20, 20, 50_001)]
    )
    x = x.astype(np.float32).astype(np.float64)
    found = by_onnxruntime(one_node(op, None, TensorProto.FLOAT, {}, **attributes), x).astype(np.float64)
    fused, separate = function(x)
    assert np.array_equal(found, fused) or np.array_equal(found, separate)


def test_a_table_in_double_precision_would_be_another_table() -> None:
    """LeakyRelu on codes: slope * x is rounded to single precision before it is divided by the scale."""
    scale, slope = np.float32(0.0137), np.float32(0.1)
    target = 2 * float(np.float32(scale * slope))  # every other code is a tie
    x = rounded(np.arange(-128, 128, dtype=np.float64) * float(scale))
    single = rounded(float32.leaky_relu(float(slope))(x)[0] / target)
    double = np.where(x >= 0, x, x * float(slope)) / target
    assert not np.array_equal(np.rint(single), np.rint(double))


def test_a_clip_becomes_what_calibration_saw(tmp_path: Path) -> None:
    """Clip(0, 6) is gone from the file, and saturation at less than 6 does it."""
    _, path = write_pair(Recipe(activation="Clip"), tmp_path)
    assert "Clip" not in {node.op_type for node in onnx.load(path).graph.node}
    network = load_network(path)
    hidden = [op.target for op in network.ops if isinstance(op, Requantize)][:-1]
    assert all(kind.min == 0 and kind.max * kind.scale < 6 for kind in hidden)


def test_products_in_pairs_saturate_only_beyond_16_bits(tmp_path: Path) -> None:
    """255 * (64 + 64) fits 16 bits, 255 * (65 + 64) does not."""

    def noted(first: int) -> bool:
        path = tmp_path / "pairs.onnx"
        path.write_bytes(using(w=np.array([[first, 64, 0], [0, 0, 0]], np.int8))().SerializeToString())
        return len(remarks(load_network(path))) == 2

    assert not noted(64)
    assert noted(65)


def test_padding_is_the_zero_point() -> None:
    """Centred codes: what lies outside an image counts nothing, whatever is stored for zero."""
    kind = KINDS[1]
    assert kind.read(Fraction(0)) == 0
    assert kind.zero_point == 128


def test_an_accumulator_that_cannot_overflow_says_so_and_others_wrap(tmp_path: Path) -> None:
    def text(made: onnx.ModelProto) -> Network:
        path = tmp_path / "sums.onnx"
        path.write_bytes(made.SerializeToString())
        return load_network(path)

    exact = str(text(model()).ops[0].out.type)
    wraps = str(text(model(parameters={"b": np.array([2**31 - 1, 0], np.int32)})).ops[0].out.type)
    assert exact.endswith("exact>")
    assert wraps.startswith("[2] acc<i32,") and wraps.endswith("wrap>")
