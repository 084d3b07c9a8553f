"""What is folded is exact, parameters are the numbers they are, and names survive."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qsmt.arith.real import RealTensor
from qsmt.frontend import onnx_affine, onnx_exact, onnx_ops
from qsmt.frontend.base import load_network
from qsmt.frontend.onnx_model import read_model
from qsmt.ir import text
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp
from tests.support.onnx_forms import B4, EXPORTERS, FORMS, V, exact_outputs, gemm, kinds, load, one
from tests.support.onnx_models import f32, model, node, small


def affine(network: Network, position: int) -> Affine:
    op = network.ops[position]
    assert isinstance(op, Affine)
    return op


def ratios(tensor: RealTensor) -> list[Fraction]:
    return [Fraction(v) for v in tensor.fractions.ravel().tolist()]


def test_normalisation_folds_without_rounding() -> None:
    mean, spread, weight, bias = f32([0.1, 0.2, 0.3]), f32([3, 7, 0.7]), f32([0.1, -0.2, 0.3]), f32([0.01])
    network = load(
        model(
            [
                node("Sub", ["x", "mean"], ["c"]),
                node("Div", ["c", "spread"], ["n"]),
                gemm("n", "w", "b", transB=1),
            ],
            constants={"mean": mean, "spread": spread, "w": weight.reshape(1, 3), "b": bias},
        )
    )
    m, s, w, b = ([Fraction(float(v)) for v in array] for array in (mean, spread, weight, bias))
    assert kinds(network) == "A"
    assert ratios(affine(network, 0).weight.reals) == [wi / si for wi, si in zip(w, s, strict=True)]
    expected = b[0] - sum(wi * mi / si for wi, mi, si in zip(w, m, s, strict=True))
    assert ratios(affine(network, 0).bias.reals) == [expected]
    assert affine(network, 0).weight.reals.rationals is not None


def test_scaling_of_the_output_folds_without_rounding() -> None:
    weight, bias, scale = f32([0.1, -0.2, 0.3]), f32([0.7]), f32([0.3])
    network = load(
        model(
            [gemm("x", "w", "b", out="z", transB=1, alpha=0.1, beta=0.3), node("Mul", ["z", "s"], ["y"])],
            constants={"w": weight.reshape(1, 3), "b": bias, "s": scale},
        )
    )
    alpha, beta, s = (Fraction(float(np.float32(v))) for v in (0.1, 0.3, 0.3))
    assert ratios(affine(network, 0).weight.reals) == [Fraction(float(w)) * alpha * s for w in weight]
    assert ratios(affine(network, 0).bias.reals) == [Fraction(float(bias[0])) * beta * s]


def test_sums_that_doubles_cannot_hold_stay_exact() -> None:
    big, tiny = np.array([1e16]), np.array([2.0**-60])
    nodes = [node("Add", ["x", "a"], ["s"]), node("Add", ["s", "b"], ["y"])]
    network = load(model(nodes, x=[1], kind=TensorProto.DOUBLE, constants={"a": big, "b": tiny}))
    assert ratios(affine(network, 0).bias.reals) == [10**16 + Fraction(1, 2**60)]


def test_folding_stays_in_doubles_where_they_are_exact() -> None:
    network = load(EXPORTERS["normalisation"].proto)
    assert affine(network, 0).weight.reals.rationals is None
    assert affine(network, 0).bias.reals.rationals is None


def test_division_by_three_is_a_third() -> None:
    network = load(model([node("Div", ["x", "c"], ["y"])], x=[1], constants={"c": f32(3)}))
    assert exact_outputs(network, np.array([[1]])) == [(Fraction(1, 3),)]


def doubles(seed: int, count: int, *, single: bool) -> RealTensor:
    """Finite numbers of every magnitude: random bits."""
    kind = np.float32 if single else np.float64
    bits = np.random.default_rng(seed).integers(256, size=count * np.dtype(kind).itemsize, dtype=np.uint8)
    values = bits.view(kind)
    return RealTensor.of_floats(np.where(np.isfinite(values), values, kind(0)))


def outcome(rule: Callable[[RealTensor, RealTensor], RealTensor], a: RealTensor, b: RealTensor) -> object:
    try:
        return ratios(rule(a, b))
    except onnx_exact.BeyondLimits:
        return "beyond the largest double"


@pytest.mark.parametrize("single", [True, False])
def test_arithmetic_on_numbers_of_every_magnitude_is_exact(single: bool) -> None:
    largest = Fraction(np.finfo(np.float64).max.item())
    for seed in range(300):
        a, b = (doubles(2 * seed + i, 3, single=single) for i in (0, 1))
        for rule, exact in ((onnx_exact.product, np.multiply), (onnx_exact.total, np.add)):
            expected = exact(a.fractions, b.fractions).tolist()
            if all(abs(v) < largest for v in expected):
                assert outcome(rule, a, b) == expected
            else:
                assert outcome(rule, a, b) == "beyond the largest double"


@pytest.mark.parametrize("held", [1, 7, 10**6])
def test_image_is_exact_however_many_products_are_held(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_exact, "_PRODUCTS_HELD", held)
    rng = np.random.default_rng(held)
    weight = RealTensor.of_floats(rng.normal(size=(5, 8)) * rng.integers(2, size=(5, 8)))
    vector = onnx_exact.reciprocal(RealTensor.of_floats(rng.normal(size=8)))
    assert ratios(onnx_exact.image(weight, vector)) == (weight.fractions @ vector.fractions).tolist()


TENSORS: dict[str, TensorProto] = {
    "float16": helper.make_tensor("w", TensorProto.FLOAT16, [1, 3], [0.1, -2, 65504]),
    "float16, raw": onnx.numpy_helper.from_array(np.array([[0.1, -2, 6e-8]], np.float16)),
    "float": helper.make_tensor("w", TensorProto.FLOAT, [1, 3], [0.1, -2, 1e-45]),
    "double": helper.make_tensor("w", TensorProto.DOUBLE, [1, 3], [0.1, -2, 5e-324]),
    "bfloat16": helper.make_tensor("w", TensorProto.BFLOAT16, [1, 3], [0.1, -2, 1e30]),
    "bfloat16, raw": TensorProto(
        data_type=TensorProto.BFLOAT16, dims=[1, 3], raw_data=b"\xcd\x3d\x00\xc0\x49\x71"
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_parameters_of_every_precision_are_the_numbers_they_are(name: str) -> None:
    tensor = TENSORS[name]
    expected = onnx.numpy_helper.to_array(tensor).astype(np.float64).ravel()
    network = load(model([gemm(transB=1)], constants={"w": tensor}))
    assert ratios(affine(network, 0).weight.reals) == [Fraction(v) for v in expected.tolist()]
    assert any(v not in (0.1, -2) for v in expected.tolist())


def test_clip_limits_are_exact() -> None:
    network = load(one("Clip", ["x"], "AC", opset=7, attributes={"min": 0.1, "max": 0.7}).proto)
    clamp = network.ops[-1]
    assert isinstance(clamp, Clamp)
    assert clamp.lower == Fraction(float(np.float32(0.1)))
    assert clamp.upper == Fraction(float(np.float32(0.7)))


def test_external_parameters_inside_the_folder_are_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    proto = small(constants={"w0": np.arange(6, dtype=np.float32).reshape(2, 3)})
    options = {"all_tensors_to_one_file": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(proto, str(path), save_as_external_data=True, **options)
    onnx.load_external_data_for_model(proto, str(tmp_path))
    external = load_network(path)
    assert text.print_network(external) == text.print_network(load(proto))
    assert (tmp_path / "weights.bin").stat().st_size > 0


# --- names ---------------------------------------------------------------------------------------------------


def test_names_are_those_of_the_file_made_legal_and_distinct() -> None:
    nodes = [
        node("MatMul", ["in put", "w"], ["a b"]),
        node("Add", ["a b", "b"], ["z?"]),
        node("Relu", ["z?"], ["z!"]),
        node("MatMul", ["z!", "v"], ["y" * 500]),
    ]
    proto = model(nodes, output="y" * 500, constants={"w": V, "b": B4, "v": V.T.copy()})
    proto.graph.input[0].name = "in put"
    network = read_model(proto.SerializeToString(), Path("my net (1).onnx"))
    assert network.name == "my_net__1_"
    assert [network.input.name, *(op.out.name for op in network.ops)] == ["in_put", "z_", "z_.2", "y" * 80]
    assert network.runtime == "real"


@pytest.mark.parametrize("name", [n for n in FORMS if n.startswith(("exporter", "shape"))])
def test_textual_form_gives_the_network_back(name: str) -> None:
    network = load(FORMS[name].proto)
    printed = text.print_network(network)
    assert text.print_network(text.parse(printed)) == printed


# --- planted rounding ---------------------------------------------------------------------------------------


def replaced(module: object, name: str, fault: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(module, name, fault)


ROUNDING: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "products round": replaced(
        onnx_affine, "product", lambda a, b: RealTensor.of_floats(a.nearest * b.nearest)
    ),
    "sums round": replaced(onnx_affine, "total", lambda a, b: RealTensor.of_floats(a.nearest + b.nearest)),
    "reciprocals round": replaced(onnx_ops, "reciprocal", lambda a: RealTensor.of_floats(1 / a.nearest)),
    "every number counts as single": replaced(onnx_exact, "is_single", lambda tensor: True),
    "images round": replaced(onnx_affine, "image", lambda w, v: RealTensor.of_floats(w.nearest @ v.nearest)),
}
EXACTNESS = (
    test_normalisation_folds_without_rounding,
    test_scaling_of_the_output_folds_without_rounding,
    test_sums_that_doubles_cannot_hold_stay_exact,
    test_division_by_three_is_a_third,
)


@pytest.mark.parametrize("fault", ROUNDING)
def test_planted_rounding_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ROUNDING[fault](monkeypatch)
    failures = 0
    for test in EXACTNESS:
        try:
            test()
        except AssertionError:
            failures += 1
    assert failures
