"""Replay: what each network reads of x, the exact difference, and when it violates the claim."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from qsmt.arith.fixed import Fixed
from qsmt.errors import MalformedProblem
from qsmt.interp.replay import Execution, replay, violated
from qsmt.ir.text import parse
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from tests.support import naive
from tests.support.networks import Recipe, random_problem, with_bound

F = Fraction
HALF, ZERO = F(1, 2), F(0)

REFERENCE = """
network @r runtime "real" {
  const @w : [2, 1] real = [1, -1/3]
  const @b : [2] real = [0, 0]
  %x : [1] real = input
  %y : [2] real = affine %x, @w, @b
}
"""
QUANTIZED = """
network @q runtime "ideal" {
  const @w : [2, 1] fixed<s4, frac 2> = [4, -1]
  const @b : [2] fixed<s4, frac 2> = [0, 0]
  %x : [1] fixed<s4, frac 1> = input
  %y : [2] acc<i9, scale 1/8, exact> = affine %x, @w, @b
}
"""
"""Reads half units; its outputs are x and -x/4."""


def problem(model: InputModel, *, scale: F = HALF, low: int = -8, high: int = 7) -> Problem:
    """The claim that each output differs by at most 1."""
    return Problem(
        reference=parse(REFERENCE),
        quantized=parse(QUANTIZED),
        region=Region(model, (F(low),), (F(high),)),
        input_scale=scale,
        claim=ErrorBound((0, 1), (F(1), F(1))),
    )


# --- what the networks read -----------------------------------------------------------------------------


def test_on_a_grid_the_codes_are_read_as_they_are_and_the_reference_reads_them_scaled() -> None:
    (execution,) = replay(problem(InputModel.GRID, scale=F(1, 3)), [(F(6),)])
    assert execution.quantized == (F(3), F(-3, 4))  # 6 codes of a half
    assert execution.reference == (F(2), F(-2, 3))
    assert execution.difference == (F(1), F(-1, 12))


def test_a_continuous_input_is_rounded_by_the_input_quantizer_half_to_even_and_saturated() -> None:
    claim = problem(InputModel.CONTINUOUS, scale=F(1))
    read = {x: claim.quantized_input((x,))[0] for x in (F(n, 8) for n in range(-60, 61))}
    for x, code in read.items():
        assert code == min(max(round(2 * x), -8), 7)  # Python rounds half to even
    assert read[F(1, 4)] == 0 and read[F(3, 4)] == 2 and read[F(-1, 4)] == 0 and read[F(-3, 4)] == -2
    assert read[F(60, 8)] == 7 and read[F(-60, 8)] == -8


def test_a_tie_is_decided_exactly_where_a_double_could_not() -> None:
    claim = problem(InputModel.CONTINUOUS, scale=F(1, 3))
    below, above = (F(9, 4) + off * F(1, 10**30) for off in (-1, 1))  # x/3 = 3/4 is between codes 1 and 2
    executions = replay(claim, [(below,), (F(9, 4),), (above,)])
    assert [e.quantized[0] for e in executions] == [F(1, 2), F(1), F(1)]


def test_two_real_networks_read_the_same() -> None:
    pair = replace(problem(InputModel.CONTINUOUS), quantized=parse(REFERENCE))
    (execution,) = replay(pair, [(F(1, 7),)])
    assert execution.reference == execution.quantized == (F(1, 14), F(-1, 42))


def test_a_point_between_the_points_of_a_grid_is_refused() -> None:
    with pytest.raises(MalformedProblem, match="input 0 is 1/2, but the points of a grid are integers"):
        replay(problem(InputModel.GRID), [(F(1, 2),)])


def test_no_points_have_no_executions() -> None:
    assert replay(problem(InputModel.GRID), []) == []


@pytest.mark.parametrize("model", InputModel)
@pytest.mark.parametrize("seed", range(10))
def test_replay_is_the_plain_execution_of_both_networks(model: InputModel, seed: int) -> None:
    made = random_problem(seed, Recipe(sizes=(2, 4, 3, 2), rational=seed % 2 == 0, input_scale=F(1, 7)))
    claim = replace(made, region=replace(made.region, model=model))
    kind = claim.quantized.input.type.element
    assert isinstance(kind, Fixed)
    divisor = 1 if model is InputModel.GRID else 3
    points = [(F(a, divisor), F(b, divisor)) for a in range(-4, 5) for b in range(-4, 5, 2)]
    for x, execution in zip(points, replay(claim, points), strict=True):
        codes = [v if model is InputModel.GRID else F(round(v / 7 / kind.scale)) for v in x]
        codes = [min(max(code, F(kind.min)), F(kind.max)) for code in codes]
        assert execution.input == x
        assert execution.reference == naive.run(claim.reference, [v / 7 for v in x])
        assert execution.quantized == naive.run(claim.quantized, codes)


# --- when a claim is violated ---------------------------------------------------------------------------


def execution(first: F, second: F, *, x: F = ZERO) -> Execution:
    """An execution with these differences."""
    return Execution((x,), (F(0), F(0)), (first, second))


def test_a_difference_equal_to_the_bound_does_not_violate_it() -> None:
    claim = problem(InputModel.GRID)
    assert violated(claim, execution(F(1), F(-1))) is None
    assert violated(claim, execution(F(1) + F(1, 10**40), F(0))) == 0
    assert violated(claim, execution(F(0), F(-1) - F(1, 10**40))) == 1


def test_the_output_that_exceeds_its_bound_the_most_is_named() -> None:
    claim = problem(InputModel.GRID)
    assert violated(claim, execution(F(2), F(-3))) == 1
    unequal = replace(claim, claim=ErrorBound((0, 1), (F(1), F(5, 2))))
    assert violated(unequal, execution(F(2), F(-3))) == 0


def test_outputs_without_a_claim_cannot_violate_it() -> None:
    one = replace(problem(InputModel.GRID), claim=ErrorBound((1,), (F(1),)))
    assert violated(one, execution(F(9), F(1))) is None
    assert violated(one, execution(F(0), F(2))) == 1


def test_a_bound_of_zero_is_violated_by_any_difference() -> None:
    none = with_bound(problem(InputModel.GRID), F(0))
    assert violated(none, execution(F(0), F(0))) is None
    assert violated(none, execution(F(0), F(1, 10**40))) == 1


def test_no_claim_is_violated_outside_its_region() -> None:
    claim = problem(InputModel.GRID, low=-2, high=3)
    for x, inside in ((F(-2), True), (F(3), True), (F(-3), False), (F(4), False), (F(1, 2), False)):
        assert violated(claim, execution(F(9), F(0), x=x)) == (0 if inside else None)
    continuous = problem(InputModel.CONTINUOUS, low=-2, high=3)
    for x, inside in ((F(1, 2), True), (F(3), True), (F(3) + F(1, 10**40), False)):
        assert violated(continuous, execution(F(9), F(0), x=x)) == (0 if inside else None)


def test_points_outside_the_region_are_executed_all_the_same() -> None:
    (found,) = replay(problem(InputModel.GRID, low=0, high=1), [(F(-8),)])
    assert found.quantized == (F(-4), F(1))
