"""TFLite models of one integer layer, written with the schema that LiteRT ships, and run by LiteRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.int8]
Words = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A fully connected layer (weight (m, n)), or a convolution without padding (weight (m, h, w, c)), int8.

    `weight_scales` has one scale, or one for each output channel.
    """

    weight: Bytes
    bias: Words
    input: tuple[np.float32, int]  # scale, zero point
    weight_scales: npt.NDArray[np.float32]
    output: tuple[np.float32, int]

    @property
    def is_dense(self) -> bool:
        return self.weight.ndim == 2

    def sums(self, x: Bytes) -> npt.NDArray[np.int64]:
        """The exact accumulators; one axis for the channels, last."""
        centred, weight = x.astype(np.int64) - self.input[1], self.weight.astype(np.int64)
        if self.is_dense:
            return centred @ weight.T + self.bias
        windows = np.lib.stride_tricks.sliding_window_view(centred, self.weight.shape[1:3], axis=(1, 2))
        return np.asarray(np.einsum("nijchw,mhwc->nijm", windows, weight) + self.bias)


def _parameters(schema: Any, scales: Any, zero: int) -> Any:
    made = schema.QuantizationParametersT()
    made.scale = [float(v) for v in np.atleast_1d(scales)]
    made.zeroPoint, made.quantizedDimension = [zero] * len(made.scale), 0
    return made


def _tensor(schema: Any, name: str, shape: tuple[int, ...], kind: int, quantization: Any) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
    tensor.quantization = quantization
    return tensor


def written(layer: IntegerLayer, shape: tuple[int, ...]) -> bytes:
    """The model that applies the layer to an input of this shape."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers = 3, [schema.BufferT()]
    result = layer.sums(np.zeros(shape, dtype=np.int8)).shape
    kind = schema.TensorType
    graph.tensors = [
        _tensor(schema, "x", shape, kind.INT8, _parameters(schema, *layer.input)),
        _tensor(schema, "w", layer.weight.shape, kind.INT8, _parameters(schema, layer.weight_scales, 0)),
        _tensor(
            schema,
            "b",
            layer.bias.shape,
            kind.INT32,
            _parameters(schema, layer.input[0] * layer.weight_scales, 0),
        ),
        _tensor(schema, "y", result, kind.INT8, _parameters(schema, *layer.output)),
    ]
    for i, data in ((1, layer.weight), (2, layer.bias)):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        graph.tensors[i].buffer = len(model.buffers) - 1
    _operator(schema, model, graph, layer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator(schema: Any, model: Any, graph: Any, layer: IntegerLayer) -> None:
    code, node = schema.OperatorCodeT(), schema.OperatorT()
    if layer.is_dense:
        code.builtinCode, code.version = schema.BuiltinOperator.FULLY_CONNECTED, 4
        node.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        node.builtinOptions = schema.FullyConnectedOptionsT()
    else:
        code.builtinCode, code.version = schema.BuiltinOperator.CONV_2D, 3
        node.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
        node.builtinOptions = options = schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
    code.deprecatedBuiltinCode = code.builtinCode
    node.opcodeIndex, node.inputs, node.outputs = 0, [0, 1, 2], [3]
    graph.inputs, graph.outputs, graph.operators = [0], [3], [node]
    model.operatorCodes, model.subgraphs = [code], [graph]


def run(model: bytes, x: Bytes, resolver: str) -> npt.NDArray[np.int64]:
    """What LiteRT computes with one of its sets of kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType[resolver], num_threads=1
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    result = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return np.asarray(result).astype(np.int64)
