"""The MILP encoding against full enumeration: every rounding, overflow and form of network, on HiGHS.

For each random problem and side, the bound is set one step below the exact maximum of the difference, at
it, and half a step above it. The answer must be the enumeration's; a claimed input must break the bound
exactly. "Unknown" fails. A refusal is allowed only where an overflow that is not monotone can happen, and
the matrix says how many problems that leaves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import lcm

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Rational
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Fidelity, Query
from qsmt.facts import Facts
from qsmt.interp.replay import replay
from qsmt.ir.ops import Clamp, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, TensorType
from qsmt.ir.verify import verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.solver.base import Backend, Limits, Status
from qsmt_milp import MilpEncoding
from qsmt_milp.backends.gurobi import GurobiBackend
from qsmt_milp.backends.highs import HighsBackend
from qsmt_milp.model import Model
from tests.support.networks import Recipe, quantized_network, random_problem, reference_network
from tests.unit.milp.oracle import SIDES, executions, no_facts, query, tight_facts

ENCODING = MilpEncoding()
LIMITS = Limits(wall_s=60)
FACTS: tuple[Callable[[Problem], Facts], ...] = (analyze_region, tight_facts, no_facts)
OFTEN_TOO_WIDE = {Overflow.WRAP, Overflow.SATURATE_ZERO}
"""Refused where the result may leave the format: not monotone, and so not linear rows."""

MATRIX = list(
    itertools.product(
        Rounding,
        Overflow,
        (False, True),  # rational
        (False, True),  # signed hidden format, behind a ReLU on the accumulator
        (None, Fraction(3, 4)),  # the reference clips
        (None, Fixed(True, 4, 1)),  # output format
        (None, Fraction(1, 15)),  # input scale
    )
)


def problem(index: int) -> Problem:
    """A random problem of the matrix' form; some are wide enough that nothing overflows."""
    rounding, overflow, rational, signed, clip, output, scale = MATRIX[index]
    bits = 4 + 2 * (index % 5 < 2)
    if output is not None and bits > 4:
        output = replace(output, bits=7)
    recipe = Recipe(
        sizes=((2, 3, 1), (1, 4, 2), (3, 2, 2, 1))[index % 3],
        hidden=Fixed(signed, bits, 2),
        rounding=rounding,
        overflow=overflow,
        rational=rational,
        clip=clip,
        output=output,
        input_scale=scale,
        reference_frac=2 + index % 3,
        radius=1 + (index % 3 < 2),
    )
    return random_problem(index, recipe)


def queries(of: Problem, facts: Facts) -> Iterator[tuple[Query, bool]]:
    """Just below, at, and just above the exact maximum of each side; and whether the bound is broken."""
    seen = executions(of)
    step = Fraction(1, lcm(*(d.denominator for e in seen for d in e.difference)))
    for output, side in itertools.product(of.claim.outputs, SIDES):
        maximum = max(side * e.difference[output] for e in seen)
        for bound in (maximum - step, maximum, maximum + step / 2):
            if bound >= 0:
                yield query(of, bound, side, facts, output=output), bound < maximum


def mistake(asked: Query, violated: bool, backend: Backend[Model], *, unsure: bool = False) -> str | None:
    """What is wrong with the answer to a query.

    Where doubles cannot tell differences apart, the model says that its solutions may be none; if it may be
    `unsure`, only "no solution" is an answer there.
    """
    encoded = ENCODING.encode(asked)
    answer = backend.solve(encoded.model, LIMITS)
    if unsure and encoded.fidelity is Fidelity.OVER and answer.status is Status.SAT:
        return None
    if answer.status is not (Status.SAT if violated else Status.UNSAT):
        return f"{asked}: {answer.status} {answer.reason or ''}"
    if answer.assignment is None:
        return None
    x = encoded.decode(answer.assignment)
    if not asked.problem.region.contains(x):
        return f"{asked}: {x} is not in the region"
    found = asked.side * replay(asked.problem, [x])[0].difference[asked.output]
    return None if found > asked.bound else f"{asked}: {x} has {found}"


EDGES = ((-9, -6), (-6, 4), (-3, 22), (-2, 1), (-1, 9), (0, 25), (1, 4), (-18, 18))
"""Accumulators that end just beside a tie, zero, or the format's range."""


def edge_problem(rounding: Rounding, edge: tuple[int, int], *, output: bool) -> Problem:
    """One neuron that rounds x / 4, and a steep reference: the largest differences are at the ends of x."""
    one, none = np.ones((1, 1), dtype=np.int64), np.zeros(1, dtype=np.int64)
    narrow = Fixed(output, 3, -2)
    recipe = Recipe(
        input=Fixed(True, 8, 0),
        weights=Fixed(True, 4, 0),
        hidden=narrow,
        output=narrow if output else None,
        rounding=rounding,
    )
    middle, steep = sum(edge) / 2, one * 16.0
    first, last = (one * 1.0, none + 100.0), (steep, none - 16.0 * (100 + middle))
    return Problem(
        reference=reference_network([(steep, none - 16.0 * middle)] if output else [first, last]),
        quantized=quantized_network([(one, none)] if output else [(one, none), (one, none)], recipe),
        region=Region(InputModel.GRID, (Fraction(edge[0]),), (Fraction(edge[1]),)),
        input_scale=Fraction(1),
        claim=ErrorBound((0,), (Fraction(0),)),
    )


def check_edges(rounding: Rounding) -> Iterator[str]:
    """The mistakes at the ends of all rounding windows, for hidden neurons and for outputs."""
    for edge, output in itertools.product(EDGES, (False, True)):
        of = edge_problem(rounding, edge, output=output)
        for asked, violated in queries(of, tight_facts(of)):
            found = mistake(asked, violated, HighsBackend())
            if found is not None:
                yield f"{edge}: {found}"


def check(index: int, backend: Backend[Model], *, unsure: bool = False) -> list[str]:
    """The mistakes on one problem; facts of every quality take their turn."""
    of = problem(index)
    facts = FACTS[index % len(FACTS)](of)
    if ENCODING.refuses(query(of, Fraction(0), 1, facts)) is not None:
        return [] if MATRIX[index][1] in OFTEN_TOO_WIDE else [f"{index}: refused"]
    found = (mistake(asked, violated, backend, unsure=unsure) for asked, violated in queries(of, facts))
    return [f"{index}: {m}" for m in found if m is not None]


# --- the matrix -------------------------------------------------------------------------------------------

QUICK = [i for i in range(len(MATRIX)) if i % 16 == (i // 16) % 16]
"""One in sixteen: every rounding with every overflow, the other columns in turn."""


@pytest.mark.parametrize("rounding", Rounding)
def test_agrees_with_enumeration(rounding: Rounding) -> None:
    assert [m for i in QUICK if MATRIX[i][0] is rounding for m in check(i, HighsBackend())] == []


def test_the_quick_part_covers_every_rounding_with_every_overflow() -> None:
    assert {MATRIX[i][:2] for i in QUICK} == set(itertools.product(Rounding, Overflow))
    for column in range(2, 7):
        assert {MATRIX[i][column] for i in QUICK} == {row[column] for row in MATRIX}


def test_nearly_all_models_are_exact() -> None:
    asked = [q for i in QUICK for of in [problem(i)] for q, _ in queries(of, tight_facts(of))]
    allowed = [q for q in asked if ENCODING.refuses(q) is None]
    exact = [q for q in allowed if ENCODING.encode(q).fidelity is Fidelity.EXACT]
    assert len(exact) >= 0.9 * len(allowed) > 0


@pytest.mark.parametrize("rounding", Rounding)
def test_agrees_with_enumeration_where_rounding_begins_and_ends(rounding: Rounding) -> None:
    assert list(check_edges(rounding)) == []


@pytest.mark.slow
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", Overflow)
def test_agrees_with_enumeration_everywhere(rounding: Rounding, overflow: Overflow) -> None:
    rows = (i for i, row in enumerate(MATRIX) if row[:2] == (rounding, overflow))
    assert [m for i in rows for m in check(i, HighsBackend(), unsure=True)] == []


@pytest.mark.slow
def test_gurobi_agrees_with_enumeration() -> None:
    gurobi = GurobiBackend()
    if (reason := gurobi.available()) is not None:
        pytest.skip(reason)
    assert [m for i in QUICK for m in check(i, gurobi)] == []


def in_two_roundings(of: Problem, rounding: Rounding) -> Problem:
    """Each requantization takes a detour: clamp, round to a middle format, ReLU, clamp, round, clamp."""
    ops: list[Op] = []
    for op in of.quantized.ops:
        steps = detour(op, rounding) if isinstance(op, Requantize) else [op]
        for step in steps:
            ops.append(replace(step, x=ops[-1].out) if ops else step)
    return replace(of, quantized=verify(replace(of.quantized, ops=tuple(ops))))


def detour(op: Requantize, rounding: Rounding) -> list[Op]:
    """The ops, each of which still has to be told what it reads."""
    target, source = op.out.type.element, op.x.type.element
    assert isinstance(target, Fixed) and isinstance(source, Accumulator)
    middle = Fixed(True, 7, target.frac + 1)
    types = [op.x.type, *(TensorType(op.x.type.shape, t) for t in (middle, middle, middle, target, target))]
    values = [Value(f"{op.out.name}.{k}", t) for k, t in enumerate(types)]
    first, second = (
        Rational(source.scale / middle.scale, rounding),
        Rational(Fraction(1, 2), op.rule.exact.rounding),
    )
    return [
        Clamp(values[0], op.x, Fraction(-7), Fraction(90)),
        Requantize(values[1], op.x, first, Overflow.SATURATE),
        Relu(values[2], op.x),
        Clamp(values[3], op.x, Fraction(1), Fraction(25)),
        Requantize(values[4], op.x, second, Overflow.SATURATE_SYMMETRIC),
        Clamp(values[5], op.x, None, Fraction(10)),
    ]


@pytest.mark.parametrize("rounding", Rounding)
def test_activations_of_several_roundings_and_clamps(rounding: Rounding) -> None:
    for index in (QUICK[list(Rounding).index(rounding)], QUICK[-1 - list(Rounding).index(rounding)]):
        of = in_two_roundings(problem(index), rounding)
        for facts in (tight_facts(of), no_facts(of)):
            found = (mistake(asked, violated, HighsBackend()) for asked, violated in queries(of, facts))
            assert [m for m in found if m is not None] == []


def test_most_problems_whose_overflow_is_not_monotone_are_decided_where_it_cannot_happen() -> None:
    rows = [i for i, row in enumerate(MATRIX) if row[1] in OFTEN_TOO_WIDE]
    of = {i: problem(i) for i in rows[::4]}
    decided = [
        i for i, p in of.items() if ENCODING.refuses(query(p, Fraction(0), 1, analyze_region(p))) is None
    ]
    assert len(decided) >= len(of) // 4


def test_strict_bounds_are_decided_at_equality() -> None:
    """All of the matrix is coarse enough that the bound itself, at the maximum, is told from its neighbours."""
    for index in QUICK:
        of = problem(index)
        asked = query(of, Fraction(1, 8), 1, no_facts(of))
        if ENCODING.refuses(asked) is None:
            assert ENCODING.encode(asked).fidelity is Fidelity.EXACT
