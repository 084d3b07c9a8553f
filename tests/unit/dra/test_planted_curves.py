"""The soundness check has teeth for activations that are no clamps too: with any rule wrong, an execution escapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qsmt.arith.curves import Function
from qsmt.dra import compiled, stability
from qsmt.dra import curved as curving
from qsmt.dra.activation import Before
from qsmt.dra.analysis import analyze_region
from qsmt.dra.deeppoly import Lines
from qsmt.dra.domain import Limits, Mode
from qsmt.dra.hexagon import Hexagons
from qsmt.dra.planes import Planes, planes
from qsmt.dra.shape import Shape
from qsmt.dra.tabulated import Tabulated
from qsmt.facts import Interval, Stability
from qsmt.problem import Problem
from tests.support.any_network import curved
from tests.unit.dra.soundness import QUICK, Range, executed, violations
from tests.unit.dra.wild import Style, points_of, wild_pair
from tests.unit.dra.wild_curves import curved_pair, curved_problem, tabled_problem

Executed = tuple[Problem, list[dict[str, Range]]]


@pytest.fixture(scope="module")
def pool() -> list[Executed]:
    """Pairs that apply one function, pairs that do not, and integer networks."""
    problems = [curved_pair(seed, Style((2, 4, 3, 2))) for seed in range(16)]
    problems += [curved_pair(seed, Style((1, 4, 3, 1), exponent=2)) for seed in range(12)]
    problems += [curved_pair(seed, Style((2, 4, 3, 2)), alike=False) for seed in range(8)]
    problems += [curved_problem(seed, Style((2, 4, 3, 2))) for seed in range(8)]
    return [(p, executed(p, points_of(p, 1, 60))) for p in problems]


@pytest.fixture(autouse=True)
def _nothing_cached() -> Iterator[None]:
    """What a fault has compiled is forgotten."""
    compiled._compile.cache_clear()
    yield
    compiled._compile.cache_clear()


def caught(pool: list[Executed], modes: tuple[Mode, ...]) -> list[str]:
    """The first intervals that are left."""
    with np.errstate(all="ignore"):
        for problem, ranges in pool:
            for mode in modes:
                if found := violations(ranges, analyze_region(problem, mode, effort=QUICK)):
                    return found
    return []


SHAPE_LINES, TWO_LINES, PLANES, ERROR = Shape.lines, curving._two_lines, planes, Tabulated.error


def narrowed(z: Interval) -> Interval:
    """The middle of an interval."""
    middle = 0.5 * z.lower + 0.5 * z.upper
    return Interval(middle, middle)


def lowered(self: Shape, z: Interval) -> tuple[Any, Any]:
    slope, intercept = SHAPE_LINES(self, z)
    return slope, 0.9 * intercept


def flat_lines(self: Shape, z: Interval) -> tuple[Any, Any]:
    """Tangents in the middle, as if the function were linear."""
    middle = narrowed(z)
    slope = self.slopes(middle).lower
    value = self.bounds(middle.lower).lower - slope * middle.lower
    return np.stack([slope, slope]), np.stack([value, -value])


FAULTS: dict[str, dict[str, Any]] = {
    "intercepts that are too small": {"qsmt.dra.shape.Shape.lines": lowered},
    "tangents for lines": {"qsmt.dra.shape.Shape.lines": flat_lines},
    "every pair of functions is alike": {
        "qsmt.dra.shape.Shape.equals": lambda self, other: other is not None
    },
    "a line's sign does not matter": {
        "qsmt.dra.curved._two_lines": lambda known, ours, theirs: TWO_LINES(
            known, Lines(ours.slope[::-1], ours.intercept[::-1]), theirs
        )
    },
    "the chord goes through zero": {
        "qsmt.dra.curved._chord": lambda d, slopes: (
            slopes.upper + 0 * d.lower,
            0 * d.lower,
            0 * d.lower,
        )
    },
    "the steepest slope is the least": {
        "qsmt.dra.curved._steepest": lambda d, slopes: slopes.lower * d,
    },
    "a shape passes its value on": {"qsmt.dra.interval.shape_of": lambda op: SimpleImage()},
    "negative slopes have no error": {
        "qsmt.dra.deeppoly._constant": lambda lines, bias, penalty: lines.intercept,
    },
}
ONLY_OPTIMIZED: dict[str, dict[str, Any]] = {
    "what is left of a plane is forgotten": {"qsmt.dra.held._rest": lambda slope, mean, x, sign: 0 * mean},
    "the mean slope is the upper one": {
        "qsmt.dra.held._rest": lambda slope, mean, x, sign: -np.abs((slope - mean) * x.upper)
    },
}


class SimpleImage:
    """An interval domain that forgets to apply a function."""

    def image(self, z: Interval) -> Interval:
        return z


def image_at(self: Shape, z: Interval) -> Interval:
    found = self.bounds(narrowed(z).lower)
    return Interval(found.lower, found.upper)


def slopes_of_reference(shape: Shape, known: Before, w: Interval) -> Interval:
    return shape.slopes(narrowed(known.reference))


def middle_of_codes(self: Tabulated, w: Interval) -> Interval:
    return ERROR(self, narrowed(w))


def planes_of_the_sum(region: Hexagons, after: Interval) -> Planes:
    """As if a code were what it was rounded from."""
    found = PLANES(region, after)
    return replace(found, alpha=1.0 + 0 * found.alpha, beta=0 * found.beta, gamma=0 * found.gamma)


def line_of_the_sum(z: Interval, limits: Limits, noise: tuple[float, float]) -> Lines:
    slope = 1.0 + 0 * np.stack([z.lower, z.lower])
    return Lines(slope, 0 * slope)


def read_without_noise(self: Tabulated, s: Interval) -> Interval:
    return self.inner.limits.of(s)


FAULTS["an image of the middle"] = {"qsmt.dra.shape.Shape.image": image_at}
FAULTS["slopes of the reference only"] = {"qsmt.dra.curved._slopes": slopes_of_reference}

OF_TABLES: dict[str, dict[str, Any]] = {
    "a table has no error": {
        "qsmt.dra.tabulated.Tabulated.error": lambda self, w: Interval(0 * w.lower, 0 * w.upper)
    },
    "a table's error is that of the code in the middle": {
        "qsmt.dra.tabulated.Tabulated.error": middle_of_codes
    },
    "a code is what it was rounded from": {"qsmt.dra.curved.planes": planes_of_the_sum},
    "no line is moved by a code's rounding": {"qsmt.dra.deeppoly.lines_around": line_of_the_sum},
    "a table reads what is not rounded": {"qsmt.dra.tabulated.Tabulated.read": read_without_noise},
    "an error has one sign": {
        "qsmt.dra.tabulated.Tabulated.error": lambda self, w: Interval(
            np.maximum(ERROR(self, w).lower, 0.0), ERROR(self, w).upper
        )
    },
}


def test_without_a_fault_nothing_is_left(pool: list[Executed]) -> None:
    assert caught(pool, tuple(Mode)) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(name: str, pool: list[Executed], monkeypatch: pytest.MonkeyPatch) -> None:
    for target, wrong in FAULTS[name].items():
        monkeypatch.setattr(target, wrong)
    assert caught(pool, (Mode.BEST,)) != []


@pytest.fixture(scope="module")
def tables() -> list[Executed]:
    """Integer networks that read the reference's functions from tables."""
    problems = [tabled_problem(seed, Style((2, 4, 3, 2), wraps=False)) for seed in range(40)]
    return [(p, executed(p, points_of(p, 1, 60))) for p in problems]


def test_without_a_fault_no_table_is_left(tables: list[Executed]) -> None:
    assert caught(tables, tuple(Mode)) == []


@pytest.mark.parametrize("name", OF_TABLES)
def test_a_fault_of_a_table_is_caught(
    name: str, tables: list[Executed], monkeypatch: pytest.MonkeyPatch
) -> None:
    for target, wrong in OF_TABLES[name].items():
        monkeypatch.setattr(target, wrong)
    assert caught(tables, (Mode.BEST,)) != []


@pytest.mark.parametrize("name", ONLY_OPTIMIZED)
def test_a_fault_of_the_search_is_caught(
    name: str, pool: list[Executed], monkeypatch: pytest.MonkeyPatch
) -> None:
    for target, wrong in ONLY_OPTIMIZED[name].items():
        monkeypatch.setattr(target, wrong)
    assert caught(pool, (Mode.OPTIMIZED,)) != []


# --- which neurons are stable -------------------------------------------------------------------------------


def states(kinds: list[Function | Fraction | None], low: int, high: int) -> set[Stability]:
    """What the hidden neurons of a pair are said to be, whose only input runs between these."""
    pair = wild_pair(3, Style((1, 3, 1)))
    region = replace(pair.region, lower=(Fraction(low),), upper=(Fraction(high),))
    made = replace(
        pair, region=region, reference=curved(pair.reference, kinds), quantized=curved(pair.quantized, kinds)
    )
    found = stability.stability(made, analyze_region(made))[0]
    return {*found.reference.ravel().tolist(), *found.quantized.ravel().tolist()}


def test_a_curve_is_stable_only_where_it_is_a_line() -> None:
    assert states([Function.TANH, None], 1, 2) == {Stability.UNSTABLE}
    assert Stability.ACTIVE in states([Function.HARD_SWISH, None], 400, 402)
    assert Stability.INACTIVE in states([Function.HARD_SWISH, None], 400, 402)
    assert Stability.ACTIVE in states([Fraction(1, 2), None], 400, 402)
    assert Stability.INACTIVE not in states([Fraction(1, 2), None], 400, 402)
