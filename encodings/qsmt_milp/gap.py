"""How close two different values of the difference can be: what makes a strict bound a closed row.

On a grid the inputs are integers and all parameters are rational, so every possible difference is an
integer over one denominator D. Then `d > b` is `d >= b + 1/D`, if b is over D as well; and a row half way,
`d >= b + 1/(2D)`, decides the same with room for rounding errors on both sides.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import assert_never

from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Op, Relu, Requantize
from qsmt.ir.types import Real
from qsmt.problem import InputModel, Problem

MAX_DENOMINATOR = 2**25
"""Half of a smaller step is within ten tolerances of a solver (1e-9); the row stays closed then."""

CLEAR = Fraction(1, 10**7)
"""How far beyond a closed row a solution is clear of it: on its edge, rounding decides what replay says."""


def step(problem: Problem, bound: Fraction) -> Fraction | None:
    """1/D, or None if the values are dense, or so close that floats cannot tell them apart."""
    if problem.region.model is not InputModel.GRID:
        return None
    start = problem.input_scale.denominator
    parts = (_denominator(network, start) for network in (problem.reference, problem.quantized))
    denominator = lcm(bound.denominator, *parts)
    return Fraction(1, denominator) if denominator <= MAX_DENOMINATOR else None


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
    assert_never(op)
