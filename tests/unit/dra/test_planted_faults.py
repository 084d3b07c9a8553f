"""The soundness check has teeth: with any one transfer rule made wrong, some execution leaves some interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qsmt.arith.fixed import Overflow
from qsmt.arith.rounding import Rounding
from qsmt.dra import (
    activation,
    analysis,
    compiled,
    deeppoly,
    domains,
    inputs,
    interval,
    pairs,
    rounding,
    trace,
)
from qsmt.dra.analysis import analyze_region
from qsmt.dra.compiled import CompiledLayer
from qsmt.dra.domain import Limits, mirrored_rows, plus
from qsmt.dra.inputs import InputFacts
from qsmt.dra.planes import Planes, planes
from qsmt.facts import Interval
from qsmt.problem import InputModel, Problem
from tests.unit.dra.soundness import Range, executed, violations
from tests.unit.dra.wild import Style, points_of, wild_pair, wild_problem

Executed = tuple[Problem, list[dict[str, Range]]]


@pytest.fixture(scope="module")
def pool() -> list[Executed]:
    """Problems of all kinds, and the ranges of their exact executions."""
    styles = [
        Style((2, 4, 3, 2), rounding_, overflow, model=model)
        for rounding_, overflow, model in zip(
            [Rounding.FLOOR, Rounding.HALF_UP, Rounding.AWAY, Rounding.CEIL] * 2,
            list(Overflow) * 2,
            [InputModel.GRID] * 4 + [InputModel.CONTINUOUS] * 4,
            strict=True,
        )
    ]
    problems = [wild_problem(seed, style) for style in styles for seed in range(8)]
    problems += [wild_pair(seed, Style((2, 4, 3, 2))) for seed in range(8)]
    problems += [
        wild_problem(
            seed, Style((1, 4, 1), bits=3, rounding=list(Rounding)[seed % 9], model=model, wraps=False)
        )
        for model in InputModel
        for seed in range(100)
    ]
    return [(p, executed(p, points_of(p, 1, 60))) for p in problems]


@pytest.fixture(autouse=True)
def _nothing_cached() -> Iterator[None]:
    """What a fault has compiled is forgotten."""
    compiled._compile.cache_clear()
    yield
    compiled._compile.cache_clear()


def caught(pool: list[Executed]) -> list[str]:
    """The first intervals that are left."""
    with np.errstate(all="ignore"):
        for problem, ranges in pool:
            if found := violations(ranges, analyze_region(problem)):
                return found
    return []


# --- the faults -------------------------------------------------------------------------------------

INFINITY = float("inf")
BOUND_AT = activation._bound_at
SPREAD = pairs._spread


def in_layer(change: Callable[[CompiledLayer], CompiledLayer]) -> dict[str, Any]:
    """A fault in the compiled form of every layer."""
    true = compiled._compile_layer
    return {"qsmt.dra.compiled._compile_layer": lambda ours, theirs: change(true(ours, theirs))}


def with_limits(layer: CompiledLayer, side: str, **changed: float) -> CompiledLayer:
    old = getattr(layer, side)
    limits = replace(old.activation.limits, **changed)
    return replace(layer, **{side: replace(old, activation=replace(old.activation, limits=limits))})


def with_noise(layer: CompiledLayer, noise: tuple[float, float]) -> CompiledLayer:
    old = layer.quantized
    return replace(layer, quantized=replace(old, activation=replace(old.activation, noise=noise)))


def no_difference(relation: Any, boxes: Any) -> InputFacts:
    found = inputs.input_facts(relation, boxes)
    zero = np.zeros_like(found.difference.lower)
    return replace(found, difference=Interval(zero, zero))


def half_a_unit(kind: Any, reference: Interval, codes: Interval) -> Interval:
    half = np.full_like(reference.lower, float(kind.scale) / 2)
    return Interval(-half, half)


def signed_spread(self: Any, radius: Any, magnitude: Any) -> Any:
    return radius @ self.transposed + self.offset


def swapped(before: Any, quantized: Any, reference: Any) -> Interval:
    found = activation.difference_after(before, quantized, reference)
    return Interval(-found.upper, -found.lower)


def passing_planes(region: Any, after: Any) -> Planes:
    found = planes(region, after)
    return Planes(np.ones_like(found.alpha), 0 * found.beta, 0 * found.gamma)


def half_meet(bound: Interval, lanes: int) -> Interval:
    size = len(bound.lower) // lanes
    return Interval(
        bound.lower.copy(), np.tile(bound.upper.reshape(lanes, size, -1).min(axis=0) * 0.5, (lanes, 1))
    )


FAULTS: dict[str, dict[str, Any]] = {
    # the activation's rule
    "where the quantized side saturates is forgotten": {
        "qsmt.dra.activation._knee": lambda z, c, cap: (z.upper, z.upper)
    },
    "the ends are forgotten": {
        "qsmt.dra.activation._bound_at": lambda at, *rest: BOUND_AT(
            Interval(at.lower[2:], at.upper[2:]), *rest
        )
    },
    "the activation passes every difference on": {
        "qsmt.dra.analysis.difference_after": lambda before, *_: before.difference
    },
    "the difference is reference minus quantized": {"qsmt.dra.analysis.difference_after": swapped},
    "wrapped codes obey the formula": {"qsmt.dra.analysis.select": lambda _, a, b: a},
    # noise
    "no rounding noise": in_layer(lambda layer: with_noise(layer, (0.0, 0.0))),
    "rounding noise only downwards": in_layer(
        lambda layer: with_noise(layer, (layer.quantized.activation.noise[0], 0.0))
    ),
    "rounding noise only upwards": in_layer(
        lambda layer: with_noise(layer, (0.0, layer.quantized.activation.noise[1]))
    ),
    # affine differences
    "no weight difference": in_layer(
        lambda layer: replace(
            layer,
            gap=replace(
                layer.gap,
                transposed=0 * layer.gap.transposed,
                absolute=0 * layer.gap.absolute,
            ),
        )
    ),
    "no bias difference": in_layer(
        lambda layer: replace(layer, gap=replace(layer.gap, bias=0 * layer.gap.bias))
    ),
    "the reference's weights carry the difference on": in_layer(
        lambda layer: replace(layer, weight=layer.reference.linear)
    ),
    "an interval's radius meets signed weights": {"qsmt.dra.affine.AffineMap._spread": signed_spread},
    # clamps
    "no saturation above": in_layer(
        lambda layer: with_limits(layer, "quantized", upper_down=INFINITY, upper_up=INFINITY)
    ),
    "no saturation below": in_layer(
        lambda layer: with_limits(layer, "quantized", lower_down=-INFINITY, lower_up=-INFINITY)
    ),
    "the reference's lower limit is lost": in_layer(
        lambda layer: with_limits(layer, "reference", lower_down=-INFINITY, lower_up=-INFINITY)
    ),
    "the reference's upper limit is lost": in_layer(
        lambda layer: with_limits(layer, "reference", upper_down=INFINITY, upper_up=INFINITY)
    ),
    # inputs
    "no input difference": {"qsmt.dra.analysis.input_facts": no_difference},
    "a real input never saturates": {"qsmt.dra.inputs._rounding_error": half_a_unit},
    "input codes are not clamped": {
        "qsmt.dra.inputs.type_limits": lambda kind: Limits(-INFINITY, -INFINITY, INFINITY, INFINITY)
    },
    # integers
    "everything rounds down": {"qsmt.dra.rounding.ROUND": dict.fromkeys(Rounding, np.floor)},
    "wrapping saturates": {"qsmt.dra.interval._wrap": lambda x, limits: interval._regular(limits.of(x))},
    "zeroing saturates": {"qsmt.dra.interval._zero": lambda x, limits: interval._regular(limits.of(x))},
    # DeepPoly
    "lines without intercept": {"qsmt.dra.deeppoly._gap": lambda at, slope, clamp: 0 * (slope + at.lower)},
    "chords that are too flat": {"qsmt.dra.deeppoly._constant": lambda line, bias, _: line.slope * bias},
    "the quantized network's lines know no noise": {
        "qsmt.dra.trace.lines_of": lambda side, z: deeppoly.lines_around(z, side.activation.limits)
    },
    "the reference's form is not negated": {"qsmt.dra.domains._opposite": mirrored_rows},
    # joint back-substitution
    "every plane passes the difference on": {"qsmt.dra.trace.planes": passing_planes},
    "a row's sign does not matter": {
        "qsmt.dra.pairs._spread": lambda pair: SPREAD(0.5 * (pair + pair[::-1]))
    },
    "mutual tightening adds where it should subtract": {
        "qsmt.dra.domains.tightened": lambda z, d, s: (z.meet(plus(s, d)), d, s)
    },
    # lanes
    "lanes meet in half of what they share": {"qsmt.facts.Interval.meet_lanes": half_meet},
    "negative rows take the upper line": {
        "qsmt.dra.deeppoly._matvec": lambda rows, v: np.matmul(np.abs(rows), v[..., None])[..., 0]
    },
}


def test_without_a_fault_nothing_is_left(pool: list[Executed]) -> None:
    assert caught(pool) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(name: str, pool: list[Executed], monkeypatch: pytest.MonkeyPatch) -> None:
    for target, wrong in FAULTS[name].items():
        monkeypatch.setattr(target, wrong)
    assert caught(pool) != []


def test_every_module_with_a_rule_has_a_fault() -> None:
    targets = " ".join(target for fault in FAULTS.values() for target in fault)
    modules = (activation, analysis, compiled, deeppoly, domains, inputs, interval, pairs, rounding, trace)
    assert all(module.__name__ in targets for module in modules)
