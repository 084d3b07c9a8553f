"""Real inputs through the input quantizer, held against exact suprema; and every other input relation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Fidelity
from qsmt.facts import Facts
from qsmt.interp import quantized, reference
from qsmt.interp.replay import replay
from qsmt.ir.network import layers
from qsmt.problem import INPUT_ROUNDING, InputModel, Problem, Region
from qsmt.solver.base import Limits, Status
from qsmt_milp import MilpEncoding, inputs
from qsmt_milp.backends.highs import HighsBackend
from tests.support.networks import Recipe, random_problem, reference_network
from tests.unit.milp.oracle import SIDES, Fault, Side, executions, no_facts, plant, query, tight_facts

ENCODING = MilpEncoding()
NEAR = Fraction(1, 10**4)


def decide(problem: Problem, bound: Fraction, side: Side, facts: Facts) -> tuple[Status, Fraction | None]:
    """HiGHS's answer, and the exact difference at its input."""
    encoded = ENCODING.encode(query(problem, bound, side, facts))
    answer = HighsBackend().solve(encoded.model, Limits(wall_s=60))
    if answer.assignment is None:
        return answer.status, None
    x = encoded.decode(answer.assignment)
    assert problem.region.contains(x)
    return answer.status, side * replay(problem, [x])[0].difference[0]


# --- continuous, one input: the exact supremum is at a cell's edge or at a kink of the reference -----------


def one_input(seed: int) -> Problem:
    """A real interval; now and then beyond the range of the codes, or with odd scales."""
    recipe = Recipe(
        sizes=(1, 3, 1), input=Fixed(True, 4, 3), input_scale=Fraction(1, 7) if seed % 3 == 0 else None
    )
    problem = random_problem(seed, recipe)
    low = Fraction(int(np.random.default_rng(seed).integers(-12, 6)), 3) / problem.input_scale / 8
    region = Region(
        InputModel.CONTINUOUS, (low,), (low + Fraction(seed % 4, 2) / problem.input_scale / 8 + 1,)
    )
    return replace(problem, region=region)


def supremum(problem: Problem, side: Side) -> Fraction:
    """The least upper bound of the difference, over the closed cell of each code."""
    return max(
        side * (quantized.run(problem.quantized, [(code,)])[0][0] - r)
        for code, xs in cells(problem)
        for (r,) in reference.run(problem.reference, [problem.reference_input((x,)) for x in xs])
    )


def cells(problem: Problem) -> Iterator[tuple[Fraction, list[Fraction]]]:
    """Each code, with the points of its cell where the reference may be extreme."""
    low, high = problem.region.lower[0], problem.region.upper[0]
    first, last = (int(problem.quantized_input((x,))[0]) for x in (low, high))
    for code in range(first, last + 1):
        left, right = ((code + d) / inputs.codes_per_unit(problem) for d in (-inputs.HALF, inputs.HALF))
        ends = low if code == first else left, high if code == last else right
        yield Fraction(code), [*ends, *(k for k in kinks(problem) if ends[0] <= k <= ends[1])]


def kinks(problem: Problem) -> list[Fraction]:
    first = layers(problem.reference)[0].affine
    pairs = zip(first.weight.reals.fractions[:, 0], first.bias.reals.fractions, strict=True)
    return [-b / w / problem.input_scale for w, b in pairs if w]


def continuous_mistakes() -> Iterator[str]:
    for seed, side in itertools.product(range(16), SIDES):
        problem = one_input(seed)
        top = supremum(problem, side)
        for bound in (top - NEAR, top + NEAR):
            if bound < 0:
                continue
            status, found = decide(problem, bound, side, (analyze_region, no_facts)[seed % 2](problem))
            want = Status.SAT if bound < top else Status.UNSAT
            if status is not want or (found is not None and found <= bound):
                yield f"seed {seed}, side {side}, supremum {top}: {status} at {bound}, found {found}"


def test_a_real_interval_is_decided_on_both_sides_of_the_supremum() -> None:
    assert list(continuous_mistakes()) == []


FAULTS: dict[str, Fault] = {
    "cells too narrow": ("qsmt_milp.inputs.HALF", lambda _: Fraction(3, 8)),
    "cells too wide": ("qsmt_milp.inputs.HALF", lambda _: Fraction(3, 4)),
    "no input quantizer's lsb": ("qsmt_milp.inputs.codes_per_unit", lambda _: lambda p: p.input_scale),
    "ties left where they are": ("qsmt_milp.inputs._into_cell", lambda _: lambda problem, x, code: x),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unplanted = [(supremum(one_input(seed), side)) for seed, side in itertools.product(range(16), SIDES)]
    plant(FAULTS[name], monkeypatch)
    tops = iter(unplanted)
    monkeypatch.setitem(globals(), "supremum", lambda problem, side: next(tops))
    assert next(continuous_mistakes(), None) is not None


def test_a_query_on_real_inputs_says_that_it_may_have_more_solutions() -> None:
    problem = one_input(1)
    assert ENCODING.encode(query(problem, Fraction(1), 1, no_facts(problem))).fidelity is Fidelity.OVER


def test_an_input_on_the_edge_of_its_cell_is_moved_into_it() -> None:
    problem = one_input(1)
    factor = inputs.codes_per_unit(problem)
    kind = problem.quantized.input.type.element
    assert isinstance(kind, Fixed)
    whole = Region(InputModel.CONTINUOUS, (kind.min / factor,), (kind.max / factor,))
    problem = replace(problem, region=whole)
    for code, edge in itertools.product(range(kind.min, kind.max + 1), (-1, 1)):
        x = inputs.recovered(problem, 0, value=(code + edge * inputs.HALF) / factor, code=Fraction(code))
        assert kind.encode(x * problem.input_scale, INPUT_ROUNDING) == code
        assert abs(x * factor - code) <= inputs.HALF and whole.contains((x,))


# --- the other relations ----------------------------------------------------------------------------------


def agrees_on_a_grid(problem: Problem, facts: Facts) -> None:
    for side in SIDES:
        top = max(side * e.difference[0] for e in executions(problem))
        for bound in (top - Fraction(1, 2**14), top, top + Fraction(1, 2**14)):
            if bound >= 0:
                status, found = decide(problem, bound, side, facts)
                assert status is (Status.SAT if bound < top else Status.UNSAT)
                assert found is None or found > bound


@pytest.mark.parametrize("seed", range(4))
def test_two_real_networks(seed: int) -> None:
    one = random_problem(seed, Recipe(sizes=(2, 3, 2, 1), reference_frac=3))
    rng = np.random.default_rng(seed)
    layered = [
        (
            layer.affine.weight.reals.nearest + rng.integers(-1, 2, layer.affine.weight.type.shape) / 8,
            layer.affine.bias.reals.nearest,
        )
        for layer in layers(one.reference)
    ]
    problem = replace(one, quantized=reference_network(layered, clip=Fraction(1)))
    agrees_on_a_grid(problem, tight_facts(problem))
    agrees_on_a_grid(problem, no_facts(problem))
    x = Region(InputModel.CONTINUOUS, one.region.lower, one.region.upper)
    top = max(e.difference[0] for e in executions(problem))
    bound = max(top - NEAR, Fraction(0))
    status, found = decide(replace(problem, region=x), bound, 1, no_facts(problem))
    assert top <= bound or (status is Status.SAT and found is not None and found > bound)


@pytest.mark.parametrize("seed", range(3))
def test_a_region_of_one_point_and_one_with_fixed_inputs(seed: int) -> None:
    problem = random_problem(seed, Recipe(sizes=(3, 3, 1)))
    low, high = problem.region.lower, problem.region.upper
    for upper in (low, (low[0], high[1], low[2])):
        narrow = replace(problem, region=Region(InputModel.GRID, low, upper))
        agrees_on_a_grid(narrow, tight_facts(narrow))
        agrees_on_a_grid(narrow, no_facts(narrow))


@pytest.mark.parametrize("seed", range(3))
def test_two_real_inputs_never_hide_a_violation(seed: int) -> None:
    """No exact supremum here: what random sampling finds, the encoding must find."""
    one = random_problem(seed, Recipe(sizes=(2, 3, 1), input=Fixed(True, 3, 2)))
    low, high = one.region.lower, tuple(v + Fraction(1, 3) for v in one.region.upper)
    problem = replace(one, region=Region(InputModel.CONTINUOUS, low, high))
    rng = np.random.default_rng(seed)
    xs = [
        tuple(a + (b - a) * Fraction(int(k), 1000) for a, b, k in zip(low, high, ks, strict=True))
        for ks in rng.integers(0, 1001, (200, 2))
    ]
    seen = replay(problem, xs)
    for side in SIDES:
        top = max(side * e.difference[0] for e in seen)
        bound = max(top - NEAR, Fraction(0))
        status, found = decide(problem, bound, side, analyze_region(problem))
        assert top <= bound or (status is Status.SAT and found is not None and found > bound)
