"""Random chains of operators mean what onnxruntime computes, with no tolerance."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from tests.support.onnx_forms import agrees
from tests.support.onnx_models import model, node


class Chain:
    """A random chain of operators on doubles, whose values stay small integers over a power of two."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.start = tuple(self.rng.integers(1, 4, self.rng.integers(1, 4)).tolist())
        self.shape = self.start
        for _ in range(self.rng.integers(2, 9)):
            self.rng.choice(np.array(STEPS, dtype=object))(self)
        self.append("Identity", [])

    @property
    def model(self) -> ModelProto:
        kind, output = TensorProto.DOUBLE, f"t{len(self.nodes)}"
        return model(self.nodes, x=self.start, constants=self.constants, output=output, kind=kind)

    def append(self, op: str, operands: list[np.ndarray], *, first: bool = False, **attributes: Any) -> None:
        names = []
        for operand in operands:
            names.append(f"c{len(self.constants)}")
            self.constants[names[-1]] = operand
        current = f"t{len(self.nodes)}" if self.nodes else "x"
        inputs = [*names, current] if first else [current, *names]
        self.nodes.append(node(op, inputs, [f"t{len(self.nodes) + 1}"], **attributes))

    def numbers(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.integers(-2, 2, shape, endpoint=True).astype(float)

    def matmul(self) -> None:
        first, size = bool(self.rng.integers(2)), int(self.rng.integers(1, 4))
        if first:
            inner = self.shape[-2] if len(self.shape) > 1 else self.shape[0]
            operand, tail = self.numbers((size, inner)), (size, *self.shape[-1:])
            self.shape = (*self.shape[:-2], *tail) if len(self.shape) > 1 else (size,)
        else:
            operand = self.numbers((self.shape[-1], size))
            self.shape = (*self.shape[:-1], size)
        self.append("MatMul", [operand], first=first)

    def elementwise(self) -> None:
        op, first = str(self.rng.choice(["Add", "Sub", "Mul", "Sum"])), bool(self.rng.integers(2))
        kept = self.rng.integers(0, len(self.shape), endpoint=True)
        shape = tuple(d if self.rng.integers(2) else 1 for d in self.shape[kept:])
        self.append(op, [self.numbers(shape)], first=first)

    def halve(self) -> None:
        self.append("Div", [2.0 ** self.rng.integers(-1, 2, self.shape[-1:])])

    def negate(self) -> None:
        self.append("Neg", [])

    def relu(self) -> None:
        self.append("Relu", [])

    def clip(self) -> None:
        low = float(self.rng.integers(-4, 2))
        self.append("Clip", [np.array(low), np.array(low + self.rng.integers(0, 6))])

    def flatten(self) -> None:
        axis = int(self.rng.integers(0, len(self.shape), endpoint=True))
        self.append("Flatten", [], axis=axis)
        self.shape = (prod(self.shape[:axis]), prod(self.shape[axis:]))

    def transpose(self) -> None:
        order = self.rng.permutation(len(self.shape)).tolist()
        self.append("Transpose", [], perm=order)
        self.shape = tuple(self.shape[i] for i in order)

    def gather(self) -> None:
        axis = int(self.rng.integers(len(self.shape)))
        index = self.rng.integers(-self.shape[axis], self.shape[axis], self.rng.integers(1, 4))
        self.append("Gather", [index], axis=axis)
        self.shape = (*self.shape[:axis], index.size, *self.shape[axis + 1 :])


STEPS: list[Callable[[Chain], None]] = [
    Chain.matmul,
    Chain.matmul,
    Chain.elementwise,
    Chain.elementwise,
    Chain.halve,
    Chain.negate,
    Chain.relu,
    Chain.relu,
    Chain.clip,
    Chain.flatten,
    Chain.transpose,
    Chain.gather,
]


@pytest.mark.parametrize("block", range(6))
def test_random_chains_mean_what_onnxruntime_computes(block: int) -> None:
    for seed in range(50 * block, 50 * block + 50):
        assert agrees(Chain(seed).model), seed
