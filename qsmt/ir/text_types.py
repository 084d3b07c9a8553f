"""How the IR's text spells types and requantizations."""

from __future__ import annotations

import re
from collections.abc import Callable

from qsmt.arith.fixed import Fixed, Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.requantize import Rational, RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import DoubleAway, DoubleUp, F32Mul, F64Mul, Hull, RuntimeKind, SingleUp
from qsmt.arith.table import Table
from qsmt.arith.units import Unit, distinct, shown
from qsmt.ir.ops import PerNeuron
from qsmt.ir.tokens import Tokens
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Channels, ElementType, Real, TensorType
from qsmt.ir.verify import MAX_ELEMENTS

_FIXED_POINT: dict[str, Callable[[int, int], DoubleAway | DoubleUp | SingleUp]] = {
    "double_away": DoubleAway,
    "double_up": DoubleUp,
    "single_up": SingleUp,
}


class TypeParser(Tokens):
    """Reads types and kinds of requantization."""

    def _kinds(self) -> PerNeuron:
        self._expect("[")
        return PerNeuron(tuple(self._list(lambda: self._runtime_kind(self._take("word")), "]")))

    def _kind(self, word: str) -> RequantKind:
        if word not in ("shift", "rational"):
            return self._runtime_kind(word)
        amount = self._number()
        self._expect(",")
        rounding = self._enum(Rounding)
        if word == "shift" and amount.denominator == 1:
            return self._checked(lambda: Shift(int(amount), rounding))
        if word == "rational" and amount > 0:
            return Rational(amount, rounding)
        self._fail(f"there is no requantization {word} {amount}")

    def _runtime_kind(self, word: str) -> RuntimeKind:
        match word:
            case "f32mul" | "f64mul":
                factor = self._double()
                return self._checked(lambda: F32Mul(factor) if word == "f32mul" else F64Mul(factor))
            case "double_away" | "double_up" | "single_up":
                q, e = self._integers(2)
                return self._checked(lambda: _FIXED_POINT[word](q, e))
            case "hull":
                multiplier = self._number()
                self._expect(",")
                slack = self._number()
                return self._checked(lambda: Hull(multiplier, slack))
            case "ideal":
                multiplier = self._number()
                self._expect(",")
                self._expect("offset")
                offset = self._number()
                self._expect(",")
                rounding = self._enum(Rounding)
                return self._checked(lambda: Ideal(multiplier, offset, rounding))
            case "table":
                first, step = self._integers(2)
                self._expect(",")
                self._expect("[")
                codes = tuple(self._list(self._integer, "]"))
                return self._checked(lambda: Table(first, step, codes))
            case _:
                self._fail(f"there is no requantization {word}")

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
            case "quantized":
                return self._quantized()
            case "channels":
                return self._channels()
            case "acc":
                return self._accumulator()
            case word:
                self._fail(f"there is no type {word!r}")

    def _quantized(self) -> Quantized:
        self._expect("<")
        signed, bits = self._width()
        self._expect(",")
        self._expect("scale")
        scale = self._number()
        self._expect(",")
        self._expect("zero")
        zero = self._integer()
        self._expect(">")
        return self._checked(lambda: Quantized(signed, bits, scale, zero))

    def _channels(self) -> Channels:
        self._expect("<")
        signed, bits = self._width()
        self._expect(",")
        self._expect("scale")
        self._expect("[")
        scales = tuple(self._list(self._number, "]"))
        self._expect(">")
        if not signed or any(scale <= 0 for scale in scales):
            self._fail("codes per channel are signed, and their scales positive")
        return self._checked(lambda: Channels(bits, scales))

    def _width(self) -> tuple[bool, int]:
        width = self._take("word")
        if not re.fullmatch(r"[su]\d{1,2}", width):
            self._fail(f"{width!r} is not a width such as s8 or u4")
        return width[0] == "s", int(width[1:])

    def _fixed(self) -> Fixed:
        self._expect("<")
        signed, bits = self._width()
        self._expect(",")
        self._expect("frac")
        frac = self._integer()
        self._expect(">")
        return self._checked(lambda: Fixed(signed, bits, frac))

    def _accumulator(self) -> Accumulator:
        self._expect("<")
        width = self._take("word")
        self._expect(",")
        self._expect("scale")
        scale = self._unit()
        self._expect(",")
        overflow = self._enum(AccumulatorOverflow)
        self._expect(">")
        if not re.fullmatch(r"i[1-9]\d{0,3}", width) or min(distinct(scale)) <= 0:
            self._fail(f"there is no accumulator of width {width} and scale {shown(scale)}")
        return Accumulator(int(width[1:]), scale, overflow)

    def _unit(self) -> Unit:
        """One scale, or one for each row."""
        if not self._accept("["):
            return self._number()
        scales = tuple(self._list(self._number, "]"))
        return scales or self._fail("there are no scales")
