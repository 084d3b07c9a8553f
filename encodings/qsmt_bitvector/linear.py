"""Values of neurons as exact linear forms over terms, with exact bounds.

`constant + sum of coefficient * term`, all rational. A term is an input, or the result of a nonlinear
operation (an unstable ReLU, a rounding). Everything linear between two of those is substituted, so it
costs no bits: a stable neuron vanishes, the scales and denominators of the reference network become
integers only where a form is finally turned into bits, and there the common factors divide out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd, isfinite, lcm

from qsmt.errors import SoundnessError
from qsmt_bitvector.widths import Circuit, Term

ZERO = Fraction(0)
ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear form that provably lies in [low, high] for every input of the region."""

    parts: Mapping[Term, Fraction]
    constant: Fraction
    low: Fraction
    high: Fraction

    @property
    def is_constant(self) -> bool:
        return not self.parts

    def scaled(self, factor: Fraction) -> Linear:
        """`factor * self`."""
        return combination([(factor, self)], ZERO).within(*sorted((self.low * factor, self.high * factor)))

    def plus(self, amount: Fraction | int) -> Linear:
        """`self + amount`."""
        return Linear(self.parts, self.constant + amount, self.low + amount, self.high + amount)

    def within(self, low: Fraction | float, high: Fraction | float) -> Linear:
        """The same form with these further bounds, which must hold.

        Raises:
            SoundnessError: when no value satisfies both: one of the two analyses is wrong.
        """
        least = max(self.low, Fraction(low)) if isfinite(low) else self.low
        greatest = min(self.high, Fraction(high)) if isfinite(high) else self.high
        if least > greatest:
            raise SoundnessError(
                f"a value is in [{self.low}, {self.high}] by one analysis, in [{low}, {high}] by another"
            )
        if least == greatest:
            return constant(least)
        return Linear(self.parts, self.constant, least, greatest)

    def tightened(self) -> Linear:
        """The same form, its bounds moved inward to numbers that it can take on integer terms."""
        if self.is_constant:
            return self
        step = Linear(self.parts, ZERO, self.low, self.high).unit()
        least = self.constant + step * ceil((self.low - self.constant) / step)
        return self.within(least, self.constant + step * floor((self.high - self.constant) / step))

    def unit(self, also: Iterable[Fraction] = ()) -> Fraction:
        """The greatest number of which all coefficients, the constant and `also` are integer multiples."""
        numbers = [*self.parts.values(), self.constant, *also]
        denominator = lcm(*(v.denominator for v in numbers))
        return Fraction(gcd(*(int(v * denominator) for v in numbers)), denominator)


def constant(value: Fraction | int) -> Linear:
    """A form without terms."""
    return Linear({}, Fraction(value), Fraction(value), Fraction(value))


def of_term(term: Term, unit: Fraction = ONE) -> Linear:
    """`unit * term`, for a positive unit."""
    if term.low == term.high:
        return constant(unit * term.low)
    return Linear({term: unit}, ZERO, unit * term.low, unit * term.high)


def combination(addends: Iterable[tuple[Fraction | int, Linear]], bias: Fraction | int) -> Linear:
    """`bias + sum of factor * form`, bounded by what is known of the forms and of the terms."""
    parts: dict[Term, Fraction] = {}
    total = low = high = Fraction(bias)
    for factor, form in addends:
        if not factor:
            continue
        total += factor * form.constant
        ends = (factor * form.low, factor * form.high)
        low, high = low + min(ends), high + max(ends)
        for term, coefficient in form.parts.items():
            parts[term] = parts.get(term, ZERO) + factor * coefficient
    kept = {t: c for t, c in parts.items() if c}
    reach = [(c * t.low, c * t.high) for t, c in kept.items()]
    least = total + sum(map(min, reach), ZERO)
    greatest = total + sum(map(max, reach), ZERO)
    return Linear(kept, total, low, high).within(least, greatest)


def as_term(circuit: Circuit, form: Linear, unit: Fraction = ONE) -> Term:
    """The integer `form / unit` in bits; `unit` divides all of the form's numbers."""
    low, high = ceil(form.low / unit), floor(form.high / unit)
    return residue(circuit, form, low, high, unit=unit)


def residue(circuit: Circuit, form: Linear, low: int, high: int, *, unit: Fraction = ONE) -> Term:
    """The integer of [low, high] that `form / unit` equals modulo the number of integers in there."""
    parts = [(int(c / unit), term) for term, c in form.parts.items()]
    if len(parts) == 1 and parts[0][0] == 1 and form.constant == 0:
        term = parts[0][1]
        return term if (term.low, term.high) == (low, high) else circuit.narrowed(term, low, high)
    return circuit.sum(parts, int(form.constant / unit), low=low, high=high)


def refined(circuit: Circuit, form: Linear) -> Linear:
    """The same form; if it is a multiple of one term, that term at the width its bounds allow."""
    if len(form.parts) != 1:
        return form
    ((term, unit),) = form.parts.items()
    ends = sorted(((form.low - form.constant) / unit, (form.high - form.constant) / unit))
    low, high = ceil(ends[0]), floor(ends[1])
    if low <= term.low and term.high <= high:
        return form
    narrower = circuit.narrowed(term, max(low, term.low), min(high, term.high))
    return Linear({narrower: unit}, form.constant, form.low, form.high)
