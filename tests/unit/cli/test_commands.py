"""The commands on a small problem: exit codes, the JSON contract, and what is written where."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.cli import main as cli
from qsmt.dra.analysis import analyze_region
from qsmt.engine import check
from qsmt.engine.alarm import write_problem
from qsmt.engine.investigation import Investigation
from qsmt.errors import SoundnessError
from qsmt.interp.replay import replay
from tests.support.command import qsmt
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_range

Capture = pytest.CaptureFixture[str]

KEYS = {
    "schema",
    "command",
    "verdict",
    "problem_sha256",
    "outputs",
    "witness",
    "trust",
    "stages",
    "seconds",
    "reason",
    "versions",
}
PROBLEM = random_problem(4, Recipe(sizes=(2, 3, 2), input_scale=Fraction(1, 7)))
WORST = max(abs(v) for i in range(2) for v in true_range(PROBLEM, i))


@pytest.fixture
def holds(tmp_path: Path) -> Path:
    """A problem whose bound is met exactly."""
    return write_problem(with_bound(PROBLEM, WORST), tmp_path)


@pytest.fixture
def fails(tmp_path: Path) -> Path:
    """The same one, its bound a little smaller."""
    return write_problem(with_bound(PROBLEM, WORST - Fraction(1, 10**9)), tmp_path)


def test_a_bound_that_is_met_exactly_is_verified(holds: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "check", holds, "--json")
    assert ran.code == 0
    assert ran.err == ""
    assert set(ran.report) >= KEYS
    assert ran.report["verdict"] == "verified"
    assert ran.report["witness"] is None
    assert ran.report["trust"] == ["enumeration"]
    for output in ran.report["outputs"]:
        assert (
            output["certified"][0]
            <= output["witnessed"][0]
            <= output["witnessed"][1]
            <= output["certified"][1]
        )


def test_a_bound_that_is_exceeded_is_falsified_with_an_exact_witness(fails: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "check", fails, "--json")
    assert ran.code == 1
    witness = ran.report["witness"]
    assert abs(Fraction(witness["exact"])) == WORST
    assert witness["difference"] == float(Fraction(witness["exact"]))
    assert ran.report["trust"] == ["replay"]


def test_too_little_time_is_unknown_with_a_reason(
    holds: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyse = check.analyse

    def slowly(run: Investigation) -> tuple[str, dict[str, Any]]:
        time.sleep(0.01)
        return analyse(run)

    monkeypatch.setattr(check, "analyse", slowly)
    ran = qsmt(capsys, "check", holds, "--timeout", "0.001", "--encoding", "bitvector", "--json")
    assert ran.code == 3, ran.report
    assert ran.report["verdict"] == "unknown"
    assert ran.report["reason"]


@pytest.mark.parametrize("encoding", ["bitvector", "milp"])
@pytest.mark.parametrize("cross_check", ["off", "sample", "all"])
def test_each_encoding_decides_through_its_worker(
    encoding: str, cross_check: str, tmp_path: Path, capsys: Capture
) -> None:
    problem = with_bound(PROBLEM, WORST + Fraction(1, 100))
    path = write_problem(problem, tmp_path)
    ran = qsmt(capsys, "check", path, "--encoding", encoding, "--cross-check", cross_check, "--json")
    assert ran.code == 0, ran
    label = {"bitvector": "smt:", "milp": "milp"}[encoding]
    assert all(t == "dra" or t.startswith(label) for t in ran.report["trust"])
    checks = next(s for s in ran.report["stages"] if s["name"] == "encodings")["cross_checks"]
    assert (checks != []) == (cross_check != "off")
    assert all(c["agrees"] for c in checks)


def test_exact_trust_refuses_a_numerical_proof(tmp_path: Path, capsys: Capture) -> None:
    path = write_problem(with_bound(PROBLEM, WORST + Fraction(1, 100)), tmp_path)
    exact = ("--encoding", "milp", "--trust", "exact", "--json")
    ran = qsmt(capsys, "check", path, *exact, "--backend", "highs")
    assert ran.code == 3
    assert "numerically" in ran.report["reason"]
    ran = qsmt(capsys, "check", path, *exact)
    assert ran.code == 0
    assert "milp-certified" in ran.report["trust"]


def test_text_puts_the_verdict_first_and_says_what_it_rests_on(
    holds: Path, fails: Path, capsys: Capture
) -> None:
    write_problem(with_bound(PROBLEM, WORST), holds.parent)
    verified = qsmt(capsys, "check", holds)
    assert verified.out.startswith("VERIFIED")
    assert "rests on" in verified.out
    write_problem(with_bound(PROBLEM, WORST / 2), fails.parent)
    falsified = qsmt(capsys, "check", fails)
    assert falsified.out.startswith("FALSIFIED")
    assert "replayed in exact arithmetic" in falsified.out


def test_a_written_report_replays(fails: Path, capsys: Capture, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert qsmt(capsys, "check", fails, "-o", report).code == 1
    ran = qsmt(capsys, "replay", report)
    assert (ran.code, ran.out.split()[0]) == (0, "CONFIRMED")


def test_a_report_on_any_case_of_a_constraint_replays(fails: Path, capsys: Capture, tmp_path: Path) -> None:
    """There may be more cases than outputs; what is shown are the outputs of the user's networks."""
    head, report = fails.read_text().split("[property]")[0], tmp_path / "report.json"
    for case in range(4):
        forbidden = [f'"q[0] - r[0] > {10**6 + i}"' for i in range(case)] + ['"2 q[0] >= 2 r[0] - 1000"']
        text = f'{head}[property]\nkind = "output-constraint"\nforbid = [{", ".join(forbidden)}]\n'
        fails.write_text(text)
        assert qsmt(capsys, "check", fails, "-o", report).code == 1
        written = json.loads(report.read_text())["witness"]
        assert written["output"] == case
        ran = qsmt(capsys, "replay", report)
        assert (ran.code, ran.out.split()[0]) == (0, "CONFIRMED")
        assert "case 2 q[0] - 2 r[0] >= -1000 has" in ran.out
        execution = replay(PROBLEM, [tuple(map(Fraction, written["input"]))])[0]
        for outputs in (execution.reference, execution.quantized):
            assert f"[{', '.join(map(str, outputs))}]" in ran.out


def test_a_doctored_report_does_not_replay(fails: Path, capsys: Capture, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    qsmt(capsys, "check", fails, "-o", report)
    doctored = json.loads(report.read_text())
    doctored["witness"]["exact"] = "1/3"
    report.write_text(json.dumps(doctored))
    ran = qsmt(capsys, "replay", report)
    assert (ran.code, ran.out.split()[:2]) == (1, ["NOT", "CONFIRMED"])


def test_a_report_on_a_problem_that_has_changed_is_refused(
    fails: Path, capsys: Capture, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    qsmt(capsys, "check", fails, "-o", report)
    write_problem(with_bound(PROBLEM, WORST / 3), fails.parent)
    ran = qsmt(capsys, "replay", report)
    assert ran.code == 2
    assert "has changed" in ran.err


def test_export_writes_every_open_query_in_both_formats(fails: Path, capsys: Capture, tmp_path: Path) -> None:
    folder = tmp_path / "queries"
    ran = qsmt(capsys, "export", fails, "-o", folder)
    assert ran.code == 0
    names = {path.name for path in folder.iterdir()}
    assert {"problem.toml", "reference.qir", "quantized.qir"} <= names
    assert any(name.endswith(".smt2") for name in names)
    assert {name[:-5] for name in names if name.endswith(".smt2")} == {
        name[:-4] for name in names if name.endswith(".mps")
    }
    assert sorted(ran.out.split()) == sorted(str(folder / name) for name in names)


@pytest.mark.parametrize("mode", ["naive", "interval", "optimized"])
def test_analyze_reports_layers(mode: str, holds: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "analyze", holds, "--mode", mode, "--json")
    assert ran.code == 0
    assert ran.report["verdict"] is None
    assert [layer["neurons"] for layer in ran.report["layers"]] == [3, 2]
    hidden, last = ran.report["layers"]
    assert sum(hidden["reference_stable"].values()) == sum(hidden["quantized_stable"].values()) == 3
    assert last["reference_stable"] == {}
    for output in ran.report["outputs"]:
        low, high = true_range(PROBLEM, output["index"])
        assert output["certified"][0] <= low
        assert high <= output["certified"][1]


def test_doctor_names_every_solver(capsys: Capture) -> None:
    ran = qsmt(capsys, "doctor")
    assert ran.code == 0
    assert {"bitwuzla", "z3", "highs", "gurobi"} <= set(ran.out.split())


def test_a_soundness_alarm_is_exit_code_4(
    holds: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alarmed(*_: object) -> None:
        raise SoundnessError("two answers differ")

    monkeypatch.setattr("qsmt.engine.check.check", alarmed)
    ran = qsmt(capsys, "check", holds)
    assert (ran.code, ran.out) == (4, "")
    assert "SOUNDNESS ALARM" in ran.err


def test_an_internal_error_is_exit_code_70_and_one_line(
    holds: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("oh no")

    monkeypatch.setattr("qsmt.engine.check.check", broken)
    ran = qsmt(capsys, "check", holds)
    assert ran.code == 70
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--help",), ("check", "--help"), ("--version",), ()])
def test_help_and_version_succeed_on_stdout(arguments: tuple[str, ...], capsys: Capture) -> None:
    ran = qsmt(capsys, *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert ("qsmt" in ran.out) != ("--version" in arguments)  # the version alone, as VNN-LIB has it


def test_the_exit_codes_are_stated_in_the_help(capsys: Capture) -> None:
    said = qsmt(capsys, "check", "--help").out
    assert all(word in said for word in ("0 verified", "1 falsified", "2 bad input", "3 unknown"))


def test_an_interrupt_ends_with_130_and_one_line(tmp_path: Path) -> None:
    problem = random_problem(1, Recipe(sizes=(5, 12, 12, 1), radius=7))
    reach = float(analyze_region(problem).difference.upper[0])
    path = write_problem(with_bound(problem, Fraction(reach) * 9 / 10), tmp_path)
    program = "import sys; from qsmt.cli.main import run; sys.exit(run(sys.argv[1:]))"
    arguments = ("check", str(path), "--encoding", "bitvector", "--backend", "z3", "-v")
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stderr is not None
            while "encodings" not in child.stderr.readline():
                assert child.poll() is None, "decided before it could be interrupted"
            wait_for_a_child_of(child.pid)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, said) == (cli.INTERRUPTED, "qsmt: interrupted\n")


def wait_for_a_child_of(pid: int) -> None:
    """Until a solver's process has been started, and has had the time to begin."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + 30
    while children.exists() and not children.read_text().strip() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_no_stream_that_takes_nothing_makes_an_error_look_like_a_verdict(holds: Path) -> None:
    program = "from qsmt.cli.main import main; main()"
    for arguments, expected in ((("check", "missing.toml"), 2), (("check", str(holds)), 2)):
        command = [sys.executable, "-u", "-c", program, *arguments]
        with Path("/dev/full").open("w") as full:
            assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == expected


@pytest.mark.parametrize("flag", ["-o", "--checkpoint"])
def test_what_is_read_is_not_replaced(flag: str, holds: Path, capsys: Capture) -> None:
    before = holds.read_bytes()
    ran = qsmt(capsys, "check", holds, flag, holds)
    assert (ran.code, ran.out) == (2, "")
    assert "is read here, and would be replaced" in ran.err
    assert holds.read_bytes() == before


def test_a_report_below_a_file_is_refused_before_the_work(holds: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "check", holds, "-o", holds / "report.json")
    assert (ran.code, ran.out) == (2, "")
    assert "its folder is missing" in ran.err


def test_a_file_name_that_is_no_text_is_reported_and_replayed(fails: Path, capsys: Capture) -> None:
    odd, report = fails.with_name("b\udcff.toml"), fails.with_name("report.json")
    fails.rename(odd)
    assert qsmt(capsys, "check", odd, "-o", report).code == 1
    assert qsmt(capsys, "replay", report).code == 0
