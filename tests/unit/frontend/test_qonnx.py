"""QONNX networks are read as the integers that they mean; a second evaluation of their operators is the judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qsmt.arith.real import exact_array
from qsmt.cli.main import run
from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.frontend.runtimes import Runtime, remarks
from qsmt.interp import batch_codes, quantized
from qsmt.ir.network import Network
from qsmt.ir.text import parse, print_network
from tests.support.qonnx_nets import MODES, Array, Net, evaluated
from tests.support.quantized_onnx import input_codes, random_inputs

POINTS = 10_000
FEW = 60
SMALL = 2.0**-4


def dense(mode: str = "ROUND", *, scale: float = SMALL, weights: float = SMALL, **options: Any) -> Net:
    """Two layers with an activation in between, of this rounding."""
    net = Net((1, 3)).act(SMALL, 6).gemm(3, 5, weights, 4)
    net.act(scale, 5, mode=mode, **options)
    return net.gemm(5, 2, weights, 4).act(scale, 8)


def first(bits: int, **options: Any) -> Net:
    """One layer, after an input quantizer of so many bits."""
    return Net((1, 3)).act(SMALL, bits, **options).gemm(3, 2, SMALL, 4)


def bipolar() -> Net:
    net = Net((1, 4)).act(SMALL, 6).gemm(4, 6, SMALL, 4).then("BipolarQuant", 0.5)
    weight = net.node("BipolarQuant", [net.constant(net.random(3, 6)), net.constant(0.25)])
    net.current = net.node("Gemm", [net.current, weight], transB=1)
    return net


def image(*between: Callable[[Net], Any]) -> Net:
    net = Net((1, 1, 5, 5)).act(SMALL, 6)
    weight = net.quant(np.full((2, 1, 1, 1), SMALL), 4, source=net.constant(net.random(2, 1, 2, 2, size=0.5)))
    net.current = net.node("Conv", [net.current, weight, net.constant(net.random(2))])
    net.then("Relu").act(SMALL, 6, signed=0)
    for step in between:
        step(net)
    net.then("Flatten")
    size = 8 if between else 32
    return net.gemm(size, 2, SMALL, 4, bias=False).act(SMALL * 2, 8)


def truncated(net: Net) -> None:
    """As Brevitas exports an average pool: a sum, of which low bits are dropped."""
    net.then("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).then("Mul", 4.0)
    numbers = [net.constant(v) for v in (SMALL, 0.0, 8.0, 6.0)]
    net.current = net.node("Trunc", [net.current, *numbers], rounding_mode="FLOOR")


def truncated_with_scale(net: Net) -> None:
    net.then("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).then("Mul", 4.0)
    numbers = [net.constant(v) for v in (SMALL, 0.0, 8.0, SMALL * 4, 6.0)]
    net.current = net.node("Trunc", [net.current, *numbers], rounding_mode="ROUND", signed=0)


def matmul() -> Net:
    net = Net((1, 3), domain="onnx.brevitas").act(SMALL, 6)
    weight = net.quant(np.full((1, 4), SMALL), 4, source=net.constant(net.random(3, 4)), narrow=1)
    net.current = net.node("MatMul", [net.current, weight])
    bias = net.quant(SMALL**2, 12, source=net.constant(net.random(4)))
    net.current = net.node("Add", [net.current, bias])
    return net.act(SMALL, 5)


def normalized() -> Net:
    net = Net((1, 3)).act(SMALL, 6).gemm(3, 4, SMALL, 4)
    numbers = [net.random(4), net.random(4), net.random(4), np.abs(net.random(4)) + np.float32(0.25)]
    return (
        net.then("BatchNormalization", *numbers)
        .then("Relu")
        .act(0.3, 5, signed=0)
        .gemm(4, 2, 0.1, 4)
        .act(0.7, 8)
    )


def odd_scales() -> Net:
    scales = np.array([[0.1], [0.07], [0.31]], dtype=np.float32)
    net = Net((1, 3)).act(0.05, 8).gemm(3, 3, scales, 8).then("Relu").act(0.043, 8, signed=0)
    return net.gemm(3, 2, 0.013, 8, narrow=1).act(0.1, 8)


def twice() -> Net:
    """A code that is quantized again, and joined with constants in between."""
    net = dense(scale=0.11).then("Mul", np.array([1.5, -0.7])).then("Add", np.array([0.3, 0.0])).act(0.2, 6)
    return net.then("Clip", -0.6, 1.0).act(0.09, 5, signed=1)


EXACT_IN_SINGLES: dict[str, tuple[Callable[[], Net], int]] = {
    **{f"rounding {mode}": (lambda mode=mode: dense(mode), 2) for mode in MODES},  # type: ignore[misc]
    "rounding in small letters": (lambda: dense("floor"), 2),
    "unsigned": (lambda: dense(signed=0), 2),
    "narrow": (lambda: dense(narrow=1), 2),
    "unsigned and narrow": (lambda: dense(signed=0, narrow=1), 2),
    "IntQuant": (lambda: dense(op="IntQuant"), 2),
    "one bit": (lambda: first(6).act(0.5, 1, signed=0).gemm(2, 2, SMALL, 4).act(SMALL, 8), 2),
    "the sums are the output": (lambda: dense().gemm(2, 2, SMALL, 4, bias=False), 2),
    "bipolar": (bipolar, 3),
    "MatMul, Add": (matmul, 4),
    "Conv": (image, 2),
    "Conv, MaxPool": (lambda: image(lambda net: net.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])), 2),
    "Conv, a sum that is truncated": (lambda: image(truncated), 2),
    "Conv, a sum that is truncated to a scale": (lambda: image(truncated_with_scale), 2),
}
EXACT: dict[str, tuple[Callable[[], Net], int]] = {
    **EXACT_IN_SINGLES,
    "BatchNormalization": (normalized, 2),
    "scales that are no powers of two": (odd_scales, 2),
    "codes that are quantized again": (twice, 2),
}


def values(network: Network, inputs: Array, *, exactly: bool) -> Array:
    """The outputs of the network that was read: doubles by the batch interpreter, or rationals."""
    codes: Any = input_codes(network, inputs)
    kind: Any = network.output.type.element
    if exactly:
        exact = exact_array((int(v) for v in codes.ravel()), codes.shape)
        return np.asarray(quantized.run_codes(network, exact) * kind.scale)
    for op in network.ops:
        codes = batch_codes.CODE_RULES[type(op)](op, np.float64)(codes)
    return np.asarray(codes * float(kind.scale))


def tame(net: Net) -> Net:
    """Biases that single precision adds without rounding: multiples of a small power of two."""
    for name, value in net.tensors.items():
        if value.ndim == 1 and value.size > 1:
            net.tensors[name] = np.round(value * 256) / np.float32(256)
    return net


@pytest.mark.parametrize("name", EXACT_IN_SINGLES)
def test_the_integers_are_those_of_the_reference_in_single_precision(name: str, tmp_path: Path) -> None:
    """Where all its sums are exact: scales are powers of two."""
    make, outputs = EXACT_IN_SINGLES[name]
    net = tame(make())
    path = net.write(tmp_path, [1, outputs])
    network = load_network(path)
    assert network.runtime == "ideal"
    inputs = random_inputs(network, POINTS, reach=2.5)
    expected = evaluated(net.model([1, outputs]), inputs, exactly=False)
    assert np.count_nonzero(values(network, inputs, exactly=False).astype(np.float32) != expected) == 0
    assert len(np.unique(expected)) > 3
    assert print_network(parse(print_network(network))) == print_network(network)


@pytest.mark.parametrize("name", EXACT)
def test_the_integers_are_those_of_the_reference_in_rationals(name: str, tmp_path: Path) -> None:
    make, outputs = EXACT[name]
    net = make()
    network = load_network(net.write(tmp_path, [1, outputs]))
    inputs = random_inputs(network, FEW, reach=2.5)
    expected = evaluated(net.model([1, outputs]), inputs, exactly=True)
    found = values(network, inputs, exactly=True)
    assert np.array_equal(found, expected)
    near = values(network, inputs, exactly=False)
    assert np.array_equal(near, np.vectorize(float)(expected))


def test_the_reference_in_single_precision_is_near_where_scales_are_odd(tmp_path: Path) -> None:
    """It rounds its sums; integers do not. So a code is another now and then, next to a tie."""
    net = odd_scales()
    network = load_network(net.write(tmp_path, [1, 2]))
    inputs = random_inputs(network, 2000, reach=2.5)
    single = evaluated(net.model([1, 2]), inputs, exactly=False)
    away = np.abs(values(network, inputs, exactly=False) - single)
    assert np.count_nonzero(away > 1e-5) <= away.size / 1000


def test_another_rounding_would_be_noticed(tmp_path: Path) -> None:
    """Planted faults: each mode differs from each other one on these networks."""
    networks = {}
    for mode in MODES:
        networks[mode] = load_network(tame(dense(mode)).write(tmp_path, [1, 2]))
    inputs = random_inputs(networks["ROUND"], 2000, reach=2.5)
    found = {mode: values(network, inputs, exactly=False) for mode, network in networks.items()}
    for mode, ours in found.items():
        for other, theirs in found.items():
            assert mode == other or not np.array_equal(ours, theirs), (mode, other)


def test_a_report_says_that_the_arithmetic_is_ideal(tmp_path: Path) -> None:
    assert "ideal" in remarks(load_network(dense().write(tmp_path, [1, 2])))[0]


def changed(**constants: Any) -> Callable[[], Net]:
    """The first activation's operands, by their position."""

    def make() -> Net:
        net = dense()
        first = net.nodes[0]
        for position, value in constants.items():
            net.tensors[first.input[int(position[1])]] = np.asarray(value, dtype=np.float32)
        return net

    return make


def with_zero_of_weights() -> Net:
    net = dense()
    net.tensors[net.nodes[1].input[2]] = np.array(3, dtype=np.float32)
    return net


def mixed() -> Net:
    net = dense()
    net.nodes[2].op_type = "Erf"
    del net.nodes[2].input[1:]
    del net.nodes[2].attribute[:]
    return net


def wide_truncation() -> Net:
    net = Net((1, 1)).act(1.0, 16)
    weight = net.quant(1.0, 24, source=net.constant(np.full((2, 1), 2**23 - 1)))
    net.current = net.node("Gemm", [net.current, weight], transB=1)
    numbers = [net.constant(v) for v in (1.0, 0.0, 40.0, 36.0)]
    net.current = net.node("Trunc", [net.current, *numbers], rounding_mode="FLOOR")
    return net


REFUSED: dict[str, tuple[Callable[[], Net], str]] = {
    "a zero point": (changed(_2=1.0), "a zero point that is not zero"),
    "a zero point of weights": (with_zero_of_weights, "a zero point that is not zero"),
    "a scale per channel of an activation": (changed(_1=[[0.1, 0.2, 0.1]]), "an activation per channel"),
    "a scale of zero": (changed(_1=0.0), "not a positive normal number"),
    "a scale that is no number": (changed(_1=np.nan), "not finite"),
    "half a bit": (changed(_3=4.5), "not one whole number"),
    "no bits": (changed(_3=0), "has 0 bits"),
    "one bit with a sign": (changed(_3=1), "BipolarQuant is for one bit"),
    "too many bits": (changed(_3=30), "24 are read"),
    "an unknown rounding": (lambda: dense("STOCHASTIC"), "the rounding mode 'STOCHASTIC'"),
    "an input that is floored": (lambda: first(6, mode="FLOOR"), "quantizes the input in another way"),
    "an input that is narrow": (lambda: first(6, narrow=1), "quantizes the input in another way"),
    "a bipolar input": (
        lambda: Net((1, 3)).then("BipolarQuant", 1.0).gemm(3, 2, SMALL, 4),
        "makes the input bipolar",
    ),
    "a curve": (lambda: dense().then("Sigmoid").act(SMALL, 8), "a function of floats"),
    "an operator nobody knows": (mixed, "is not read in a quantized network"),
    "weights that are not quantized": (
        lambda: dense().then("MatMul", np.ones((2, 2))).act(1.0, 4),
        "is not a quantized constant",
    ),
    "a truncation of what is no integer": (lambda: truncation(SMALL * 3, 6.0), "no multiples of its scale"),
    "a truncation that adds bits": (lambda: truncation(SMALL, 12.0), "drops -4 bits"),
    "a truncation that leaves more than 32 bits": (wide_truncation, "leaves integers of 35 bits"),
    "division by zero": (lambda: dense().then("Div", 0.0).act(1.0, 4), "divides by zero"),
    "shapes that do not fit": (lambda: dense().then("Mul", np.ones(5)).act(1.0, 4), "do not fit"),
}


def truncation(scale: float, bits: float) -> Net:
    net = dense()
    numbers = [net.constant(v) for v in (scale, 0.0, 8.0, bits)]
    net.current = net.node("Trunc", [net.current, *numbers], rounding_mode="FLOOR")
    return net


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_outside_is_one_clear_line(name: str, tmp_path: Path) -> None:
    make, why = REFUSED[name]
    with pytest.raises(InputError) as refusal:
        load_network(make().write(tmp_path, [1, 2]))
    said = str(refusal.value)
    assert why in said, said
    assert "\n" not in said
    assert "qonnx.onnx" in said


def test_no_other_runtime_executes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = dense().write(tmp_path, [1, 2])
    with pytest.raises(InputError, match="is a QONNX network, which onnxruntime does not execute"):
        load_network(path, runtime=Runtime.ONNXRUNTIME)
    asked = ["check", str(path), str(path), "--runtime", "onnxruntime", "--box", "[0,1]^3", "--bound", "1"]
    assert run(asked) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_weights_are_divided_in_single_precision(tmp_path: Path) -> None:
    """2.5 steps of 0.1, up to the rounding of the quotient: the exact one is no tie."""
    net = Net((1, 1)).act(SMALL, 4)
    weight = net.quant(0.1, 4, source=net.constant([[0.25]]))
    net.current = net.node("Gemm", [net.current, weight], transB=1)
    network = load_network(net.act(SMALL, 6).write(tmp_path, [1, 1]))
    assert Fraction(0.25) / Fraction(float(np.float32(0.1))) != Fraction(5, 2)
    assert np.float32(0.25) / np.float32(0.1) == 2.5
    assert next(network.constants).codes.tolist() == [[2]]


def without_quantizers(net: Net, outputs: int, folder: Path) -> Path:
    """The float network that was quantized."""
    sources: dict[str, str] = {}
    kept = []
    for node in net.nodes:
        if node.op_type == "Quant":
            sources[node.output[0]] = sources.get(node.input[0], node.input[0])
            continue
        for i, name in enumerate(node.input):
            node.input[i] = sources.get(name, name)
        kept.append(node)
    net.nodes, net.current = kept, sources.get(net.current, net.current)
    path = folder / "float.onnx"
    path.write_bytes(net.model([1, outputs]).SerializeToString())
    return path


@pytest.mark.parametrize("make", [dense, normalized, odd_scales], ids=lambda make: make.__name__)
def test_a_pair_of_files_is_decided(
    make: Callable[[], Net], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a grid of few points: proved, refuted by a witness, and bounded to the same number by both."""
    quantized_path = make().write(tmp_path, [1, 2])
    pair = [str(without_quantizers(make(), 2, tmp_path)), str(quantized_path), "--box", "[0,0.2]^3"]
    assert run(["bound", *pair, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    worst = max(abs(v) for o in found["outputs"] for v in o["witnessed"])
    assert worst > 0
    assert run(["check", *pair, "--bound", repr(worst * 1.01)]) == 0
    assert run(["check", *pair, "--bound", repr(worst * 0.99)]) == 1
    said = capsys.readouterr().out
    assert "VERIFIED" in said
    assert "FALSIFIED" in said
    assert "ideal" in said
