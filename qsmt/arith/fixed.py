"""Formats: what an integer code of a given width stands for.

    fixed<s8, frac 6>                          q / 2**6
    quantized<u8, scale 0x1.8p-6, zero 128>    (q - 128) * scale, where q is the integer that is stored

Codes are centred everywhere: the code of a quantized format is q - zero point, so that code 0 stands for 0 and a
code times the scale is the value, in every format. Only the range differs: [0, 255] becomes [-128, 127].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from qsmt.arith import single
from qsmt.arith.real import FloatArray
from qsmt.arith.rounding import Rounding, round_fraction


class Overflow(StrEnum):
    """What happens to an integer that does not fit its format (the four modes of `ap_fixed`)."""

    SATURATE = "saturate"  # to the nearer end of the range
    WRAP = "wrap"  # two's complement: the low bits
    SATURATE_SYMMETRIC = "saturate_symmetric"  # to +-max when signed, as SATURATE when not
    SATURATE_ZERO = "saturate_zero"  # to zero


class Format(ABC):
    """What every format has; `bits` is the width of what is stored."""

    __slots__ = ()

    signed: bool
    bits: int

    if (
        TYPE_CHECKING
    ):  # fields of one format, properties of the other: a dataclass would take these for defaults

        @property
        def scale(self) -> Fraction:
            """The value of one unit in the last place."""

        @property
        def zero_point(self) -> int:
            """What is stored for the code 0."""

        @property
        def min(self) -> int:
            """The least code."""

        @property
        def max(self) -> int:
            """The greatest code."""

    @abstractmethod
    def read(self, value: Fraction) -> int:
        """The code that an input quantizer of this format makes of a real; monotone."""

    @property
    @abstractmethod
    def read_noise(self) -> Fraction:
        """How far an unsaturated code can be from value / unit."""

    def fits(self, code: int) -> bool:
        return self.min <= code <= self.max

    def saturated(self, code: int) -> int:
        """The nearest code in range."""
        return min(max(code, self.min), self.max)

    def overflow(self, code: int, mode: Overflow) -> int:
        """`code`, an integer of any size, brought into the range."""
        match mode:
            case Overflow.SATURATE:
                return self.saturated(code)
            case Overflow.WRAP:
                return (code - self.min) % (1 << self.bits) + self.min
            case Overflow.SATURATE_SYMMETRIC:
                return min(max(code, -self.max if self.signed else 0), self.max)
            case Overflow.SATURATE_ZERO:
                return code if self.fits(code) else 0

    def decode(self, code: int) -> Fraction:
        return code * self.scale


@dataclass(frozen=True, slots=True)
class Fixed(Format):
    """A fixed-point format of `bits` bits: the integer `q` stands for `q * 2**-frac`.

    `frac` may be negative or exceed `bits`: it only places the binary point.
    """

    signed: bool
    bits: int
    frac: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64:
            raise ValueError(f"a fixed-point format has 1 to 64 bits, not {self.bits}")
        if not -1024 <= self.frac <= 1024:
            raise ValueError(f"a fixed-point format has -1024 to 1024 fractional bits, not {self.frac}")

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    @property
    def scale(self) -> Fraction:
        """The value of one unit in the last place."""
        return Fraction(2) ** -self.frac

    @property
    def zero_point(self) -> int:
        return 0

    def encode(self, value: Fraction, rounding: Rounding) -> int:
        """The code of a real `value`: rounded, then saturated."""
        return min(max(round_fraction(value / self.scale, rounding), self.min), self.max)

    def read(self, value: Fraction) -> int:
        """Rounded half to even, then saturated."""
        return self.encode(value, Rounding.HALF_EVEN)

    @property
    def read_noise(self) -> Fraction:
        return Fraction(1, 2)

    def __str__(self) -> str:
        return f"fixed<{'s' if self.signed else 'u'}{self.bits}, frac {self.frac}>"


@dataclass(frozen=True, slots=True)
class Quantized(Format):
    """The format of ONNX and TFLite: the stored integer q stands for `(q - zero_point) * scale`.

    `scale` is a positive number of single precision; `zero_point` is one of the integers that can be stored.
    A real becomes a code as QuantizeLinear makes it: RNE(fl(fl(x) / scale)) in single precision, saturated.
    """

    signed: bool
    bits: int
    scale: Fraction
    zero_point: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 32:
            raise ValueError(f"a quantized format has 2 to 32 bits, not {self.bits}")
        least = -(1 << (self.bits - 1)) if self.signed else 0
        if not least <= self.zero_point < least + (1 << self.bits):
            raise ValueError(f"a format of {self.width} has no zero point {self.zero_point}")
        if not single.LEAST <= self.scale <= single.GREATEST or self.scale != single.single(self.scale):
            raise ValueError("a quantized format's scale is a positive number of single precision")

    @property
    def width(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}"

    @property
    def min(self) -> int:
        return (-(1 << (self.bits - 1)) if self.signed else 0) - self.zero_point

    @property
    def max(self) -> int:
        return (1 << (self.bits - self.signed)) - 1 - self.zero_point

    def read(self, value: Fraction) -> int:
        try:
            ratio = single.single(Fraction(single.single(value)) / self.scale)
        except OverflowError:
            return self.max if value > 0 else self.min
        return self.saturated(round(ratio))

    def read_array(self, values: FloatArray) -> FloatArray:
        """`read` of doubles, elementwise."""
        with np.errstate(over="ignore"):
            ratio = values.astype(np.float32) / np.float32(float(self.scale))
            codes: FloatArray = np.clip(np.rint(ratio.astype(np.float64)), self.min, self.max)
        return codes + 0.0

    @property
    def read_noise(self) -> Fraction:
        """Half a code, and the two roundings of a value that is not much beyond the range: 2**-24 each, of
        at most |code| + 1; and an underflow, which is far below 2**-24 of a code unless the scale is tiny.
        """
        reach = max(-self.min, self.max) + 2
        underflow = Fraction(1, 2**149) / self.scale + Fraction(1, 2**149)
        return Fraction(1, 2) + reach * Fraction(1, 2**22) + underflow

    def __str__(self) -> str:
        return f"quantized<{self.width}, scale {self.scale}, zero {self.zero_point}>"
