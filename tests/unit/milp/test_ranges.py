"""Bounds hold whatever the facts are, and a query that rows cannot express is refused with its reason."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.outward import float_down, float_up
from qsmt.arith.rounding import Rounding
from qsmt.encoding import Encoding
from qsmt.errors import BackendError, SoundnessError
from qsmt.facts import Facts, Interval, LayerFacts
from qsmt.interp import quantized, reference
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine
from qsmt.ir.types import Accumulator, AccumulatorOverflow, TensorType
from qsmt.problem import Problem
from qsmt.solver.base import Limits, Status
from qsmt_milp import MilpEncoding, inputs
from qsmt_milp.backends.highs import HighsBackend
from qsmt_milp.ranges import RULES, Range, Ranges, _double, excess, ranges
from qsmt_milp.rules import RULES as ROW_RULES
from tests.support.networks import Recipe, random_problem
from tests.unit.milp.oracle import SIDES, executions, no_facts, points, query, tight_facts

ENCODING = MilpEncoding()


def known(problem: Problem, facts: Facts) -> tuple[Ranges, Ranges]:
    pairs = [(f.reference_pre, f.reference_post) for f in facts.layers]
    others = [(f.quantized_pre, f.quantized_post) for f in facts.layers]
    return (
        ranges(problem.reference, inputs.reference_range(problem), pairs),
        ranges(problem.quantized, inputs.quantized_range(problem), others),
    )


@pytest.mark.parametrize("seed", range(9))
def test_bounds_hold_of_every_value(seed: int) -> None:
    recipe = Recipe(
        sizes=(2, 4, 3, 1), rounding=list(Rounding)[seed], clip=Fraction(1, 2) if seed % 2 else None
    )
    problem = random_problem(seed, recipe)
    for facts in (no_facts(problem), tight_facts(problem)):
        ours, theirs = known(problem, facts)
        for x in points(problem):
            r = reference.ratios([problem.reference_input(x)])
            for op in problem.reference.ops:
                r = reference.RULES[type(op)](op, r)
                _inside(ours, op.out.name, r.fractions()[0])
            q = np.array([[int(v) for v in problem.quantized_input(x)]], dtype=object)
            for step in problem.quantized.ops:
                q = quantized.RULES[type(step)](step, q)
                _inside(theirs, step.out.name, q[0])


def _inside(known: Ranges, name: str, values: object) -> None:
    found = np.array(values, dtype=object)
    assert (known.of[name].lower <= found).all() and (found <= known.of[name].upper).all()


def test_infinite_and_missing_facts_count_for_nothing() -> None:
    problem = random_problem(1, Recipe())
    nothing = no_facts(problem)
    poison = Facts(
        tuple(LayerFacts(*(Interval(i.lower * nan, i.upper * nan) for i in _six(f))) for f in nothing.layers)
    )
    for one, other in zip(known(problem, nothing), known(problem, poison), strict=True):
        for name, found in one.of.items():
            assert (found.lower == other.of[name].lower).all() and (found.upper == other.of[name].upper).all()


def _six(facts: LayerFacts) -> list[Interval]:
    return [getattr(facts, name) for name in LayerFacts.__slots__]


def test_facts_that_exclude_everything_are_an_alarm() -> None:
    problem = random_problem(1, Recipe())
    facts = tight_facts(problem)
    beyond = Interval(facts.layers[0].quantized_pre.upper + 1000, facts.layers[0].quantized_pre.upper + 1001)
    wrong = Facts((replace(facts.layers[0], quantized_pre=beyond), *facts.layers[1:]))
    with pytest.raises(
        SoundnessError, match="%a0: the analysis and exact interval arithmetic share no value"
    ):
        ENCODING.encode(query(problem, Fraction(1), 1, wrong))


def test_values_beyond_doubles_keep_exact_bounds() -> None:
    huge = Fraction(10) ** 400
    assert _double(huge, float_up) == huge and _double(-huge, float_down) == -huge
    assert _double(Fraction(1, 3), float_down) < Fraction(1, 3) < _double(Fraction(1, 3), float_up)


# --- refusals ---------------------------------------------------------------------------------------------


def wrapping(problem: Problem, *, fewer: int) -> Problem:
    """The same networks, with a first accumulator of fewer bits that wraps around."""
    first = problem.quantized.ops[0]
    assert isinstance(first, Affine)
    kind = first.out.type.element
    assert isinstance(kind, Accumulator)
    narrow = Accumulator(kind.bits - fewer, kind.scale, AccumulatorOverflow.WRAP)
    out = replace(first.out, type=TensorType(first.out.type.shape, narrow))
    second = replace(problem.quantized.ops[1], x=out)
    ops = (replace(first, out=out), second, *problem.quantized.ops[2:])
    old = problem.quantized
    return replace(problem, quantized=Network(old.name, old.runtime, old.input, ops))


def test_an_accumulator_that_may_wrap_is_refused_and_one_that_cannot_is_not() -> None:
    problem = random_problem(5, Recipe())
    asked = [
        query(p, Fraction(0), 1, no_facts(p))
        for p in (wrapping(problem, fewer=0), wrapping(problem, fewer=5))
    ]
    assert ENCODING.refuses(asked[0]) is None
    assert ENCODING.refuses(asked[1]) == "the accumulator %a0 may wrap around on this region"
    with pytest.raises(BackendError, match="the milp encoding refuses this query: the accumulator %a0"):
        ENCODING.encode(asked[1])


TOO_LARGE = "{} may exceed 2**44, too large beside the tolerances of solvers in doubles"


def test_values_that_solvers_cannot_tell_apart_are_refused_unless_facts_bound_them() -> None:
    problem = random_problem(1, Recipe())
    x = Range(np.array([-(2**44)] * 2, dtype=object), np.array([2**44] * 2, dtype=object))
    unknown, known = (Interval(np.full(3, -a), np.full(3, a)) for a in (inf, 1.0))
    last = Interval(np.full(1, -inf), np.full(1, inf))
    refused = ranges(problem.reference, x, [(unknown, unknown), (last, last)])
    assert refused.obstacles == (TOO_LARGE.format("%z0"),)
    assert ranges(problem.reference, x, [(known, known), (last, last)]).obstacles == ()


def test_too_large_inputs_are_refused() -> None:
    problem = random_problem(1, Recipe(input_scale=Fraction(2**60)))
    assert ENCODING.refuses(query(problem, Fraction(0), 1, no_facts(problem))) == TOO_LARGE.format("%x")
    assert list(excess("x", inputs.region_range(problem))) == []


@pytest.mark.parametrize("overflow", [Overflow.WRAP, Overflow.SATURATE_ZERO])
def test_an_overflow_that_is_not_monotone_is_refused_only_where_facts_allow_it(overflow: Overflow) -> None:
    """The tightest facts decide more than exact intervals: some problem is refused without them only."""
    verdicts = set()
    for seed in range(40):
        problem = random_problem(
            seed, Recipe(sizes=(2, 3, 3, 1), overflow=overflow, hidden=Fixed(True, 4, 2))
        )
        reasons = [
            ENCODING.refuses(query(problem, Fraction(0), 1, f(problem))) for f in (no_facts, tight_facts)
        ]
        verdicts.add(tuple(reason is None for reason in reasons))
        assert all(r is None or f"where {overflow} is not monotone" in r for r in reasons)
    assert {(True, True), (False, True), (False, False)} <= verdicts and (True, False) not in verdicts


# --- the encoding as others see it -------------------------------------------------------------------------


def test_it_is_an_encoding_with_a_rule_for_every_op_it_claims() -> None:
    encoding: Encoding = ENCODING
    assert (encoding.name, encoding.suffix, str(encoding.fidelity)) == ("milp", ".mps", "exact")
    assert encoding.supported() == RULES.supported == ROW_RULES.supported


def test_pruning_by_facts_saves_variables_and_changes_no_answer() -> None:
    saved = 0
    for seed in range(6):
        problem = random_problem(seed, Recipe(sizes=(2, 4, 4, 1)))
        for side in SIDES:
            top = max(side * e.difference[0] for e in executions(problem))
            if top < 0:
                continue
            sizes = []
            for facts in (no_facts(problem), tight_facts(problem)):
                model = ENCODING.encode(query(problem, top + Fraction(1, 100), side, facts)).model
                sizes.append(len(model.variables))
                assert HighsBackend().solve(model, Limits(wall_s=20)).status is Status.UNSAT
            saved += sizes[0] - sizes[1]
    assert saved > 5


def test_infinities_are_what_no_facts_are() -> None:
    facts = no_facts(random_problem(0, Recipe()))
    assert (facts.layers[0].quantized_pre.lower == -inf).all()
