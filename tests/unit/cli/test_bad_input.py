"""Bad input gets exit code 2 and one clear line that names the place; nothing on stdout, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import qsmt
from tests.support.onnx_models import MALFORMED
from tests.support.problem_files import MALFORMED_FLAGS, MALFORMED_PROBLEMS, VALID_FLAGS, write_valid_networks

Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, *arguments: object) -> str:
    """The one line, after checking that it is one and that nothing else happened."""
    ran = qsmt(capsys, *arguments)
    assert ran.code == 2, ran
    assert ran.out == ""
    assert ran.err.startswith("qsmt: ")
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    return ran.err


def test_there_are_enough_cases() -> None:
    assert min(len(MALFORMED), len(MALFORMED_PROBLEMS), len(MALFORMED_FLAGS)) >= 30


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_model(
    case: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = MALFORMED[case](tmp_path)
    said = refused(
        capsys, "check", model, "--bits", 8, "--box", "[-1,1]^2", "--bound", "0.1", "-o", "report.json"
    )
    assert model.name in said
    assert not Path("report.json").exists()


@pytest.mark.parametrize("case", MALFORMED_PROBLEMS)
def test_a_malformed_problem_file(case: str, tmp_path: Path, capsys: Capture) -> None:
    text, fragment = MALFORMED_PROBLEMS[case]
    write_valid_networks(tmp_path)
    (tmp_path / "problem.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    said = refused(capsys, "check", tmp_path / "problem.toml")
    assert fragment in said


@pytest.mark.parametrize("case", MALFORMED_FLAGS)
def test_malformed_flags(case: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    flags, fragment = MALFORMED_FLAGS[case]
    write_valid_networks(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert fragment in refused(capsys, "check", *flags)


USAGE: dict[str, tuple[tuple[str, ...], str]] = {
    "no such command": (("prove",), "prove"),
    "no such option": (("check", "--boundd", "1"), "--boundd"),
    "no file": (("check",), "FILE"),
    "timeout zero": (("check", *VALID_FLAGS, "--timeout", "0"), "--timeout"),
    "timeout not a number": (("check", *VALID_FLAGS, "--timeout", "soon"), "--timeout"),
    "no jobs": (("check", *VALID_FLAGS, "--jobs", "0"), "--jobs"),
    "negative seed": (("check", *VALID_FLAGS, "--seed", "-1"), "--seed"),
    "no such cross-check": (("check", *VALID_FLAGS, "--cross-check", "most"), "--cross-check"),
    "no such trust": (("check", *VALID_FLAGS, "--trust", "me"), "--trust"),
    "no such encoding": (("check", *VALID_FLAGS, "--encoding", "sat"), "'sat'"),
    "no such backend": (("check", *VALID_FLAGS, "--backend", "minisat"), "'minisat'"),
    "no backend's name": (("check", *VALID_FLAGS, "--backend", ""), "has no backend ''"),
    "a backend of the other encoding": (
        ("check", *VALID_FLAGS, "--encoding", "milp", "--backend", "z3"),
        "no backend 'z3'",
    ),
    "no such input model": (("check", *VALID_FLAGS, "--input-model", "fuzzy"), "--input-model"),
    "no such mode": (("analyze", *VALID_FLAGS[:-2], "--mode", "psychic"), "--mode"),
    "report into a missing folder": (
        ("check", *VALID_FLAGS, "-o", "missing/report.json"),
        "missing/report.json",
    ),
    "report over a folder": (("check", *VALID_FLAGS, "-o", "."), "is a folder"),
    "three networks": (("check", "reference.qir", *VALID_FLAGS, "reference.qir"), "3 files"),
    "flags beside a problem file": (("check", "problem.toml", "--bits", "8"), "--bits"),
    "two problem files": (("check", "problem.toml", "problem.toml"), "problem.toml"),
    "export over something": (("export", *VALID_FLAGS, "-o", "."), "exists already"),
    "replay nothing": (("replay", "nothing.json"), "nothing.json"),
    "replay a network": (("replay", "reference.qir"), "is not JSON"),
    "replay another JSON": (("replay", "other.json"), "qsmt.report/1"),
    "replay without a witness": (("replay", "bare.json"), "no witness"),
    "replay half a report": (("replay", "half.json"), "not a complete report"),
    "replay a source that is a text": (("replay", "source.json"), "not a complete report"),
    "replay a path with a NUL": (("replay", "path.json"), "files is not a list of paths"),
    "replay bits that are a text": (("replay", "bits.json"), "bits is not an integer"),
    "replay a box that is a number": (("replay", "box.json"), "are not texts"),
    "replay an input that is a list": (("replay", "input.json"), "not a number"),
    "replay an input with an exponent of a billion": (("replay", "huge.json"), "not a ratio of integers"),
    "replay an input over zero": (("replay", "zero.json"), "not a complete report"),
}

_SOURCE: dict[str, object] = {"files": ["reference.qir"], "bits": 8, "box": "[-1,1]^2", "bound": "0.1"}


def _report(source: object = _SOURCE, x: object = 1) -> dict[str, object]:
    witness = {"input": [x, 1], "output": 0, "exact": "1/2"}
    return {"schema": "qsmt.report/1", "source": source, "witness": witness}


DOCTORED = {
    "source.json": _report("reference.qir"),
    "path.json": _report({**_SOURCE, "files": ["a\0b"]}),
    "bits.json": _report({**_SOURCE, "bits": "8"}),
    "box.json": _report({**_SOURCE, "box": 1}),
    "input.json": _report(x=[1]),
    "huge.json": _report(x="1e1000000000"),
    "zero.json": _report(x="1/0"),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage(case: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, fragment = USAGE[case]
    write_valid_networks(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text("[1]")
    Path("bare.json").write_text('{"schema": "qsmt.report/1", "verdict": "verified", "witness": null}')
    for name, report in DOCTORED.items():
        Path(name).write_text(json.dumps(report))
    Path("half.json").write_text('{"schema": "qsmt.report/1", "witness": {"input": [1]}}')
    before = sorted(tmp_path.iterdir())
    assert fragment in refused(capsys, *arguments)
    assert sorted(tmp_path.iterdir()) == before
