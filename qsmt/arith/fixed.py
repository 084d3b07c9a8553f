"""Fixed-point formats: an integer `q` of a given width that stands for `q / 2**frac`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from qsmt.arith.rounding import Rounding, round_fraction


class Overflow(StrEnum):
    """What happens to an integer that does not fit its format (the four modes of `ap_fixed`)."""

    SATURATE = "saturate"  # to the nearer end of the range
    WRAP = "wrap"  # two's complement: the low bits
    SATURATE_SYMMETRIC = "saturate_symmetric"  # to +-max when signed, as SATURATE when not
    SATURATE_ZERO = "saturate_zero"  # to zero


@dataclass(frozen=True, slots=True)
class Fixed:
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

    def fits(self, code: int) -> bool:
        return self.min <= code <= self.max

    def overflow(self, code: int, mode: Overflow) -> int:
        """`code`, an integer of any size, brought into the range."""
        match mode:
            case Overflow.SATURATE:
                return min(max(code, self.min), self.max)
            case Overflow.WRAP:
                return (code - self.min) % (1 << self.bits) + self.min
            case Overflow.SATURATE_SYMMETRIC:
                return min(max(code, -self.max if self.signed else 0), self.max)
            case Overflow.SATURATE_ZERO:
                return code if self.fits(code) else 0

    def encode(self, value: Fraction, rounding: Rounding) -> int:
        """The code of a real `value`: rounded, then saturated."""
        return min(max(round_fraction(value / self.scale, rounding), self.min), self.max)

    def decode(self, code: int) -> Fraction:
        return code * self.scale

    def __str__(self) -> str:
        return f"fixed<{'s' if self.signed else 'u'}{self.bits}, frac {self.frac}>"
