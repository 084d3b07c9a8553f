"""Integers of known range as bit-vectors of the least width, and the operations on them.

A `Term` is an integer that provably lies in [low, high] for every input of the region. All widths rest
on one fact: an integer known to lie in [low, high] is determined by its residue modulo 2**w as soon as
w bits hold that range. So a sum of products is computed modulo 2**w, w taken from the range of the
*result*: partial sums may overflow, the result cannot. Where the range rests on facts about the region,
inputs outside it get wrong bits; they are excluded by the region's own assertions, so the formula stays
equisatisfiable with the query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from qsmt.arith.requantize import Pieces

Bits: TypeAlias = Any  # a pysmt bit-vector; pysmt is untyped
Condition: TypeAlias = Any  # a pysmt formula


def bits_for(low: int, high: int) -> int:
    """The least width that holds all of [low, high]: unsigned if `low` >= 0, else two's complement."""
    if low >= 0:
        return max(high.bit_length(), 1)
    return max((-low - 1).bit_length(), max(high, 0).bit_length()) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """An integer of [low, high]; `bits` is unsigned if `low` >= 0, else two's complement."""

    bits: Bits
    width: int
    low: int
    high: int

    @property
    def signed(self) -> bool:
        return self.low < 0


@dataclass(frozen=True, slots=True)
class Definition:
    """A name for a bit-vector that is used more than once."""

    name: str
    width: int
    bits: Bits


class Circuit:
    """Builds terms with pysmt's formula manager, and collects what they rest on."""

    def __init__(self, manager: Any, vector_type: Callable[[int], Any]) -> None:
        self._manager = manager
        self._type = vector_type
        self._names: set[str] = set()
        self.variables: list[tuple[str, int]] = []
        self.definitions: list[Definition] = []
        self.assertions: list[Condition] = []

    # --- leaves ---

    def variable(self, name: str, high: int) -> Term:
        """A free integer of [0, high]."""
        width = bits_for(0, high)
        self.variables.append((name, width))
        symbol = self._manager.Symbol(name, self._type(width))
        if high < (1 << width) - 1:
            self.assertions.append(self._manager.BVULE(symbol, self.constant(high, width)))
        return Term(symbol, width, 0, high)

    def constant(self, value: int, width: int) -> Bits:
        """The residue of `value` modulo 2**width."""
        return self._manager.BV(value % (1 << width), width)

    def named(self, name: str, term: Term) -> Term:
        """The same term behind a symbol, so that the text of the formula does not repeat it."""
        fresh = name if name not in self._names else f"{name}.{len(self._names)}"
        self._names.add(fresh)
        self.definitions.append(Definition(fresh, term.width, term.bits))
        return Term(self._manager.Symbol(fresh, self._type(term.width)), term.width, term.low, term.high)

    # --- linear operations ---

    def sum(self, parts: Sequence[tuple[int, Term]], constant: int, *, low: int, high: int) -> Term:
        """The integer of [low, high] that is `constant + sum of factor * term` modulo 2**width."""
        width = bits_for(low, high)
        plus = [self._product(c, t, width) for c, t in parts if c > 0]
        minus = [self._product(-c, t, width) for c, t in parts if c < 0]
        if constant % (1 << width) or not plus:
            plus.append(self.constant(constant, width))
        bits = self._total(plus)
        if minus:
            bits = self._manager.BVSub(bits, self._total(minus))
        return Term(bits, width, low, high)

    def _product(self, factor: int, term: Term, width: int) -> Bits:
        bits = self._resized(term, width)
        return bits if factor == 1 else self._manager.BVMul(bits, self.constant(factor, width))

    def _total(self, bits: list[Bits]) -> Bits:
        """A balanced sum: its depth, and that of the text, is logarithmic."""
        while len(bits) > 1:
            pairs = [self._manager.BVAdd(a, b) for a, b in zip(bits[::2], bits[1::2], strict=False)]
            bits = [*pairs, bits[-1]] if len(bits) % 2 else pairs
        return bits[0]

    def _resized(self, term: Term, width: int) -> Bits:
        """The term's bits, cut or extended to `width`: the same residue modulo 2**width."""
        if width < term.width:
            return self._manager.BVExtract(term.bits, 0, width - 1)
        if width == term.width:
            return term.bits
        extend = self._manager.BVSExt if term.signed else self._manager.BVZExt
        return extend(term.bits, width - term.width)

    def narrowed(self, term: Term, low: int, high: int) -> Term:
        """The same integer at the width that [low, high] needs; right only where it lies in there."""
        width = bits_for(low, high)
        return Term(self._resized(term, width), width, low, high)

    # --- comparisons ---

    def truth(self, value: object) -> Condition:
        """A constant condition."""
        return self._manager.TRUE() if value else self._manager.FALSE()

    def all_of(self, conditions: Sequence[Condition]) -> Condition:
        """All conditions at once."""
        return conditions[0] if len(conditions) == 1 else self._manager.And(*conditions)

    def at_most(self, term: Term, limit: int) -> Condition:
        """`term <= limit`."""
        if limit >= term.high or limit < term.low:
            return self.truth(limit >= term.high)
        compare = self._manager.BVSLE if term.signed else self._manager.BVULE
        return compare(term.bits, self.constant(limit, term.width))

    def at_least(self, term: Term, limit: int) -> Condition:
        """`term >= limit`."""
        return self._manager.Not(self.at_most(term, limit - 1))

    def indicator(self, condition: Condition) -> Term:
        """1 where the condition holds, else 0."""
        return Term(self._manager.Ite(condition, self.constant(1, 1), self.constant(0, 1)), 1, 0, 1)

    # --- nonlinear operations ---

    def clamp(self, term: Term, *, lower: int | None, upper: int | None) -> Term:
        """`min(max(term, lower), upper)`, where neither limit makes it constant."""
        low = term.low if lower is None else max(term.low, lower)
        high = term.high if upper is None else min(term.high, upper)
        width = bits_for(low, high)
        bits = self._resized(term, width)
        if low > term.low:
            bits = self._manager.Ite(self.at_most(term, low), self.constant(low, width), bits)
        if high < term.high:
            bits = self._manager.Ite(self.at_least(term, high), self.constant(high, width), bits)
        return Term(bits, width, low, high)

    def within_or_zero(self, term: Term, lower: int, upper: int) -> Term:
        """The term where it lies in [lower, upper], else 0."""
        low, high = min(max(term.low, lower), 0), max(min(term.high, upper), 0)
        width = bits_for(low, high)
        inside = self._manager.And(self.at_least(term, lower), self.at_most(term, upper))
        bits = self._manager.Ite(inside, self._resized(term, width), self.constant(0, width))
        return Term(bits, width, low, high)

    def floor_divide(self, term: Term, divisor: int) -> Term:
        """`floor(term / divisor)`: the upper bits, or a divider if that is no power of two."""
        low, high = term.low // divisor, term.high // divisor
        width = bits_for(low, high)
        if low == high:
            return Term(self.constant(low, width), width, low, high)
        if divisor & (divisor - 1):
            return self._divided(term, divisor)
        shift = divisor.bit_length() - 1
        bits = self._manager.BVExtract(self._resized(term, shift + width), shift, shift + width - 1)
        return Term(bits, width, low, high)

    def _divided(self, term: Term, divisor: int) -> Term:
        """Unsigned division of the distance from the multiple of `divisor` at or below `term.low`."""
        first, last = term.low // divisor, term.high // divisor
        distance = self.sum([(1, term)], -first * divisor, low=0, high=term.high - first * divisor)
        steps = self._manager.BVUDiv(distance.bits, self.constant(divisor, distance.width))
        return self.sum([(1, Term(steps, distance.width, 0, last - first))], first, low=first, high=last)

    def lookup(self, term: Term, pieces: Pieces) -> Term:
        """The value of a map at `term`, by binary search among its thresholds."""
        values, thresholds = pieces.values, pieces.thresholds
        low, high = min(values), max(values)
        width = bits_for(low, high)

        def between(first: int, last: int) -> Bits:
            if first == last:
                return self.constant(values[first], width)
            middle = (first + last) // 2
            reached = self.at_least(term, thresholds[middle])
            return self._manager.Ite(reached, between(middle + 1, last), between(first, middle))

        return Term(between(0, len(thresholds)), width, low, high)

    def even_at_ties(self, quotient: Term, term: Term, divisor: int) -> Term:
        """`quotient`, which is `floor(term / divisor)`, with its last bit cleared if there is no remainder."""
        remainder = self.sum([(1, term), (-divisor, quotient)], 0, low=0, high=divisor - 1)
        low = quotient.low & -2
        width = bits_for(low, quotient.high)
        bits = self._resized(quotient, width)
        cleared = self._manager.BVAnd(bits, self.constant(-2, width))
        return Term(self._manager.Ite(self.at_most(remainder, 0), cleared, bits), width, low, quotient.high)
