"""The types of the IR. Every integer stands for a real number, and its type says which."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from qsmt.arith.fixed import Fixed


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
    """A signed integer of `bits` bits, wide enough for a sum of products; stands for `q * scale`."""

    bits: int
    scale: Fraction
    overflow: AccumulatorOverflow = AccumulatorOverflow.EXACT

    @property
    def min(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def max(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def __str__(self) -> str:
        return f"acc<i{self.bits}, scale {self.scale}, {self.overflow}>"


ElementType: TypeAlias = Real | Fixed | Accumulator


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
