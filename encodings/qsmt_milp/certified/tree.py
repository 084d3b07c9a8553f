"""The certificate: a tree that says how the box of all variables is split, and why each part is hopeless.

A leaf is hopeless because a combination of rows bounds the objective on its box, or excludes all of the box
(Neumaier & Shcherbina 2004; Jansson, Chaykin & Keil 2007). The weights may be any integers whatever: what
they prove is computed from them exactly, in `check`, so it does not matter how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Leaf:
    """Nothing in this box exceeds the bound: weights of rows, by index, in units of 2**-SHIFT.

    With the weight `objective` of 1 the rows bound the objective; with 0 they exclude the box.
    """

    objective: int
    weights: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Tried:
    """Every point of the integer inputs in this box contradicts the rows, or does not exceed the bound."""


@dataclass(frozen=True, slots=True)
class Split:
    """An integer variable is at most `at`, or at least `at + 1`."""

    variable: int
    at: int
    below: Tree
    above: Tree


Tree: TypeAlias = Leaf | Tried | Split

SHIFT = 128
"""Weights are integers over 2**SHIFT."""


def leaves(tree: Tree) -> int:
    """How many leaves it has."""
    pending, count = [tree], 0
    while pending:
        node = pending.pop()
        if isinstance(node, Split):
            pending += [node.below, node.above]
        else:
            count += 1
    return count
