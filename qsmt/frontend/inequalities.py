"""Inequalities of outputs as a user writes them in a problem file; every number exact.

    quantized[3] - reference[3] <= 0.05
    q[0] > q[1] and 2 q[0] - 1/3 r[2] >= -1e-3         (a conjunction)
    q[0] < q[1] or q[0] < q[2]                         (a disjunction)

`q` and `r` are short for `quantized` and `reference`. A text is a conjunction or a disjunction, never both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from qsmt.frontend.combined import OutputInequality
from qsmt.frontend.exact_number import exact_number, quoted

_NUMBER = r"[0-9]+/[0-9]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(
    rf"\s*(?:(?P<output>(?:quantized|reference|q|r)\[[0-9]{{1,9}}\])|(?P<number>{_NUMBER})|(?P<sign><=|>=|<|>)|(?P<mark>[+*-]))"
)

MAX_LENGTH = 10**5

SHORT = 12
"""Characters of a number that is written as a decimal."""


@dataclass(slots=True)
class _Side:
    """A linear expression: its coefficients, by network and output, and its constant."""

    terms: dict[str, dict[int, Fraction]] = field(default_factory=lambda: {"q": {}, "r": {}})
    constant: Fraction = Fraction(0)
    size: int = 0

    def add(self, factor: Fraction, output: str | None) -> None:
        self.size += 1
        if output is None:
            self.constant += factor
            return
        network, index = output[0], int(output[output.index("[") + 1 : -1])
        self.terms[network][index] = self.terms[network].get(index, Fraction(0)) + factor


def conjunction(text: str) -> tuple[OutputInequality, ...]:
    """`a and b and ...`

    Raises:
        ValueError: saying what is wrong with the text.
    """
    return _parts(text, "and", other="or")


def disjunction(text: str) -> tuple[OutputInequality, ...]:
    """`a or b or ...`

    Raises:
        ValueError: saying what is wrong with the text.
    """
    return _parts(text, "or", other="and")


def written(parts: Iterable[OutputInequality]) -> str:
    """A conjunction as a text that is read as the same one; the first coefficient is positive."""
    return " and ".join(map(_written, parts))


def _written(part: OutputInequality) -> str:
    terms = [(name, i, c) for name, side in (("q", part.quantized), ("r", part.reference)) for i, c in side]
    sign = ">" if part.strict else ">="
    if terms and terms[0][2] < 0:
        return (
            f"{_sum([(name, i, -c) for name, i, c in terms])} {sign.replace('>', '<')} {_number(-part.bound)}"
        )
    return f"{_sum(terms)} {sign} {_number(part.bound)}"


def _sum(terms: Sequence[tuple[str, int, Fraction]]) -> str:
    text = ""
    for name, i, c in terms:
        sign = "- " if c < 0 else "+ " if text else ""
        factor = "" if abs(c) == 1 else f"{_number(abs(c))} "
        text += f"{' ' if text else ''}{sign}{factor}{name}[{i}]"
    return text


def _number(value: Fraction) -> str:
    """A short decimal if it is one, else a ratio."""
    decimal = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return decimal if len(decimal) <= SHORT and Fraction(decimal) == value else str(value)


def _parts(text: str, word: str, *, other: str) -> tuple[OutputInequality, ...]:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    if re.search(rf"\b{other}\b", text):
        raise ValueError(f"joins inequalities by {other!r}, here only {word!r} is possible")
    return tuple(inequality(part) for part in re.split(rf"\b{word}\b", text))


def inequality(text: str) -> OutputInequality:
    """One inequality between two linear expressions.

    Raises:
        ValueError: saying what is wrong with the text.
    """
    sides, signs, at = [_Side()], list[str](), 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found and found["sign"]:
            signs.append(found["sign"])
            sides.append(_Side())
            at = found.end()
        else:
            at = _term(text, at, sides[-1])
    if len(signs) != 1 or not all(side.size for side in sides):
        raise ValueError(f"{quoted(text.strip())} is not one inequality, such as q[0] - r[0] <= 0.1")
    return _moved(sides[0], sides[1], signs[0], text)


def _term(text: str, at: int, side: _Side) -> int:
    """A signed product of numbers and at most one output; where it ends."""
    factor, output, signed, begun = Fraction(1), None, False, False
    while found := _TOKEN.match(text, at):
        if found["sign"] or (found["mark"] in ("+", "-") and begun):
            break
        if found["mark"] in ("+", "-"):
            if signed:
                break
            factor, signed = -factor if found["mark"] == "-" else factor, True
        elif found["number"]:
            factor, begun = factor * exact_number(found["number"]), True
        elif found["output"]:
            if output is not None:
                raise ValueError(f"{quoted(text.strip())} is not linear")
            output, begun = found["output"], True
        at = found.end()
    if not begun:
        raise ValueError(
            f"{quoted(text[at:].strip() or text.strip())} is not an output like q[0], nor a number"
        )
    side.add(factor, output)
    return at


def _moved(left: _Side, right: _Side, sign: str, text: str) -> OutputInequality:
    """Everything but the constant on the greater side."""
    greater, less = (left, right) if sign[0] == ">" else (right, left)
    reference, quantized = (
        _difference(greater.terms[network], less.terms[network]) for network in ("r", "q")
    )
    if not any(reference.values()) and not any(quantized.values()):
        raise ValueError(f"{quoted(text.strip())} compares no output")
    return OutputInequality.of(reference, quantized, less.constant - greater.constant, strict=len(sign) == 1)


def _difference(a: dict[int, Fraction], b: dict[int, Fraction]) -> dict[int, Fraction]:
    return {i: a.get(i, Fraction(0)) - b.get(i, Fraction(0)) for i in {**a, **b}}
