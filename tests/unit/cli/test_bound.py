"""`qsmt bound`: what it prints and writes, ^C, and kills at any moment."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.arith.outward import float_down, float_up
from qsmt.engine.alarm import write_problem
from tests.support.command import qsmt
from tests.support.networks import Recipe, random_problem
from tests.support.truth import true_range

Capture = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[3]
PENDULUM = ROOT / "examples" / "pendulum" / "pendulum-q8.toml"
PROBLEM = random_problem(4, Recipe(sizes=(2, 3, 2), input_scale=Fraction(1, 7)))

ENDS = {"lower": "-20, -20, -20, -20", "upper": "20, 20, 20, 20"}

OFTEN = (
    "from qsmt.engine import checkpoint; checkpoint.CHECKPOINT_SECONDS = 0.1;"
    "from qsmt.engine import crew; crew.HIRE_AFTER_SECONDS = 0.2;"
    "import sys; from qsmt.cli.main import run; sys.exit(run(sys.argv[1:]))"
)
"""The command line, but with a checkpoint ten times a second, and children early."""


@pytest.fixture
def problem(tmp_path: Path) -> Path:
    return write_problem(PROBLEM, tmp_path)


def test_the_exact_extremes_of_a_grid(problem: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "bound", problem, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert (ran.report["command"], ran.report["verdict"], ran.report["reason"]) == ("bound", None, None)
    for output in ran.report["outputs"]:
        low, high = true_range(PROBLEM, output["index"])
        assert output["certified"] == [float_down(low), float_up(high)]
        assert output["witnessed"] == [float(low), float(high)]


def test_for_people_the_largest_difference_comes_first(problem: Path, capsys: Capture) -> None:
    lines = qsmt(capsys, "bound", problem).out.splitlines()
    assert lines[0].startswith("BOUND  ") and lines[0].endswith("is reached")
    assert "gap" in lines[2]


def test_flags_need_no_bound(capsys: Capture) -> None:
    network = PENDULUM.with_name("pendulum.onnx")
    ran = qsmt(capsys, "bound", network, "--bits", "8", "--box", "[-0.03,0.03]^4", "--json", "--gap", "0.02")
    assert ran.code == 0
    (output,) = ran.report["outputs"]
    assert output["certified"][1] - output["witnessed"][1] <= 0.02


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--gap", "-1"], "--gap: is negative"),
        (["--gap", "wide"], "--gap: 'wide' is not"),
        (["--resume"], "--resume: needs a checkpoint"),
        (["--checkpoint", "/no/where/c"], "its folder is missing"),
    ],
)
def test_what_makes_no_sense_is_one_line(flags: list[str], says: str, problem: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "bound", problem, *flags)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err and ran.err.count("\n") == 1


def test_a_checkpoint_of_another_search_is_one_line(problem: Path, tmp_path: Path, capsys: Capture) -> None:
    kept = tmp_path / "kept"
    assert qsmt(capsys, "bound", problem, "--checkpoint", kept).code == 0
    assert qsmt(capsys, "bound", problem, "--checkpoint", kept, "--resume").code == 0
    for arguments in (("bound", PENDULUM), ("bound", problem, "--gap", "1")):
        ran = qsmt(capsys, *arguments, "--checkpoint", kept, "--resume")
        assert (ran.code, ran.out) == (2, "")
        assert "checkpoint of another" in ran.err and ran.err.count("\n") == 1


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OFTEN, "bound", *map(str, arguments), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def report_of(done: subprocess.Popen[str]) -> Any:
    out, err = done.communicate(timeout=120)
    assert (done.returncode, err) == (0, ""), err
    return json.loads(out)


@pytest.mark.slow
def test_an_interrupt_ends_it_with_what_is_known(tmp_path: Path) -> None:
    network = PENDULUM.with_name("pendulum.onnx")
    child = started(
        network,
        "--bits",
        "12",
        "--box",
        "[-0.5,0.5]^4",
        "--checkpoint",
        tmp_path / "kept",
        "--timeout",
        "100",
    )
    while not (tmp_path / "kept").exists():  # the search is under way
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    report = report_of(child)
    assert report["reason"] == "interrupted"
    (output,) = report["outputs"]
    (low, high), (least, greatest) = output["certified"], output["witnessed"]
    assert low <= least <= greatest <= high < float("inf")


def test_resumed_when_it_is_over_it_says_the_same(tmp_path: Path) -> None:
    arguments = (PENDULUM, "--checkpoint", tmp_path / "kept")
    first = report_of(started(*arguments))
    again = report_of(started(*arguments, "--resume"))
    assert again["outputs"] == first["outputs"]


@pytest.mark.slow
def test_killed_at_random_moments_it_comes_to_the_same_end(tmp_path: Path) -> None:
    wide = tmp_path / "wide.toml"
    text = PENDULUM.read_text().replace('"pendulum.onnx"', f'"{PENDULUM.with_name("pendulum.onnx")}"')
    wide.write_text(re.sub(r"(lower|upper) += \[.*\]", lambda m: f"{m[1]} = [{ENDS[m[1]]}]", text))
    rng, kept, kills = random.Random(0), tmp_path / "kept", 0
    expected = report_of(started(wide))["outputs"]
    for _ in range(10):
        child = started(wide, "--checkpoint", kept, "--resume")
        try:
            child.communicate(timeout=(0.3 if kills else 0.2) + rng.random() * (1.0 if kills else 0.3))
            break
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            kills += 1
    assert kills > 0
    assert report_of(started(wide, "--checkpoint", kept, "--resume"))["outputs"] == expected
