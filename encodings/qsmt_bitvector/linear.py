"""Values of neurons as exact linear forms over terms, with exact bounds.

`(constant + sum of coefficient * term) / denominator`, all integers. A term is an input, or the result
of a nonlinear operation (an unstable ReLU, a rounding). Everything linear between two of those is
substituted, so it costs no bits: a stable neuron vanishes, and the scales of the reference network stay
in the denominator until a form is finally turned into bits, where the common factors divide out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd, lcm

from qsmt.errors import SoundnessError
from qsmt_bitvector.widths import Circuit, Term


@dataclass(frozen=True, slots=True)
class Linear:
    """A form whose numerator provably lies in [low, high] for every input of the region."""

    parts: Mapping[Term, int]
    constant: int
    low: int
    high: int
    denominator: int = 1

    @property
    def is_constant(self) -> bool:
        return not self.parts

    @property
    def least(self) -> Fraction:
        return Fraction(self.low, self.denominator)

    @property
    def greatest(self) -> Fraction:
        return Fraction(self.high, self.denominator)

    def scaled(self, factor: Fraction) -> Linear:
        """`factor * self`, for a factor that is not zero."""
        over, by = self.denominator * factor.denominator, factor.numerator
        low, high = sorted((by * self.low, by * self.high))
        return Linear({t: by * c for t, c in self.parts.items()}, by * self.constant, low, high, over)

    def over(self, denominator: int) -> Linear:
        """The same form over this multiple of its denominator."""
        by = denominator // self.denominator
        if by == 1:
            return self
        parts = {t: by * c for t, c in self.parts.items()}
        return Linear(parts, by * self.constant, by * self.low, by * self.high, denominator)

    def plus(self, amount: Fraction | int) -> Linear:
        """`self + amount`."""
        amount = Fraction(amount)
        same = self.over(lcm(self.denominator, amount.denominator))
        by = int(amount * same.denominator)
        return Linear(same.parts, same.constant + by, same.low + by, same.high + by, same.denominator)

    def within(self, low: Fraction | None, high: Fraction | None, *, what: str = "a value") -> Linear:
        """The same form with these further bounds, which must hold.

        Raises:
            SoundnessError: when no value satisfies both: one of the two analyses is wrong.
        """
        least = self.low if low is None else max(self.low, ceil(low * self.denominator))
        greatest = self.high if high is None else min(self.high, floor(high * self.denominator))
        if least > greatest:
            ours = f"[{self.least}, {self.greatest}]"
            raise SoundnessError(f"{what} lies in {ours} by one analysis, in [{low}, {high}] by another")
        return Linear(
            {} if least == greatest else self.parts,
            least if least == greatest else self.constant,
            least,
            greatest,
            self.denominator,
        )

    def reduced(self, limits: Iterable[int] = ()) -> tuple[Linear, int]:
        """The numerator divided by all common factors, `limits` included, and the divisor."""
        by = gcd(self.constant, *self.parts.values(), *limits) or 1
        parts = {t: c // by for t, c in self.parts.items()}
        return Linear(parts, self.constant // by, -(-self.low // by), self.high // by), by

    def tightened(self) -> Linear:
        """The same form, its bounds moved inward to numbers that it can take on integer terms."""
        if self.is_constant:
            return self
        step = gcd(*self.parts.values())
        low = self.low + (self.constant - self.low) % step
        high = self.high - (self.high - self.constant) % step
        return self.within(Fraction(low, self.denominator), Fraction(high, self.denominator))


def constant(value: Fraction | int) -> Linear:
    """A form without terms."""
    value = Fraction(value)
    return Linear({}, value.numerator, value.numerator, value.numerator, value.denominator)


def of_term(term: Term, unit: Fraction | int = 1) -> Linear:
    """`unit * term`, for a positive unit."""
    if term.low == term.high:
        return constant(unit * term.low)
    by, over = Fraction(unit).as_integer_ratio()
    return Linear({term: by}, 0, by * term.low, by * term.high, over)


def over_one_denominator(forms: Sequence[Linear]) -> list[Linear]:
    """The same forms; they all have the same denominator."""
    common = lcm(*(form.denominator for form in forms))
    return [form.over(common) for form in forms]


def combination(factors: Iterable[int], forms: Iterable[Linear], bias: int, denominator: int) -> Linear:
    """`bias + sum of factor * numerator` over a denominator.

    Bounded twice: by what is known of the forms, and by what is known of their terms, where those that
    several forms share may cancel.
    """
    parts: dict[Term, int] = {}
    total = low = high = bias
    for factor, form in zip(factors, forms, strict=True):
        if not factor:
            continue
        total += factor * form.constant
        low += factor * (form.low if factor > 0 else form.high)
        high += factor * (form.high if factor > 0 else form.low)
        for term, coefficient in form.parts.items():
            parts[term] = parts.get(term, 0) + factor * coefficient
    kept = {t: c for t, c in parts.items() if c}
    least = total + sum(c * (t.low if c > 0 else t.high) for t, c in kept.items())
    greatest = total + sum(c * (t.high if c > 0 else t.low) for t, c in kept.items())
    found = Linear(kept, total, low, high, denominator)
    return found.within(Fraction(least, denominator), Fraction(greatest, denominator))


def minus(a: Linear, b: Linear) -> Linear:
    """`a - b`."""
    forms = over_one_denominator([a, b])
    return combination([1, -1], forms, 0, forms[0].denominator)


def numerator(circuit: Circuit, form: Linear) -> Term:
    """The form's numerator in bits."""
    return residue(circuit, form, form.low, form.high)


def residue(circuit: Circuit, form: Linear, low: int, high: int) -> Term:
    """The integer of [low, high] equal to the form's numerator modulo two to the width of that range."""
    if form.constant == 0 and list(form.parts.values()) == [1]:
        return circuit.narrowed(next(iter(form.parts)), low, high)
    return circuit.sum([(c, t) for t, c in form.parts.items()], form.constant, low=low, high=high)


def refined(circuit: Circuit, form: Linear) -> Linear:
    """The same form; if it is a multiple of one term, that term at the width the form's bounds allow."""
    if len(form.parts) != 1:
        return form
    ((term, by),) = form.parts.items()
    least, greatest = sorted(Fraction(end - form.constant, by) for end in (form.low, form.high))
    low, high = max(ceil(least), term.low), min(floor(greatest), term.high)
    if (low, high) == (term.low, term.high):
        return form
    narrower = circuit.narrowed(term, low, high)
    return Linear({narrower: by}, form.constant, form.low, form.high, form.denominator)
