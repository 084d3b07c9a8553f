"""What the encoding and a solver say of a query, held against full enumeration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from random import Random
from typing import Any

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Rational
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query
from qsmt.facts import Facts
from qsmt.interp.replay import replay
from qsmt.ir.network import Network
from qsmt.ir.ops import Op, Requantize
from qsmt.problem import InputModel, Problem, Region
from qsmt.solver.base import Backend, Limits, Status
from qsmt_bitvector import BitVectorEncoding
from tests.support.any_network import any_problem
from tests.support.networks import Recipe, random_problem
from tests.unit.milp.oracle import SIDES, Side, executions, no_facts, query, tight_facts

ENCODING = BitVectorEncoding("exact")
FACTS: tuple[Callable[[Problem], Facts], ...] = (no_facts, tight_facts, analyze_region)
MATRIX = list(product(Rounding, Overflow, (False, True)))
"""Rounding, overflow, and whether the requantization's multiplier is no power of two."""


def random_case(index: int) -> Problem:
    """A small random problem; every 72 in a row cover the matrix, the rest of its form is drawn."""
    rng, (rounding, overflow, other) = Random(index), MATRIX[index % len(MATRIX)]
    recipe = Recipe(
        sizes=rng.choice([(2, 3, 1), (1, 4, 2), (2, 3, 2), (2, 2, 2, 1)]),
        input=rng.choice([Fixed(True, 4, 3), Fixed(False, 4, 4)]),
        hidden=Fixed(rng.random() < 0.5, rng.choice([2, 3, 4]), rng.choice([0, 1, 2])),
        rounding=rounding,
        overflow=overflow,
        clip=rng.choice([None, None, Fraction(3, 4), Fraction(1, 3)]),
        output=rng.choice([None, None, Fixed(True, 5, 2), Fixed(True, 3, 0)]),
        input_scale=rng.choice([None, Fraction(1, 15)]),
        radius=rng.choice([1, 2, 3]),
    )
    made = random_problem(index, recipe)
    return replace(made, quantized=with_multipliers(made.quantized, Fraction(11, 13))) if other else made


def with_multipliers(network: Network, factor: Fraction) -> Network:
    """The network with other multipliers: each code then means `factor` times what its type says."""

    def changed(op: Op) -> Op:
        if not isinstance(op, Requantize):
            return op
        return replace(op, kind=Rational(op.rule.exact.multiplier * factor, op.rule.exact.rounding))

    return replace(network, ops=tuple(map(changed, network.ops)))


def any_case(seed: int, *, wild: bool = False) -> Problem:
    """A random network of everything the IR has, on a box of at most some hundred points."""
    rng, made = Random(seed), any_problem(seed, model=InputModel.GRID, wild=wild)
    lower, upper, points = [], [], 1
    for low, high in zip(made.region.lower, made.region.upper, strict=True):
        width = rng.randint(0, min(int(high - low), max(0, min(5, 120 // points - 1))))
        lower.append(Fraction(rng.randint(int(low), int(high) - width)))
        upper.append(lower[-1] + width)
        points *= width + 1
    return replace(made, region=Region(InputModel.GRID, tuple(lower), tuple(upper)))


def facts_for(index: int, problem: Problem) -> Facts:
    """Facts of each origin in turn; the analysis trusts types, which some multipliers do not follow."""
    typed = not MATRIX[index % len(MATRIX)][2]
    return FACTS[index // 2 % (3 if typed else 2)](problem)


def queries(problem: Problem, facts: Facts, *, sides: Sequence[Side] = SIDES) -> Iterator[tuple[Query, bool]]:
    """Bounds just below, at and just above the exact maximum of each output and side; is it broken?"""
    differences = [e.difference for e in executions(problem)]
    for output, side in product(problem.claim.outputs, sides):
        greatest = max(side * d[output] for d in differences)
        step = Fraction(1, greatest.denominator)
        for bound in (greatest - step, greatest, greatest + step):
            if bound >= 0:  # else there is no such claim; the other side then has one
                yield query(problem, bound, side, facts, output=output), bound < greatest


def wrong(asked: Query, *, broken: bool, backend: Backend[Any]) -> str | None:
    """None, or how the answer contradicts the enumeration. An unknown is wrong too."""
    encoded = ENCODING.encode(asked)
    answer = backend.solve(encoded.model, Limits(60))
    if answer.status is not (Status.SAT if broken else Status.UNSAT):
        return f"{backend.name} says {answer.status} of {asked} ({answer.reason})"
    if answer.assignment is None:
        return None
    (run,) = replay(asked.problem, [encoded.decode(answer.assignment)])
    if not asked.problem.region.contains(run.input):
        return f"{backend.name} claims {run.input}, which is outside the region"
    if asked.side * run.difference[asked.output] <= asked.bound:
        return f"{backend.name} claims {run.input} for {asked}, the difference is {run.difference}"
    return None
