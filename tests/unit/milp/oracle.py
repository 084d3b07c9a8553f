"""Facts and answers by brute force: what the encoding is held against."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import inf
from pkgutil import resolve_name
from typing import Any, Literal

import numpy as np
import pytest

from qsmt.arith.real import ExactArray
from qsmt.encoding import Query
from qsmt.facts import Facts, Interval, LayerFacts
from qsmt.interp import quantized, reference
from qsmt.interp.replay import Execution, replay
from qsmt.ir.network import Network, layers
from qsmt.problem import Problem
from tests.support.networks import with_bound

Point = tuple[Fraction, ...]
Side = Literal[-1, 1]
SIDES: tuple[Side, ...] = (1, -1)


def points(problem: Problem) -> list[Point]:
    """All of a grid's inputs."""
    ends = zip(problem.region.lower, problem.region.upper, strict=True)
    return [tuple(map(Fraction, x)) for x in itertools.product(*(range(int(a), int(b) + 1) for a, b in ends))]


def executions(problem: Problem) -> list[Execution]:
    return replay(problem, points(problem))


def query(problem: Problem, bound: Fraction, side: Side, facts: Facts, *, output: int = 0) -> Query:
    return Query(with_bound(problem, bound), output, side, facts)


# --- facts -----------------------------------------------------------------------------------------------


def no_facts(problem: Problem) -> Facts:
    """Nothing is known: every bound is infinite."""
    sizes = [layer.pre.size for layer, _ in problem.layers]
    return Facts(tuple(LayerFacts(*itertools.repeat(_unbounded(n), 6)) for n in sizes))


def tight_facts(problem: Problem) -> Facts:
    """The tightest facts that hold: the extreme values over all inputs of a grid."""
    xs = points(problem)
    ours = _trace(problem.reference, [problem.reference_input(x) for x in xs])
    theirs = _trace(problem.quantized, [problem.quantized_input(x) for x in xs])
    return Facts(
        tuple(
            LayerFacts(a[0], b[0], _unbounded(len(a[0].lower)), a[1], b[1], _unbounded(len(a[1].lower)))
            for a, b in zip(ours, theirs, strict=True)
        )
    )


def _unbounded(n: int) -> Interval:
    return Interval(np.full(n, -inf), np.full(n, inf))


def _trace(network: Network, inputs: list[Point]) -> list[tuple[Interval, Interval]]:
    seen = dict(_values(network, inputs))
    return [(_hull(seen[layer.pre.name]), _hull(seen[layer.post.name])) for layer in layers(network)]


def _values(network: Network, inputs: list[Point]) -> Iterator[tuple[str, ExactArray]]:
    """Every value of the network, (points, n)."""
    current: Any = (
        reference.ratios(inputs)
        if network.is_real
        else np.array([[int(v) for v in x] for x in inputs], dtype=object)
    )
    for op in network.ops:
        current = (reference.RULES if network.is_real else quantized.RULES)[type(op)](op, current)
        yield op.out.name, np.array(current.fractions()) if network.is_real else current


def _hull(values: ExactArray) -> Interval:
    """Extreme values as doubles, one unit in the last place outward."""
    lower, upper = (np.array(end, dtype=np.float64) for end in (values.min(axis=0), values.max(axis=0)))
    whole = np.array([all(v.denominator == 1 for v in column) for column in values.T])
    return Interval(
        np.where(whole, lower, np.nextafter(lower, -inf)), np.where(whole, upper, np.nextafter(upper, inf))
    )


# --- planted faults -----------------------------------------------------------------------------------------

Fault = tuple[str, Callable[[Any], Any]]
"""The dotted name of a function of the encoding, and what becomes of it."""


def plant(fault: Fault, patch: pytest.MonkeyPatch) -> None:
    """Replace the function by its faulty version."""
    target, change = fault
    patch.setattr(target, change(resolve_name(target)))
