"""What people read: the verdict first, and no printed digit that claims more than is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qsmt.engine.bound import BoundResult
from qsmt.engine.check import CheckResult, check
from qsmt.engine.investigation import OutputRange
from qsmt.engine.plan import Options
from qsmt.interp.replay import replay
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.report import decimal, json, text
from qsmt.report.model import Report
from qsmt.verdict import Falsified, Unknown, Verified, Witness
from tests.support.networks import Recipe, random_problem, with_bound

PROBLEM = with_bound(random_problem(4, Recipe(sizes=(2, 3, 2))), Fraction(1, 20))


def report(result: CheckResult) -> Report:
    return Report.of_check(result, source={"files": []}, notes=("a note",))


def decided(verdict: Verified | Falsified | Unknown, problem: Problem = PROBLEM) -> Report:
    outputs = tuple(OutputRange(i, (-np.inf, 0.25), None) for i in problem.claim.outputs)
    return report(CheckResult(problem, verdict, outputs, (), 0.5))


def falsified() -> Falsified:
    execution = replay(PROBLEM, [PROBLEM.region.lower])[0]
    return Falsified(Witness(execution.input, 0, execution.reference, execution.quantized), Fraction(0))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-300, 123456.789, -2.5, 5e-324, 0.0499999999])
def test_printed_bounds_are_rounded_outward(value: float) -> None:
    assert Fraction(decimal.lower(value)) <= Fraction(value) <= Fraction(decimal.upper(value))


@pytest.mark.parametrize(
    ("bound", "printed"),
    [
        ("0.05", "0.05"),
        ("1/3", "1/3"),
        ("1/123456789123", "8.10001e-12"),
        ("1e-400", "4.94066e-324"),
        ("0", "0"),
    ],
)
def test_a_printed_claim_is_never_a_stronger_one(bound: str, printed: str) -> None:
    assert decimal.limit(Fraction(bound)) == printed
    assert Fraction(printed) >= Fraction(bound)


@pytest.mark.parametrize("width", [60, 100])
def test_a_note_is_printed_to_its_end_whatever_the_width(width: int) -> None:
    note = " ".join(f"word{i}" for i in range(40))
    made = Report.of_check(
        CheckResult(PROBLEM, Verified(("dra",)), (OutputRange(0, (0, 0), None),), (), 0.5),
        source={},
        notes=(note,),
    )
    said = text.render(made, width=width)
    assert note.split() == [word for word in said.split() if word.startswith("word")]
    assert max(map(len, said.splitlines())) <= width


def test_a_verified_report_begins_with_the_verdict_and_explains_each_label() -> None:
    said = text.render(decided(Verified(("dra", "smt:z3", "milp:highs"))))
    assert said.startswith("VERIFIED")
    assert (
        said.index("the difference analysis")
        < said.index("bit-vector solver")
        < said.index("numerical solver")
    )


def test_a_bound_that_a_numerical_solver_made_tighter_says_so_at_the_top() -> None:
    outputs = tuple(OutputRange(i, (-0.5, 0.25), None) for i in PROBLEM.claim.outputs)

    def rendered(*trust: str) -> str:
        result = BoundResult(PROBLEM, outputs, (), 0.5, None, trust)
        return text.render(Report.of_bound(result, source={"files": []}, notes=()))

    said = rendered("milp:highs")
    assert "rests on" not in rendered()
    assert said.startswith("BOUND") and said.index("numerical solver") < said.index("certified difference")


def test_a_falsified_report_shows_both_networks_at_the_witness() -> None:
    said = text.render(decided(falsified()))
    assert said.startswith("FALSIFIED")
    assert all(word in said for word in ("input", "reference", "quantized", "replayed in exact arithmetic"))


def test_an_unknown_report_gives_the_reason() -> None:
    said = text.render(decided(Unknown("time was up")))
    assert said.startswith("UNKNOWN") and "time was up" in said


def test_a_bound_that_is_not_known_prints_as_infinite_and_is_null_in_json() -> None:
    unbounded = decided(Unknown("nothing ran"))
    assert "[-∞, 0.25]" in text.render(unbounded)
    assert unbounded.as_json()["outputs"][0]["certified"] == [None, 0.25]
    assert "Infinity" not in json.render(unbounded)


def test_a_region_with_more_points_than_a_double_holds_is_counted_in_powers_of_ten() -> None:
    problem = random_problem(1, Recipe(sizes=(500, 2, 1), radius=3))
    wide = with_bound(problem, Fraction(10**6))
    assert "about 10^" in text.render(decided(Verified(("dra",)), wide))


def test_long_vectors_and_many_outputs_are_cut_with_their_count() -> None:
    problem = random_problem(1, Recipe(sizes=(40, 2, 30), radius=1))
    result = check(with_bound(problem, Fraction(0)), Options(encoding="none", timeout_s=5))
    said = text.render(report(result))
    assert "40 in all" in said and "30 outputs in all" in said


def test_numbers_that_no_double_equals_are_strings_in_json() -> None:
    region = Region(InputModel.CONTINUOUS, (Fraction(1, 3),) * 2, (Fraction(1, 3),) * 2)
    claim = ErrorBound((0,), (Fraction(0),))
    problem = Problem(PROBLEM.reference, PROBLEM.quantized, region, Fraction(1), claim)
    found = report(check(problem)).as_json()
    assert found["witness"] is None or found["witness"]["input"] == ["1/3", "1/3"]


def test_colour_is_for_terminals_only() -> None:
    shown = decided(Verified(("dra",)))
    assert "\x1b[" not in text.render(shown)
    assert "\x1b[" in text.render(shown, color=True)
