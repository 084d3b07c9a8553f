"""Random QDQ graphs: a dense layer, then a few operators on codes, then perhaps another layer; of any types and scales.

Neighbours matter: onnxruntime fuses, drops and moves nodes by what stands beside them. Constants are floats, or bytes
of either sign with a zero point; scales make some results saturate, some lie on ties, and some be all alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.support.quantized_onnx import model

F32 = np.float32
TYPES = (np.uint8, np.int8)


class Chain:
    """The graph of one seed. Every draw is from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self.kind = TYPES[self.rng.integers(2)]
        self.shape: tuple[int, ...] = (1, 3)
        self.current = self.quantized("x", scale=1 / 64)
        self.layer(int(self.rng.integers(2, 5)))
        for _ in range(self.rng.integers(1, 4)):
            first = self.rng.choice(len(FIRST))
            FIRST[first](self)
            if self.rng.random() < 0.3:
                STEPS[self.rng.choice(len(STEPS))](self)
            self.current = self.quantized(self.current)
        if self.rng.random() < 0.5:
            self.flat()
            self.layer(2)
        self.node("Identity", [self.current], output="y")

    @property
    def model(self) -> onnx.ModelProto:
        made = [numpy_helper.from_array(np.asarray(v), k) for k, v in self.tensors.items()]
        return model(self.nodes, made, [1, 3], list(self.shape))

    # --- parts ---

    def node(self, op: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}.{len(self.nodes)}", **attributes))
        return name

    def constant(self, value: Any) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = value
        return name

    def zero(self, kind: Any) -> Any:
        ends = np.iinfo(kind)
        chosen = [
            ends.min,
            ends.max,
            (ends.min + ends.max + 1) // 2,
            int(self.rng.integers(ends.min, ends.max)),
        ]
        return kind(chosen[self.rng.integers(4)])

    def scale(self) -> Any:
        return F32(
            self.rng.choice([0.05, 0.1, 1 / 32, 2.0 ** self.rng.uniform(-10, 1)])
            * self.rng.choice([1, self.rng.uniform(0.5, 2)])
        )

    def quantized(self, name: str, *, scale: float | None = None) -> str:
        """Through Q and DQ, in the type of the network, or rarely in another."""
        kind = self.kind if self.rng.random() < 0.9 else TYPES[self.rng.integers(2)]
        numbers: list[Any] = [self.scale() if scale is None else F32(scale), self.zero(kind)]
        if self.rng.random() < 0.05:
            numbers = [np.array([v]) for v in numbers]
        operands = [self.constant(v) for v in numbers]
        codes = self.node("QuantizeLinear", [name, *operands])
        if self.rng.random() < 0.02:
            self.node("DequantizeLinear", [codes, *operands])  # which nobody reads
        if self.rng.random() < 0.05:
            codes = self.moved(codes)
        self.format = operands
        return self.node("DequantizeLinear", [codes, *operands])

    def bytes_of(self, shape: tuple[int, ...]) -> str:
        """A dequantized constant."""
        kind = TYPES[self.rng.integers(2)]
        ends = np.iinfo(kind)
        codes = self.rng.integers(ends.min, ends.max, shape, endpoint=True).astype(kind)
        operands = [self.constant(codes), self.constant(self.scale()), self.constant(self.zero(kind))]
        return self.node("DequantizeLinear", operands)

    def number(self) -> str:
        """A constant that the tensor can be joined with."""
        shape = tuple(
            d if self.rng.integers(2) else 1 for d in self.shape[self.rng.integers(len(self.shape)) :]
        )
        draw = self.rng.random()
        if draw < 0.4:
            return self.bytes_of(shape if self.rng.integers(2) else ())
        if draw < 0.5:
            return self.constant(F32(self.rng.choice([0, 1, -1])))
        return self.constant((self.rng.standard_normal(shape) * self.rng.choice([0.3, 3])).astype(F32))

    def layer(self, size: int) -> None:
        weight = self.rng.integers(-127, 128, (size, self.shape[-1])).astype(np.int8)
        scale = self.constant(F32(0.01))
        parts = [self.constant(weight), scale, self.constant(np.int8(0))]
        self.current = self.node("Gemm", [self.current, self.node("DequantizeLinear", parts)], transB=1)
        self.shape = (1, size)
        draw = self.rng.random()
        if draw < 0.1:
            self.arithmetic()
        if draw > 0.9:
            self.current = self.moved(self.current)
        if draw > 0.95:
            self.node("Relu", [self.current])  # which nobody reads
        self.current = self.quantized(self.current)

    def moved(self, name: str) -> str:
        """The tensor in another arrangement, of the same shape."""
        size = self.shape[1]
        op = str(self.rng.choice(["Reshape", "Flatten", "Transpose", "Gather", "Slice", "Identity"]))
        if op == "Flatten" and len(self.shape) > 2:
            op = "Reshape"
        axes: dict[str, Any] = {"Transpose": {"perm": list(range(len(self.shape)))}, "Gather": {"axis": 1}}
        operands: dict[str, list[Any]] = {
            "Reshape": [np.array(self.shape)],
            "Gather": [self.rng.permutation(size)],
            "Slice": [np.array([v]) for v in (0, size, 1)],
        }
        return self.node(op, [name, *map(self.constant, operands.get(op, []))], **axes.get(op, {}))

    # --- steps ---

    def move(self) -> None:
        """And perhaps back to the same codes, as a tool writes it that quantizes every operator."""
        self.current = self.moved(self.current)
        if self.rng.integers(2):
            codes = self.node("QuantizeLinear", [self.current, *self.format])
            self.current = self.node("DequantizeLinear", [codes, *self.format])

    def arithmetic(self) -> None:
        op = str(self.rng.choice(["Add", "Mul", "Sub", "Div", "Mul"]))
        operands = [self.current, self.number()]
        if op != "Div" and self.rng.integers(2):
            operands.reverse()
        self.current = self.node(op, operands)

    def function(self) -> None:
        op = str(self.rng.choice(["Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Clip"]))
        limits = [self.constant(F32(-0.4)), self.constant(F32(0.7))] if op == "Clip" else []
        self.current = self.node(op, [self.current, *limits])

    def normalization(self) -> None:
        channels = self.shape[1]
        numbers = self.rng.standard_normal((4, channels)).astype(F32)
        numbers[3] = np.abs(numbers[3]) + F32(0.1)
        self.current = self.node("BatchNormalization", [self.current, *map(self.constant, numbers)])

    def concat(self) -> None:
        extra = self.bytes_of((1, 2, *self.shape[2:]))
        if self.rng.integers(2):
            extra = self.constant(self.rng.standard_normal((1, 2, *self.shape[2:])).astype(F32))
        operands = [self.current, extra] if self.rng.integers(2) else [extra, self.current]
        self.current = self.node("Concat", operands, axis=1)
        self.shape = (1, self.shape[1] + 2, *self.shape[2:])

    def doubled(self) -> None:
        """Two parts of one tensor, in another order."""
        ends = [self.constant(np.array([v])) for v in (1, self.shape[1], 1)]
        part = self.node("Slice", [self.current, *ends])
        self.current = self.node("Concat", [part, self.current], axis=1)
        self.shape = (1, 2 * self.shape[1] - 1, *self.shape[2:])

    def unsqueeze(self) -> None:
        self.current = self.node("Unsqueeze", [self.current, self.constant(np.array([2]))])
        self.shape = (*self.shape[:2], 1, *self.shape[2:])

    def flat(self) -> None:
        if len(self.shape) > 2:
            self.current = self.node("Flatten", [self.current])
            self.shape = (1, int(np.prod(self.shape)))


STEPS: list[Callable[[Chain], None]] = [
    Chain.arithmetic,
    Chain.arithmetic,
    Chain.function,
    Chain.unsqueeze,
    Chain.move,
]
FIRST: list[Callable[[Chain], None]] = [
    *[Chain.arithmetic] * 4,
    *[Chain.function] * 2,
    Chain.normalization,
    Chain.concat,
    Chain.doubled,
    Chain.move,
]
"""What may stand right after a DequantizeLinear: more is read there."""
