"""A fully connected network from its parameters: for file formats that hold nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qsmt.arith.real import RealTensor
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, Relu, Value
from qsmt.ir.types import Real, TensorType
from qsmt.ir.verify import verify

MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Dense:
    """One layer: weight (m, n), bias (m,), and whether a ReLU follows."""

    weight: RealTensor
    bias: RealTensor
    has_relu: bool


def dense_network(name: str, parts: Sequence[Dense]) -> Network:
    """The network of these layers, verified; what a name may not hold is replaced.

    Raises:
        MalformedModel: the layers do not fit together.
    """
    source = x = Value("x", TensorType((parts[0].weight.shape[1],), Real()))
    ops: list[Op] = []
    for i, part in enumerate(parts):
        kind = TensorType(part.bias.shape, Real())
        weight = Const(f"w{i}", TensorType(part.weight.shape, Real()), part.weight)
        ops.append(Affine(Value(f"z{i}", kind), x, weight, Const(f"b{i}", kind, part.bias)))
        if part.has_relu:
            ops.append(Relu(Value(f"h{i}", kind), ops[-1].out))
        x = ops[-1].out
    legal = re.sub(r"[^\w.:/-]", "_", name[:MAX_NAME]) or "_"
    return verify(Network(legal, "real", source, tuple(ops)))
