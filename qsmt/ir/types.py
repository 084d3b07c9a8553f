"""The types of the IR. Every integer stands for a real number, and its type says which."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from qsmt.arith.fixed import Fixed, Quantized
from qsmt.arith.units import Unit, common, shown


@dataclass(frozen=True, slots=True)
class Real:
    """An exact real number."""

    def __str__(self) -> str:
        return "real"


class AccumulatorOverflow(StrEnum):
    """Whether an accumulator's range is a promise or a rule."""

    EXACT = "exact"  # proved: no input of the declared type overflows it
    WRAP = "wrap"  # two's complement


@dataclass(frozen=True, slots=True)
class Accumulator:
    """A signed integer of `bits` bits, wide enough for a sum of products; stands for `q * scale`.

    The sums of weights that are quantized per channel have a scale each.
    """

    bits: int
    units: Unit
    overflow: AccumulatorOverflow = AccumulatorOverflow.EXACT

    @property
    def scale(self) -> Fraction:
        """What one unit stands for, where all elements have the same."""
        return common(self.units)

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def max(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def __str__(self) -> str:
        return f"acc<i{self.bits}, scale {shown(self.units)}, {self.overflow}>"


@dataclass(frozen=True, slots=True)
class Channels:
    """Parameters quantized per channel: a row's code stands for `code * units[row]`. Of constants only.

    `bits` hold the centred codes, signed.
    """

    bits: int
    units: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64:
            raise ValueError(f"codes per channel have 1 to 64 bits, not {self.bits}")

    @property
    def scale(self) -> Fraction:
        return common(self.units)

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def max(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def fits(self, code: int) -> bool:
        return self.min <= code <= self.max

    def __str__(self) -> str:
        return f"channels<s{self.bits}, scale {shown(self.units)}>"


ElementType: TypeAlias = Real | Fixed | Quantized | Accumulator | Channels


def units_of(kind: Fixed | Quantized | Accumulator | Channels) -> Unit:
    """What one unit of an integer type stands for."""
    return kind.scale if isinstance(kind, Fixed | Quantized) else kind.units


@dataclass(frozen=True, slots=True)
class TensorType:
    """A shape and an element type. Activations are vectors: one axis."""

    shape: tuple[int, ...]
    element: ElementType

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.shape))}] {self.element}"
