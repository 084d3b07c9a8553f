"""The public names are these and no others, and a notebook needs five lines of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

import qsmt

EXAMPLE = Path(__file__).parents[2] / "examples" / "pendulum"
BOX = "[-0.25,0.25]^4"


def test_the_public_names() -> None:
    assert set(qsmt.__all__) == {
        *("check", "bound", "quantize", "load_problem", "render", "Options", "Problem", "Quantization"),
        *("CheckResult", "BoundResult", "Verified", "Falsified", "Unknown", "Witness"),
        *("QsmtError", "InputError", "SoundnessError"),
    }
    assert all(getattr(qsmt, name) is not None for name in qsmt.__all__)
    assert dir(qsmt) == sorted(qsmt.__all__)


def test_five_lines_from_a_network_to_a_proof_and_a_page(tmp_path: Path) -> None:
    pair = qsmt.quantize(EXAMPLE / "pendulum.onnx", bits=8, box=BOX)
    result = qsmt.check(pair.problem("0.05"))
    assert isinstance(result.verdict, qsmt.Verified)
    (tmp_path / "report.html").write_text(qsmt.render(result, "html"))
    assert "verified" in (tmp_path / "report.html").read_text()


def test_a_problem_file_gives_the_same_verdict_as_the_command() -> None:
    result = qsmt.check(qsmt.load_problem(str(EXAMPLE / "pendulum-q4.toml")).problem)
    assert isinstance(result.verdict, qsmt.Falsified)
    assert abs(result.verdict.witness.difference) > result.verdict.bound == Fraction(1, 20)


def test_the_bound_of_a_quantization_improves_on_one_analysis() -> None:
    pair = qsmt.quantize(EXAMPLE / "pendulum.onnx", bits=4, box="[-0.1,0.1]^4")
    found = qsmt.bound(pair.problem(), qsmt.Options(timeout_s=10))
    once = qsmt.check(pair.problem(10**6))
    assert found.outputs[0].certified[1] < once.outputs[0].certified[1]


def test_a_quantization_is_written_as_a_network_that_reads_back(tmp_path: Path) -> None:
    pair = qsmt.quantize(EXAMPLE / "pendulum.onnx", bits=6, box=BOX)
    pair.write(tmp_path / "q6.qir")
    text = f"""schema = "qsmt.problem/1"
[reference]
network = "{EXAMPLE / "pendulum.onnx"}"
[quantized]
network = "q6.qir"
[region]
model = "grid"
lower = {[int(v) for v in pair.region.lower]}
upper = {[int(v) for v in pair.region.upper]}
[property]
kind = "error-bound"
bound = "0.1"
"""
    (tmp_path / "problem.toml").write_text(text)
    assert qsmt.load_problem(tmp_path / "problem.toml").problem.sha256 == pair.problem("0.1").sha256


@pytest.mark.parametrize("bound", [0.05, "x", "-1", "0.1,0.2"])
def test_a_bound_that_is_no_exact_number_is_refused(bound: object) -> None:
    pair = qsmt.quantize(EXAMPLE / "pendulum.onnx", bits=8, box=BOX)
    with pytest.raises(qsmt.InputError):
        pair.problem(bound)  # type: ignore[arg-type]


def test_an_input_model_that_does_not_exist_is_refused() -> None:
    with pytest.raises(qsmt.InputError, match="input_model: is 'reals', not one of grid, continuous"):
        qsmt.quantize(EXAMPLE / "pendulum.onnx", bits=8, box=BOX, input_model="reals")
