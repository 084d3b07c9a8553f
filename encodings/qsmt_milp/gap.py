"""How close two different values of the difference can be: what makes a strict bound a closed row.

On a grid the inputs are integers and all parameters are rational, so every possible difference is an
integer over one denominator D. Then `d > b` is `d >= b + 1/D`, if b is over D as well; and a row half way,
`d >= b + 1/(2D)`, decides the same with room for rounding errors on both sides.

Where that room is less than what a solver in doubles may be off by, or where values are dense, the row is
lowered by that much instead: then "no solution" still says that there is no violation, however the errors
fall, and a solution may be none.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import assert_never

from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Curve, LeakyRelu, Op, Relu, Requantize
from qsmt.ir.types import Real
from qsmt.problem import InputModel, Problem
from qsmt_milp.model import Linear, Variable

RELATIVE_ERROR = Fraction(1, 2**20)
"""Of the largest value that the difference's terms may take. Ten times the worst that 100 000 answers of
solvers at exact thresholds were off by (`qsmt crosscheck --random 5000`)."""


def uncertainty(difference: Linear, variables: Sequence[Variable]) -> Fraction:
    """How far a solver in doubles may be off in the value of an expression.

    Its tolerances are absolute: a variable that is always small may be off as much as one that reaches 1.
    """
    reach = abs(Fraction(difference.constant))
    for index, coefficient in difference.terms.items():
        reach += abs(Fraction(coefficient)) * max(Fraction(variables[index].modulus), Fraction(1))
    return RELATIVE_ERROR * reach


def step(problem: Problem, bound: Fraction) -> Fraction | None:
    """1/D, or None if the values are dense."""
    if problem.region.model is not InputModel.GRID:
        return None
    start = problem.input_scale.denominator
    parts = (_denominator(network, start) for network in (problem.reference, problem.quantized))
    return Fraction(1, lcm(bound.denominator, *parts))


def _denominator(network: Network, start: int) -> int:
    """A common denominator of the outputs, for integer inputs over `start`."""
    kind = network.output.type.element
    if not isinstance(kind, Real):
        return kind.scale.denominator
    for op in network.ops:
        start = _after(op, start)
    return start


def _after(op: Op, before: int) -> int:
    match op:
        case Affine():
            return lcm(op.weight.reals.scaled[1] * before, op.bias.reals.scaled[1])
        case Clamp():
            return lcm(before, *(v.denominator for v in (op.lower, op.upper) if v is not None))
        case Relu() | Requantize():
            return before
        case LeakyRelu():
            return before * op.slope.denominator
        case Curve():
            raise AssertionError(f"{op.function} is not encoded")
    assert_never(op)
