"""Affine quantization in the conformance matrix: enumeration, analysis and both encodings agree.

Every kind of requantization that runtimes have, with asymmetric zero points, per tensor and per channel, and with
biases that are codes of their own. The bound is set just below, at, and just above the exact maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from random import Random

import numpy as np
import pytest

from qsmt.arith.fixed import Quantized
from qsmt.dra.analysis import PLANS, analyze_region
from qsmt.dra.domain import Mode
from qsmt.encoding import Encoding, QueryAnswer
from qsmt.engine.judge import Mark, judge
from qsmt.engine.random_affine import FORMS, Form, affine_problem
from qsmt.engine.trial import Trial, least_step, maximum
from qsmt.facts import Facts
from qsmt.interp.batch import BatchInterpreter
from qsmt.ir.text import parse, print_network
from qsmt.problem import InputModel, Problem, Region
from qsmt.solver.base import Backend, Limits
from qsmt_bitvector import BitVectorEncoding
from qsmt_milp import MilpEncoding
from qsmt_milp.backends.highs import HighsBackend
from tests.unit.dra import soundness
from tests.unit.milp.oracle import SIDES, executions, no_facts, points, query, tight_facts

every_form = pytest.mark.parametrize("form", FORMS, ids=str)
SEEDS = range(3)
FACTS: tuple[Callable[[Problem], Facts], ...] = (analyze_region, tight_facts, no_facts)


def problems(form: Form) -> list[Problem]:
    return [
        affine_problem(seed, form, sizes=((2, 3, 1), (1, 4, 1), (2, 2, 2, 1))[seed % 3]) for seed in SEEDS
    ]


@every_form
def test_these_problems_have_zero_points_and_saturate(form: Form) -> None:
    kinds = [op.out.type.element for p in problems(form) for op in p.quantized.ops]
    assert any(isinstance(kind, Quantized) and kind.zero_point for kind in kinds)


@every_form
def test_their_text_can_be_read_back(form: Form) -> None:
    for problem in problems(form):
        text = print_network(problem.quantized)
        assert print_network(parse(text)) == text


@every_form
@pytest.mark.parametrize("mode", [*PLANS, Mode.OPTIMIZED], ids=str)
def test_analysis_contains_every_execution(form: Form, mode: Mode) -> None:
    for problem in problems(form):
        ranges = soundness.executed(problem, points(problem))
        assert soundness.violations(ranges, analyze_region(problem, mode, effort=soundness.QUICK)) == []


@every_form
def test_analysis_contains_executions_of_reals_too(form: Form) -> None:
    """The input quantizer in between; and some inputs that it saturates."""
    for seed, problem in enumerate(problems(form)):
        real = over_reals(problem)
        rng = Random(seed)
        ends = list(zip(real.region.lower, real.region.upper, strict=True))
        inner = [
            tuple(low + (high - low) * Fraction(rng.randint(0, 999), 999) for low, high in ends)
            for _ in range(60)
        ]
        ranges = soundness.executed(real, [*inner, real.region.lower, real.region.upper])
        for mode in PLANS:
            assert soundness.violations(ranges, analyze_region(real, mode)) == []


def over_reals(problem: Problem) -> Problem:
    """The same networks on a box of reals that reaches beyond the input format."""
    kind = problem.quantized.input.type.element
    assert isinstance(kind, Quantized)
    lower = tuple(v * kind.scale - kind.scale / 3 for v in problem.region.lower)
    upper = tuple((kind.max + 2) * kind.scale for _ in problem.region.upper)
    return replace(problem, region=Region(InputModel.CONTINUOUS, lower, upper), input_scale=Fraction(1))


def test_analysis_contains_all_that_a_hull_allows() -> None:
    left_open = 0
    for seed in range(8):
        problem = affine_problem(seed, Form("hull"), sizes=((2, 3, 1), (2, 2, 2, 1))[seed % 2])
        assert not problem.quantized.is_exact
        facts = analyze_region(problem).difference
        executed = executions(problem)
        left_open += sum(e.radius is not None and max(e.radius) > 0 for e in executed)
        for execution in executed:
            low, high = execution.range_of(0)
            assert Fraction(float(facts.lower[0])) <= low <= high <= Fraction(float(facts.upper[0]))
    assert left_open > 0


def test_encodings_refuse_a_hull_and_the_batch_interpreter_encloses_it() -> None:
    problem = affine_problem(1, Form("hull"))
    asked = query(problem, Fraction(1), 1, no_facts(problem))
    assert "known between bounds only" in str(BitVectorEncoding().refuses(asked))
    assert "known between bounds only" in str(MilpEncoding().refuses(asked))
    xs = points(problem)
    found = BatchInterpreter(problem).run(np.array([[float(v) for v in x] for x in xs]))
    for execution, row in zip(executions(problem), found.difference, strict=True):
        low, high = execution.range_of(0)
        assert Fraction(row[0]) - Fraction(found.radius[0]) <= low
        assert high <= Fraction(row[0]) + Fraction(found.radius[0])


@every_form
@pytest.mark.parametrize(
    ("encoding", "backend"),
    [
        (BitVectorEncoding(), BitVectorEncoding().backends()[0]),
        (BitVectorEncoding("exact"), BitVectorEncoding("exact").backends()[0]),
        (MilpEncoding(), HighsBackend()),
    ],
    ids=["bitvector", "bitvector+exact", "milp"],
)
def test_encodings_answer_as_enumeration_does(
    form: Form, encoding: Encoding, backend: Backend[object]
) -> None:
    for seed, problem in enumerate(problems(form)):
        executed = executions(problem)
        step, known = least_step(executed), FACTS[seed % len(FACTS)](problem)
        for side in SIDES:
            worst = maximum(executed, 0, side)
            for offset in (-step, Fraction(0), step):
                bound = side * worst.difference[0] + offset
                if bound < 0:
                    continue
                made = Trial(query(problem, bound, side, known), offset < 0, offset, worst)
                assert encoding.refuses(made.query) is None
                encoded = encoding.encode(made.query)
                found = backend.solve(encoded.model, Limits(60.0))
                witness = encoded.decode(found.assignment) if found.assignment is not None else None
                fidelity = getattr(encoded, "fidelity", encoding.fidelity)
                answer = QueryAnswer(
                    found.status, encoding.name, backend.name, 0.0, witness, found.reason, fidelity
                )
                judged = judge(made, answer, violated=made.violated)
                assert judged.mark is Mark.RIGHT, f"{made.query}: {judged.reason}"
