"""What each kind of property means, as cases of inequalities that may not hold (see `combined`).

output-constraint  as the user writes it: inequalities that every x must meet, or cases that none may
top-1-agreement    wherever the reference prefers one class to each other one by more than `margin`, no other
                   class has a larger output in the quantized network
robustness         one class is never beaten: its output exceeds each other one by `margin` at least
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations

from qsmt.errors import MalformedProblem
from qsmt.frontend.combined import Cases, OutputInequality

MAX_CLASSES = 64


def top_1_agreement(classes: int, margin: Fraction) -> Cases:
    """Cases "the reference prefers i to all others by more than the margin, and the quantized network j to i".

    Raises:
        MalformedProblem: there are too few classes to compare, or too many.
    """
    if not 2 <= classes <= MAX_CLASSES:
        raise MalformedProblem(
            f"top-1 agreement compares 2 to {MAX_CLASSES} outputs, the networks have {classes}"
        )
    return tuple(
        (*_preferred(i, classes, margin), _beats(j, i, side="quantized"), _apart(i, j, margin))
        for i, j in permutations(range(classes), 2)
    )


def robustness(classes: int, top: int, margin: Fraction, *, side: str) -> Cases:
    """Cases "class `top` does not exceed class j by the margin", in the network of that side.

    Raises:
        MalformedProblem: there is no such class, or no other.
    """
    if not 0 <= top < classes or classes < 2:
        raise MalformedProblem(f"there is no class {top} among others: the network has {classes} outputs")
    others = (j for j in range(classes) if j != top)
    return tuple(((_beats(j, top, side=side, by=-margin)),) for j in others)


def _preferred(top: int, classes: int, margin: Fraction) -> Iterator[OutputInequality]:
    for k in range(classes):
        if k != top:
            yield _beats(top, k, side="reference", by=margin)


def _apart(i: int, j: int, margin: Fraction) -> OutputInequality:
    """What follows: how far j exceeds i differs by more than the margin. Of differences, analysis knows the most."""
    terms = {j: Fraction(1), i: Fraction(-1)}
    return OutputInequality.of({k: -c for k, c in terms.items()}, terms, margin, strict=True)


def _beats(i: int, j: int, *, side: str, by: Fraction = Fraction(0)) -> OutputInequality:
    """Output i exceeds output j by more than that."""
    terms = {i: Fraction(1), j: Fraction(-1)}
    reference, quantized = (terms, {}) if side == "reference" else ({}, terms)
    return OutputInequality.of(reference, quantized, by, strict=True)
