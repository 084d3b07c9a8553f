"""A solver may hang, crash, lie or be absent: it costs its share of the time, and never a wrong verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt import encoding as seam
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Fidelity, Query
from qsmt.engine import choice, portfolio
from qsmt.engine.check import analyse
from qsmt.engine.choice import choices, validate
from qsmt.engine.dispatch import open_queries, solve_residual
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import CrossCheck, Options, Trust
from qsmt.engine.reexecute import reexecute
from qsmt.errors import BackendError, SoundnessError
from qsmt.ir.ops import Affine, Clamp, Op, Relu, Requantize
from qsmt.problem import Problem
from qsmt.solver.base import Answer, Backend, Limits, Status
from qsmt.verdict import Falsified, Unknown, Verdict, Verified
from tests.support.in_process import InProcessWorker
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_range

BASE = random_problem(1, Recipe(sizes=(2, 3, 1)))
WORST = max(abs(v) for v in true_range(BASE, 0))
TRUE = with_bound(BASE, WORST)
FALSE = with_bound(BASE, WORST * Fraction(9, 10))


@dataclass
class FakeBackend:
    """Answers what it is told to."""

    answer: Answer | Exception
    name: str = "fake"
    trust: str = "smt:fake"
    exact: bool = True
    missing: str | None = None

    def available(self) -> str | None:
        return self.missing

    def solve(self, model: Any, limits: Limits) -> Answer:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class FakeEncoded:
    """Decodes an assignment literally."""

    model: Query

    def decode(self, assignment: Any) -> tuple[Fraction, ...]:
        return tuple(assignment[f"x{i}"] for i in range(len(assignment)))

    def write(self, path: Path) -> None:
        path.write_text(str(self.model))


@dataclass
class FakeEncoding:
    """An encoding with one fake backend."""

    backend: FakeBackend
    name: str = "fake"
    refusal: str | None = None
    fidelity: Fidelity = Fidelity.EXACT
    suffix: str = ".txt"

    def supported(self) -> frozenset[type[Op]]:
        return frozenset({Affine, Relu, Clamp, Requantize})

    def refuses(self, query: Query) -> str | None:
        return self.refusal

    def encode(self, query: Query) -> FakeEncoded:
        return FakeEncoded(query)

    def backends(self) -> Sequence[Backend[Any]]:
        return [self.backend]


UNSAT = Answer(Status.UNSAT)
NONSENSE = Answer(Status.SAT, {"x0": Fraction(10**6), "x1": Fraction(0)})
HARMLESS = Answer(Status.SAT, {f"x{i}": v for i, v in enumerate(BASE.region.lower)})


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Replace the installed encodings."""

    def use(*offered: FakeEncoding, real: bool = False) -> None:
        table: dict[str, Any] = {e.name: e for e in offered}
        if real:
            table["bitvector"] = genuine
        for module in (seam, choice):
            monkeypatch.setattr(module, "encodings", lambda: table)
            monkeypatch.setattr(module, "load", table.__getitem__)
        monkeypatch.setattr("qsmt.engine.crosscheck.load", table.__getitem__)
        monkeypatch.setattr(portfolio, "Worker", InProcessWorker)

    genuine = seam.load("bitvector")
    monkeypatch.chdir(tmp_path)
    return use


def decide(problem: Problem, **options: Any) -> Verdict:
    """Analysis, then straight to the residual queries."""
    run = Investigation(problem, Options(**{"encoding": "fake", "cross_check": CrossCheck.OFF, **options}))
    run.perform(analyse, "analysis")
    run.perform(solve_residual, "encodings")
    return run.outcome


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(Status.UNKNOWN, reason="lost the thread"), "lost the thread"),
        (RuntimeError("segmentation fault"), "segmentation fault"),
        (MemoryError(), "MemoryError"),
        (NONSENSE, "replayed exactly"),
        (HARMLESS, "replayed exactly"),
        (Answer(Status.SAT), "no input"),
    ],
)
def test_whatever_goes_wrong_in_a_solver_is_unknown_with_the_reason(
    install: Any, answer: Answer | Exception, reason: str
) -> None:
    install(FakeEncoding(FakeBackend(answer)))
    verdict = decide(TRUE)
    assert isinstance(verdict, Unknown)
    assert reason in verdict.reason


def test_the_second_encoding_is_tried_when_the_first_does_not_know(install: Any) -> None:
    silent = FakeEncoding(FakeBackend(Answer(Status.UNKNOWN, reason="no idea"), name="silent"), name="silent")
    install(silent, FakeEncoding(FakeBackend(UNSAT)))
    found = decide(TRUE, encoding="auto")
    assert isinstance(found, Verified)
    assert found.trust == ("dra", "smt:fake")


def test_a_wrong_proof_is_an_alarm_under_cross_check_with_everything_to_reproduce_it(install: Any) -> None:
    install(FakeEncoding(FakeBackend(UNSAT)), real=True)
    with pytest.raises(SoundnessError, match="one of them is wrong"):
        decide(FALSE, cross_check=CrossCheck.ALL)
    (folder,) = Path().glob("qsmt-alarm-*")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "problem.toml",
        "reference.qir",
        "quantized.qir",
        "answers.json",
        "report.json",
        "fake.txt",
        "bitvector.smt2",
    }
    elsewhere = folder.rename("elsewhere")
    assert reexecute(elsewhere / "report.json").confirmed


@pytest.mark.parametrize(
    ("second", "said", "agrees"),
    [
        (UNSAT, "confirmed by a second encoding", True),
        (Answer(Status.UNKNOWN, reason="lost"), "put to a second encoding that did not know", False),
    ],
)
def test_agreement_and_a_second_encoding_that_does_not_know_are_told_apart(
    second: Answer, said: str, agrees: bool, install: Any
) -> None:
    install(FakeEncoding(FakeBackend(UNSAT)), FakeEncoding(FakeBackend(second), name="other"))
    run = Investigation(TRUE, Options(encoding="fake", cross_check=CrossCheck.ALL))
    run.perform(analyse, "analysis")
    run.perform(solve_residual, "encodings")
    (stage,) = run.stages[1:]
    checks = stage.figures["cross_checks"]
    assert len(checks) == stage.figures["queries"] > 0 and all(c["agrees"] is agrees for c in checks)
    assert stage.summary.endswith(f"({len(checks)} by smt:fake); {len(checks)} {said}")
    assert isinstance(run.outcome, Verified)


def test_a_numerical_proof_is_refused_where_only_exact_ones_count(install: Any) -> None:
    numerical = FakeEncoding(FakeBackend(UNSAT, exact=False, trust="milp:fake"))
    install(numerical)
    assert isinstance(decide(TRUE, trust=Trust.EXACT), Unknown)
    assert isinstance(decide(TRUE), Verified)


def test_exact_trust_asks_exact_solvers_first(install: Any) -> None:
    numerical = FakeEncoding(FakeBackend(UNSAT, exact=False), name="numerical")
    install(numerical, FakeEncoding(FakeBackend(UNSAT)))
    query = next(open_queries(FALSE, analyze_region(FALSE)))
    ranked, _ = choices(query, Options(trust=Trust.EXACT))
    assert [c.encoding.name for c in ranked] == ["fake", "numerical"]


def test_a_witness_decides_whichever_output_it_breaks(install: Any) -> None:
    install(FakeEncoding(FakeBackend(UNSAT)), real=True)
    assert isinstance(decide(FALSE, encoding="bitvector"), Falsified)


def test_refusals_and_missing_solvers_are_told(install: Any) -> None:
    install(FakeEncoding(FakeBackend(UNSAT), refusal="it has no rule for that"))
    verdict = decide(TRUE, encoding="auto")
    assert isinstance(verdict, Unknown)
    assert "no rule for that" in verdict.reason


def test_naming_a_solver_that_is_not_there_is_an_error_before_any_work(install: Any) -> None:
    install(FakeEncoding(FakeBackend(UNSAT, missing="no licence")))
    with pytest.raises(BackendError, match="no licence"):
        validate(Options(encoding="fake"))


def test_queries_that_analysis_excludes_are_not_asked() -> None:
    facts = analyze_region(TRUE)
    reach = max(-float(facts.difference.lower[0]), float(facts.difference.upper[0]))
    assert list(open_queries(with_bound(BASE, Fraction(reach)), facts)) == []
    sides = {query.side for query in open_queries(with_bound(BASE, Fraction(0)), facts)}
    assert sides == {1, -1}
