"""The reference in few bits: never a proof of what does not hold, and refined to the exact answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.trial import Trial, around
from qsmt.errors import SoundnessError
from qsmt.solver.base import Answer, Limits, Status
from qsmt_bitvector import BitVectorEncoding, refine, surrogate
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from qsmt_bitvector.formula import missing, script
from qsmt_bitvector.refine import STEPS, Refinement, Refining, next_step
from qsmt_bitvector.smtlib import Script
from tests.unit.bitvector.against import any_case
from tests.unit.milp.oracle import executions, no_facts, query, tight_facts

LIMITS = Limits(30.0)
SEEDS = range(40)
BITS = (0, 2, 5)
"""So few that every error matters."""


def trials(seed: int) -> list[Trial]:
    return around(random_problem(seed, Size.SMALL), seed)


def overlooked(seed: int, bits: int) -> list[str]:
    """The violations that a coarse formula does not have as a solution."""
    return [
        f"seed {seed}, {bits} bits: {made.query}"
        for made in trials(seed)
        if made.violated and Bitwuzla().solve(script(made.query, bits), LIMITS).status is not Status.SAT
    ]


def test_a_coarse_formula_overlooks_no_violation() -> None:
    assert [line for seed in SEEDS for line in overlooked(seed, BITS[seed % 3])] == []


@pytest.mark.slow
@pytest.mark.parametrize("bits", [0, 1, 3, 6, 12, 16, 20])
def test_no_coarse_formula_overlooks_a_violation(bits: int) -> None:
    assert [line for seed in range(100, 250) for line in overlooked(seed, bits)] == []


def test_a_coarse_formula_proves_what_is_far_from_the_bound() -> None:
    """Else it would be of no use; the slack of 12 bits is below a hundredth."""
    proved = 0
    for seed in SEEDS:
        made = trials(seed)[-1]
        bound = made.query.bound + Fraction(1, 100)
        far = query(made.problem, bound, made.query.side, made.query.facts, output=made.query.output)
        proved += Bitwuzla().solve(script(far, 12), LIMITS).status is Status.UNSAT
    assert proved == len(SEEDS)


def without_error(old: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *a, **k: replace(old(*a, **k), below=Fraction(0), above=Fraction(0))


def unchanged_error(old: Callable[..., Any]) -> Callable[..., Any]:
    """The result is coarser, the error is that of the operand."""

    def step(*arguments: Any, **options: Any) -> Any:
        value = next(a for a in arguments if isinstance(a, surrogate.Approximate))
        return replace(old(*arguments, **options), below=value.below, above=value.above)

    return step


FAULTS: dict[str, tuple[str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "rounded coefficients cost nothing": ("coarse", unchanged_error),
    "a floor costs nothing": ("_floored", unchanged_error),
    "a clamp removes the error": ("_activated", without_error),
    "errors do not pass through a layer": (
        "_weighted",
        lambda old: lambda *_: (Fraction(0), Fraction(0)),
    ),
    "the signs of weights are ignored": (
        "_weighted",
        lambda old: lambda row, errors: old([abs(w) for w in row], errors),
    ),
}


def caught(seed: int) -> bool:
    """A contradiction that the encoding notices counts too."""
    try:
        return bool(overlooked(seed, BITS[seed % 3]))
    except SoundnessError:
        return True


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_overlooks_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, change = FAULTS[name]
    monkeypatch.setattr(surrogate, target, change(getattr(surrogate, target)))
    assert any(map(caught, range(200)))


# --- the exact check of one input ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_the_formula_on_constants_is_exact_execution(seed: int) -> None:
    problem = any_case(seed)
    for facts in (no_facts(problem), tight_facts(problem)):
        asked = query(problem, Fraction(1, 3), 1, facts)
        for execution in executions(problem)[:20]:
            beyond = execution.difference[0] - asked.bound
            assert missing(asked, execution.input) == (None if beyond > 0 else -beyond)


# --- refinement -----------------------------------------------------------------------------------------------


class Watched:
    """A solver that remembers how many scripts it was given."""

    name, trust, exact = "watched", "smt:watched", True

    def __init__(self, answer: Answer | None = None) -> None:
        self.seen: list[Script] = []
        self.answer = answer

    def available(self) -> str | None:
        return None

    def solve(self, model: Script, limits: Limits) -> Answer:
        self.seen.append(model)
        return self.answer or Bitwuzla().solve(model, limits)


@pytest.mark.parametrize("seed", SEEDS)
def test_refinement_ends_in_the_exact_answer(seed: int) -> None:
    for made in trials(seed):
        found = Refining(Bitwuzla()).solve(Refinement(made.query), LIMITS)
        assert found.status is (Status.SAT if made.violated else Status.UNSAT)


def test_no_more_steps_are_taken_than_are_needed() -> None:
    taken = set()
    for seed in SEEDS:
        for made in trials(seed):
            watched = Watched()
            Refining(watched).solve(Refinement(made.query), LIMITS)
            taken.add(len(watched.seen))
    assert {1, 2} <= taken and max(taken) <= len(STEPS) + 1


def test_a_solution_that_is_none_is_never_passed_on() -> None:
    made = trials(1)[-1]
    assert not made.violated
    nonsense = Watched(Answer(Status.SAT, {}))
    found = Refining(nonsense).solve(Refinement(made.query), LIMITS)
    assert found.status is Status.UNKNOWN and "that is none" in (found.reason or "")
    assert 1 < len(nonsense.seen) <= len(STEPS) + 1


def test_the_next_step_is_the_first_that_can_tell() -> None:
    slack = Fraction(1, 2**10)
    assert next_step(12, slack, missed=Fraction(1, 2**13)) == 16
    assert next_step(12, slack, missed=Fraction(1, 2**16)) == 20
    assert next_step(16, slack, missed=Fraction(1, 2**13)) == 20
    assert next_step(20, slack, missed=slack) is None
    assert next_step(12, slack, missed=Fraction(0)) is None


def test_an_unknown_is_passed_on() -> None:
    unknown = Answer(Status.UNKNOWN, reason="tired")
    assert Refining(Watched(unknown)).solve(Refinement(trials(1)[0].query), LIMITS) == unknown


def test_without_the_check_a_spurious_solution_would_be_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine.Refinement, "missed", lambda *_: None)
    spurious = [
        made
        for seed in SEEDS
        for made in trials(seed)
        if not made.violated
        and Refining(Bitwuzla()).solve(Refinement(made.query), LIMITS).status is Status.SAT
    ]
    assert spurious


def test_without_the_option_the_encoding_refines() -> None:
    plain, exact = BitVectorEncoding(), BitVectorEncoding().with_option("exact")
    assert (plain.name, exact.name) == ("bitvector", "bitvector+exact")
    assert [(b.name, b.trust) for b in plain.backends()] == [(b.name, b.trust) for b in exact.backends()]
    asked = trials(1)[0].query
    assert isinstance(plain.encode(asked).model, Refinement)
    assert isinstance(exact.encode(asked).model, Script)


def test_on_file_a_query_is_exact(tmp_path: Path) -> None:
    asked = trials(1)[0].query
    texts = []
    for encoding in (BitVectorEncoding(), BitVectorEncoding("exact")):
        encoding.encode(asked).write(tmp_path / "query.smt2")
        texts.append((tmp_path / "query.smt2").read_text())
    assert texts[0] == texts[1]
