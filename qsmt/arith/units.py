"""Units: what one unit of an integer stands for; one for a whole vector or matrix, or one for each row."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

Unit: TypeAlias = Fraction | tuple[Fraction, ...]


def each(unit: Unit, count: int) -> tuple[Fraction, ...]:
    """The unit of each of `count` rows."""
    return unit if isinstance(unit, tuple) else (unit,) * count


def common(unit: Unit) -> Fraction:
    """The one unit of all rows; to ask for it where there are several is a mistake of the program."""
    first, *others = distinct(unit)
    assert not others, "every row has a unit of its own"
    return first


def distinct(unit: Unit) -> frozenset[Fraction]:
    """All units that occur."""
    return frozenset(unit) if isinstance(unit, tuple) else frozenset((unit,))


def inverse(unit: Unit) -> Unit:
    """One over it."""
    return tuple(1 / u for u in unit) if isinstance(unit, tuple) else 1 / unit


def shown(unit: Unit) -> str:
    """As the IR's text spells it."""
    return f"[{', '.join(map(str, unit))}]" if isinstance(unit, tuple) else str(unit)
