"""Every kind of property against enumeration on random small networks: search and both encodings; planted faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.claim import Inequality, OutputConstraint
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query, load
from qsmt.engine import measures
from qsmt.engine.alarm import write_problem
from qsmt.engine.check import check
from qsmt.engine.dispatch import open_queries
from qsmt.engine.load import load_problem
from qsmt.engine.plan import Options
from qsmt.facts import Interval
from qsmt.frontend import combined, property_kinds
from qsmt.frontend.property_table import Which
from qsmt.interp.replay import replay
from qsmt.solver.base import Limits, Status
from qsmt.verdict import Falsified, Verified
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from qsmt_bitvector.widths import Circuit
from qsmt_milp import encoding as milp
from qsmt_milp.backends.highs import HighsBackend
from tests.support.constraints import Example, agreement, example, examples, happens, robust

F = Fraction
SEARCH = Options(encoding="none", jobs=1, timeout_s=60)
NO_GUESSES = replace(SEARCH, falsifies=False)
LIMITS = Limits(30.0, 4096)
SEEDS = range(48)
NOTHING = F(0)


@pytest.fixture(autouse=True)
def _alarms_go_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault that raises an alarm leaves its folder in the current directory."""
    monkeypatch.chdir(tmp_path)


def wrong(made: Example, options: Options = SEARCH) -> bool:
    """Does `check` contradict the truth? It may not be unsure either: grids are enumerated."""
    verdict = check(made.problem, options).verdict
    assert isinstance(verdict, Verified | Falsified), verdict
    return isinstance(verdict, Verified) != made.holds


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_constraint_is_decided_as_enumeration_decides_it(seed: int) -> None:
    assert not wrong(example(seed)) and not wrong(example(seed), NO_GUESSES)


def test_the_random_constraints_are_of_every_sort() -> None:
    made = [example(seed) for seed in SEEDS]
    assert 10 < sum(e.holds for e in made) < len(made) - 10
    claims = [e.problem.claim for e in made]
    sorts = Counter(
        (part.strict, len(case) > 1, len(claim.cases) > 1)
        for claim in claims
        if isinstance(claim, OutputConstraint)
        for case in claim.cases
        for part in case
    )
    assert len(sorts) == 8 and min(sorts.values()) >= 3


def test_a_margin_is_met_or_missed_by_its_definition() -> None:
    found = [
        (made.holds, wrong(made))
        for seed in range(16)
        for margin in (F(0), F(1, 16), F(1, 2), F(1), F(2))
        for made in (agreement(seed, margin), *(robust(seed, which, margin) for which in Which))
    ]
    assert not any(mistaken for _, mistaken in found)
    assert 20 < sum(holds for holds, _ in found) < len(found) - 20


def test_a_constraint_survives_being_written_down(tmp_path: Path) -> None:
    """What an alarm leaves behind is the problem itself."""
    for seed in range(12):
        made = example(seed).problem
        assert load_problem(write_problem(made, tmp_path)).problem.sha256 == made.sha256


def test_a_falsified_constraint_shows_an_input_where_the_case_holds() -> None:
    for seed in SEEDS:
        made = example(seed)
        verdict = check(made.problem, SEARCH).verdict
        if isinstance(verdict, Falsified):
            witness = verdict.witness
            x = witness.input
            both = made.part.executed(x)
            assert made.problem.region.contains(x)
            execution = replay(made.problem, [x])[0]
            assert made.problem.claim.is_broken(witness.output, execution.difference_range)
            assert len(both[0]) == made.part.reference.output.size if made.part.reference else True


# --- encodings ------------------------------------------------------------------------------------------------


def queries(made: Example) -> list[tuple[Query, bool]]:
    """The queries that analysis leaves open, and whether each has a solution."""
    from tests.support.truth import all_points

    executions = replay(made.problem, all_points(made.problem))
    return [
        (query, any(query.is_solution(e.difference_range) for e in executions))
        for query in open_queries(made.problem, analyze_region(made.problem))
    ]


def bitvector_is_wrong(query: Query, solvable: bool) -> bool:
    found = Bitwuzla().solve(load("bitvector+exact").encode(query).model, LIMITS)
    assert found.status is not Status.UNKNOWN
    return (found.status is Status.SAT) != solvable


def milp_is_wrong(query: Query, solvable: bool) -> bool:
    """A solution may be spurious where the model says that it can be; "none" may never be wrong."""
    encoded: Any = load("milp").encode(query)
    found = HighsBackend().solve(encoded.model, LIMITS)
    if found.status is Status.UNSAT:
        return solvable
    return found.status is Status.SAT and not solvable and encoded.fidelity.value == "exact"


CHECKS: dict[str, Callable[[Query, bool], bool]] = {"bitvector": bitvector_is_wrong, "milp": milp_is_wrong}


@pytest.mark.parametrize("name", CHECKS)
def test_an_encoding_answers_as_enumeration_does(name: str) -> None:
    asked = [pair for made in examples(30) for pair in queries(made)]
    assert not any(CHECKS[name](*pair) for pair in asked)
    assert 10 < sum(solvable for _, solvable in asked) < len(asked) - 5


def test_the_milp_encoding_is_seldom_unsure() -> None:
    asked = [query for made in examples(30) for query, _ in queries(made)]
    exact = [load("milp").encode(query) for query in asked]
    certain = sum(encoded.fidelity.value == "exact" for encoded in exact)  # type: ignore[attr-defined]
    assert 3 * certain > 2 * len(asked)


def test_refinement_ends_with_the_exact_answer() -> None:
    backend: Any = load("bitvector").backends()[0]
    for made in examples(20):
        for query, solvable in queries(made):
            found = backend.solve(load("bitvector").encode(query).model, LIMITS)
            assert (found.status is Status.SAT) == solvable


@pytest.mark.parametrize("encoding", ["bitvector", "milp"])
def test_the_whole_pipeline_through_one_encoding(encoding: str) -> None:
    options = Options(encoding=encoding, jobs=1, timeout_s=60, falsifies=False)
    for seed in range(6):
        made, verdict = example(seed), check(example(seed).problem, options).verdict
        assert not isinstance(verdict, Verified if not made.holds else Falsified)


# --- planted faults -------------------------------------------------------------------------------------------


def _swapped_sign(part: Inequality, difference: Interval) -> Any:
    return _EXCESS(replace(part, side=1), difference)


def _any_inequality(claim: Any, difference: Interval) -> Interval:
    """The greatest instead of the least."""
    if not isinstance(claim, OutputConstraint):
        return difference
    cases = [[_EXCESS(part, difference) for part in case] for case in claim.cases]
    import numpy as np

    low, high = (
        np.stack([np.minimum.reduce([v[k] - 1 for v in case]) for case in cases], axis=-1) for k in (0, 1)
    )
    return Interval(low, high)


_EXCESS = measures._excess

FAULTS: dict[str, tuple[str, Any]] = {
    "the side of an inequality is forgotten": ("qsmt.engine.measures._excess", _swapped_sign),
    "bounds of measures are too low": ("qsmt.engine.leaves.measured", _any_inequality),
    "an equality counts as a miss": (
        "qsmt.claim.Inequality.certainly",
        lambda part, differences: part.excess(differences)[0] > 0,
    ),
    "a miss by nothing counts as a hit": (
        "qsmt.claim.Inequality.certainly",
        lambda part, differences: part.excess(differences)[0] >= 0,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_search_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from qsmt.errors import SoundnessError

    made = [example(seed) for seed in range(150)]
    monkeypatch.setattr(*FAULTS[name])

    def caught(one: Example) -> bool:
        try:
            return wrong(one, NO_GUESSES)
        except (SoundnessError, AssertionError):
            return True

    assert any(map(caught, made))


def _first_only(circuit: Circuit, conditions: Any) -> Any:
    return conditions[0]


def test_a_conjunction_cut_short_is_caught_in_bit_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [pair for made in examples(30) for pair in queries(made)]
    monkeypatch.setattr(Circuit, "all_of", _first_only)
    assert any(bitvector_is_wrong(*pair) for pair in asked)


def test_a_strictness_ignored_is_caught_in_bit_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [pair for made in examples(30) for pair in queries(made)]
    monkeypatch.setattr("qsmt_bitvector.formula.least_above", lambda v: -(-v // 1))
    monkeypatch.setattr("qsmt_bitvector.formula.ceil", lambda v: v // 1 + 1)
    assert any(bitvector_is_wrong(*pair) for pair in asked)


def test_a_step_forgotten_is_caught_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the gap between values, a strict inequality that is met exactly looks like a solution, or the reverse."""
    asked = [pair for made in examples(40) for pair in queries(made)]
    real = milp.put_goal

    def shifted(builder: Any, query: Query, differences: Any) -> Any:
        aim, form = real(builder, query, differences)
        return replace(aim, limit=aim.limit + F(1, 2)), form

    monkeypatch.setattr(milp, "put_goal", shifted)
    assert any(milp_is_wrong(*pair) for pair in asked)


@pytest.mark.parametrize("target", ["_negated", "_terms"])
def test_a_wrong_combination_is_caught(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's rows not negated; coefficients dropped."""
    faults: dict[str, Any] = {
        "_negated": lambda row: row,
        "_terms": lambda c: tuple(sorted((i, F(1)) for i, v in c.items() if v)),
    }
    from tests.support.constraints import asking_of, executed, random_cases

    cases = {seed: random_cases(seed) for seed in SEEDS}
    truth = {seed: not happens(cases[seed], executed(seed)) for seed in SEEDS}
    monkeypatch.setattr(combined, target, faults[target])
    if target == "_terms":
        cases = {
            seed: tuple(
                tuple(
                    combined.OutputInequality.of(
                        dict(p.reference), dict(p.quantized), p.bound, strict=p.strict
                    )
                    for p in case
                )
                for case in cases[seed]
            )
            for seed in SEEDS
        }
    from qsmt.engine.parts import constraint

    made = [Example(asking_of(s), constraint(cases[s], asking_of(s), statement=""), truth[s]) for s in SEEDS]
    assert any(map(wrong, made))


def test_a_wrong_margin_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = property_kinds._beats
    monkeypatch.setattr(
        property_kinds, "_beats", lambda i, j, *, side, by=NOTHING: real(i, j, side=side, by=-by)
    )
    assert any(wrong(robust(seed, which, F(1, 2))) for seed in range(16) for which in Which)
