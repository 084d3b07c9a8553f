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

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NoReturn, TypeVar, assert_never

import numpy as np

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import IntArray, RealTensor, frozen
from qsmt.arith.requantize import Rational, RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.errors import MalformedModel
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Curve, LeakyRelu, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, ElementType, Real, TensorType
from qsmt.ir.verify import MAX_ELEMENTS, verify

T = TypeVar("T")

MAX_DIGITS = 2000
"""No token that is a number is longer: Python refuses to print integers of more than 4300 digits."""

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
            return f"requantize %{op.x.name} {{{op.kind}, {op.overflow}}}"
        case LeakyRelu():
            return f"leaky_relu %{op.x.name} {{{op.slope}}}"
        case Curve():
            return f"{op.function} %{op.x.name}"
    assert_never(op)


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

_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"[^\"\n]*\")|(?P<name>[@%][\w.:/-]+)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<number>-?0x[01]\.?[0-9a-f]*p[+-]?\d+|-?\d+(?:/\d+)?)|(?P<mark>[{}\[\]<>:=,]))"
)


def parse(text: str, *, where: str = "IR text") -> Network:
    """The network that `text` spells.

    Raises:
        MalformedModel: naming the line, when the text is not of the form above or the network is ill typed.
    """
    return verify(_Parser(text, where).network())


class _Parser:
    """A recursive-descent parser over a list of tokens, one method per construct."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._at, self._last = 0, 0  # where the next token is looked for, and where the last one began
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
        word, amount = self._take("word"), self._number()
        self._expect(",")
        rounding = self._enum(Rounding)
        self._expect(",")
        overflow = self._enum(Overflow)
        self._expect("}")
        return Requantize(out, x, self._kind(word, amount, rounding), overflow)

    def _kind(self, word: str, amount: Fraction, rounding: Rounding) -> RequantKind:
        if word == "shift" and amount.denominator == 1:
            return self._checked(lambda: Shift(int(amount), rounding))
        if word == "rational" and amount > 0:
            return Rational(amount, rounding)
        self._fail(f"there is no requantization {word} {amount}")

    def _type(self) -> TensorType:
        self._expect("[")
        shape = tuple(self._list(self._integer, "]"))
        if any(not 1 <= extent <= MAX_ELEMENTS for extent in shape):
            self._fail(f"an extent is 1 to {MAX_ELEMENTS}")
        return TensorType(shape, self._element())

    def _element(self) -> ElementType:
        match self._take("word"):
            case "real":
                return Real()
            case "fixed":
                return self._fixed()
            case "acc":
                return self._accumulator()
            case word:
                self._fail(f"there is no type {word!r}")

    def _fixed(self) -> Fixed:
        self._expect("<")
        width = self._take("word")
        self._expect(",")
        self._expect("frac")
        frac = self._integer()
        self._expect(">")
        if not re.fullmatch(r"[su]\d{1,2}", width):
            self._fail(f"{width!r} is not a width such as s8 or u4")
        return self._checked(lambda: Fixed(width[0] == "s", int(width[1:]), frac))

    def _accumulator(self) -> Accumulator:
        self._expect("<")
        width = self._take("word")
        self._expect(",")
        self._expect("scale")
        scale = self._number()
        self._expect(",")
        overflow = self._enum(AccumulatorOverflow)
        self._expect(">")
        if not re.fullmatch(r"i[1-9]\d{0,3}", width) or scale <= 0:
            self._fail(f"there is no accumulator of width {width} and scale {scale}")
        return Accumulator(int(width[1:]), scale, overflow)

    def _operand(self) -> Value:
        name = self._name("%")
        return self._values[name] if name in self._values else self._fail(f"%{name} is not defined yet")

    def _constant_named(self) -> Const:
        name = self._name("@")
        self._unused.discard(name)
        return self._constants[name] if name in self._constants else self._fail(f"@{name} is not defined")

    def _limit(self) -> Fraction | None:
        return None if self._accept("none") else self._number()

    def _enum(self, kind: Callable[[str], T]) -> T:
        word = self._take("word")
        return self._checked(lambda: kind(word))

    def _checked(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except ValueError as error:
            self._fail(str(error))

    def _number(self) -> Fraction:
        token = self._take("number")
        if len(token) > MAX_DIGITS:
            self._fail(f"a number has at most {MAX_DIGITS} digits")
        if "x" in token:
            return self._hexadecimal(token)
        numerator, _, denominator = token.partition("/")
        if int(denominator or 1) == 0:
            self._fail(f"{token} is not a number")
        return Fraction(int(numerator), int(denominator or 1))

    def _hexadecimal(self, token: str) -> Fraction:
        """Exactly what a hexadecimal float spells, also where a double would round it."""
        digits, exponent = token.split("p")
        whole, _, places = digits.replace("0x", "").partition(".")
        if not -1100 <= int(exponent) <= 1100:
            self._fail(f"{token} is beyond the range of doubles")
        return int(whole + places, 16) * Fraction(2) ** (int(exponent) - 4 * len(places))

    def _integer(self) -> int:
        number = self._number()
        return int(number) if number.denominator == 1 else self._fail(f"{number} is not an integer")

    # --- tokens ---

    def _list(self, item: Callable[[], T], end: str) -> list[T]:
        items: list[T] = []
        while not self._accept(end):
            if items:
                self._expect(",")
            items.append(item())
        return items

    def _name(self, sigil: str) -> str:
        token = self._take("name")
        return token[1:] if token[0] == sigil else self._fail(f"expected a name with {sigil}, not {token}")

    def _take(self, kind: str) -> str:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match[kind] is None:
            found = repr(match[0].strip()) if match else self._ahead()
            self._fail_next(f"expected a {kind}, not {found}")
        self._at, self._last = match.end(), match.start(kind)
        return match[kind]

    def _accept(self, token: str) -> bool:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match[0].strip() != token:
            return False
        self._at, self._last = match.end(), match.end() - len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            self._fail_next(f"expected {token!r} before {self._ahead()}")

    def _ahead(self) -> str:
        """What comes next, for an error message."""
        rest = self._text[self._at :].split(maxsplit=1)
        return repr(rest[0][:20]) if rest else "the end"

    def _end(self) -> None:
        if self._text[self._at :].strip():
            self._fail_next("there is text after the network")

    def _fail_next(self, what: str) -> NoReturn:
        """Of the token that comes next."""
        self._last = len(self._text) - len(self._text[self._at :].lstrip())
        self._fail(what)

    def _fail(self, what: str) -> NoReturn:
        """Of the last token that was read."""
        line = self._text.count("\n", 0, self._last) + 1
        raise MalformedModel(what, where=f"{self._where}, line {line}")
