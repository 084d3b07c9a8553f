"""The certified error is split into parts: they add up to it, and each fault shows as what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Overflow
from qsmt.arith.rounding import Rounding
from qsmt.dra import attribution
from qsmt.dra.analysis import analyze_region
from qsmt.dra.attribution import Attribution, Cause, attribute
from qsmt.dra.domain import Mode
from qsmt.engine.random_affine import FORMS, Form, affine_problem
from qsmt.frontend.base import load_network
from qsmt.frontend.fixed_point import quantize
from qsmt.frontend.formats import FixedPointScheme, FormatSpec
from qsmt.ir.network import Network
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from tests.support.any_network import curved
from tests.support.networks import Recipe, random_problem
from tests.support.truth import true_range
from tests.unit.dra.wild import Style, wild_pair, wild_problem

NETWORK = load_network(Path(__file__).parents[3] / "examples" / "pendulum" / "pendulum.onnx")

RECIPES = [
    Recipe(sizes=(2, 3, 1)),
    Recipe(sizes=(2, 4, 3, 2), rounding=Rounding.FLOOR),
    Recipe(sizes=(2, 4, 2), rational=True, rounding=Rounding.CEIL),
    Recipe(sizes=(3, 3, 3, 1), clip=Fraction(1), radius=1),
    Recipe(sizes=(2, 3, 1), input_scale=Fraction(1, 7)),
    Recipe(sizes=(2, 5, 1), overflow=Overflow.WRAP),
]


def unfaithful(found: Attribution) -> bool:
    """Do the parts of layers miss the bound of the certificate by more than rounding?"""
    size = max(abs(part.amount) for part in found.parts) + 1e-6
    return not -1e-9 * size <= found.amount(Cause.ARITHMETIC, None) <= 1e-9 * size


# --- the sum ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("seed", range(6))
def test_parts_add_up_to_a_bound_of_every_execution(recipe: Recipe, seed: int) -> None:
    problem = random_problem(seed, recipe)
    best = analyze_region(problem).difference
    found = attribute(problem)
    assert [(a.output, a.side) for a in found] == [(i, s) for s in (1, -1) for i in problem.claim.outputs]
    for a in found:
        low, high = true_range(problem, a.output)
        assert (high if a.side > 0 else -low) <= Fraction(a.certified) <= a.total
        assert a.certified <= (best.upper if a.side > 0 else -best.lower)[a.output]
        assert a.total - Fraction(a.certified) <= Fraction(1, 10**9)
        assert a.amount(Cause.INTERSECTION, None) <= 0
        assert not unfaithful(a)


@pytest.mark.parametrize("model", InputModel)
@pytest.mark.parametrize("seed", range(8))
def test_parts_add_up_whatever_the_magnitudes(seed: int, model: InputModel) -> None:
    problem = wild_problem(seed, Style((2, 4, 3, 2), Rounding.HALF_EVEN, Overflow.SATURATE, model=model))
    for a in attribute(problem):
        assert a.total >= Fraction(a.certified)


@pytest.mark.parametrize("seed", range(len(FORMS)))
def test_parts_add_up_for_formats_with_zero_points(seed: int) -> None:
    problem = affine_problem(seed, FORMS[seed], sizes=(2, 4, 3, 2))
    for a in attribute(problem):
        low, high = true_range(problem, a.output)
        assert (high if a.side > 0 else -low) <= Fraction(a.certified) <= a.total
        assert not unfaithful(a)


@pytest.mark.parametrize(
    ("kind", "seed"),
    [("f32mul", 22), ("double_away", 0), ("double_away", 25), ("double_away", 48), ("ideal", 7)],
)
def test_outputs_that_are_rounded_are_bounded_by_their_forms_too(kind: str, seed: int) -> None:
    """Planes over the last activation were looser there than what is substituted back through it."""
    problem = affine_problem(seed, Form(kind, per_channel=True), sizes=(2, 4, 3, 2))
    assert all(Fraction(a.certified) <= a.total for a in attribute(problem))


def test_two_float_networks_differ_by_weights_biases_and_relaxation_only() -> None:
    style = Style((3, 4, 4, 2), Rounding.HALF_UP, Overflow.SATURATE, model=InputModel.CONTINUOUS)
    causes = {
        p.cause for seed in range(6) for a in attribute(wild_pair(seed, style)) for p in a.parts if p.amount
    }
    assert causes and causes.isdisjoint({Cause.ROUNDING, Cause.SATURATION, Cause.INPUT})


def test_activations_that_are_no_clamps_are_relaxed() -> None:
    kinds: list[Function | Fraction | None] = [Function.TANH, Fraction(1, 3), None]
    problem = in_fixed_point(weights=(10, 7))
    pair = replace(
        problem,
        reference=curved(NETWORK, kinds),
        quantized=curved(NETWORK, kinds),
        region=Region(InputModel.CONTINUOUS, (Fraction(-1, 4),) * 4, (Fraction(1, 4),) * 4),
        input_scale=Fraction(1),
    )
    for a in attribute(pair):
        assert not unfaithful(a) and a.total >= Fraction(a.certified)


def test_an_end_that_is_not_bounded_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "_bound", lambda trace, outputs: np.full(2 * len(outputs), np.inf))
    assert attribute(random_problem(0, RECIPES[0])) == ()


# --- each fault is blamed for what it does -----------------------------------------------------------------


def in_fixed_point(
    *,
    weights: tuple[int, int] = (40, 30),
    bias: tuple[int, int] = (40, 30),
    hidden: tuple[int, int] = (40, 30),
    input_scale: Fraction = Fraction(1, 64),
    reference: Network = NETWORK,
) -> Problem:
    """The pendulum with (bits, frac) formats, as good as exact unless said otherwise."""
    scheme = FixedPointScheme(
        FormatSpec(8, 6), FormatSpec(*weights), FormatSpec(*bias), FormatSpec(*hidden, signed=False)
    )
    region = Region(InputModel.GRID, (Fraction(-16),) * 4, (Fraction(16),) * 4)
    made = quantize(reference, scheme).network
    return Problem(reference, made, region, input_scale, ErrorBound((0,), (Fraction(1),)))


def blamed(problem: Problem, side: int = 1) -> dict[Cause, float]:
    """The amounts per cause, of all layers together."""
    (found,) = (a for a in attribute(problem) if a.side == side)
    return {cause: sum(p.amount for p in found.parts if p.cause is cause) for cause in Cause}


FAULTS: dict[Cause, Callable[[], Problem]] = {
    Cause.WEIGHTS: lambda: in_fixed_point(weights=(5, 3)),
    Cause.BIAS: lambda: in_fixed_point(bias=(4, 2)),
    Cause.ROUNDING: lambda: in_fixed_point(hidden=(6, 4)),
    Cause.INPUT: lambda: in_fixed_point(input_scale=Fraction(1, 60)),
}


@pytest.mark.parametrize("cause", FAULTS)
def test_what_is_coarse_is_blamed(cause: Cause) -> None:
    amounts = blamed(FAULTS[cause]())
    guilty = amounts.pop(cause)
    for analysis in (Cause.RELAXATION, Cause.INTERSECTION):  # of unstable neurons, which grow with any fault
        del amounts[analysis]
    assert guilty > 1e-3 and max(map(abs, amounts.values())) < guilty / 50


def test_a_format_that_is_too_small_is_blamed_for_saturation() -> None:
    amounts = blamed(in_fixed_point(hidden=(28, 30)), side=-1), blamed(in_fixed_point(hidden=(28, 30)))
    assert max(found[Cause.SATURATION] for found in amounts) > 0.01
    assert max(abs(found[Cause.ROUNDING]) for found in amounts) < 1e-6


def test_only_the_layer_that_is_coarse_is_blamed() -> None:
    exact, coarse = in_fixed_point(), in_fixed_point(weights=(5, 3))
    found = attribute(coarse)[0]
    weights = [abs(found.amount(Cause.WEIGHTS, i)) for i in range(3)]
    assert min(weights) > 1e-5
    assert max(abs(p.amount) for a in attribute(exact) for p in a.parts) < 1e-6


# --- planted faults ---------------------------------------------------------------------------------------


def _first_line_only(rows: np.ndarray, pair: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pair[0], rows.shape)


def _without_bias(tally: Any, layer: int | None, cause: Cause, amount: np.ndarray) -> None:
    if cause is not Cause.BIAS:
        tally.amounts[layer, cause] = tally.amounts.get((layer, cause), 0.0) + amount


PLANTED: dict[str, tuple[Any, str, Any]] = {
    "always the upper plane": (attribution, "_selected", _first_line_only),
    "biases forgotten": (attribution._Tally, "add", _without_bias),
    "constants of activations forgotten": (attribution, "_constants", lambda *_: {}),
    "nothing evaluated at the input": (attribution, "_at_input", lambda *_: None),
}


@pytest.fixture
def problems() -> list[Problem]:
    return [random_problem(seed, RECIPES[1]) for seed in range(4)]


def test_nothing_is_noticed_where_nothing_is_planted(problems: list[Problem]) -> None:
    assert not any(unfaithful(a) for problem in problems for a in attribute(problem))


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_noticed(
    fault: str, problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*PLANTED[fault])
    assert any(unfaithful(a) for problem in problems for a in attribute(problem))


def test_the_modes_that_are_split_are_those_that_are_reported() -> None:
    """What `attribute` certifies is within what `best` certifies, so the report may show both."""
    problem = in_fixed_point(weights=(5, 3))
    ends = analyze_region(problem, Mode.BEST).difference
    upper, lower = (next(a for a in attribute(problem) if a.side == side) for side in (1, -1))
    assert -ends.lower[0] >= lower.certified and ends.upper[0] >= upper.certified
