"""Train the controller of the example: an inverted pendulum on a cart, 4-16-16-1 with ReLU.

The network imitates a saturated state feedback, `clip(-K s, -1, 1)`, whose gain K is that of the
discrete linear-quadratic regulator of the linearised cart and pole. Its inputs are cart position,
velocity, pole angle and angular velocity, each scaled to [-1, 1]; its output is the force, scaled too.

    python train.py            writes pendulum.onnx beside this file

The same file results on every machine. Random numbers are PCG64 integers, and after each step the
parameters are rounded to multiples of 2**-16: two BLAS libraries differ by about 1e-16 in a gradient,
and rounding takes that away again before it can grow.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Layers: TypeAlias = list[tuple[Array, Array]]

SIZES = (4, 16, 16, 1)
SEED = 3
SAMPLES, STEPS, RATE = 1024, 2000, 0.02
GRID = 2.0**-16

STATE_RANGE = np.array([1.0, 2.0, 0.4, 2.0])
"""What an input of 1 stands for: metres, metres a second, radians, radians a second."""
FORCE_RANGE = 20.0
"""What an output of 1 stands for, in newtons."""


# --- the law that the network imitates --------------------------------------------------------------


def linearised() -> tuple[Array, Array]:
    """A cart of 1 kg with a pole of 0.1 kg and 1 m about its upright position, steps of 20 ms."""
    cart, pole, half, gravity, step = 1.0, 0.1, 0.5, 9.81, 0.02
    lever = half * (4 / 3 - pole / (cart + pole))
    tilt = gravity / lever
    push = -1 / (lever * (cart + pole))
    ratio = pole * half / (cart + pole)
    rates = np.zeros((4, 4))
    rates[0, 1] = rates[2, 3] = 1.0
    rates[1, 2], rates[3, 2] = -ratio * tilt, tilt
    forces = np.array([[0.0], [1 / (cart + pole) - ratio * push], [0.0], [push]])
    return np.eye(4) + step * rates, step * forces


def feedback_gain() -> Array:
    """The regulator's gain on scaled states, by iterating the Riccati equation; three decimals."""
    a, b = linearised()
    cost = np.diag([1.0, 0.1, 10.0, 0.1])
    value = cost
    for _ in range(2000):
        gain = (b.T @ value @ a) / (0.1 + b.T @ value @ b)
        value = cost + a.T @ value @ (a - b @ gain)
    scaled: Array = np.round(gain * STATE_RANGE / FORCE_RANGE, 3)
    return scaled


def law(states: Array) -> Array:
    """The scaled force for scaled states, shape (points, 4)."""
    return np.clip(-states @ feedback_gain().T, -1.0, 1.0)


# --- the network ------------------------------------------------------------------------------------------


def initial(rng: np.random.Generator) -> Layers:
    """Uniform weights of the size that keeps a layer's values in range; no biases."""
    bounds = [(n, m, np.sqrt(3.0 / n)) for n, m in pairwise(SIZES)]
    return [(rng.uniform(-1, 1, (m, n)) * bound, np.zeros(m)) for n, m, bound in bounds]


def forward(layers: Layers, states: Array) -> list[Array]:
    """The input, every hidden activation, and the output."""
    values = [states]
    for i, (weight, bias) in enumerate(layers):
        z = values[-1] @ weight.T + bias
        values.append(np.maximum(z, 0.0) if i < len(layers) - 1 else z)
    return values


def gradients(layers: Layers, states: Array, targets: Array) -> Layers:
    """Of half the mean squared error, by back-propagation."""
    values = forward(layers, states)
    upstream = (values[-1] - targets) / len(states)
    found: Layers = []
    for (weight, _), below in zip(reversed(layers), reversed(values[:-1]), strict=True):
        found.append((upstream.T @ below, upstream.sum(axis=0)))
        upstream = (upstream @ weight) * (below > 0)
    return found[::-1]


def train() -> Layers:
    """Adam on a fixed sample, with a learning rate that falls to zero."""
    rng = np.random.default_rng(SEED)
    states = rng.uniform(-1, 1, (SAMPLES, SIZES[0]))
    targets = law(states)
    parameters = flat(initial(rng))
    mean, square = np.zeros_like(parameters), np.zeros_like(parameters)
    for step in range(1, STEPS + 1):
        slope = flat(gradients(layered(parameters), states, targets))
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope * slope - square)
        rate = RATE * (1 - step / STEPS) * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        parameters = np.round((parameters - rate * mean / (np.sqrt(square) + 1e-8)) / GRID) * GRID
    return layered(parameters)


def flat(layers: Layers) -> Array:
    """All parameters in one vector."""
    return np.concatenate([part.ravel() for layer in layers for part in layer])


def layered(vector: Array) -> Layers:
    """The inverse of `flat`."""
    layers: Layers = []
    for n, m in pairwise(SIZES):
        weight, bias, vector = np.split(vector, [n * m, n * m + m])
        layers.append((weight.reshape(m, n), bias))
    return layers


# --- the file -----------------------------------------------------------------------------------------------


def onnx_bytes(layers: Layers) -> bytes:
    """The network as an ONNX model in float32, which holds multiples of 2**-16 exactly."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "state"
    for i, layer in enumerate(layers):
        for name, array in zip((f"w{i}", f"b{i}"), layer, strict=True):
            constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        last = i == len(layers) - 1
        z = "force" if last else f"z{i}"
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [z], name=f"gemm{i}", transB=1))
        value = z
        if not last:
            value = f"h{i}"
            nodes.append(helper.make_node("Relu", [z], [value], name=f"relu{i}"))
    graph = helper.make_graph(
        nodes,
        "pendulum",
        [helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, SIZES[0]])],
        [helper.make_tensor_value_info("force", TensorProto.FLOAT, [1, SIZES[-1]])],
        constants,
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, producer_name="pendulum", opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    path = Path(__file__).with_name("pendulum.onnx")
    path.write_bytes(onnx_bytes(train()))
    print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
