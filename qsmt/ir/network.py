"""A network: a straight-line program in SSA form, from one input vector to one output vector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qsmt.arith.runtime_kinds import Hull
from qsmt.ir.ops import Affine, Const, Op, Relu, Requantize, Value
from qsmt.ir.types import Real


@dataclass(frozen=True, slots=True)
class Network:
    """`ops` in execution order; the last one defines the output (the input itself if there are none).

    `runtime` names the arithmetic that the ops spell out: "real", "ideal" or a runtime's name.
    """

    name: str
    runtime: str
    input: Value
    ops: tuple[Op, ...]

    @property
    def output(self) -> Value:
        return self.ops[-1].out if self.ops else self.input

    @property
    def is_real(self) -> bool:
        """Does this network compute on real numbers throughout?"""
        return isinstance(self.input.type.element, Real)

    @property
    def is_exact(self) -> bool:
        """Is it known what every op computes? Of hulls it is not."""
        ops = (op for op in self.ops if isinstance(op, Requantize))
        return not any(isinstance(kind, Hull) for op in ops for kind in op.runtime_kinds)

    @property
    def is_silent(self) -> bool:
        """Is it a real network whose parameters are all zero, so that it puts out zeros whatever it reads?"""
        return (
            self.is_real
            and all(isinstance(op, Affine | Relu) for op in self.ops)
            and all(constant.reals.is_zero for constant in self.constants)
        )

    @property
    def constants(self) -> Iterator[Const]:
        """Each constant once, in the order of first use."""
        used = (c for op in self.ops if isinstance(op, Affine) for c in (op.weight, op.bias))
        yield from {id(c): c for c in used}.values()


@dataclass(frozen=True, slots=True)
class Layer:
    """An affine op and the elementwise ops up to the next one."""

    affine: Affine
    activation: tuple[Op, ...]

    @property
    def pre(self) -> Value:
        """The affine op's result."""
        return self.affine.out

    @property
    def post(self) -> Value:
        """What the next layer reads."""
        return self.activation[-1].out if self.activation else self.affine.out


def layers(network: Network) -> tuple[Layer, ...]:
    """The network as a sequence of layers; it must begin with an affine op (`verify` sees to that)."""
    starts = [i for i, op in enumerate(network.ops) if isinstance(op, Affine)]
    ends = [*starts[1:], len(network.ops)]
    found = []
    for start, end in zip(starts, ends, strict=True):
        first = network.ops[start]
        assert isinstance(first, Affine)
        found.append(Layer(first, network.ops[start + 1 : end]))
    return tuple(found)
