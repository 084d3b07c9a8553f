"""The IR as text, and back. `parse(print_network(n))` is `n`, exactly.

Real constants are written so that no digit is lost: integers, hexadecimal floats, or ratios.

    network @demo runtime "ideal" {
      const @w0 : [1, 2] fixed<s4, frac 2> = [3, -1]
      const @b0 : [1] fixed<s4, frac 2> = [0]
      %x : [2] fixed<s8, frac 5> = input
      %a0 : [1] acc<i14, scale 1/128, exact> = affine %x, @w0, @b0
      %h0 : [1] fixed<u4, frac 2> = requantize %a0 {shift 5, half_up, saturate}
    }
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import assert_never

import numpy as np

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Overflow
from qsmt.arith.real import IntArray, RealTensor, frozen
from qsmt.arith.requantize import RequantKind
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Curve, LeakyRelu, Op, PerNeuron, Relu, Requantize, Value
from qsmt.ir.text_types import TypeParser
from qsmt.ir.types import Real, TensorType
from qsmt.ir.verify import verify

# --- printing --------------------------------------------------------------------------------------


def print_network(network: Network) -> str:
    """The textual form; every number exact."""
    lines = [f'network @{network.name} runtime "{network.runtime}" {{']
    lines += [f"  const @{c.name} : {c.type} = [{', '.join(_numbers(c))}]" for c in network.constants]
    lines.append(f"  %{network.input.name} : {network.input.type} = input")
    lines += [f"  %{op.out.name} : {op.out.type} = {_print_op(op)}" for op in network.ops]
    return "\n".join([*lines, "}", ""])


def _print_op(op: Op) -> str:
    match op:
        case Affine():
            return f"affine %{op.x.name}, @{op.weight.name}, @{op.bias.name}"
        case Relu():
            return f"relu %{op.x.name}"
        case Clamp():
            return f"clamp %{op.x.name} {{{_limit(op.lower)}, {_limit(op.upper)}}}"
        case Requantize():
            return f"requantize %{op.x.name} {{{_print_kind(op.kind)}, {op.overflow}}}"
        case LeakyRelu():
            return f"leaky_relu %{op.x.name} {{{op.slope}}}"
        case Curve():
            return f"{op.function} %{op.x.name}"
    assert_never(op)


def _print_kind(kind: RequantKind | PerNeuron) -> str:
    return f"each [{', '.join(map(str, kind.kinds))}]" if isinstance(kind, PerNeuron) else str(kind)


def _limit(limit: Fraction | None) -> str:
    return "none" if limit is None else str(limit)


def _numbers(const: Const) -> Iterator[str]:
    if not isinstance(const.data, RealTensor):
        return map(str, const.data.ravel().tolist())
    if const.data.rationals is not None:
        return map(str, const.data.rationals.ravel().tolist())
    return map(_exact_float, const.data.nearest.ravel().tolist())


def _exact_float(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else value.hex()


# --- parsing -----------------------------------------------------------------------------------------


def parse(text: str, *, where: str = "IR text") -> Network:
    """The network that `text` spells.

    Raises:
        MalformedModel: naming the line, when the text is not of the form above or the network is ill typed.
    """
    return verify(_Parser(text, where).network())


class _Parser(TypeParser):
    """A recursive-descent parser over a list of tokens, one method per construct."""

    def __init__(self, text: str, where: str) -> None:
        super().__init__(text, where)
        self._values: dict[str, Value] = {}
        self._constants: dict[str, Const] = {}
        self._unused: set[str] = set()

    def network(self) -> Network:
        self._expect("network")
        name = self._name("@")
        self._expect("runtime")
        runtime = self._take("string")[1:-1]
        self._expect("{")
        while self._accept("const"):
            self._constant()
        source = self._value()
        self._expect("input")
        ops: list[Op] = []
        while not self._accept("}"):
            out = self._value()
            ops.append(self._op(out))
            self._define(out)
        self._end()
        if self._unused:
            self._fail(f"@{min(self._unused)} is never used")
        return Network(name, runtime, source, tuple(ops))

    def _constant(self) -> None:
        name = self._name("@")
        self._expect(":")
        kind = self._type()
        self._expect("=")
        self._expect("[")
        numbers = self._list(self._number, "]")
        if len(numbers) != kind.size:
            self._fail(f"@{name} has {len(numbers)} numbers for shape {list(kind.shape)}")
        if name in self._constants:
            self._fail(f"@{name} is defined twice")
        self._constants[name] = Const(name, kind, self._data(kind, numbers))
        self._unused.add(name)

    def _data(self, kind: TensorType, numbers: list[Fraction]) -> RealTensor | IntArray:
        if isinstance(kind.element, Real):
            return self._checked(lambda: RealTensor.of_fractions(numbers, kind.shape))
        if any(n.denominator != 1 or not -(2**63) <= n < 2**63 for n in numbers):
            self._fail("a code is a 64-bit integer")
        return frozen(np.array([int(n) for n in numbers], dtype=np.int64).reshape(kind.shape).copy())

    def _value(self) -> Value:
        name = self._name("%")
        self._expect(":")
        value = Value(name, self._type())
        self._expect("=")
        if not self._values:
            self._define(value)
        return value

    def _define(self, value: Value) -> None:
        self._values[value.name] = value

    def _op(self, out: Value) -> Op:
        match self._take("word"):
            case "affine":
                x = self._operand()
                self._expect(",")
                weight = self._constant_named()
                self._expect(",")
                return Affine(out, x, weight, self._constant_named())
            case "relu":
                return Relu(out, self._operand())
            case "clamp":
                x = self._operand()
                self._expect("{")
                lower = self._limit()
                self._expect(",")
                upper = self._limit()
                self._expect("}")
                return Clamp(out, x, lower, upper)
            case "requantize":
                return self._requantize(out)
            case "leaky_relu":
                x = self._operand()
                self._expect("{")
                slope = self._number()
                self._expect("}")
                return LeakyRelu(out, x, slope)
            case word if word in list(Function):
                return Curve(out, self._operand(), Function(word))
            case word:
                self._fail(f"there is no op {word!r}")

    def _requantize(self, out: Value) -> Op:
        x = self._operand()
        self._expect("{")
        kind = self._kinds() if self._accept("each") else self._kind(self._take("word"))
        self._expect(",")
        overflow = self._enum(Overflow)
        self._expect("}")
        return Requantize(out, x, kind, overflow)

    def _operand(self) -> Value:
        name = self._name("%")
        return self._values[name] if name in self._values else self._fail(f"%{name} is not defined yet")

    def _constant_named(self) -> Const:
        name = self._name("@")
        self._unused.discard(name)
        return self._constants[name] if name in self._constants else self._fail(f"@{name} is not defined")

    def _limit(self) -> Fraction | None:
        return None if self._accept("none") else self._number()
