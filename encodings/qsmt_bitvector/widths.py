"""Integers of known range as bit-vectors of the least width, and the operations on them.

A `Term` is an integer that provably lies in [low, high] for every input of the region, held as the bits
of its distance from an `offset`. The soundness of all widths below is one fact: an integer known to lie
in [low, high] is determined by its residue modulo 2**w as soon as 2**w > high - low. So a sum of
products is computed modulo 2**w, w taken from the range of the *result*: partial sums may overflow, the
result cannot. Where the range rests on facts about the region, inputs outside it get wrong bits; they
are excluded by the region's own assertions, so the formula stays equisatisfiable with the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Bits: TypeAlias = Any  # a pysmt bit-vector; pysmt is untyped
Condition: TypeAlias = Any  # a pysmt formula


def bits_for(low: int, high: int) -> int:
    """The least width that holds all of [low, high]: unsigned if `low` >= 0, else two's complement."""
    if low >= 0:
        return max(high.bit_length(), 1)
    return max((-low - 1).bit_length(), high.bit_length()) + 1


def origin(low: int, high: int) -> int:
    """The offset that makes [low, high] narrow; 0, which makes zero tests cheap, unless that costs bits."""
    return low if bits_for(0, high - low) < bits_for(low, high) and (low > 0 or high < 0) else 0


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """The integer `offset + bits`; `bits` is unsigned if `low` >= `offset`, else two's complement."""

    bits: Bits
    width: int
    low: int
    high: int
    offset: int

    @property
    def signed(self) -> bool:
        return self.low < self.offset


@dataclass(frozen=True, slots=True)
class Definition:
    """A name for a bit-vector that is used more than once."""

    name: str
    width: int
    bits: Bits


class Circuit:
    """Builds terms with pysmt's `manager`, and collects what they rest on."""

    def __init__(self, manager: Any, bit_vector_type: Any) -> None:
        self._manager = manager
        self._type = bit_vector_type
        self._names: set[str] = set()
        self.variables: list[tuple[str, int]] = []
        self.definitions: list[Definition] = []
        self.assertions: list[Condition] = []

    # --- leaves ---

    def variable(self, name: str, low: int, high: int) -> Term:
        """A free integer of [low, high], its offset `low`: the model's value is the distance from it."""
        width = bits_for(0, high - low)
        self.variables.append((name, width))
        term = Term(self._manager.Symbol(name, self._type(width)), width, low, high, low)
        if high - low < (1 << width) - 1:
            self.assertions.append(self._manager.BVULE(term.bits, self.constant(high - low, width)))
        return term

    def constant(self, value: int, width: int) -> Bits:
        return self._manager.BV(value % (1 << width), width)

    def named(self, name: str, term: Term) -> Term:
        """The same term behind a symbol, so that the text of the formula does not repeat it."""
        fresh = name if name not in self._names else f"{name}.{len(self._names)}"
        self._names.add(fresh)
        self.definitions.append(Definition(fresh, term.width, term.bits))
        symbol = self._manager.Symbol(fresh, self._type(term.width))
        return Term(symbol, term.width, term.low, term.high, term.offset)

    # --- arithmetic ---

    def sum(self, parts: Sequence[tuple[int, Term]], constant: int, *, low: int, high: int) -> Term:
        """`constant + sum of c * t`, which lies in [low, high], or is meant modulo its 2**bits values."""
        offset = origin(low, high)
        width = bits_for(low - offset, high - offset)
        plus = [self._product(c, t, width) for c, t in parts if c > 0]
        minus = [self._product(-c, t, width) for c, t in parts if c < 0]
        rest = (constant - offset + sum(c * t.offset for c, t in parts)) % (1 << width)
        if rest or not plus:
            plus.append(self.constant(rest, width))
        bits = self._total(plus)
        if minus:
            bits = self._manager.BVSub(bits, self._total(minus))
        return Term(bits, width, low, high, offset)

    def _product(self, coefficient: int, term: Term, width: int) -> Bits:
        bits = self.resized(term, width)
        if coefficient == 1:
            return bits
        return self._manager.BVMul(bits, self.constant(coefficient, width))

    def _total(self, bits: list[Bits]) -> Bits:
        """A balanced sum: its depth, and that of the text, is logarithmic."""
        while len(bits) > 1:
            pairs = [self._manager.BVAdd(a, b) for a, b in zip(bits[::2], bits[1::2], strict=False)]
            bits = [*pairs, bits[-1]] if len(bits) % 2 else pairs
        return bits[0]

    def resized(self, term: Term, width: int) -> Bits:
        """The term's bits, cut or extended to `width`: the same residue modulo 2**width."""
        if width < term.width:
            return self._manager.BVExtract(term.bits, 0, width - 1)
        if width == term.width:
            return term.bits
        extend = self._manager.BVSExt if term.signed else self._manager.BVZExt
        return extend(term.bits, width - term.width)

    def rebased(self, term: Term, offset: int, *, low: int, high: int) -> Term:
        """The same integer from another offset, where it lies in [low, high]."""
        width = bits_for(low - offset, high - offset)
        bits = self.resized(term, width)
        if offset != term.offset:
            bits = self._manager.BVAdd(bits, self.constant(term.offset - offset, width))
        return Term(bits, width, low, high, offset)

    def narrowed(self, term: Term, low: int, high: int) -> Term:
        """The same integer at the width that [low, high] needs; right only where it lies in there."""
        kept = bits_for(low - term.offset, high - term.offset)
        best = origin(low, high)
        offset = best if bits_for(low - best, high - best) < kept else term.offset
        return self.rebased(term, offset, low=low, high=high)

    # --- comparisons ---

    def at_most(self, term: Term, limit: int) -> Condition:
        """`term <= limit`."""
        if limit >= term.high:
            return self._manager.TRUE()
        if limit < term.low:
            return self._manager.FALSE()
        compare = self._manager.BVSLE if term.signed else self._manager.BVULE
        return compare(term.bits, self.constant(limit - term.offset, term.width))

    def at_least(self, term: Term, limit: int) -> Condition:
        """`term >= limit`."""
        return self._manager.Not(self.at_most(term, limit - 1))

    def truth(self, value: object) -> Condition:
        """A constant condition."""
        return self._manager.TRUE() if value else self._manager.FALSE()

    def indicator(self, condition: Condition) -> Term:
        """1 where the condition holds, else 0."""
        bits = self._manager.Ite(condition, self.constant(1, 1), self.constant(0, 1))
        return Term(bits, 1, 0, 1, 0)

    # --- the nonlinear operations ---

    def clamp(self, term: Term, *, lower: int | None, upper: int | None) -> Term:
        """`min(max(term, lower), upper)`, where neither limit makes it constant."""
        low = term.low if lower is None else max(term.low, lower)
        high = term.high if upper is None else min(term.high, upper)
        clamped = self.narrowed(term, low, high)
        bits = clamped.bits
        if low > term.low:
            bits = self._choose(self.at_most(term, low), low, bits, clamped)
        if high < term.high:
            bits = self._choose(self.at_least(term, high), high, bits, clamped)
        return Term(bits, clamped.width, low, high, clamped.offset)

    def within_or_zero(self, term: Term, lower: int, upper: int) -> Term:
        """The term where it lies in [lower, upper], which includes 0; else 0."""
        low, high = min(max(term.low, lower), 0), max(min(term.high, upper), 0)
        inside = self._manager.And(self.at_least(term, lower), self.at_most(term, upper))
        kept = self.rebased(term, 0, low=low, high=high)
        bits = self._manager.Ite(inside, kept.bits, self.constant(0, kept.width))
        return Term(bits, kept.width, low, high, 0)

    def _choose(self, condition: Condition, value: int, otherwise: Bits, like: Term) -> Bits:
        return self._manager.Ite(condition, self.constant(value - like.offset, like.width), otherwise)

    def floor_divide(self, term: Term, divisor: int) -> Term:
        """`floor(term / divisor)`."""
        first = term.low // divisor
        if first == term.high // divisor:
            return Term(self.constant(0, 1), 1, first, first, first)
        if divisor & (divisor - 1) == 0:
            return self._shifted(term, divisor.bit_length() - 1)
        return self._by_reciprocal(term, divisor)

    def _shifted(self, term: Term, shift: int) -> Term:
        aligned = term
        if term.offset % (1 << shift):
            aligned = self.rebased(term, term.offset >> shift << shift, low=term.low, high=term.high)
        width = max(aligned.width, shift + 1)
        bits = self._manager.BVExtract(self.resized(aligned, width), shift, width - 1)
        return Term(bits, width - shift, term.low >> shift, term.high >> shift, aligned.offset >> shift)

    def _by_reciprocal(self, term: Term, divisor: int) -> Term:
        """Division by an invariant integer as one multiplication (Granlund and Montgomery, PLDI 1994)."""
        first = term.low // divisor
        distance = self.rebased(term, first * divisor, low=term.low, high=term.high)
        greatest = term.high - first * divisor
        factor, shift = reciprocal(divisor, greatest)
        width = bits_for(0, greatest * factor)
        product = self._product(factor, distance, width)
        return Term(
            self._manager.BVExtract(product, shift, width - 1),
            width - shift,
            first,
            term.high // divisor,
            first,
        )

    def even_at_ties(self, quotient: Term, term: Term, divisor: int) -> Term:
        """`quotient = floor(term / divisor)`, with its last bit cleared where the division is exact."""
        even = self.rebased(quotient, quotient.offset & -2, low=quotient.low - 1, high=quotient.high)
        remainder = self.sum([(1, term), (-divisor, quotient)], 0, low=0, high=divisor - 1)
        tie = self.at_most(remainder, 0)
        mask = self._manager.Ite(tie, self.constant(-2, even.width), self.constant(-1, even.width))
        bits = self._manager.BVAnd(even.bits, mask)
        return Term(bits, even.width, even.low, even.high, even.offset)


def reciprocal(divisor: int, greatest: int) -> tuple[int, int]:
    """The least `(factor, shift)` with `floor(u / divisor) = floor(u * factor / 2**shift)` on [0, greatest].

    With `factor = ceil(2**shift / divisor)` and `excess = factor * divisor - 2**shift`, the two quotients
    differ by `u * excess / (divisor * 2**shift)`. The fraction of `u / divisor` is at most 1 - 1/divisor,
    so the floor is the same if `greatest * excess < 2**shift`.
    """
    shift = 0
    while True:
        factor = -(-(1 << shift) // divisor)
        if greatest * (factor * divisor - (1 << shift)) < 1 << shift:
            return factor, shift
        shift += 1
