"""Writes an 8-bit network as a QDQ ONNX file, in the form that onnxruntime turns into integer kernels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from qsmt.arith.fixed import Quantized
from qsmt.frontend.affine_scheme import DenseLayer, DenseNetwork

OPSET, IR_VERSION = 17, 9


def onnx_bytes(network: DenseNetwork, *, name: str, shape: tuple[int, ...], result: tuple[int, ...]) -> bytes:
    """The model, from a float input `x` of this shape to a float output `y`; a batch of one."""
    writer = _Writer()
    x = "x"
    if len(shape) != 2:
        x = writer.reshaped("x", "x.flat", (1, -1))
    x = writer.quantized(x, "x", network.input)
    for i, layer in enumerate(network.layers):
        x = writer.layer(i, x, layer)
    if len(result) == 2:
        writer.nodes[-1].output[0] = "y"
    else:
        writer.reshaped(x, "y", result)
    graph = helper.make_graph(
        writer.nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        writer.tensors,
    )
    model = helper.make_model(
        graph, producer_name="qsmt", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Writer:
    """The nodes and parameters so far."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def layer(self, i: int, x: str, layer: DenseLayer) -> str:
        """A dense layer and the rounding of its result."""
        weight = self._parameter(f"w{i}", layer.weight, np.int8, layer.weight_scales)
        bias = self._parameter(f"b{i}", layer.bias, np.int32, layer.bias_scales)
        self._node("Gemm", [x, weight, bias], f"z{i}", transB=1)
        return self.quantized(f"z{i}", f"h{i}", layer.output)

    def quantized(self, x: str, name: str, kind: Quantized) -> str:
        """`x` through QuantizeLinear and DequantizeLinear."""
        scale = self._constant(f"{name}.scale", np.float32(float(kind.scale)))
        zero = self._constant(f"{name}.zero", np.uint8(kind.zero_point))
        self._node("QuantizeLinear", [x, scale, zero], f"{name}.codes")
        return self._node("DequantizeLinear", [f"{name}.codes", scale, zero], f"{name}.values")

    def reshaped(self, x: str, name: str, shape: tuple[int, ...]) -> str:
        return self._node(
            "Reshape", [x, self._constant(f"{name}.shape", np.array(shape, dtype=np.int64))], name
        )

    def _parameter(self, name: str, codes: Any, kind: Any, scales: tuple[Fraction, ...]) -> str:
        """Dequantized codes; per channel along the first axis if there are several scales."""
        numbers = np.array([float(s) for s in scales], dtype=np.float32)
        zeros = np.zeros(len(scales), dtype=kind)
        several = len(scales) > 1
        scale = self._constant(f"{name}.scale", numbers if several else numbers[0])
        zero = self._constant(f"{name}.zero", zeros if several else zeros[0])
        stored = self._constant(f"{name}.codes", codes.astype(kind))
        return self._node(
            "DequantizeLinear", [stored, scale, zero], f"{name}.values", **({"axis": 0} if several else {})
        )

    def _constant(self, name: str, value: Any) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}.{op}", **attributes))
        return output
