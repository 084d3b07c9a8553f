"""The same report in every format: what a program, a build server and a browser are told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as Xml

import html5lib
import numpy as np
import pytest

import qsmt as api
from qsmt.engine.bound import bound
from qsmt.engine.check import CheckResult, check
from qsmt.engine.investigation import OutputRange
from qsmt.engine.plan import Options
from qsmt.errors import InputError
from qsmt.report import figures
from qsmt.report.formats import Format, render, render_all
from qsmt.report.model import Report
from qsmt.verdict import Unknown
from tests.support.command import qsmt
from tests.support.networks import Recipe, random_problem, with_bound

EXAMPLE = Path(__file__).parents[3] / "examples" / "pendulum"
Q8, Q4 = EXAMPLE / "pendulum-q8.toml", EXAMPLE / "pendulum-q4.toml"
PROBLEM = with_bound(random_problem(4, Recipe(sizes=(2, 3, 2))), Fraction(1, 20))


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    """Verified, falsified, unknown."""
    found = []
    for title, bound_, options in (
        ("held", Fraction(10**6), Options()),
        ("broken", Fraction(0), Options()),
    ):
        result = check(with_bound(PROBLEM, bound_), options)
        found.append(Report.of_check(result, source={"files": []}, notes=("a <note>",)))
        found[-1] = replace(found[-1], title=title)
    open_ranges = tuple(OutputRange(i, (-np.inf, 0.25), None) for i in PROBLEM.claim.outputs)
    undecided = CheckResult(PROBLEM, Unknown("time & patience were up"), open_ranges, (), 0.5)
    report = Report.of_check(undecided, source={"files": []}, notes=())
    return [*found, replace(report, title="open<script>alert(1)</script>")]


# --- JUnit ------------------------------------------------------------------------------------------------


def test_junit_fails_on_violations_and_errs_on_what_is_not_decided(reports: list[Report]) -> None:
    suite = Xml.fromstring(render_all(reports, Format.JUNIT))
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["3", "1", "1", "0"]
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["error"]]
    failure, error = suite[1][0], suite[2][0]
    assert (failure.get("message") or "").startswith("FALSIFIED") and "replayed" in (failure.text or "")
    assert "time & patience" in (error.get("message") or "")


def test_junit_survives_names_that_xml_cannot_hold(reports: list[Report]) -> None:
    odd = replace(reports[2], title="a\x00b\x1b.toml")
    assert Xml.fromstring(render_all([odd], Format.JUNIT))[0].get("name") == "a\ufffdb\ufffd.toml"


# --- JSON -------------------------------------------------------------------------------------------------


def test_json_of_one_report_is_the_fixed_form_and_of_several_a_list_of_them(reports: list[Report]) -> None:
    assert json.loads(render_all(reports[:1], Format.JSON)) == json.loads(json.dumps(reports[0].as_json()))
    several = json.loads(render_all(reports, Format.JSON))
    assert several["schema"] == "qsmt.reports/1" and several["verdict"] == "falsified"
    assert several["reports"] == [json.loads(json.dumps(report.as_json())) for report in reports]


# --- HTML -------------------------------------------------------------------------------------------------


def test_the_page_is_valid_html(reports: list[Report]) -> None:
    html5lib.HTMLParser(strict=True).parse(render_all(reports, Format.HTML))


def test_invalid_html_is_noticed() -> None:
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse("<!DOCTYPE html><title>x</title><p></div>")


def test_the_page_needs_no_other_file_and_runs_nothing(reports: list[Report]) -> None:
    page = render_all(reports, Format.HTML)
    fetched = re.findall(r"<(?:script|link|img|iframe|object)\b|@import|url\((?!#)|src=", page)
    assert fetched == []
    links = re.findall(r'(?:xlink:)?href="([^"]*)"', page)
    assert links and all(link.startswith("#") for link in links)


def test_what_a_user_names_is_never_markup(reports: list[Report]) -> None:
    page = render_all(reports, Format.HTML)
    assert "<script" not in page and "&lt;script&gt;" in page and "a &lt;note&gt;" in page


def test_the_page_says_everything_that_is_asked_of_it(reports: list[Report]) -> None:
    held, broken, unknown = (render_all([report], Format.HTML) for report in reports)
    assert "<b>verified</b>" in held and "What it rests on" in held and "difference analysis" in held
    assert "Difference per layer" in held and "Time per stage" in held and "unstable neurons" in held
    assert "The input that breaks it" in broken and "The input that breaks it" not in held
    assert "<b>unknown</b>" in unknown and "time &amp; patience were up" in unknown
    assert held.count("<svg") == 4 and unknown.count("<svg") == 1


def test_the_page_shows_the_witness_of_the_report(reports: list[Report]) -> None:
    witness = reports[1].as_json()["witness"]
    shown = re.search(r'<th scope="row">input</th><td>(.*?)</td>', render_all(reports[1:2], Format.HTML))
    assert shown is not None
    assert [int(v) for v in shown[1].split(", ")] == witness["input"]


def test_a_long_witness_is_cut_with_its_count() -> None:
    result = check(with_bound(random_problem(1, Recipe(sizes=(300, 2, 1), radius=1)), Fraction(0)))
    page = render(result, "html")
    assert "<b>falsified</b>" in page and "… 300 in all</td>" in page


def test_the_same_report_gives_the_same_bytes(reports: list[Report]) -> None:
    assert render_all(reports, Format.HTML) == render_all(reports, Format.HTML)


def test_no_two_elements_of_a_page_share_an_id_for_different_things(reports: list[Report]) -> None:
    page = render_all(reports, Format.HTML)
    clips = re.findall(r'<clipPath id="(\w+)">\s*(<rect[^>]*>)', page)
    assert clips and len(dict(clips)) == len(set(clips))


def test_a_bound_that_dwarfs_the_difference_does_not_flatten_the_figure() -> None:
    near, far = (check(with_bound(PROBLEM, b)).outputs for b in (Fraction(1, 20), Fraction(10**6)))
    assert "claimed bound" in figures.outputs(PROBLEM, near, str)
    assert "claimed bound" not in figures.outputs(with_bound(PROBLEM, Fraction(10**6)), far, str)


# --- the API ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", Format)
def test_results_are_rendered_in_a_notebook(form: Format) -> None:
    assert render(check(PROBLEM), form) and render(bound(PROBLEM), form)


def test_a_format_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="'pdf', not one of text, json, junit, html"):
        api.render(check(PROBLEM), "pdf")


# --- the command line -------------------------------------------------------------------------------------


def test_several_problem_files_are_one_table_and_the_worst_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = qsmt(capsys, "check", Q8, Q4)
    assert ran.code == 1
    rows = [line for line in ran.out.splitlines() if line.startswith(str(EXAMPLE))]
    assert "VERIFIED" in rows[0] and "dra" in rows[0] and "FALSIFIED" in rows[1] and "replay" in rows[1]
    assert qsmt(capsys, "check", Q8, Q8).code == 0
    assert qsmt(capsys, "check", Q8, Q4, "--json").report["verdict"] == "falsified"


def test_not_knowing_is_worse_than_a_proof_and_better_than_a_violation(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = Q4.read_text().replace('"pendulum.onnx"', f'"{EXAMPLE / "pendulum.onnx"}"')
    (tmp_path / "open.toml").write_text(text.replace('bound = "0.05"', 'bound = "0.55"'))
    flags = ("--encoding", "none", "--timeout", "0.001")
    assert qsmt(capsys, "check", Q8, tmp_path / "open.toml", *flags).code == 3
    (tmp_path / "bad.toml").write_text(text.replace('bound = "0.05"', 'bound = "0"'))
    assert qsmt(capsys, "check", tmp_path / "open.toml", Q4, "--encoding", "none").code == 1


def test_one_bad_file_among_several_is_named_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("schema = 3\n")
    ran = qsmt(capsys, "check", Q8, tmp_path / "bad.toml")
    assert ran.code == 2 and ran.out == "" and "bad.toml" in ran.err and ran.err.count("\n") == 1


def test_a_format_goes_to_the_file_if_there_is_one_and_to_stdout_if_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    ran = qsmt(capsys, "check", Q8, "--format", "html", "-o", target)
    assert ran.out.startswith("VERIFIED") and target.read_text().startswith("<!DOCTYPE html>")
    assert qsmt(capsys, "check", Q8, "--format", "html").out.startswith("<!DOCTYPE html>")
    qsmt(capsys, "check", Q8, "-o", tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "verified"
    assert qsmt(capsys, "check", Q8, "--format", "json").report["schema"] == "qsmt.report/1"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--format", "pdf"), "--format: is 'pdf', not one of text, json, junit, html"),
        (("--format", "html", "--json"), "--json: is not --format html"),
        (("--checkpoint", "x"), "--checkpoint: is that of one problem"),
        (("--bits", "8"), "cannot be combined with --bits"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    ran = qsmt(capsys, "check", Q8, Q4, *flags)
    assert ran.code == 2 and said in ran.err
