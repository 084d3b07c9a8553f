"""Problems: what a region holds, what is refused, and what the digest covers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.errors import MalformedProblem
from qsmt.ir.text import parse, print_network
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from tests.support.networks import Recipe, random_problem, reference_network, with_bound

F = Fraction
GRID, CONTINUOUS = InputModel.GRID, InputModel.CONTINUOUS
VALID = random_problem(3, Recipe(sizes=(2, 3, 2)))


def box(model: InputModel, *ends: tuple[int | F, int | F]) -> Region:
    return Region(model, tuple(F(a) for a, _ in ends), tuple(F(b) for _, b in ends))


# --- regions ----------------------------------------------------------------------------------------------


def test_a_grid_holds_its_integer_points() -> None:
    region = box(GRID, (-1, 2), (5, 5))
    assert region.points == 4
    assert [x for x in range(-3, 5) if region.contains((F(x), F(5)))] == [-1, 0, 1, 2]
    assert not region.contains((F(1, 2), F(5)))
    assert not region.contains((F(0), F(6)))


def test_a_continuous_region_holds_all_or_one() -> None:
    assert box(CONTINUOUS, (0, 1), (5, 5)).points is None
    point = box(CONTINUOUS, (F(1, 3), F(1, 3)), (5, 5))
    assert point.points == 1
    assert point.contains((F(1, 3), F(5)))
    assert not point.contains((F(1, 3) + F(1, 10**30), F(5)))


def test_the_points_of_a_large_grid_are_counted_exactly() -> None:
    assert box(GRID, *[(0, 255)] * 100).points == 256**100


# --- what is refused ------------------------------------------------------------------------------------------

THREE_INPUTS = random_problem(3, Recipe(sizes=(3, 3, 2)))
THREE_OUTPUTS = random_problem(3, Recipe(sizes=(2, 3, 3)))
FOUR_NEURONS = random_problem(3, Recipe(sizes=(2, 4, 2)))
ONE_LAYER = random_problem(3, Recipe(sizes=(2, 2)))
KIND = VALID.quantized.input.type.element
assert isinstance(KIND, Fixed)
MIN, MAX = KIND.min, KIND.max


def claim(outputs: tuple[int, ...], *bounds: F | int) -> ErrorBound:
    return ErrorBound(outputs, tuple(map(F, bounds)))


REFUSED: dict[str, tuple[Callable[[], Problem], str]] = {
    "integer reference": (
        lambda: replace(VALID, reference=VALID.quantized),
        "the reference network @quantized computes on integers; give a float network",
    ),
    "inputs": (
        lambda: replace(VALID, quantized=THREE_INPUTS.quantized),
        "the reference has 2 inputs, the quantized network 3",
    ),
    "outputs": (
        lambda: replace(VALID, quantized=THREE_OUTPUTS.quantized),
        "the reference has 2 outputs, the quantized network 3",
    ),
    "layers": (
        lambda: replace(VALID, quantized=ONE_LAYER.quantized),
        "the reference has 2 layers, the quantized network 1",
    ),
    "neurons": (
        lambda: replace(VALID, quantized=FOUR_NEURONS.quantized),
        "layer 0 has 3 neurons in the reference, 4 in the quantized network",
    ),
    "region of another size": (
        lambda: replace(VALID, region=box(GRID, (0, 1))),
        "the network has 2 inputs, the region 1 lower and 1 upper ends",
    ),
    "ends of different numbers": (
        lambda: replace(VALID, region=Region(GRID, (F(0), F(0)), (F(1),))),
        "the region 2 lower and 1 upper ends",
    ),
    "empty region": (
        lambda: replace(VALID, region=box(GRID, (0, 0), (1, 0))),
        "the region is empty: input 1 runs from 1 to 0",
    ),
    "empty continuous region": (
        lambda: replace(VALID, region=box(CONTINUOUS, (F(1, 2), F(1, 3)), (0, 0))),
        "the region is empty: input 0 runs from 1/2 to 1/3",
    ),
    "grid between integers": (
        lambda: replace(VALID, region=box(GRID, (0, 1), (F(1, 2), 1))),
        "input 1 runs from 1/2 to 1, but a grid has integer ends",
    ),
    "grid below the format": (
        lambda: replace(VALID, region=box(GRID, (MIN - 1, 0), (0, 0))),
        f"input 0 runs from {MIN - 1} to 0, {KIND} from {MIN} to {MAX}",
    ),
    "grid above the format": (
        lambda: replace(VALID, region=box(GRID, (0, 0), (0, MAX + 1))),
        f"input 1 runs from 0 to {MAX + 1}, {KIND} from {MIN} to {MAX}",
    ),
    "astronomical region": (
        lambda: replace(VALID, region=box(CONTINUOUS, (0, 2**201), (0, 0))),
        "input 0 is not within -2**200 to 2**200",
    ),
    "scale of zero": (lambda: replace(VALID, input_scale=F(0)), "input_scale is not a positive number"),
    "negative scale": (lambda: replace(VALID, input_scale=F(-1, 2)), "input_scale is not a positive number"),
    "astronomical scale": (lambda: replace(VALID, input_scale=F(2) ** 401), "within 2**-400 to 2**400"),
    "microscopic scale": (lambda: replace(VALID, input_scale=F(2) ** -401), "within 2**-400 to 2**400"),
    "no outputs": (lambda: replace(VALID, claim=claim(())), "outputs must be a list of different indices"),
    "an output twice": (
        lambda: replace(VALID, claim=claim((1, 1), 1, 1)),
        "outputs must be a list of different indices",
    ),
    "an output that is not there": (
        lambda: replace(VALID, claim=claim((0, 2), 1, 1)),
        "outputs [0, 2] are not all among 0 to 1",
    ),
    "a negative output": (lambda: replace(VALID, claim=claim((-1,), 1)), "not all among 0 to 1"),
    "too few bounds": (lambda: replace(VALID, claim=claim((0, 1), 1)), "1 bounds for 2 outputs"),
    "a negative bound": (
        lambda: replace(VALID, claim=claim((0, 1), 1, F(-1, 2))),
        "a bound is negative: -1/2",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_a_problem_that_makes_no_sense_is_refused(make: Callable[[], Problem], message: str) -> None:
    with pytest.raises(MalformedProblem) as refusal:
        make()
    assert message in str(refusal.value)


ALLOWED: dict[str, Callable[[], Problem]] = {
    "a single point": lambda: replace(VALID, region=box(GRID, (1, 1), (0, 0))),
    "the whole format": lambda: replace(VALID, region=box(GRID, (MIN, MAX), (MIN, MAX))),
    "reals beyond the format": lambda: replace(VALID, region=box(CONTINUOUS, (-999, 999), (0, F(1, 3)))),
    "a bound of zero": lambda: with_bound(VALID, F(0)),
    "one output, by its index": lambda: replace(VALID, claim=claim((1,), 2)),
    "outputs in any order": lambda: replace(VALID, claim=claim((1, 0), 2, 3)),
    "two real networks": lambda: replace(VALID, quantized=VALID.reference),
    "a grid of any integers for real networks": lambda: replace(
        VALID, quantized=VALID.reference, region=box(GRID, (-999, 999), (0, 0))
    ),
}


@pytest.mark.parametrize("make", ALLOWED.values(), ids=ALLOWED)
def test_a_problem_that_is_only_unusual_is_allowed(make: Callable[[], Problem]) -> None:
    assert make().input_size == 2


# --- what is read off a problem --------------------------------------------------------------------------------


def test_a_bound_belongs_to_its_output() -> None:
    bounds = claim((2, 0), 5, F(1, 3))
    assert (bounds.of(2), bounds.of(0)) == (F(5), F(1, 3))


def test_layers_are_aligned_in_order() -> None:
    assert [(a.pre.name, b.pre.name) for a, b in VALID.layers] == [("z0", "a0"), ("z1", "a1")]


def one_more_unit(problem: Problem) -> Problem:
    """The same, one code of one weight changed."""
    text = print_network(problem.quantized)
    first = int(text.split("= [", 1)[1].split(",")[0])
    other = first + 1 if first < 7 else first - 1
    return replace(problem, quantized=parse(text.replace(f"= [{first},", f"= [{other},", 1)))


def heavier(problem: Problem) -> Problem:
    """The same, one weight of the reference changed by a last bit."""
    (first, second) = (layer for layer, _ in problem.layers)
    weights = [(x.affine.weight.reals.nearest.copy(), x.affine.bias.reals.nearest) for x in (first, second)]
    weights[1][0][0, 0] = np.nextafter(weights[1][0][0, 0], 9)
    return replace(problem, reference=reference_network(weights))


def test_the_digest_covers_everything_the_answer_depends_on() -> None:
    variants = [
        VALID,
        one_more_unit(VALID),
        heavier(VALID),
        with_bound(VALID, F(1, 10**9)),
        replace(VALID, claim=claim((0,), 0)),
        replace(VALID, input_scale=VALID.input_scale + F(1, 10**30)),
        replace(VALID, region=replace(VALID.region, model=CONTINUOUS)),
        replace(VALID, region=replace(VALID.region, lower=VALID.region.upper)),
        replace(VALID, region=replace(VALID.region, upper=VALID.region.lower)),
    ]
    digests = [v.sha256 for v in variants]
    assert all(a != b for a, b in combinations(digests, 2))


def test_the_digest_covers_nothing_else() -> None:
    again = random_problem(3, Recipe(sizes=(2, 3, 2)))
    reread = replace(
        VALID,
        reference=parse(print_network(VALID.reference)),
        quantized=parse(print_network(VALID.quantized)),
    )
    assert again.sha256 == reread.sha256 == VALID.sha256
    assert len(VALID.sha256) == 64
