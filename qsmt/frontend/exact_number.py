"""Reads a number that a user wrote as exactly that number: `0.1` is 1/10, never the nearest double."""

from __future__ import annotations

import re
from fractions import Fraction

LARGEST = Fraction(10**100)
"""No number is larger: region and scale are multiplied, and their product must be far from 1.8e308."""

MAX_LENGTH = 4000  # an exact difference of two deep networks, pasted as a bound, has hundreds of digits
MAX_EXPONENT = 400

PATTERN = r"[+-]?(?:[0-9]+/[0-9]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_NUMBER = re.compile(PATTERN)


def exact_number(text: str) -> Fraction:
    """The rational that `text` spells: an integer, a decimal, a decimal with an exponent, or a ratio.

    Raises:
        ValueError: when it spells none, or one that no network computes with. The text says which.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a number of {len(text)} characters is too long")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{quoted(text)} is not a decimal or a ratio of integers")
    exponent = re.search(r"[eE]([+-]?[0-9]+)", text)
    if exponent and abs(int(exponent[1])) > MAX_EXPONENT:
        raise ValueError(f"{quoted(text)} has too large an exponent")
    if re.search(r"/0+$", text):
        raise ValueError(f"{quoted(text)} divides by zero")
    return checked_size(Fraction(text))


def checked_size(value: Fraction) -> Fraction:
    """`value`, if it is no larger than LARGEST."""
    if abs(value) > LARGEST:
        raise ValueError("a number beyond 1e100 is too large")
    return value


def quoted(text: str) -> str:
    """A user's text as an error message shows it: printable, and not too long."""
    shown = repr(text[:60])
    return shown if len(text) <= 60 else f"{shown}..."
