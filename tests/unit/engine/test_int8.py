"""A float ONNX file and its int8 file, from the command's flags to a verdict that onnxruntime reproduces."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qsmt.arith.fixed import Quantized
from qsmt.cli.main import run
from qsmt.engine.alarm import write_problem
from qsmt.engine.bound import bound
from qsmt.engine.check import check
from qsmt.engine.load import Loaded, load_problem, problem_from_flags
from qsmt.engine.plan import Options
from qsmt.engine.source import notes
from qsmt.errors import MalformedProblem
from qsmt.frontend.align import aligned
from qsmt.frontend.base import load_network
from qsmt.interp import reference
from qsmt.ir.network import layers
from qsmt.problem import InputModel
from qsmt.verdict import Falsified, Verified
from tests.support.quantized_images import Image, write_images
from tests.support.quantized_onnx import Recipe, executed, random_inputs, write_pair
from tests.support.truth import true_maximum

SMALL = Recipe(sizes=(2, 6, 5, 1))
MATMUL = Recipe(sizes=(2, 6, 5, 1), matmul=True)
PER_CHANNEL = Recipe(sizes=(2, 6, 5, 1), options={"per_channel": True})
UNSIGNED = Recipe(
    sizes=(2, 6, 5, 1), matmul=True, options={"activation_type": "QUInt8", "weight_type": "QUInt8"}
)
RECIPES = {
    "Gemm": SMALL,
    "MatMul": MATMUL,
    "per channel": PER_CHANNEL,
    "QLinearAdd": UNSIGNED,
    "Sigmoid": Recipe(sizes=(2, 6, 5, 1), activation="Sigmoid"),
    "Tanh": Recipe(sizes=(2, 6, 5, 1), activation="Tanh", format="QOperator"),
    "LeakyRelu": Recipe(sizes=(2, 6, 5, 1), activation="LeakyRelu"),
}
OPTIONS = Options(jobs=1, timeout_s=60)


def load(
    recipe: Recipe, folder: Path, *, bound: str, box: str = "[-0.4,0.4]^2", model: str = "grid"
) -> Loaded:
    before, after = write_pair(recipe, folder)
    return problem_from_flags(before, after, box=box, bound=bound, model=InputModel(model))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_bound_of_a_pair_of_files_is_the_truth_of_all_inputs(recipe: Recipe, tmp_path: Path) -> None:
    """Every input of the box executed exactly, by the oracle; `bound` finds the same number."""
    loaded = load(recipe, tmp_path, bound="0", box="[-0.1,0.1]^2")
    truth = true_maximum(loaded.problem)
    found = bound(loaded.problem, OPTIONS)
    assert float(truth) <= found.outputs[0].certified[1] or float(-truth) >= found.outputs[0].certified[0]
    reached = max(abs(e.difference[0]) for e in found.outputs[0].witnessed or ())
    assert reached == truth


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("model", InputModel)
def test_onnxruntime_reproduces_the_witness(recipe: Recipe, model: str, tmp_path: Path) -> None:
    """The reals that the witness stands for, given to both files: they differ by what the verdict says."""
    loaded = load(recipe, tmp_path, bound="0.001", model=model)
    verdict = check(loaded.problem, OPTIONS).verdict
    assert isinstance(verdict, Falsified)
    reals = loaded.problem.reference_input(verdict.witness.input)
    inputs = np.array([[float(v) for v in reals]], dtype=np.float32)
    ran = [executed(tmp_path / name, inputs)[0, 0] for name in ("float.onnx", "int8.onnx")]
    kind = loaded.problem.quantized.output.type.element
    assert isinstance(kind, Quantized)
    assert ran[1] == np.float32(float(verdict.witness.quantized[0]))  # the same integer
    assert abs(float(ran[1]) - float(ran[0])) > 0.001
    assert abs(float(ran[1] - ran[0]) - float(verdict.witness.difference)) < 1e-5


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("model", InputModel)
def test_a_bound_is_proved_and_no_execution_exceeds_it(recipe: Recipe, model: str, tmp_path: Path) -> None:
    loaded = load(recipe, tmp_path, bound="0.15", model=model)
    assert isinstance(check(loaded.problem, OPTIONS).verdict, Verified)
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-0.4, 0.4, (2000, 2)).astype(np.float32)
    ran = [executed(tmp_path / name, inputs) for name in ("float.onnx", "int8.onnx")]
    if model == InputModel.CONTINUOUS:
        assert np.abs(ran[1] - ran[0]).max() <= 0.15


@pytest.mark.parametrize("pool", ["", "max", "average"])
def test_convolutional_pairs_are_decided_both_ways(pool: str, tmp_path: Path) -> None:
    before, after = write_images(Image(pool=pool), tmp_path)

    def decided(bound: str) -> object:
        loaded = problem_from_flags(before, after, box="[-0.01,0.01]^72", bound=bound)
        return check(loaded.problem, OPTIONS).verdict

    assert isinstance(decided("0.4"), Verified)
    broken = decided("0.002")
    assert isinstance(broken, Falsified)
    scale = problem_from_flags(before, after, box="[-1,1]^72", bound="1").problem.input_scale
    inputs = np.array([[float(v * scale) for v in broken.witness.input]], dtype=np.float32)
    ran = [executed(tmp_path / name, inputs)[0] for name in ("float.onnx", "int8.onnx")]
    assert abs(float(ran[1][broken.witness.output]) - float(ran[0][broken.witness.output])) > 0.002


def test_a_verdict_about_a_float_execution_holds_for_every_order_of_summation(tmp_path: Path) -> None:
    before, after = write_pair(SMALL, tmp_path)

    def decided(bound: str) -> object:
        loaded = problem_from_flags(
            before, after, box="[-0.4,0.4]^2", bound=bound, runtime="onnxruntime-unfused"
        )
        return check(loaded.problem, OPTIONS).verdict

    assert isinstance(decided("0.15"), Verified)
    broken = decided("0.001")
    assert isinstance(broken, Falsified)
    scale = problem_from_flags(before, after, box="[-1,1]^2", bound="1").problem.input_scale
    inputs = np.array([[float(v * scale) for v in broken.witness.input]], dtype=np.float32)
    ran = [executed(tmp_path / name, inputs, optimized=False)[0, 0] for name in ("float.onnx", "int8.onnx")]
    assert abs(float(ran[1]) - float(ran[0])) > 0.001


def test_the_report_says_whose_arithmetic_was_proved(tmp_path: Path) -> None:
    says = notes(load(SMALL, tmp_path, bound="1"))
    assert says[0] == "quantized network as onnxruntime runs it: fused integer kernels, x86-64"
    assert "without VNNI" in says[1]


def test_a_network_of_another_runtime_is_another_network(tmp_path: Path) -> None:
    before, after = write_pair(SMALL, tmp_path)
    kinds = {}
    for runtime in ("onnxruntime", "tflite-reference", "cmsis-nn", "ideal"):
        loaded = problem_from_flags(before, after, box="[-1,1]^2", bound="1", runtime=runtime)
        assert loaded.problem.quantized.runtime == runtime
        kinds[runtime] = loaded.problem.sha256
    assert len(set(kinds.values())) == 4


def test_a_problem_file_gives_a_grid_in_codes_as_they_are_stored(tmp_path: Path) -> None:
    """And so does the one that an alarm leaves behind."""
    write_pair(SMALL, tmp_path)
    kind = load_network(tmp_path / "int8.onnx").input.type.element
    assert isinstance(kind, Quantized)
    assert kind.zero_point != 0
    (tmp_path / "problem.toml").write_text(PROBLEM)
    problem = load_problem(tmp_path / "problem.toml").problem
    assert problem.region.lower == (Fraction(-20 - kind.zero_point), Fraction(-10 - kind.zero_point))
    assert problem.reference_input(problem.region.upper) == tuple(
        (stored - kind.zero_point) * kind.scale for stored in (20, 10)
    )
    again = load_problem(write_problem(problem, tmp_path)).problem
    assert again.sha256 == problem.sha256


def test_every_encoding_and_solver_agrees_on_an_int8_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At, just below and just above the exact maximum, with facts and without."""
    write_pair(Recipe(sizes=(2, 3, 1)), tmp_path)
    text = PROBLEM.replace("lower = [-20, -10]\nupper = [20, 10]", "lower = [-3, -2]\nupper = [2, 2]")
    (tmp_path / "problem.toml").write_text(text)
    assert run(["crosscheck", str(tmp_path / "problem.toml"), "--timeout", "20", "--jobs", "1"]) == 0
    assert "milp:highs" in capsys.readouterr().out


PROBLEM = """
schema = "qsmt.problem/1"
[reference]
network = "float.onnx"
[quantized]
network = "int8.onnx"
runtime = "onnxruntime"
[region]
model = "grid"
lower = [-20, -10]
upper = [20, 10]
[property]
kind = "error-bound"
bound = "0.1"
"""


# --- alignment --------------------------------------------------------------------------------------------


def test_a_bias_that_is_a_layer_of_its_own_gets_a_counterpart(tmp_path: Path) -> None:
    before, after = write_pair(MATMUL, tmp_path)
    ours, theirs = load_network(before), load_network(after)
    assert len(layers(ours)) == 3
    assert len(layers(theirs)) == 6
    split = aligned(ours, theirs)
    assert [a.pre.size for a in layers(split)] == [b.pre.size for b in layers(theirs)]
    points = [tuple(map(Fraction, row)) for row in random_inputs(ours, 20).tolist()]
    assert reference.run(split, points) == reference.run(ours, points)


def test_layers_that_do_not_match_are_named(tmp_path: Path) -> None:
    before, after = write_pair(SMALL, tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = write_pair(Recipe(sizes=(2, 6, 4, 1)), tmp_path / "other")
    with pytest.raises(
        MalformedProblem, match=r"layer 1 of the reference \(%z1\) has 4 neurons, layer 1 of the quan"
    ):
        problem_from_flags(other, after, box="[-1,1]^2", bound="1")
    shorter, _ = write_pair(Recipe(sizes=(2, 6, 1)), tmp_path / "other")
    with pytest.raises(MalformedProblem, match="the reference has 2 layers, the quantized network 3"):
        problem_from_flags(shorter, after, box="[-1,1]^2", bound="1")
    assert before != other
