"""Every network of the shared data loads, and computes what onnxruntime computes.

The tolerance is not chosen: it is Higham's running error bound of the float32 evaluation. If |x' - x| <= e
for the float32 activations x' and ours x, and the layer has n inputs, then in any order of summation, with
or without fused multiply-add,

    |fl(W x' + b) - (W x + b)| <= |W| e + gamma_{n+1} (|W| (|x| + e) + |b|) + (n + 1) 2**-149,

with gamma_k = k u / (1 - k u), u = 2**-24. The same formula with u = 2**-53 covers our own evaluation in
doubles. ReLU and Clip do not enlarge e, and ReLU makes it 0 where x + e <= 0. Tanh does not either, but the
runtime's own tanh is an approximation, of which nothing is promised: it is allowed four units of single precision
at 1. Fed with the runtime's own activations (e = 0), each layer is held to its own rounding alone: that is the
sharper test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from qsmt.arith.curves import Function
from qsmt.arith.real import FloatArray, RealTensor
from qsmt.frontend.base import load_network
from qsmt.interp import reference
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Curve, Op, Relu
from tests.support.shared import shared_data, shared_names

MODELS = shared_names("**/*.onnx")
POINTS, SPOT_CHECKS = 1000, 3
SINGLE, DOUBLE = 2.0**-24, 2.0**-53
RUNTIME_TANH = 2.0**-22


def step(op: Op, x: FloatArray, error: FloatArray, units: tuple[float, ...]) -> tuple[FloatArray, FloatArray]:
    """One op on the rows of `x`, in doubles, and the new error bound, for these unit roundoffs."""
    match op:
        case Affine():
            weight, bias = op.weight.reals.nearest, op.bias.reals.nearest
            terms = weight.shape[1] + 1
            carried = error @ np.abs(weight).T
            magnitude = np.abs(x) @ np.abs(weight).T + carried + np.abs(bias)
            rounding = sum(terms * u / (1 - terms * u) for u in units) * magnitude + terms * 2.0**-148
            return x @ weight.T + bias, (carried + rounding) * (1 + 2.0**-30)  # the bound's own rounding
        case Relu():
            return np.maximum(x, 0), np.where(x + error <= 0, 0.0, error)
        case Clamp(lower=lower, upper=upper):
            limits = (-np.inf if lower is None else float(lower), np.inf if upper is None else float(upper))
            return np.clip(x, *limits), error
        case Curve(function=Function.TANH):
            return np.tanh(x), error + RUNTIME_TANH
        case _:
            raise AssertionError(op)


def evaluate(
    network: Network, x: FloatArray, *, units: tuple[float, ...] = (SINGLE, DOUBLE)
) -> tuple[FloatArray, FloatArray]:
    """The network's values at the rows of `x`, and how far another evaluation may be off."""
    error = np.zeros_like(x)
    for op in network.ops:
        x, error = step(op, x, error, units)
    return x, error


def run_model(model: onnx.ModelProto, x: FloatArray) -> list[FloatArray]:
    """What onnxruntime computes for each output at the rows of `x`, as many at a time as the model takes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    fixed = isinstance(source.shape[0], int)
    rows = x.astype(np.float32)
    batches = [row.reshape(source.shape) for row in rows] if fixed else [rows]
    results = [session.run(None, {source.name: batch}) for batch in batches]
    return [np.array(out, np.float64).reshape(len(rows), -1) for out in zip(*results, strict=True)]


def samples(size: int, *, count: int = POINTS) -> FloatArray:
    """Points of single precision: half of them small, half of them large."""
    rng = np.random.default_rng(size)
    points = rng.uniform(-1, 1, (count, size)) * np.where(np.arange(count) % 2, 1.0, 20.0)[:, None]
    return points.astype(np.float32).astype(np.float64)


def exposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every intermediate tensor among its outputs."""
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return model


def layer_excess(network: Network, model: onnx.ModelProto, x: FloatArray) -> float:
    """How far any op, fed with the runtime's operand, leaves the bound on the rounding of its result."""
    names = [name for node in model.graph.node for name in node.output]
    measured = dict(zip(names, run_model(exposed(model), x), strict=True))
    worst, operand = -np.inf, x
    for op in network.ops:
        value, bound = step(op, operand, np.zeros_like(operand), (SINGLE, DOUBLE))
        operand = measured[op.out.name]
        worst = max(worst, float((np.abs(operand - value) - bound).max()))
    return worst


@pytest.mark.parametrize("name", MODELS)
def test_network_agrees_with_onnxruntime_within_float32_error(name: str) -> None:
    path = shared_data() / name
    network = load_network(path)
    points = samples(network.input.size)
    values, bound = evaluate(network, points)
    (measured,) = run_model(onnx.load(path), points)
    assert measured.shape == values.shape
    assert (np.abs(measured - values) <= bound).all()
    assert bound.max() <= 0.1 * np.abs(values).max()  # the bound says something


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_agrees_with_onnxruntime_within_the_rounding_of_one_layer(name: str) -> None:
    path = shared_data() / name
    network = load_network(path)
    assert layer_excess(network, onnx.load(path), samples(network.input.size, count=100)) <= 0


@pytest.mark.parametrize("name", MODELS)
def test_exact_interpreter_agrees_with_doubles(name: str) -> None:
    network = load_network(shared_data() / name)
    points = samples(network.input.size, count=SPOT_CHECKS)
    values, bound = evaluate(network, points, units=(DOUBLE,))
    exact = reference.enclose(network, [tuple(map(Fraction, point)) for point in points.tolist()])
    for row, value, radius in zip(exact.middle, values.tolist(), bound.tolist(), strict=True):
        assert all(abs(e - Fraction(v)) <= Fraction(r) for e, v, r in zip(row, value, radius, strict=True))


# --- planted faults --------------------------------------------------------------------------------------


def with_parameters(
    network: Network, layer: int, change: Callable[[Affine], tuple[FloatArray, FloatArray]]
) -> Network:
    """The network with other numbers in one affine op."""
    ops = list(network.ops)
    position = [i for i, op in enumerate(ops) if isinstance(op, Affine)][layer]
    op = ops[position]
    assert isinstance(op, Affine)
    weight, bias = (
        Const(const.name, const.type, RealTensor.of_floats(numbers))
        for const, numbers in zip((op.weight, op.bias), change(op), strict=True)
    )
    ops[position] = Affine(op.out, op.x, weight, bias)
    return replace(network, ops=tuple(ops))


def nudged(op: Affine) -> tuple[FloatArray, FloatArray]:
    """One neuron's weights, off by 2**-10 of themselves."""
    weight = op.weight.reals.nearest.copy()
    weight[0] *= 1 + 2.0**-10
    return weight, op.bias.reals.nearest


FAULTS: dict[str, Callable[[Affine], tuple[FloatArray, FloatArray]]] = {
    "no bias": lambda op: (op.weight.reals.nearest, np.zeros(op.bias.type.shape)),
    "bias shifted by one": lambda op: (op.weight.reals.nearest, np.roll(op.bias.reals.nearest, 1)),
    "weight sign": lambda op: (-op.weight.reals.nearest, op.bias.reals.nearest),
    "wrong transposition": lambda op: (
        op.weight.reals.nearest.T.reshape(op.weight.type.shape),
        op.bias.reals.nearest,
    ),
    "one neuron nudged": nudged,
}


NAMED_FOR_FAULTS = [
    name for name in MODELS if "vnncomp_rl/c" in name or "1_1_batch_2000.onnx" in name
] or MODELS


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", NAMED_FOR_FAULTS)
@pytest.mark.parametrize("layer", [0, -1])
def test_planted_fault_is_caught(name: str, fault: str, layer: int) -> None:
    path = shared_data() / name
    network = with_parameters(load_network(path), layer, FAULTS[fault])
    assert layer_excess(network, onnx.load(path), samples(network.input.size, count=100)) > 0
