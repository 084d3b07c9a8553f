"""The formats of a fixed-point scheme: how one is asked for, and how `auto` chooses one.

`auto` is the most fractional bits with which the values that are known do not saturate. Rounding is
monotone, so the two ends of the values decide; more fractional bits only push them outward, so the
choice is a bisection. All of it is exact.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, NoReturn, TypeAlias

from qsmt.arith.fixed import Fixed
from qsmt.arith.rounding import Rounding, round_fraction
from qsmt.errors import MalformedProblem
from qsmt.problem import INPUT_ROUNDING

MAX_BITS = 64
MAX_FRAC = 1024

Auto: TypeAlias = Literal["auto"]
AUTO: Final[Auto] = "auto"


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """A format that is asked for.

    `frac` AUTO: the most fractional bits with which nothing saturates. `signed` None: signed, except
    that a layer behind an activation that is never negative is unsigned.
    """

    bits: int
    frac: int | Auto
    signed: bool | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise MalformedProblem(f"a format has 1 to {MAX_BITS} bits, not {self.bits}")
        if self.frac != AUTO and not -MAX_FRAC <= self.frac <= MAX_FRAC:
            raise MalformedProblem(f"a format has {-MAX_FRAC} to {MAX_FRAC} fractional bits, not {self.frac}")


@dataclass(frozen=True, slots=True)
class FixedPointScheme:
    """The formats of a fixed-point network. `output` None: the exact accumulator."""

    input: FormatSpec
    weights: FormatSpec
    bias: FormatSpec
    hidden: FormatSpec
    output: FormatSpec | None = None
    rounding: Rounding = Rounding.HALF_UP


def input_format(spec: FormatSpec, reals: tuple[Fraction, Fraction] | None) -> Fixed:
    """The format of the input, signed unless told otherwise; AUTO: for these real ends."""
    signed = spec.signed is not False
    return choose_format(spec, reals, signed=signed, rounding=INPUT_ROUNDING, of="input")


def choose_format(
    spec: FormatSpec,
    reals: tuple[Fraction, Fraction] | None,
    *,
    signed: bool,
    rounding: Rounding,
    of: str,
    idle_frac: int | None = None,
) -> Fixed:
    """The format that is asked for; AUTO: the finest in which the real ends do not saturate.

    Nothing between the ends saturates either, since rounding is monotone. Zeros fit every format and
    get `idle_frac`, or the range up to 1.
    """
    if spec.frac != AUTO:
        return Fixed(signed, spec.bits, spec.frac)
    if reals is None:
        refuse(of, 'frac = "auto" needs a bounded range of the values, and none is known', hint="give frac")
    if reals[0] < 0 and not signed:
        refuse(of, f"the format is unsigned, but values reach {float(reals[0]):.6g}", hint="make it signed")
    if reals[0] == reals[1] == 0:
        idle = spec.bits - signed if idle_frac is None else min(max(idle_frac, -MAX_FRAC), MAX_FRAC)
        return Fixed(signed, spec.bits, idle)
    fracs = range(-MAX_FRAC, MAX_FRAC + 1)
    too_fine = bisect_left(
        fracs, True, key=lambda frac: leaves(Fixed(signed, spec.bits, frac), reals, rounding=rounding)
    )
    if too_fine == 0:
        refuse(of, f"no format of {spec.bits} bits holds values up to {float(reals[1]):.6g}", hint="add bits")
    return Fixed(signed, spec.bits, fracs[too_fine - 1])


def leaves(kind: Fixed, reals: tuple[Fraction, Fraction], *, rounding: Rounding) -> bool:
    """Does one of these reals saturate?"""
    return not all(kind.fits(round_fraction(v / kind.scale, rounding)) for v in reals)


def refuse(of: str, what: str, *, hint: str) -> NoReturn:
    raise MalformedProblem(what, where=of, hint=hint)
