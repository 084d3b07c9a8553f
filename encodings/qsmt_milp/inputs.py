"""The input relation: one vector x drives both networks, as `qsmt.problem` says.

Under `grid` x is integer and the codes are x. Under `continuous` x is real, and a code is an integer with

    |x * input_scale / lsb - code| <= noise

before it saturates, where the noise is 1/2, or a little more if a runtime computes the quotient in single
precision. At a tie this allows both neighbours, where the quantizer takes one: then a model may have a
solution that the networks do not have, but never the other way round.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from qsmt.arith.fixed import Format
from qsmt.arith.real import exact_array
from qsmt.problem import InputModel, Problem
from qsmt_milp.bigm import confine
from qsmt_milp.model import Builder, Exact, Linear
from qsmt_milp.ranges import Range
from qsmt_milp.steps import Window

HALF = Fraction(1, 2)
INSIDE = Fraction(1, 2**20)
"""How far inside its cell, in units of the code, a decoded input is moved that had come to lie on the edge."""


def has_codes(problem: Problem) -> bool:
    """Does the quantized network read reals through an input quantizer?"""
    kind = problem.quantized.input.type.element
    return isinstance(kind, Format) and problem.region.model is InputModel.CONTINUOUS


def variables(builder: Builder, problem: Problem) -> list[Linear]:
    """The x of the region, by the names x0, x1, ..."""
    integer, region = problem.region.model is InputModel.GRID, problem.region
    ends = zip(region.lower, region.upper, strict=True)
    return [builder.variable(f"x{i}", low, high, integer=integer) for i, (low, high) in enumerate(ends)]


def region_range(problem: Problem) -> Range:
    """Bounds of x."""
    return _range(problem.region.lower, problem.region.upper)


def reference_range(problem: Problem) -> Range:
    """Bounds of what a real network reads."""
    return _range(
        problem.reference_input(problem.region.lower), problem.reference_input(problem.region.upper)
    )


def quantized_range(problem: Problem) -> Range:
    """Bounds of what the quantized network reads; quantizing is monotone."""
    ends = [problem.quantized_input(x) for x in (problem.region.lower, problem.region.upper)]
    if not problem.quantized.is_real:
        return _range(*(tuple(int(v) for v in end) for end in ends))
    return _range(*ends)


def _range(lower: tuple[Exact, ...], upper: tuple[Exact, ...]) -> Range:
    return Range(exact_array(lower, (len(lower),)), exact_array(upper, (len(upper),)))


def reals(problem: Problem, x: list[Linear]) -> list[Linear]:
    """What a real network reads of x."""
    return [v * problem.input_scale for v in x]


def quantized(builder: Builder, problem: Problem, x: list[Linear]) -> list[Linear]:
    """What the quantized network reads of x, with the rows of its input quantizer."""
    if problem.quantized.is_real:
        return reals(problem, x)
    if not has_codes(problem):
        return x
    return [_code(builder, problem, i=i, x=v) for i, v in enumerate(x)]


def code_name(i: int) -> str:
    return f"q.x{i}"


def _code(builder: Builder, problem: Problem, *, i: int, x: Linear) -> Linear:
    known, factor = quantized_range(problem), codes_per_unit(problem)
    low, high = int(known.lower[i]), int(known.upper[i])
    if low == high:
        return Linear(low)
    scaled, ends = x * factor, [problem.region.lower[i] * factor, problem.region.upper[i] * factor]
    noise = _format(problem).read_noise
    window = Window(scaled - noise, scaled + noise, 1, ends[1] - noise, ends[0] + noise)
    crossed = ceil(ends[0] - noise) < low, floor(ends[1] + noise) > high
    code = builder.variable(code_name(i), low, high, integer=True)
    confine(
        builder, code_name(i), value=code, window=window, bounds=(low, high), crossed=crossed, integer=False
    )
    return code


def codes_per_unit(problem: Problem) -> Fraction:
    """The real code of x = 1, before rounding."""
    return problem.input_scale / _format(problem).scale


def _format(problem: Problem) -> Format:
    """What the quantized network reads."""
    kind = problem.quantized.input.type.element
    assert isinstance(kind, Format)
    return kind


def recovered(problem: Problem, i: int, *, value: Fraction, code: Fraction | None) -> Fraction:
    """A point of the region from a solver's value for x_i (and for its code, if it has one)."""
    low, high = problem.region.lower[i], problem.region.upper[i]
    if problem.region.model is InputModel.GRID:
        return min(max(Fraction(round(value)), low), high)
    inside = min(max(value, low), high)
    return inside if code is None else min(max(_into_cell(problem, inside, round(code)), low), high)


def _into_cell(problem: Problem, x: Fraction, code: int) -> Fraction:
    """`x`, moved by next to nothing if it lies on the wrong side of the edge of the code's cell."""
    kind, factor = _format(problem), codes_per_unit(problem)
    if kind.read(x * problem.input_scale) == code:
        return x
    reach = 2 * HALF - kind.read_noise - INSIDE
    return min(max(x, (code - reach) / factor), (code + reach) / factor)
