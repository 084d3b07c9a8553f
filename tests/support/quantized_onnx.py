"""Quantized ONNX networks as users have them: made by onnxruntime.quantization, executed by onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from qsmt.arith.fixed import Quantized
from qsmt.arith.real import exact_array
from qsmt.arith.runtime_kinds import Hull
from qsmt.interp import batch_codes, quantized
from qsmt.ir.network import Network
from qsmt.ir.ops import Op, PerNeuron, Requantize

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A float network and how it is quantized."""

    sizes: tuple[int, ...] = (6, 20, 15, 4)
    activation: str = "Relu"
    matmul: bool = False
    seed: int = 3
    format: str = "QDQ"
    options: Mapping[str, Any] = field(default_factory=dict)


def float_model(recipe: Recipe) -> onnx.ModelProto:
    """A dense network; the last layer has no activation."""
    rng = np.random.default_rng(recipe.seed)
    nodes: list[Any] = []
    tensors: list[Any] = []
    current = "x"
    layers = list(pairwise(recipe.sizes))
    for i, (n, m) in enumerate(layers):
        weight = (rng.standard_normal((m, n)) / np.sqrt(n)).astype(np.float32)
        bias = (rng.standard_normal(m) * 0.1).astype(np.float32)
        tensors += [
            numpy_helper.from_array(np.ascontiguousarray(weight.T) if recipe.matmul else weight, f"w{i}"),
            numpy_helper.from_array(bias, f"b{i}"),
        ]
        if recipe.matmul:
            nodes.append(helper.make_node("MatMul", [current, f"w{i}"], [f"m{i}"], name=f"matmul{i}"))
            nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [f"z{i}"], name=f"add{i}"))
        else:
            nodes.append(
                helper.make_node("Gemm", [current, f"w{i}", f"b{i}"], [f"z{i}"], f"gemm{i}", transB=1)
            )
        current = f"z{i}"
        if i < len(layers) - 1 and recipe.activation:
            nodes.append(_activation(recipe.activation, current, f"h{i}", tensors))
            current = f"h{i}"
    nodes[-1].output[0] = "y"
    return model(nodes, tensors, [None, recipe.sizes[0]], [None, recipe.sizes[-1]])


def _activation(name: str, source: str, target: str, tensors: list[Any]) -> Any:
    if name != "Clip":
        return helper.make_node(name, [source], [target], name=f"{target}.{name}")
    limits = [
        numpy_helper.from_array(np.float32(value), f"{target}.{i}") for i, value in enumerate((0.0, 6.0))
    ]
    tensors += limits
    return helper.make_node(name, [source, *(t.name for t in limits)], [target], name=f"{target}.{name}")


def model(nodes: list[Any], tensors: list[Any], shape: list[Any], result: list[Any]) -> onnx.ModelProto:
    """A model from `x` to `y`; None is a batch axis."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [d or "batch" for d in shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [d or "batch" for d in result])],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def write_pair(recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """The float model and its quantization, as files."""
    return quantize_model(float_model(recipe), recipe, folder)


def quantize_model(made: onnx.ModelProto, recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """A float model and its quantization with calibration on random inputs of [-1, 1], as files."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    parameters = {tensor.name for tensor in made.graph.initializer}
    source = next(value for value in made.graph.input if value.name not in parameters)
    shape = [d.dim_value or 1 for d in source.type.tensor_type.shape.dim]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(1)
            self._data: Iterator[Floats] = iter(rng.uniform(-1, 1, (50, *shape)).astype(np.float32))

        def get_next(self) -> dict[str, Floats] | None:
            data = next(self._data, None)
            return None if data is None else {source.name: data}

    before, after = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(made, before)
    options = dict(recipe.options)
    for key in ("activation_type", "weight_type"):
        if key in options:
            options[key] = QuantType[options[key]]
    quantize_static(before, after, Reader(), quant_format=QuantFormat[recipe.format], **options)
    return before, after


def session(path: Path, *, optimized: bool = True) -> Any:
    """onnxruntime on the CPU, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def executed(path: Path, inputs: Floats, *, optimized: bool = True) -> Floats:
    """What onnxruntime computes, (points, outputs); the model has a batch axis, or points go one by one."""
    runner = session(path, optimized=optimized)
    name, shape = runner.get_inputs()[0].name, runner.get_inputs()[0].shape
    if isinstance(shape[0], str):
        result = runner.run(None, {name: inputs.reshape(len(inputs), *shape[1:])})[0]
        return np.asarray(result).reshape(len(inputs), -1)
    rows = [runner.run(None, {name: row.reshape(shape)})[0] for row in inputs]
    return np.asarray(rows).reshape(len(inputs), -1)


def input_codes(network: Network, inputs: Floats) -> npt.NDArray[np.float64]:
    kind = network.input.type.element
    assert isinstance(kind, Quantized)
    return kind.read_array(inputs.astype(np.float64))


def by_the_batch(network: Network, inputs: Floats) -> Floats:
    """The outputs by the batch interpreter's rules, as DequantizeLinear returns them."""
    codes: Any = input_codes(network, inputs)
    for op in network.ops:
        codes = batch_codes.CODE_RULES[type(op)](op, np.float64)(codes)
    return dequantized(network, codes)


def exactly(network: Network, inputs: Floats) -> Floats:
    """The outputs by the exact interpreter, as DequantizeLinear returns them."""
    codes = input_codes(network, inputs)
    exact = exact_array((int(v) for v in codes.ravel()), codes.shape)
    return dequantized(network, quantized.run_codes(network, exact).astype(np.float64))


def between(network: Network, inputs: Floats) -> tuple[Floats, Floats]:
    """The least and the greatest outputs, by the batch interpreter's rules."""
    low: Any = input_codes(network, inputs)
    high = low
    for op in network.ops:
        low, high = batch_codes.bounds_step(op)(low, high)
    return dequantized(network, low), dequantized(network, high)


def exactly_between(network: Network, inputs: Floats) -> tuple[Floats, Floats]:
    """The same by the exact interpreter."""
    points = [tuple(map(Fraction, row)) for row in input_codes(network, inputs).tolist()]
    found = quantized.enclose(network, points)
    assert found.radius is not None
    kind = network.output.type.element
    assert isinstance(kind, Quantized)
    ends = []
    for side in (-1, 1):
        rows = [
            [float((m + side * r) / kind.scale) for m, r in zip(*pair, strict=True)]
            for pair in zip(found.middle, found.radius, strict=True)
        ]
        ends.append(dequantized(network, np.array(rows)))
    return ends[0], ends[1]


def without_slack(network: Network) -> Network:
    """The network with hulls that allow for no rounding error."""
    return replace(network, ops=tuple(_without_slack(op) for op in network.ops))


def _without_slack(op: Op) -> Op:
    if not isinstance(op, Requantize) or not op.runtime_kinds:
        return op
    kinds = tuple(replace(k, slack=Fraction(0)) for k in op.runtime_kinds if isinstance(k, Hull))
    return replace(op, kind=PerNeuron(kinds) if len(kinds) > 1 else kinds[0])


def dequantized(network: Network, codes: npt.NDArray[np.float64]) -> Floats:
    kind = network.output.type.element
    assert isinstance(kind, Quantized)
    return (codes * float(kind.scale)).astype(np.float32)


def random_inputs(network: Network, points: int, *, seed: int = 7, reach: float = 1.3) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.uniform(-reach, reach, (points, network.input.size)).astype(np.float32)
