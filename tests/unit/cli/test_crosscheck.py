"""`qsmt crosscheck`: exit codes, the table, JSON, JUnit, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from qsmt.encoding import Query, answers
from qsmt.engine.alarm import write_problem
from qsmt.engine.faults import FAULTS
from qsmt.engine.random_problem import Size, random_problem
from qsmt.solver.base import Limits
from tests.support.command import qsmt
from tests.support.in_process import InProcessWorker

Capture = pytest.CaptureFixture[str]
FAST = ("--encoding", "bitvector", "--backend", "bitwuzla")


@pytest.fixture(autouse=True)
def _in_a_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_names_every_fault(capsys: Capture) -> None:
    shown = qsmt(capsys, "crosscheck", "--help").out
    lines = shown[shown.index("Faults that --plant plants:") :].splitlines()[1:]
    assert [line.split(maxsplit=1) for line in lines if line] == [[n, f.says] for n, f in FAULTS.items()]


def test_agreement(capsys: Capture) -> None:
    ran = qsmt(capsys, "crosscheck", "--random", 3, *FAST)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("AGREEMENT  no wrong answer on 3 small random problems, seeds 0 to 2")
    assert "bitvector:bitwuzla, no facts" in ran.out
    assert list(Path().iterdir()) == []


def test_a_planted_fault_is_noticed_with_everything_to_see_it(capsys: Capture) -> None:
    files = ("-o", "found.json", "--junit", "found.xml")
    ran = qsmt(capsys, "crosscheck", "--random", 50, "--plant", "weight-sign", *FAST, *files)
    assert ran.code == 4 and ran.out.startswith("NOTICED  planted fault weight-sign: by 2 of 2")
    found = json.loads(Path("found.json").read_text())
    assert (found["schema"], found["command"], found["planted"]) == (
        "qsmt.report/1",
        "crosscheck",
        "weight-sign",
    )
    assert found["noticed"] and found["wrong"] > 0
    (case,) = found["cases"]
    assert qsmt(capsys, "check", Path(case["folder"]) / "problem.toml").code in (0, 1)
    assert qsmt(capsys, "replay", Path(case["folder"]) / "report.json").code in (0, 1)
    suite = Xml.parse("found.xml").getroot()
    assert suite.attrib["failures"] == "2" and len(suite.findall("testcase/failure")) == 2


def test_a_fault_that_cannot_show_is_not_noticed(capsys: Capture, tmp_path: Path) -> None:
    """The first problem's network has nothing to saturate."""
    ran = qsmt(capsys, "crosscheck", "--random", 1, "--plant", "missing-saturation", *FAST)
    assert ran.code == 1 and ran.out.startswith("NOT NOTICED")


def blind(query: Query, encoding: str, backends: Sequence[str], limits: Limits) -> Any:
    """A worker in which every violation is overlooked."""
    return None, list(map(FAULTS["blind-solver"].answered, answers(query, encoding, backends, limits)))


def test_a_disagreement_that_was_not_planted_is_exit_code_four(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qsmt.engine.campaign.Worker", InProcessWorker)
    monkeypatch.setattr("qsmt.engine.shrink.Worker", InProcessWorker)
    monkeypatch.setattr("qsmt.engine.campaign.put", blind)
    ran = qsmt(capsys, "crosscheck", "--random", 4, *FAST, "--json")
    assert ran.code == 4 and ran.report["wrong"] > 0 and ran.report["planted"] is None
    assert qsmt(capsys, "crosscheck", "--random", 4, *FAST).out.startswith("DISAGREEMENT")


def test_a_given_problem(capsys: Capture, tmp_path: Path) -> None:
    path = write_problem(random_problem(3, Size.SMALL), tmp_path)
    ran = qsmt(capsys, "crosscheck", path, *FAST, "--json")
    assert ran.code == 0 and ran.report["queries"] >= 4 and ran.report["subject"] == str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give a problem file, or --random N"),
        (("missing.toml",), "missing.toml"),
        (("--random", "3", "--size", "huge"), "--size"),
        (("--random", "3", "--plant", "gremlins"), "--plant: is 'gremlins', not one of wrong-rounding"),
        (("--random", "3", "--encoding", "nobody"), "there is no encoding 'nobody'"),
        (("--random", "3", "--encoding", "milp+nothing"), "no option 'nothing'"),
        (("--random", "3", "--backend", "nobody"), "no solver can be used here for nobody"),
        (("--random", "3", "--junit", "no/such/folder.xml"), "no/such/folder.xml"),
    ],
)
def test_bad_input_is_one_line(capsys: Capture, arguments: tuple[str, ...], said: str) -> None:
    ran = qsmt(capsys, "crosscheck", *arguments)
    assert ran.code == 2 and ran.out == ""
    assert ran.err.count("\n") == 1 and said in ran.err
