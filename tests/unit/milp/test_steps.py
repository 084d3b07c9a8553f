"""The rows of rounding and clamping mean exactly the rule: checked over all integer solutions, no solver."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Rational, Requantization
from qsmt.arith.rounding import Rounding
from qsmt_milp.bigm import Bounds
from qsmt_milp.model import Builder, Exact, Linear, Model
from qsmt_milp.neuron import Neuron, clamp
from qsmt_milp.rules import settled
from qsmt_milp.steps import Window, fits_rows, stairs, window
from tests.unit.milp.oracle import Fault, plant

CASES = 600
Clamp: TypeAlias = tuple[Exact | None, Exact | None]
Put: TypeAlias = Callable[..., Linear]

STEPS = (1, 2, 3, 4, 5, 6, 8)  # denominators: even, odd, powers of two


def solutions(model: Model) -> npt.NDArray[np.float64]:
    """All assignments that satisfy every row, one per line; the variables range over their integers."""
    axes = [np.arange(int(v.lower), int(v.upper) + 1) for v in model.variables]
    found = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1).astype(float)
    for row in model.rows:
        value = sum((float(c) * found[:, i] for i, c in row.terms.items()), np.zeros(len(found)))
        low, high = (
            float(v)
            for v in (
                row.lower if row.lower is not None else -np.inf,
                row.upper if row.upper is not None else np.inf,
            )
        )
        found = found[(low <= value) & (value <= high)]
    return found


def graph(neuron: Neuron, bounds: Bounds, put: Put | None = None) -> set[tuple[int, int]]:
    """The pairs (acc, y) that the neuron's rows allow."""
    builder = Builder()
    acc = builder.variable("acc", neuron.low, neuron.high, integer=True)
    value = (put or settled)(builder, "y", neuron=replace(neuron, form=acc), bounds=bounds)
    found = solutions(builder.model("", value))
    y = sum(
        (float(c) * found[:, i] for i, c in value.terms.items()), np.full(len(found), float(value.constant))
    )
    return {(int(a), int(b)) for a, b in zip(found[:, 0], y, strict=True)}


@dataclass(frozen=True)
class Case:
    """A neuron, bounds of it, and what the ops say it is: a clamp, a rounding, another clamp."""

    neuron: Neuron
    bounds: Bounds
    clamps: tuple[Clamp, Clamp]

    def meaning(self, acc: int) -> int:
        assert self.neuron.rule is not None
        return int(clamp(self.neuron.rule.apply(int(clamp(acc, *self.clamps[0]))), *self.clamps[1]))

    @property
    def graph(self) -> set[tuple[int, int]]:
        """The pairs (acc, y) whose y lies within the bounds."""
        pairs = {(a, self.meaning(a)) for a in range(int(self.neuron.low), int(self.neuron.high) + 1)}
        return {(a, y) for a, y in pairs if self.bounds[0] <= y <= self.bounds[1]}


def random_case(rng: np.random.Generator) -> Case:
    """Some accumulator, roundings and clamps; one time in three, bounds tighter than they need be."""
    low, high = sorted(rng.integers(-30, 31, 2).tolist())
    factor = Fraction(int(rng.integers(1, 4)), int(rng.choice(STEPS)))
    kind = Rational(factor, list(Rounding)[int(rng.integers(9))])
    overflow = (Overflow.SATURATE, Overflow.SATURATE_SYMMETRIC)[int(rng.integers(2))]
    rule = Requantization(kind, overflow, Fixed(bool(rng.integers(2)), int(rng.integers(2, 5)), 0))
    before, after = random_clamp(rng), random_clamp(rng)
    neuron = Neuron(Linear(), low, high).clamped(*before).requantized(rule).clamped(*after)
    ends = neuron(low), neuron(high)
    cut = rng.integers(3) == 0 and ends[1] - ends[0] > 2
    return Case(neuron, (ends[0] + 1, ends[1] - 1) if cut else ends, (before, after))


def random_clamp(rng: np.random.Generator) -> Clamp:
    floor, ceiling = sorted(rng.integers(-6, 12, 2).tolist())
    drop = rng.integers(0, 3, 2)
    return floor if drop[0] == 0 else None, ceiling if drop[1] == 0 else None


def cases(count: int = CASES) -> list[Case]:
    rng = np.random.default_rng(7)
    return [random_case(rng) for _ in range(count)]


def wrong() -> int:
    """How many random neurons have rows that do not mean them."""
    return sum(graph(case.neuron, case.bounds) != case.graph for case in cases())


def test_rows_allow_exactly_the_rounded_and_clamped_value() -> None:
    for case in cases():
        assert graph(case.neuron, case.bounds) == case.graph, case


def test_the_random_neurons_cover_every_form_of_row() -> None:
    unstable = [case for case in cases() if case.bounds[0] < case.bounds[1]]
    assert {case.neuron.rounding for case in unstable} == set(Rounding)
    names = set()
    for case in unstable:
        builder = Builder()
        acc = builder.variable("acc", case.neuron.low, case.neuron.high, integer=True)
        settled(builder, "y", neuron=replace(case.neuron, form=acc), bounds=case.bounds)
        names |= {v.name for v in builder.model("", acc).variables}
    assert names == {"acc", "y", "y.on", "y.full", "y.neg", "y.odd", "y.pairs"}


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("denominator", STEPS)
def test_the_rounding_that_replaces_another_agrees_after_the_clamp(
    rounding: Rounding, denominator: int
) -> None:
    for (low, high), floor, ceiling in itertools.product(
        [(-40, 40), (0, 40), (-40, 0), (-40, -3), (5, 40)], (None, -2, 0, 1), (None, 2, 0, -1)
    ):
        kind = Rational(Fraction(1, denominator), rounding)
        neuron = Neuron(
            Linear(), low, high, Requantization(kind, Overflow.SATURATE, Fixed(True, 8, 0)), floor, ceiling
        )
        other = Requantization(
            Rational(Fraction(1, denominator), neuron.rounding), Overflow.SATURATE, Fixed(True, 8, 0)
        )
        twin = Neuron(Linear(), low, high, other, floor, ceiling)
        assert [neuron(a) for a in range(low, high + 1)] == [twin(a) for a in range(low, high + 1)]


def test_a_rounding_whose_sign_and_ties_are_settled_needs_no_binary() -> None:
    """Unsigned targets: eight of the nine roundings are a plain floor, and half-even is the ninth."""
    binaries = {}
    for rounding in Rounding:
        rule = Requantization(Rational(Fraction(1, 4), rounding), Overflow.SATURATE, Fixed(False, 8, 0))
        builder = Builder()
        neuron = Neuron(builder.variable("acc", -9, 90, integer=True), -9, 90).requantized(rule)
        window(builder, "y", neuron=neuron, value=builder.variable("y", 0, 23, integer=True))
        binaries[rounding] = len(builder.model("", neuron.form).variables) - 2
    assert {r for r, n in binaries.items() if n} == {Rounding.HALF_EVEN}


# --- the staircase ----------------------------------------------------------------------------------------


def put_stairs(builder: Builder, name: str, *, neuron: Neuron, bounds: Bounds) -> Linear:
    return stairs(builder, name, neuron)


def test_the_staircase_means_the_same() -> None:
    for case in cases(120):
        ends = case.neuron(case.neuron.low), case.neuron(case.neuron.high)
        if ends[1] - ends[0] <= 8:
            whole = replace(case, bounds=ends)
            assert graph(case.neuron, ends, put_stairs) == whole.graph, case


def test_factors_beyond_a_solvers_tolerance_go_by_the_staircase() -> None:
    factor = Fraction(2**30 + 1, 2**32)
    rule = Requantization(Rational(factor, Rounding.HALF_EVEN), Overflow.SATURATE, Fixed(False, 3, 0))
    case = Case(Neuron(Linear(), -9, 30).requantized(rule), (0, 7), ((None, None), (None, None)))
    assert not fits_rows(case.neuron)
    assert graph(case.neuron, case.bounds) == case.graph


# --- a clamp without a rounding -----------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [(-7, 5), (-7, 40), (-1, 3), (2, 3), (-8, -5), (5, 9)])
@pytest.mark.parametrize("ceiling", [None, 12, 4])
def test_a_relu_or_clip_allows_exactly_its_value(ends: tuple[int, int], ceiling: int | None) -> None:
    neuron = Neuron(Linear(), *ends).clamped(0, ceiling)
    bounds = neuron(neuron.low), neuron(neuron.high)
    assert graph(neuron, bounds) == {(a, int(clamp(a, 0, ceiling))) for a in range(ends[0], ends[1] + 1)}


def test_stable_neurons_cost_nothing() -> None:
    for low, high, want in ((3, 9, {0: 1}), (-9, -3, {}), (-9, 0, {})):
        builder = Builder()
        acc = builder.variable("acc", low, high, integer=False)
        neuron = Neuron(acc, low, high).clamped(0, None)
        value = settled(builder, "y", neuron=neuron, bounds=(neuron(low), neuron(high)))
        assert dict(value.terms) == want
        model = builder.model("", value)
        assert len(model.variables) == 1 and not model.rows


# --- planted faults ---------------------------------------------------------------------------------------

FAULTS: dict[str, Fault] = {
    "rounding offset one too large": ("qsmt_milp.steps.offset", lambda f: lambda q, r: f(q, r) + 1),
    "rounding offset missing": ("qsmt_milp.steps.offset", lambda _: lambda q, r: 0),
    "a limit is never crossed": ("qsmt_milp.rules.crosses", lambda _: lambda n, b: (False, False)),
    "M too small": (
        "qsmt_milp.bigm.activation",
        lambda f: lambda *a, **k: tuple(Fraction(m, 2) for m in f(*a, **k)),
    ),
    "half-even as half-up": ("qsmt_milp.steps._half_even", lambda _: _as_half_up),
    "bounds one too narrow": (
        "tests.unit.milp.test_steps.settled",
        lambda f: (
            lambda b, name, *, neuron, bounds: f(
                b, name, neuron=neuron, bounds=(bounds[0], max(bounds[0], bounds[1] - 1))
            )
        ),
    ),
}


def _as_half_up(_builder: Builder, _name: str, neuron: Neuron, _value: Linear) -> Window:
    assert neuron.rule is not None
    p, q = neuron.rule.exact.multiplier.as_integer_ratio()
    above = neuron.form * p + q // 2
    return Window(above - (q - 1), above, q, p * neuron.high, p * neuron.low)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(FAULTS[name], monkeypatch)
    assert wrong() > 0
