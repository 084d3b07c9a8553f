"""The table of ONNX operators: name -> what the operator means on exact tensors, per opset version.

A tensor is either computed from the network's input, or a constant: real numbers, or integers (shapes,
axes, indices). A rule reads its operands through `Call`, which says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qsmt.arith.real import IntArray, RealTensor
from qsmt.errors import UnsupportedOp
from qsmt.frontend.onnx_affine import Computed, Lowering
from qsmt.frontend.onnx_exact import Array, rearranged
from qsmt.frontend.onnx_graph import Node
from qsmt.frontend.onnx_tensor import quoted, volume

Tensor: TypeAlias = Computed | RealTensor | IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operator applied to its operands."""

    node: Node
    operands: tuple[Tensor | None, ...]
    lowering: Lowering

    def optional(self, position: int) -> Tensor | None:
        return self.operands[position] if position < len(self.operands) else None

    def tensor(self, position: int) -> Tensor:
        operand = self.optional(position)
        return self.node.fail(f"lacks its input {position}") if operand is None else operand

    def computed(self, position: int) -> Computed:
        """An operand that depends on the network's input."""
        operand = self.tensor(position)
        if isinstance(operand, Computed):
            return operand
        self.node.refuse("is applied to a constant", hint="fold constants before export")

    def reals(self, position: int) -> RealTensor:
        """A constant operand made of real numbers."""
        return self.as_reals(self.tensor(position), position)

    def as_reals(self, operand: Tensor, position: int) -> RealTensor:
        if isinstance(operand, RealTensor):
            return operand
        name = quoted(self.node.inputs[position])
        if isinstance(operand, Computed):
            self.node.refuse(f"needs {name} to be a constant, but it depends on the network's input")
        self.node.fail(f"needs real numbers, but {name} holds integers")

    def integers(self, position: int) -> IntArray:
        """A constant operand made of integers."""
        operand = self.tensor(position)
        if isinstance(operand, np.ndarray):
            return operand
        name = quoted(self.node.inputs[position])
        if isinstance(operand, Computed):
            self.node.refuse(f"needs {name} to be a constant, but it depends on the network's input")
        self.node.fail(f"needs integers, but {name} holds real numbers")

    def axes(self, position: int) -> tuple[int, ...]:
        """A constant list of integers."""
        return tuple(self.integers(position).ravel().tolist())

    def affordable(self, shape: tuple[int, ...]) -> None:
        """Refuse a result of this shape if it has more elements than a tensor may have."""
        self.lowering.affordable(volume(shape))
        self.lowering.spend(volume(shape))

    def rearrange(self, operand: Tensor, how: Callable[[Array], Array]) -> Tensor:
        """An operand in another arrangement; `how` moves, drops or repeats elements."""
        if isinstance(operand, Computed):
            return self.lowering.rearrange(operand, how)
        if isinstance(operand, RealTensor):
            return rearranged(operand, how)
        return np.asarray(how(operand))


Evaluate: TypeAlias = Callable[[Call], Tensor]


@dataclass(frozen=True, slots=True)
class Rule:
    """The meaning of an operator from one opset version on."""

    since: int
    inputs: range
    attributes: frozenset[str]
    evaluate: Evaluate


class Operators:
    """The operators of one group; groups are joined by naming them."""

    def __init__(self, *groups: Operators) -> None:
        self._table: dict[str, list[Rule]] = {}
        for group in groups:
            self._table |= group._table

    def rule(
        self, op: str, *, inputs: range, since: int = 7, attributes: str = ""
    ) -> Callable[[Evaluate], Evaluate]:
        """Decorator: this function is the meaning of the operator from an opset version on."""

        def add(evaluate: Evaluate) -> Evaluate:
            versions = self._table.setdefault(op, [])
            versions.append(Rule(since, inputs, frozenset(attributes.split()), evaluate))
            versions.sort(key=lambda version: version.since, reverse=True)
            return evaluate

        return add

    @property
    def names(self) -> tuple[str, ...]:
        """The operators that are read."""
        return tuple(sorted(self._table))

    def rule_of(self, node: Node) -> Rule:
        """The rule that applies to a node, whose form it fits.

        Raises:
            InputError: if there is no rule, or the node has not the form that its opset version defines.
        """
        if node.domain not in ("", "ai.onnx") or node.op_type not in self._table:
            raise self._unsupported(node)
        found = next(rule for rule in self._table[node.op_type] if rule.since <= node.opset)
        unknown = sorted(node.attributes.keys() - found.attributes)
        if unknown:
            node.fail(f"has the attribute {quoted(unknown[0])}, which opset {node.opset} does not define")
        if len(node.inputs) not in found.inputs:
            node.fail(f"has {len(node.inputs)} inputs, which opset {node.opset} does not allow")
        return found

    def _unsupported(self, node: Node) -> UnsupportedOp:
        what, hint = f"{node} is not supported", "docs/semantics.md lists what is read"
        return UnsupportedOp(what, where=node.path, hint=hint)


QONNX_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
_QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant", "Trunc")


def is_qonnx(node: Node) -> bool:
    """Is this a quantizer of QONNX?"""
    return node.op_type in _QUANTIZERS and node.domain in QONNX_DOMAINS


def is_quantized(node: Node) -> bool:
    """Is this an operator of integer networks (of ONNX itself, of onnxruntime, or of QONNX)?"""
    marks = ("quantizelinear", "qlinear", "qgemm", "qattention", "qordered", "matmulinteger", "convinteger")
    return is_qonnx(node) or any(mark in node.op_type.lower() for mark in marks)
