"""Tuning: every accepted choice is true, nothing cheaper is next to the result, and others can check it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.arith.rounding import Rounding
from qsmt.engine import tune as tuning
from qsmt.engine.check import CheckResult, check
from qsmt.engine.load import activation_ranges
from qsmt.engine.plan import Options
from qsmt.engine.source import Source
from qsmt.engine.tune import Tunable, TuneResult, neighbours, tune
from qsmt.errors import MalformedProblem
from qsmt.frontend.flags import scheme_of_bits
from qsmt.frontend.formats import AUTO, FormatSpec
from qsmt.ir.text import print_network
from qsmt.problem import Problem
from qsmt.verdict import Falsified, Verified
from tests.support.command import qsmt
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import true_maximum

EXAMPLE = Path(__file__).parents[3] / "examples" / "pendulum"
NETWORK, BOX = EXAMPLE / "pendulum.onnx", "[-0.02,0.02]^4"
QUICK = Options(timeout_s=60, jobs=1)


def tunable(seed: int, *, bound: Fraction = Fraction(1, 4), sizes: tuple[int, ...] = (2, 3, 2)) -> Tunable:
    """A small random network; its input keeps the format that it has."""
    problem = with_bound(random_problem(seed, Recipe(sizes=sizes)), bound)
    scheme = replace(scheme_of_bits(8), input=FormatSpec(4, 3))
    ranges = activation_ranges(problem.reference, problem.region, problem.input_scale)
    return Tunable(problem, problem.reference, scheme, ranges)


def untrue(result: TuneResult) -> list[int]:
    """The costs of accepted choices whose claim is false, by execution of every input."""
    bound = result.tunable.problem.claim.bounds[0]
    return [choice.cost for choice in result.accepted if true_maximum(choice.problem) > bound]


@pytest.mark.parametrize("seed", range(4))
def test_every_accepted_choice_is_true_and_cheaper_than_the_one_before(seed: int) -> None:
    result = tune(tunable(seed), QUICK)
    costs = [choice.cost for choice in result.accepted]
    assert len(costs) > 1 and costs == sorted(set(costs), reverse=True)
    assert all(isinstance(choice.verdict, Verified) for choice in result.accepted)
    assert untrue(result) == []
    assert result.best is not None and result.uniform is not None
    assert result.best.cost <= result.uniform.cost and result.reason is None


@pytest.mark.parametrize("seed", range(4))
def test_no_bit_can_be_taken_from_the_result(seed: int) -> None:
    result = tune(tunable(seed), QUICK)
    assert result.best is not None
    bound = result.tunable.problem.claim.bounds[0]
    assert {c.widths for c in result.refused} == set(neighbours(result.best.widths).values())
    assert all(isinstance(choice.verdict, Falsified) for choice in result.refused)
    assert all(true_maximum(choice.problem) > bound for choice in result.refused)


def test_an_interrupt_leaves_what_is_proved_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = tune(tunable(1), QUICK), check
    assert whole.best is not None
    for calls in range(0, whole.tried, 8):
        left = iter(range(calls))

        def interrupted(*given: Any, left: Iterator[int] = left) -> CheckResult:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return asked(*given)

        monkeypatch.setattr(tuning, "check", interrupted)
        try:
            result = tune(tunable(1), QUICK)
        except KeyboardInterrupt:
            assert calls < whole.tried / 2, "a uniform width was proved by then"
            continue
        assert result.reason == "interrupted" and result.tried == calls
        assert result.best is not None and isinstance(result.best.verdict, Verified)
        assert {c.widths for c in result.refused} <= set(neighbours(result.best.widths).values())
        assert untrue(result) == []
        assert result.best.cost >= whole.best.cost


def test_the_uniform_width_is_the_least_that_holds() -> None:
    result = tune(tunable(1), QUICK)
    assert result.uniform is not None
    bits = result.uniform.widths[0].weights
    assert bits > tuning.LEAST_BITS
    narrower = [result.tunable.with_widths(result.tunable.uniform(n)) for n in range(2, bits)]
    assert all(true_maximum(problem) > Fraction(1, 4) for problem in narrower)


def test_a_check_that_believes_everything_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def credulous(problem: Problem, options: Options) -> CheckResult:
        return replace(check(problem, options), verdict=Verified(("faith",)))

    monkeypatch.setattr(tuning, "check", credulous)
    assert untrue(tune(tunable(0), QUICK))


@pytest.mark.parametrize("rounding", [Rounding.CEIL, Rounding.AWAY])
def test_a_width_that_no_format_has_is_no_choice(rounding: Rounding) -> None:
    """One signed bit holds -1 and 0, and rounded up, what is positive is at least 1 in any unit."""
    base = tunable(1, bound=Fraction(8))
    scheme = replace(base.scheme, output=FormatSpec(8, AUTO), rounding=rounding)
    asked = replace(base, scheme=scheme)
    bits = tuple(replace(own, activation=1) for own in asked.uniform(2))
    with pytest.raises(MalformedProblem, match="no format of 1 bits"):
        asked.with_widths(bits)
    result = tune(asked, QUICK)
    assert result.best is not None and result.best.widths[-1].activation == 2
    assert untrue(result) == [] and all(isinstance(choice.verdict, Falsified) for choice in result.refused)


def test_the_cost_counts_weights_biases_and_activations() -> None:
    subject = tunable(0, sizes=(2, 3, 2))
    widths = subject.uniform(5)
    assert subject.cost(widths) == 5 * 6 + 10 * 3 + 5 * 3 + 5 * 6 + 10 * 2
    assert {subject.cost(widths) - subject.cost(w) for w in neighbours(widths).values()} == {6, 3, 2}


def test_widths_are_those_of_the_network_that_is_made() -> None:
    subject = tunable(0)
    widths = (tuning.LayerWidths(3, 7, 5), tuning.LayerWidths(6, 4, None))
    text = print_network(subject.with_widths(widths).quantized)
    assert all(f"@{name} : {shape} fixed<s{bits}," in text for name, shape, bits in (
        ("w0", "[3, 2]", 3), ("b0", "[3]", 7), ("w1", "[2, 3]", 6), ("b1", "[2]", 4),
    ))  # fmt: skip
    assert "[3] fixed<u5," in text


def test_uniform_widths_are_what_the_flag_makes() -> None:
    source = Source((NETWORK,), bits=8, box=BOX, bound="0.1")
    made = Tunable.of(source)
    assert made.with_widths(made.uniform(8)).sha256 == source.load().problem.sha256


def test_a_bound_that_no_width_keeps_is_not_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "MOST_BITS", tuning.LEAST_BITS)
    result = tune(tunable(1), QUICK)
    assert result.best is None and result.reason == "no uniform width up to 2 bits was proved"


def test_the_time_limit_ends_it_with_what_is_proved() -> None:
    result = tune(tunable(0), replace(QUICK, timeout_s=0.001))
    assert result.reason == "time was up" and untrue(result) == []


# --- the command line -------------------------------------------------------------------------------------


def tuned(capsys: pytest.CaptureFixture[str], folder: Path, *flags: str) -> Any:
    arguments = (NETWORK, "--bits", "8", "--box", BOX, "--bound", "0.3", "-o", folder, "--jobs", "1", *flags)
    return qsmt(capsys, "tune", *arguments)


def test_the_result_is_proved_again_from_its_files_by_a_fresh_process(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = tuned(capsys, tmp_path / "tuned", "--json")
    assert ran.code == 0
    found = ran.report
    assert json.loads((tmp_path / "tuned" / "tune.json").read_text()) == found
    command = [
        sys.executable,
        "-m",
        "qsmt.cli.main",
        "check",
        str(tmp_path / "tuned" / "problem.toml"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=EXAMPLE.parents[1])
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["verdict"] == "verified" and again["notes"] == []  # the networks spell themselves out
    assert again["problem_sha256"] == found["problem_sha256"] == found["accepted"][-1]["problem_sha256"]
    assert all(choice["trust"] and choice["verdict"] == "verified" for choice in found["accepted"])
    assert found["bits"] == found["accepted"][-1]["bits"] < found["uniform"]["bits"]


def test_people_are_told_the_widths_and_what_they_rest_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = tuned(capsys, tmp_path / "tuned").out
    assert said.startswith("TUNED  ") and "rests on    dra" in said and "with one bit less: " in said
    assert f"written to  {tmp_path / 'tuned' / 'problem.toml'}" in said


def test_what_cannot_be_tuned_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    impossible = ("--input-model", "continuous", "--bound", "0", "--timeout", "1", "--each", "0.1")
    ran = qsmt(capsys, "tune", NETWORK, "--bits", "4", "--box", BOX, *impossible, "-o", out)
    assert ran.code == 3 and ran.out.startswith("NOT TUNED  ") and not out.exists()


@pytest.mark.parametrize(
    ("quantized", "said"),
    [
        ('scheme = "float"', "problem.toml, quantized: the network is not quantized here"),
        ('scheme = "fixed-point"', "problem.toml, quantized.input: is missing"),
    ],
)
def test_a_problem_without_widths_is_refused(
    quantized: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = f"""schema = "qsmt.problem/1"
[reference]
network = "{NETWORK}"
[quantized]
network = "{NETWORK}"
{quantized}
[region]
model = "continuous"
lower = [0, 0, 0, 0]
upper = [1, 1, 1, 1]
[property]
kind = "error-bound"
bound = 1
"""
    (tmp_path / "problem.toml").write_text(text)
    ran = qsmt(capsys, "tune", tmp_path / "problem.toml")
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1, ran.err


def test_bits_and_a_new_folder_are_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = qsmt(capsys, "tune", NETWORK, "--box", BOX, "--bound", "1")
    assert ran.code == 2 and "--bits: is needed" in ran.err
    ran = tuned(capsys, tmp_path)
    assert ran.code == 2 and "is there already" in ran.err
    (tmp_path / "file").touch()
    ran = qsmt(
        capsys, "tune", NETWORK, "--bits", "8", "--box", BOX, "--bound", "1", "-o", tmp_path / "file" / "new"
    )
    assert ran.code == 2 and f"cannot be made in {tmp_path / 'file'}" in ran.err
