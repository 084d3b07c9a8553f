"""TFLite models of one integer layer, written with the schema that LiteRT ships, and run by LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from qsmt.arith.requantize import RequantKind
from qsmt.arith.runtime_kinds import stacked
from qsmt.frontend.runtimes import Runtime

Bytes = npt.NDArray[np.int8]
Words = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int64]

RESOLVERS = {
    Runtime.TFLITE_XNNPACK: "AUTO",
    Runtime.TFLITE_RUY: "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    Runtime.TFLITE_REFERENCE: "BUILTIN_REF",
}
"""LiteRT's sets of kernels."""

CHANNELS, KERNEL = 8, (3, 3, 2)


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A fully connected layer (weight (m, n)), or a convolution without padding (weight (m, h, w, c)), int8.

    `weight_scales` has one scale, or one for each output channel. In groups, c is the channels of one.
    """

    weight: Bytes
    bias: Words
    input: tuple[np.float32, int]  # scale, zero point
    weight_scales: npt.NDArray[np.float32]
    output: tuple[np.float32, int]
    groups: int = 1

    @property
    def is_dense(self) -> bool:
        return self.weight.ndim == 2

    def sums(self, x: Bytes) -> npt.NDArray[np.int64]:
        """The exact accumulators, one axis for the channels, last: integers that doubles hold."""
        centred, weight = x.astype(np.float64) - self.input[1], self._over_all_channels().astype(np.float64)
        if not self.is_dense:
            centred = np.lib.stride_tricks.sliding_window_view(centred, self.weight.shape[1:3], axis=(1, 2))
            centred = np.moveaxis(centred, 3, -1)  # (n, i, j, h, w, c)
            centred = centred.reshape(*centred.shape[:3], -1)
        return (centred @ weight.reshape(len(weight), -1).T).astype(np.int64) + self.bias

    def _over_all_channels(self) -> Bytes:
        """The weights of every input channel; zero for those of another group."""
        channels = np.arange(len(self.weight)) * self.groups // len(self.weight)
        return np.concatenate(
            [
                np.where((channels == g).reshape(-1, *(1,) * (self.weight.ndim - 1)), self.weight, 0)
                for g in range(self.groups)
            ],
            axis=-1,
        )

    def kinds(self, runtime: Runtime) -> list[RequantKind]:
        """Of each channel."""
        x, y = Fraction(float(self.input[0])), Fraction(float(self.output[0]))
        several = len(self.weight_scales) > 1
        found = [
            runtime.kind(x, Fraction(float(s)), y, dense=self.is_dense, per_channel=several)
            for s in self.weight_scales
        ]
        return found * (len(self.bias) // len(found))

    def codes(self, runtime: Runtime, sums: Codes) -> Codes:
        """What we say that the runtime makes of the accumulators."""
        codes = stacked(self.kinds(runtime))(sums) + self.output[1]  # type: ignore[arg-type]
        return np.clip(codes, -128, 127)


def random_layer(seed: int, *, dense: bool) -> IntegerLayer:
    """Of 8 channels; every third has scales that are powers of two, so that ties are frequent."""
    rng = np.random.default_rng(seed)
    ties, per_channel = seed % 3 == 0, seed % 2 == 1
    shape = (CHANNELS, 24) if dense else (CHANNELS, *KERNEL)

    def scale(low: float, high: float) -> np.float32:
        exponent = rng.uniform(low, high)
        return np.float32(2.0 ** (round(exponent) if ties else exponent))

    scales = np.array([scale(-8, -6) for _ in range(CHANNELS if per_channel else 1)], dtype=np.float32)
    return IntegerLayer(
        weight=rng.integers(-127, 128, shape).astype(np.int8),
        bias=rng.integers(-4000, 4000, CHANNELS).astype(np.int32),
        input=(scale(-7, -5), int(rng.integers(-100, 100))),
        weight_scales=scales,
        output=(scale(-5, -3), int(rng.integers(-60, 60))),
    )


def random_bytes(seed: int, layer: IntegerLayer, count: int, *, side: int) -> Bytes:
    """Inputs of a layer; those of a convolution are squares of so many pixels a side."""
    shape = (24,) if layer.is_dense else (side, side, KERNEL[-1])
    return np.random.default_rng(seed).integers(-128, 128, (count, *shape), dtype=np.int8)


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


def session(model: bytes, runtime: Runtime) -> Callable[[Bytes], Codes]:
    """The model as LiteRT executes it with one of its sets of kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType[RESOLVERS[runtime]]
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    source, target = (
        found()[0]["index"] for found in (interpreter.get_input_details, interpreter.get_output_details)
    )

    def run(x: Bytes) -> Codes:
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target)).astype(np.int64)

    return run
