"""Affine quantization in the conformance matrix: enumeration, analysis and both encodings agree.

Every kind of requantization that runtimes have, with asymmetric zero points, per tensor and per channel, and with
biases that are codes of their own. The bound is set just below, at, and just above the exact maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from qsmt.arith.fixed import Quantized
from qsmt.dra.analysis import PLANS, analyze_region
from qsmt.dra.domain import Mode
from qsmt.encoding import Encoding, QueryAnswer
from qsmt.engine.judge import Mark, judge
from qsmt.engine.trial import Trial, least_step, maximum
from qsmt.facts import Facts
from qsmt.ir.text import parse, print_network
from qsmt.problem import Problem
from qsmt.solver.base import Backend, Limits
from qsmt_bitvector import BitVectorEncoding
from qsmt_milp import MilpEncoding
from qsmt_milp.backends.highs import HighsBackend
from tests.support.affine_networks import FORMS, Form, affine_problem
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
@pytest.mark.parametrize("mode", PLANS, ids=str)
def test_analysis_contains_every_execution(form: Form, mode: Mode) -> None:
    for problem in problems(form):
        ranges = soundness.executed(problem, points(problem))
        assert soundness.violations(ranges, analyze_region(problem, mode)) == []


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
