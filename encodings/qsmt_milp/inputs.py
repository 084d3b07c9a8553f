"""The input relation: one vector x drives both networks, as `qsmt.problem` says.

Under `grid` x is integer and the codes are x. Under `continuous` x is real, and a code is an integer with

    |x * input_scale / lsb - code| <= 1/2

before it saturates. At a tie this allows both neighbours, where the quantizer takes the even one: then a
model may have a solution that the networks do not have, but never the other way round.
"""

from __future__ import annotations

from fractions import Fraction

from qsmt.arith.fixed import Fixed
from qsmt.arith.real import exact_array
from qsmt.arith.rounding import round_fraction
from qsmt.problem import INPUT_ROUNDING, InputModel, Problem
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
    return isinstance(kind, Fixed) and problem.region.model is InputModel.CONTINUOUS
