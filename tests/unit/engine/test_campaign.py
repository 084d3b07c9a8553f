"""Differential testing notices what is wrong, blames who is wrong, and survives solvers that break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.encoding import Fidelity, QueryAnswer
from qsmt.engine import campaign, trial
from qsmt.engine.campaign import Configuration, Panel, conduct, configurations, given_cases, random_cases
from qsmt.engine.faults import FAULTS
from qsmt.engine.judge import Mark, judge
from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.reexecute import reexecute
from qsmt.engine.trial import SIDES, around, executions, facts_of, given, maximum
from qsmt.errors import BackendError, SoundnessError
from qsmt.solver.base import Limits, Status
from qsmt.solver.process import CallFailed
from tests.support.in_process import InProcessWorker

LIMITS = Limits(20.0)
BITWUZLA = Configuration("bitvector", True, "bitwuzla")
HIGHS = Configuration("milp", True, "highs")


# --- trials -----------------------------------------------------------------------------------------------


def test_trials_surround_the_exact_maximum() -> None:
    for seed in range(40):
        trials = around(random_problem(seed, Size.SMALL), seed)
        assert [t.violated for t in trials] in ([True, False, False], [False, False])
        for made in trials:
            assert made.witness is not None and made.offset is not None
            reached = made.query.side * made.witness.difference[made.query.output]
            assert made.query.bound == reached + made.offset
            assert made.violated == (reached > made.query.bound)


def test_bounds_come_as_close_as_a_two_to_the_minus_forty() -> None:
    offsets = {
        abs(t.offset or 0) for seed in range(200) for t in around(random_problem(seed, Size.SMALL), seed)
    }
    assert Fraction(1, 2**40) in offsets


def test_the_trials_of_a_given_problem_include_its_own_claim() -> None:
    problem = random_problem(3, Size.SMALL)
    asked = [t for t in given(problem) if t.query.problem is problem]
    assert [(t.query.output, t.query.side) for t in asked] == [
        (output, side) for output in problem.claim.outputs for side in SIDES
    ]


def test_a_grid_that_is_too_large_has_no_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "EXECUTED", 1)
    assert {t.violated for t in given(random_problem(3, Size.SMALL))} == {None}


def test_an_analysis_that_excludes_what_happens_is_an_alarm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    problem = random_problem(3, Size.SMALL)
    executed = executions(problem)
    assert executed is not None
    worst = maximum(executed, 0, 1)
    moved = replace(worst, reference=tuple(v - 10**6 for v in worst.reference))
    facts_of(problem, executed)
    with pytest.raises(SoundnessError, match="outside the certified"):
        facts_of(problem, [moved])
    (folder,) = tmp_path.glob("qsmt-alarm-*")
    assert reexecute(folder / "report.json").execution.input == moved.input


# --- judging ----------------------------------------------------------------------------------------------


def answered(status: Status, witness: Any = None, fidelity: Fidelity = Fidelity.EXACT) -> QueryAnswer:
    return QueryAnswer(status, "e", "b", 0.0, witness, fidelity=fidelity)


def test_marks() -> None:
    below, at = next(t for t in (around(random_problem(s, Size.SMALL), s) for s in range(9)) if len(t) == 3)[
        :2
    ]
    assert below.witness is not None
    there = below.witness.input
    outside = tuple(v + 1000 for v in there)
    table = [
        (below, answered(Status.SAT, there), Mark.RIGHT),
        (below, answered(Status.UNSAT), Mark.WRONG),
        (below, answered(Status.UNKNOWN), Mark.UNKNOWN),
        (below, answered(Status.SAT), Mark.WRONG),
        (below, answered(Status.SAT, outside), Mark.WRONG),
        (at, answered(Status.UNSAT), Mark.RIGHT),
        (at, answered(Status.SAT, there), Mark.WRONG),
        (at, answered(Status.SAT, there, Fidelity.OVER), Mark.UNKNOWN),
    ]
    for made, answer, mark in table:
        assert judge(made, answer, violated=made.violated).mark is mark


# --- campaigns --------------------------------------------------------------------------------------------


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "Worker", InProcessWorker)


def test_everybody_agrees_and_is_counted() -> None:
    panel = Panel((BITWUZLA, HIGHS), LIMITS)
    results = conduct(panel, random_cases(6, 0, Size.SMALL), jobs=1)
    assert results.disagreements == [] and results.problems == 6
    assert all(sum(t.marks.values()) == results.queries for t in results.tallies.values())
    assert results.decided > 0


def test_results_do_not_depend_on_the_number_of_jobs() -> None:
    panel = Panel((BITWUZLA,), LIMITS, FAULTS["weight-sign"])
    runs = [conduct(panel, random_cases(20, 0, Size.SMALL), jobs=n) for n in (1, 3)]
    assert runs[0].disagreements
    assert len({tuple(d.seed for d in run.disagreements) for run in runs}) == 1


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_noticed_at_every_encoding(name: str, in_process: None) -> None:
    panel = Panel((BITWUZLA, HIGHS), LIMITS, FAULTS[name])
    results = conduct(panel, random_cases(200, 0, Size.SMALL), jobs=1)
    assert len(results.noticed) == 2


def test_without_the_truth_a_confirmed_violation_convicts(
    in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One solver overlooks everything; the other one's witness shows it."""
    monkeypatch.setattr(trial, "EXECUTED", 0)
    genuine = campaign.put

    def put(query: Any, encoding: str, backends: Sequence[str], limits: Limits) -> Any:
        refusal, found = genuine(query, encoding, backends, limits)
        return refusal, list(map(FAULTS["blind-solver"].answered, found)) if encoding == "milp" else found

    monkeypatch.setattr(campaign, "put", put)
    cases = [case for seed in range(6) for case in given_cases(random_problem(seed, Size.SMALL))]
    results = conduct(Panel((BITWUZLA, HIGHS), LIMITS), cases, jobs=1)
    assert {d.configuration for d in results.disagreements} == {HIGHS}


def test_a_solver_that_crashes_costs_its_own_answers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(worker: InProcessWorker, function: Any, arguments: Any, *, timeout_s: float) -> Any:
        if "z3" in arguments[2]:
            raise CallFailed("the solver's process died (exit code 9)")
        return function(*arguments)

    monkeypatch.setattr(InProcessWorker, "call", call)
    monkeypatch.setattr(campaign, "Worker", InProcessWorker)
    both = (BITWUZLA, replace(BITWUZLA, backend="z3"))
    results = conduct(Panel(both, LIMITS), random_cases(3, 0, Size.SMALL), jobs=1)
    marks = {name: set(tally.marks) for name, tally in results.tallies.items()}
    assert marks == {"bitvector:bitwuzla": {Mark.RIGHT}, "bitvector:z3": {Mark.UNKNOWN}}


def test_an_encoding_that_contradicts_itself_is_wrong(
    in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: Any) -> Any:
        raise SoundnessError("two bounds share no value")

    monkeypatch.setattr(campaign, "put", put)
    results = conduct(Panel((HIGHS,), LIMITS), random_cases(1, 0, Size.SMALL))
    assert "share no value" in results.disagreements[0].judged.reason


def test_configurations_are_all_that_can_be_used() -> None:
    found = configurations()
    assert {BITWUZLA, HIGHS, replace(HIGHS, pruned=False)} <= set(found)
    assert {c.encoding for c in configurations("milp")} == {"milp"}
    assert all(c.pruned for c in configurations(fault=FAULTS["narrow-facts"]))
    with pytest.raises(BackendError, match="milp:nobody"):
        configurations("milp", "nobody")
