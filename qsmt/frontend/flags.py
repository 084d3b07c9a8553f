"""The flag form of a problem: a box string, a bound string, and `--bits`.

    qsmt check REF.onnx --bits 8 --box "[-1,1]^4" --bound 0.05
    qsmt check REF.onnx Q.onnx --box "[1,1.175],[0,0.2]" --bound 0.01

A box is a comma-separated list of closed intervals of reals, one per input in row-major order;
`[a,b]^n` stands for n of them. Every number is exact, as in a problem file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import NoReturn

from qsmt.arith.fixed import Format
from qsmt.errors import MalformedProblem
from qsmt.frontend.exact_number import PATTERN, exact_number
from qsmt.frontend.formats import AUTO, MAX_BITS, FixedPointScheme, FormatSpec
from qsmt.frontend.toml_table import shown
from qsmt.problem import InputModel, Region

MAX_INPUTS = 2**20
_COUNT_DIGITS = len(str(MAX_INPUTS))


@dataclass(frozen=True, slots=True)
class Box:
    """A closed box of reals."""

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]

    @property
    def hull(self) -> tuple[Fraction, Fraction]:
        """The least and the greatest end."""
        return min(self.lower), max(self.upper)


def scheme_of_bits(bits: int) -> FixedPointScheme:
    """`--bits n`: input, weights and hidden activations of n bits, biases of 2n, all `auto`.

    Raises:
        MalformedProblem: when n is not a width.
    """
    if not 1 <= bits <= MAX_BITS:
        raise MalformedProblem(f"is {shown(bits)}, not from 1 to {MAX_BITS}", where="--bits")
    plain = FormatSpec(bits, AUTO)
    return FixedPointScheme(plain, plain, FormatSpec(min(2 * bits, MAX_BITS), AUTO), hidden=plain)


def codes_within(box: Box, kind: Format) -> Region:
    """The grid of the codes whose values lie in a real box.

    Raises:
        MalformedProblem: when an interval lies between two codes, or beyond the format.
    """
    unit = kind.scale
    lower = tuple(max(ceil(v / unit), kind.min) for v in box.lower)
    upper = tuple(min(floor(v / unit), kind.max) for v in box.upper)
    for i, (low, high) in enumerate(zip(lower, upper, strict=True)):
        if low > high:
            what = f"interval {i}, [{box.lower[i]}, {box.upper[i]}], holds no value of {kind}"
            raise MalformedProblem(what, where="--box", hint="widen it, or use --input-model continuous")
    return Region(InputModel.GRID, tuple(map(Fraction, lower)), tuple(map(Fraction, upper)))


def parse_bound(text: str) -> Fraction | tuple[Fraction, ...]:
    """`0.05`, or one number per output: `0.05,0.1`.

    Raises:
        MalformedProblem: when it is something else.
    """
    try:
        bounds = tuple(exact_number(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise MalformedProblem(str(error), where="--bound", hint="write 0.05 or 1/20") from None
    if min(bounds) < 0:
        raise MalformedProblem("is negative", where="--bound")
    return bounds if len(bounds) > 1 else bounds[0]


def parse_box(text: str) -> Box:
    """The box that a string spells.

    Raises:
        MalformedProblem: naming the character where it stops being a box.
    """
    return _BoxParser(text).box()


def parse_center(text: str) -> tuple[Fraction, ...]:
    """`0,0.5`, one number per input; `0^4` stands for four.

    Raises:
        MalformedProblem: when it is something else.
    """
    found: list[Fraction] = []
    for part in text.split(","):
        number, mark, count = part.strip().partition("^")
        times = int(count) if re.fullmatch("[0-9]{1,7}", count) else 0 if mark else 1
        try:
            value = exact_number(number.strip())
        except ValueError as error:
            raise MalformedProblem(str(error), where="--center", hint='write "0,0.5" or "0^4"') from None
        if not 1 <= times <= MAX_INPUTS - len(found):
            what = f"repeats {number} no times, or makes more than {MAX_INPUTS} numbers"
            raise MalformedProblem(what, where="--center", hint='write "0,0.5" or "0^4"')
        found += [value] * times
    return tuple(found)


def parse_radius(text: str) -> Fraction:
    """The largest radius that is tried.

    Raises:
        MalformedProblem: when it is no number, or not positive.
    """
    try:
        radius = exact_number(text)
    except ValueError as error:
        raise MalformedProblem(str(error), where="--radius", hint="write 0.25 or 1/4") from None
    if radius <= 0:
        raise MalformedProblem("is not positive", where="--radius")
    return radius


class _BoxParser:
    """A recursive-descent parser, one method per construct."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def box(self) -> Box:
        intervals: list[tuple[Fraction, Fraction]] = []
        while not intervals or self._accept(","):
            interval = self._interval()
            count = self._count() if self._accept("^") else 1
            if len(intervals) + count > MAX_INPUTS:
                self._fail(f"more than {MAX_INPUTS} intervals")
            intervals += [interval] * count
        self._space()
        if self._at < len(self._text):
            self._fail("expected ',' or the end")
        lower, upper = zip(*intervals, strict=True)
        return Box(lower, upper)

    def _interval(self) -> tuple[Fraction, Fraction]:
        self._expect("[")
        start = self._at
        low = self._number()
        self._expect(",")
        high = self._number()
        self._expect("]")
        if low > high:
            self._at = start
            self._fail(f"the interval is empty: {low} exceeds {high}")
        return low, high

    def _number(self) -> Fraction:
        token = self._match(PATTERN) or self._fail("expected a number such as -1, 0.5, 1/3 or 1e-3")
        try:
            return exact_number(token)
        except ValueError as error:
            self._at -= len(token)
            self._fail(str(error))

    def _count(self) -> int:
        digits = self._match("[0-9]+") or self._fail("expected how often the interval is repeated")
        count = int(digits[: _COUNT_DIGITS + 1])  # more digits exceed any limit
        return count if count >= 1 else self._fail("an interval is repeated at least once")

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            self._fail(f"expected {mark!r}")

    def _accept(self, mark: str) -> bool:
        return self._match(re.escape(mark)) is not None

    def _match(self, pattern: str) -> str | None:
        self._space()
        match = re.compile(pattern).match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _space(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _fail(self, what: str) -> NoReturn:
        raise MalformedProblem(
            what, where=f"--box, character {self._at + 1}", hint='write "[-1,1]^4" or "[0,1],[2,3]"'
        )
