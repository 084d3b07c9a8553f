"""Somebody else's encoding: installed as a package, found, held to the same standard, and cross-checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from qsmt import encoding as seam
from qsmt.encoding import Encoding, load
from qsmt.engine.alarm import write_problem
from qsmt.engine.campaign import Panel, conduct, configurations, random_cases
from qsmt.engine.check import check
from qsmt.engine.faults import FAULTS
from qsmt.engine.judge import Mark
from qsmt.engine.plan import CrossCheck, Options
from qsmt.engine.random_problem import Size
from qsmt.ir.ops import Affine, Clamp, Relu, Requantize
from qsmt.problem import InputModel
from qsmt.solver.base import Limits
from qsmt.verdict import Falsified, Verified
from tests.support.command import qsmt
from tests.support.conformance import MATRIX, Cell, failures
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_range

PACKAGE = Path(__file__).parent / "qsmt-lira"
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index")
OFFLINE = ("--no-deps", "--no-build-isolation", "--target")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into, by pip and without a network."""
    source, target = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source)
    done = subprocess.run(
        [*PIP, *OFFLINE, str(target), str(source)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(autouse=True)
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The package is there, for this process and for the workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(site))
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    seam._entries.cache_clear()
    yield
    seam._entries.cache_clear()


@pytest.fixture
def lira() -> Encoding:
    return load("lira")


def test_it_is_a_complete_package(site: Path) -> None:
    names = {path.name for path in site.iterdir()}
    assert {"qsmt_lira", "qsmt_lira-0.1.0.dist-info"} <= names


def test_it_is_found_by_its_entry_point(capsys: Capture) -> None:
    assert set(seam.encodings()) >= {"bitvector", "milp", "lira"}
    shown = qsmt(capsys, "doctor").out
    assert any(
        line.split()[:4] == ["lira", "z3-arithmetic", "exact", "usable"] for line in shown.splitlines()
    )


def test_it_has_a_rule_for_every_op(lira: Encoding) -> None:
    assert lira.supported() == {Affine, Relu, Clamp, Requantize}


@pytest.mark.parametrize("cell", MATRIX[::4], ids=str)
def test_it_passes_the_conformance_suite(lira: Encoding, cell: Cell) -> None:
    assert failures(lira, lira.backends()[0], cell) == []


@pytest.mark.slow
@pytest.mark.parametrize("cell", MATRIX, ids=str)
def test_it_passes_all_of_the_conformance_suite(lira: Encoding, cell: Cell) -> None:
    assert failures(lira, lira.backends()[0], cell) == []


def test_it_is_cross_checked_in_workers() -> None:
    panel = Panel((*configurations("lira"), *configurations("bitvector", "bitwuzla")), Limits(20.0))
    results = conduct(panel, random_cases(8, 0, Size.SMALL))
    assert results.disagreements == []
    marks = results.tallies["lira:z3-arithmetic"].marks
    assert (
        marks[Mark.RIGHT] + marks[Mark.REFUSED] == results.queries and marks[Mark.RIGHT] > marks[Mark.REFUSED]
    )


def test_its_faults_are_noticed() -> None:
    panel = Panel(configurations("lira"), Limits(20.0), FAULTS["weight-sign"])
    assert len(conduct(panel, random_cases(50, 0, Size.SMALL)).noticed) == len(panel.configurations)


BASE = random_problem(4, Recipe(sizes=(2, 3, 1)))
WORST = max(abs(v) for v in true_range(BASE, 0))


def test_it_decides_problems_and_others_confirm_it() -> None:
    options = Options(encoding="lira", cross_check=CrossCheck.ALL, falsifies=False)
    found = check(with_bound(BASE, WORST), options)
    assert isinstance(found.verdict, Verified) and "smt:z3-arithmetic" in found.verdict.trust
    checks = found.stages[-1].figures["cross_checks"]
    assert checks and all(c["agrees"] and c["first"] == "lira:z3-arithmetic" for c in checks)
    assert isinstance(check(with_bound(BASE, WORST * Fraction(9, 10)), options).verdict, Falsified)


def test_it_takes_continuous_regions_too() -> None:
    region = replace(BASE.region, model=InputModel.CONTINUOUS)
    continuous = replace(BASE, region=replace(region, lower=(Fraction(0),) * 2, upper=(Fraction(1, 2),) * 2))
    answers: dict[tuple[str, Fraction], type] = {}
    for encoding in ("lira", "milp"):
        for bound in (Fraction(1, 4), Fraction(9)):
            options = Options(encoding=encoding, cross_check=CrossCheck.OFF, falsifies=False)
            answers[encoding, bound] = type(check(with_bound(continuous, bound), options).verdict)
    for bound in (Fraction(1, 4), Fraction(9)):
        assert answers["lira", bound] is answers["milp", bound]


def test_the_commands_know_it(tmp_path: Path, capsys: Capture) -> None:
    path = write_problem(with_bound(BASE, WORST), tmp_path)
    ran = qsmt(capsys, "check", path, "--encoding", "lira", "--json")
    assert ran.code == 0 and json.loads(ran.out)["trust"][-1].startswith("smt:")
    assert qsmt(capsys, "crosscheck", "--random", 2, "--encoding", "lira").code == 0
