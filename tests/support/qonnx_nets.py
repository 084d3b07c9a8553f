"""QONNX networks, and a second evaluation of them, written from the operators' specifications alone.

In single precision, as the reference implementation computes; or in rationals, as the integers mean it. Where every
number is a small multiple of a power of two, both are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
DOMAIN = "qonnx.custom_op.general"
HALF = Fraction(1, 2)


class Net:
    """A network under construction; values flow from one node to the next."""

    def __init__(self, shape: tuple[int, ...], *, domain: str = DOMAIN, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.domain, self.current = shape, domain, "x"
        self.nodes: list[Any] = []
        self.tensors: dict[str, Array] = {}

    def constant(self, value: Any, kind: type = np.float32) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = np.asarray(value, dtype=kind)
        return name

    def random(self, *shape: int, size: float = 1.0) -> Array:
        return (self.rng.standard_normal(shape) * size).astype(np.float32)

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name, domain = f"t{len(self.nodes)}", self.domain if op in QUANTIZERS else ""
        made = helper.make_node(
            op, inputs, [name], name=f"{op}.{len(self.nodes)}", domain=domain, **attributes
        )
        self.nodes.append(made)
        return name

    def then(self, op: str, *constants: Any, **attributes: Any) -> Net:
        self.current = self.node(op, [self.current, *map(self.constant, constants)], **attributes)
        return self

    def quant(
        self,
        scale: Any,
        bits: int,
        *,
        source: str = "",
        op: str = "Quant",
        mode: str = "ROUND",
        **attributes: int,
    ) -> str:
        options = {"signed": 1, "narrow": 0} | attributes
        operands = [source or self.current, *map(self.constant, (scale, 0.0, float(bits)))]
        return self.node(op, operands, rounding_mode=mode, **options)

    def act(self, scale: Any, bits: int, **options: Any) -> Net:
        self.current = self.quant(scale, bits, **options)
        return self

    def gemm(self, n: int, m: int, scale: Any, bits: int, *, bias: bool = True, **options: Any) -> Net:
        weight = self.quant(scale, bits, source=self.constant(self.random(m, n, size=0.6)), **options)
        operands = [self.current, weight, *([self.constant(self.random(m, size=0.4))] if bias else [])]
        self.current = self.node("Gemm", operands, transB=1)
        return self

    def model(self, outputs: list[int]) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [self.current], ["y"], name="last"))
        graph = helper.make_graph(
            self.nodes,
            "qonnx",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(self.shape))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
            [numpy_helper.from_array(value, name) for name, value in self.tensors.items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(self.domain, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def write(self, folder: Path, outputs: list[int]) -> Path:
        path = folder / "qonnx.onnx"
        path.write_bytes(self.model(outputs).SerializeToString())
        return path


# --- the second evaluation -----------------------------------------------------------------------------------

MODES: dict[str, Callable[[Fraction], int]] = {
    "ROUND": round,
    "CEIL": ceil,
    "FLOOR": floor,
    "UP": lambda v: ceil(v) if v > 0 else floor(v),
    "ROUND_TO_ZERO": lambda v: floor(v) if v > 0 else ceil(v),
    "HALF_UP": lambda v: floor(v + HALF) if v > 0 else ceil(v - HALF),
    "HALF_DOWN": lambda v: ceil(v - HALF) if v > 0 else floor(v + HALF),
}


def _rounded(values: Array, mode: str) -> Array:
    """Each a Python integer; a single is the rational that it is."""
    return np.asarray(np.frompyfunc(lambda v: MODES[mode.upper()](Fraction(v)), 1, 1)(values.astype(object)))


def _limits(bits: int, signed: int, narrow: int) -> tuple[int, int]:
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def _quant(
    x: Array, scale: Array, _: Array, bits: Array, *, signed: int, narrow: int, rounding_mode: str
) -> Array:
    """What is stored in the file, and the input, is divided in single precision, whatever the rest is made of."""
    low, high = _limits(int(bits), signed, narrow)
    steps = x / scale if x.dtype == scale.dtype else x / scale.astype(np.float32)
    return np.asarray((_rounded(np.clip(steps, low, high), rounding_mode) * scale).astype(scale.dtype))


def _bipolar(x: Array, scale: Array) -> Array:
    return np.where(x >= 0, scale, -scale).astype(scale.dtype)


def _trunc(
    x: Array,
    scale: Array,
    _: Array,
    first: Array,
    last: Array,
    *rest: Array,
    rounding_mode: str,
    signed: int = 1,
    narrow: int = 0,
) -> Array:
    whole = _rounded(x / scale, "ROUND")
    if not rest:
        return (_rounded(whole * Fraction(1, 2 ** int(first - last)), rounding_mode) * scale).astype(x.dtype)
    low, high = _limits(int(rest[0]), signed, narrow)
    shrunk = whole / Fraction(float(last) / float(scale))
    return np.asarray((_rounded(np.clip(shrunk, low, high), rounding_mode) * last).astype(x.dtype))


QUANTIZERS: dict[str, Callable[..., Array]] = {
    "Quant": _quant,
    "IntQuant": _quant,
    "BipolarQuant": _bipolar,
    "Trunc": _trunc,
}


def _windows(x: Array, kernel: tuple[int, ...]) -> dict[tuple[int, int], Array]:
    """The windows of one image (points, channels, height, width), without padding."""
    rows, columns = (n - k + 1 for n, k in zip(x.shape[2:], kernel, strict=True))
    return {
        (i, j): x[:, :, i : i + kernel[0], j : j + kernel[1]] for i, j in product(range(rows), range(columns))
    }


def _conv(x: Array, weight: Array, bias: Array | None = None) -> Array:
    found = _windows(x, weight.shape[2:])
    shape = tuple(n - k + 1 for n, k in zip(x.shape[2:], weight.shape[2:], strict=True))
    out = np.zeros((len(x), len(weight), *shape), dtype=x.dtype)
    flat = weight.reshape(len(weight), -1)
    for place, part in found.items():
        out[:, :, *place] = part.reshape(len(x), -1) @ flat.T
    return out if bias is None else out + bias[:, None, None]


def _pooled(x: Array, size: int, how: Callable[[Array], Array]) -> Array:
    n, c, height, width = x.shape
    return how(x.reshape(n, c, height // size, size, width // size, size).transpose(0, 1, 2, 4, 3, 5))


def _normalized(x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    """The factor is the nearest single, in both evaluations."""
    root = np.sqrt(variance.astype(np.float64) + float(np.float32(1e-5)))
    factor = (scale.astype(np.float64) / root).astype(np.float32)
    axes = (-1, *(1,) * (x.ndim - 2))
    if x.dtype == object:
        factor = _exact(factor)
    return x * factor.reshape(axes) + (bias - mean * factor).reshape(axes)


def _exact(values: Array) -> Array:
    return np.asarray(np.frompyfunc(lambda v: Fraction(float(v)), 1, 1)(values))


def evaluated(model: onnx.ModelProto, inputs: Array, *, exactly: bool) -> Array:
    """The outputs, (points, outputs); singles, or rationals."""
    stored: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    stored["x"] = inputs.reshape(-1, *shape[1:])
    values = {k: _exact(v) if exactly and v.dtype == np.float32 else v for k, v in stored.items()}
    for node in model.graph.node:
        operands = [values[name] for name in node.input]
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in QUANTIZERS:
            operands[0] = stored.get(node.input[0], operands[0])
            options = {k: v.decode() if isinstance(v, bytes) else v for k, v in options.items()}
            values[node.output[0]] = QUANTIZERS[node.op_type](*operands, **options)
        elif node.op_type in ("MaxPool", "AveragePool"):
            values[node.output[0]] = POOLS[node.op_type](operands[0], options["kernel_shape"][0])
        else:
            values[node.output[0]] = np.asarray(OPERATORS[node.op_type](*operands))
    return values["y"].reshape(len(inputs), -1)


POOLS: dict[str, Callable[[Array, int], Array]] = {
    "MaxPool": lambda x, size: _pooled(x, size, lambda w: w.max(axis=(4, 5))),
    "AveragePool": lambda x, size: _pooled(x, size, lambda w: w.sum(axis=(4, 5)) / (size * size)),
}
OPERATORS: dict[str, Callable[..., Any]] = {
    "Gemm": lambda x, weight, bias=0: x @ weight.T + bias,
    "MatMul": lambda x, weight: x @ weight,
    "Add": lambda x, c: x + c,
    "Mul": lambda x, c: x * c,
    "Relu": lambda x: np.maximum(x, 0),
    "Clip": np.clip,
    "Conv": _conv,
    "BatchNormalization": _normalized,
    "Flatten": lambda x: x.reshape(len(x), -1),
    "Identity": lambda x: x,
}
