"""From files and flags to problems: what comes out is what was asked for, or one clear line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.engine.alarm import write_problem
from qsmt.engine.load import Loaded, load_problem, problem_from_flags
from qsmt.errors import InputError
from qsmt.frontend.fixed_point import QuantizationReport
from qsmt.interp import reference
from qsmt.interp.replay import replay
from qsmt.ir.network import Network, layers
from qsmt.ir.text import print_network
from qsmt.problem import ErrorBound, InputModel, Region
from tests.support.networks import Recipe, random_problem
from tests.support.problem_files import (
    ENDS,
    INPUT,
    MALFORMED_FLAGS,
    MALFORMED_PROBLEMS,
    QUANTIZED,
    SCALE,
    VALID_FLAGS,
    VALID_PROBLEM,
    write_valid_networks,
)

F = Fraction


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the networks, which is also the current one."""
    write_valid_networks(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_text(folder: Path, *changes: tuple[str, str], text: str = VALID_PROBLEM) -> Loaded:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "problem.toml").write_text(text)
    return load_problem(folder / "problem.toml")


def from_words(words: Sequence[str]) -> Loaded:
    """What a command line makes of these flags."""
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="+", type=Path)
    parser.add_argument("--bits", type=int)
    parser.add_argument("--box", required=True)
    parser.add_argument("--bound", required=True)
    parser.add_argument("--runtime")
    parser.add_argument("--input-model", type=InputModel, dest="model")
    flags = vars(parser.parse_intermixed_args(attached(words)))
    return problem_from_flags(*flags.pop("networks"), **flags)


def attached(words: Sequence[str]) -> list[str]:
    """The words with each flag's value attached to it, since a value may begin with a dash."""
    found: list[str] = []
    for word in words:
        if found and found[-1].startswith("--") and "=" not in found[-1]:
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def lossless(report: QuantizationReport) -> bool:
    """Did every format hold what it had to?"""
    lost = report.saturated_weights, report.saturated_biases, len(report.saturating_layers)
    return lost == (0, 0, 0) and not report.input_may_saturate


def same_problem(a: Loaded, b: Loaded) -> bool:
    return a.problem.sha256 == b.problem.sha256


# --- problem files --------------------------------------------------------------------------------------


def test_a_problem_file(folder: Path) -> None:
    loaded = from_text(folder)
    problem = loaded.problem
    assert print_network(problem.reference) == (folder / "reference.qir").read_text()
    assert print_network(problem.quantized) == (folder / "quantized.qir").read_text()
    assert problem.region == Region(InputModel.GRID, (F(-3), F(0)), (F(3), F(5)))
    assert problem.claim == ErrorBound((0, 1), (F(1, 20), F(1, 20)))
    assert problem.input_scale == F(1, 16)
    assert loaded.sources == (folder / "problem.toml", folder / "reference.qir")
    assert loaded.quantization is not None and lossless(loaded.quantization)


def test_a_quantized_network_is_taken_as_it_is(folder: Path) -> None:
    loaded = from_text(folder, (QUANTIZED, '[quantized]\nnetwork = "quantized.qir"\n'))
    assert loaded.quantization is None
    assert loaded.sources[1:] == (folder / "reference.qir", folder / "quantized.qir")
    assert same_problem(loaded, from_text(folder))


def test_the_reference_reads_what_the_codes_stand_for_unless_told_otherwise(folder: Path) -> None:
    quantized, second = '[quantized]\nnetwork = "quantized.qir"\n', '[quantized]\nnetwork = "linear.qir"\n'
    grid: list[tuple[str, Fraction]] = [(QUANTIZED, F(1, 16)), (quantized, F(1, 16)), (second, F(1))]
    for side, scale in grid:
        assert from_text(folder, (SCALE, ""), (QUANTIZED, side)).problem.input_scale == scale
        real = from_text(folder, (SCALE, ""), (QUANTIZED, side), ('"grid"', '"continuous"'))
        assert real.problem.input_scale == 1
        mismatch = from_text(folder, (SCALE, 'input_scale = "1/255"'), (QUANTIZED, side))
        assert mismatch.problem.input_scale == F(1, 255)


def test_two_float_networks(folder: Path) -> None:
    loaded = from_text(folder, (QUANTIZED, '[quantized]\nnetwork = "linear.qir"\nscheme = "float"\n'))
    assert loaded.problem.quantized.is_real and loaded.quantization is None
    assert loaded.problem.input_scale == F(1, 16)


def test_one_bound_for_all_outputs_or_one_each(folder: Path) -> None:
    one = from_text(folder, ("outputs = [0, 1]", ""))
    assert one.problem.claim == ErrorBound((0, 1), (F(1, 20), F(1, 20)))
    each = from_text(folder, ("[0, 1]", "[1, 0]"), ('"0.05"', '[0.1, "1/3"]'))
    assert each.problem.claim == ErrorBound((1, 0), (F(1, 10), F(1, 3)))


def test_the_report_sees_the_region(folder: Path) -> None:
    narrow = ("hidden = { bits = 8", "hidden = { bits = 2")
    report = from_text(folder, narrow).quantization
    assert report is not None and report.saturating_layers == (0,)
    small = from_text(folder, narrow, (ENDS, "lower = [-3, 0]\nupper = [-2, 1]\n")).quantization
    assert small is not None and small.saturating_layers == ()


def test_an_auto_input_format_follows_the_real_region(folder: Path) -> None:
    auto = (INPUT, 'input = { bits = 8, frac = "auto" }'), ('"grid"', '"continuous"')
    loaded = from_text(folder, *auto)  # 5/16 is the largest magnitude
    assert loaded.problem.quantized.input.type.element == Fixed(True, 8, 8)
    assert loaded.quantization is not None and loaded.quantization.input_may_saturate is False
    coarse = from_text(folder, *auto, (SCALE, "input_scale = 16"))
    assert coarse.problem.quantized.input.type.element == Fixed(True, 8, 0)


def test_a_continuous_region_beyond_the_input_format_is_reported(folder: Path) -> None:
    report = from_text(folder, ('"grid"', '"continuous"'), (SCALE, "input_scale = 4")).quantization
    assert report is not None and report.input_may_saturate is True


def test_paths_are_relative_to_the_file_or_absolute(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    loaded = from_text(inner, ("reference.qir", "../reference.qir"))
    assert same_problem(loaded, from_text(inner, ("reference.qir", str(folder / "reference.qir"))))


def test_an_unbounded_reference_has_no_auto_format(folder: Path) -> None:
    hidden = ("hidden = { bits = 8, frac = 4, signed = false }", 'hidden = { bits = 8, frac = "auto" }')
    wide = (ENDS, "lower = [-1e80, 0]\nupper = [1e80, 5]\n")
    with pytest.raises(InputError, match=r'problem\.toml, quantized\.hidden: frac = "auto" needs a bounded'):
        from_text(folder, hidden, wide, ("reference.qir", "huge.qir"), ('"grid"', '"continuous"'))


@pytest.mark.parametrize("name", MALFORMED_PROBLEMS)
def test_a_malformed_problem_is_one_clear_line(name: str, folder: Path) -> None:
    text, says = MALFORMED_PROBLEMS[name]
    (folder / "problem.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_problem(folder / "problem.toml")
    message = str(caught.value)
    assert says in message
    assert message.startswith(str(folder)) and message.isprintable() and len(message) < 400


@pytest.mark.parametrize("seed", range(5))
def test_a_problem_that_is_written_is_the_problem_that_is_read(seed: int, tmp_path: Path) -> None:
    made = random_problem(seed, Recipe(sizes=(2, 3, 2), clip=F(7, 5)), bound=F(1, 3))
    for model in InputModel:
        problem = replace(made, region=replace(made.region, model=model))
        assert load_problem(write_problem(problem, tmp_path)).problem.sha256 == problem.sha256


# --- flags ----------------------------------------------------------------------------------------------


def test_bits_and_a_box(folder: Path) -> None:
    loaded = from_words(VALID_FLAGS)
    problem, report = loaded.problem, loaded.quantization
    assert problem.quantized.input.type.element == Fixed(True, 8, 6)
    assert problem.region == Region(InputModel.GRID, (F(-64),) * 2, (F(64),) * 2)
    assert problem.input_scale == F(1, 64)
    assert problem.claim == ErrorBound((0, 1), (F(1, 20),) * 2)
    assert report is not None and lossless(report)
    hidden = report.layers[0].activation
    assert isinstance(hidden, Fixed) and (hidden.signed, hidden.bits) == (False, 8)
    assert report.layers[0].bias.bits == 16
    assert loaded.sources == (Path("reference.qir"),)


def test_without_an_input_model_inputs_are_what_the_second_network_reads(folder: Path) -> None:
    box = ("--box", "[-1,1]^2", "--bound", "0.05")
    second = {"quantized.qir": InputModel.GRID, "linear.qir": InputModel.CONTINUOUS}
    for name, model in second.items():
        words = [str(folder / "reference.qir"), str(folder / name), *box]
        assert from_words(words).problem.region.model is model


def test_a_continuous_box_is_read_as_it_is(folder: Path) -> None:
    problem = from_words([*VALID_FLAGS, "--input-model", "continuous"]).problem
    assert problem.region == Region(InputModel.CONTINUOUS, (F(-1),) * 2, (F(1),) * 2)
    assert problem.input_scale == 1
    assert problem.quantized.input.type.element == Fixed(True, 8, 6)


def test_flags_say_what_the_file_says(folder: Path) -> None:
    region = "lower = [-64, -64]\nupper = [64, 64]\n"
    formats = {
        "input = { bits = 8, frac = 4, signed = true }": "input = { bits = 8, frac = 6 }",
        "weights = { bits = 8, frac = 4 }": 'weights = { bits = 8, frac = "auto" }',
        "bias = { bits = 8, frac = 4 }": 'bias = { bits = 16, frac = "auto" }',
        "hidden = { bits = 8, frac = 4, signed = false }": 'hidden = { bits = 8, frac = "auto" }',
    }
    assert same_problem(
        from_words(VALID_FLAGS), from_text(folder, (SCALE, ""), (ENDS, region), *formats.items())
    )


def test_a_quantized_file_and_a_box(folder: Path) -> None:
    two = ["reference.qir", "quantized.qir", "--box", "[-0.2,0.2],[0,1/3]", "--bound", "0.05,0.1"]
    problem = from_words(two).problem
    assert problem.region == Region(InputModel.GRID, (F(-3), F(0)), (F(3), F(5)))
    assert problem.input_scale == F(1, 16)
    assert problem.claim.bounds == (F(1, 20), F(1, 10))
    real = from_words([*two, "--input-model", "continuous"]).problem
    assert real.region.lower == (F(-1, 5), F(0)) and real.input_scale == 1


def test_two_float_networks_on_a_real_box(folder: Path) -> None:
    words = [
        "reference.qir",
        "linear.qir",
        "--box",
        "[-1,1]^2",
        "--bound",
        "1",
        "--input-model",
        "continuous",
    ]
    assert from_words(words).problem.quantized.is_real


@pytest.mark.parametrize("name", MALFORMED_FLAGS)
def test_malformed_flags_are_one_clear_line(name: str, folder: Path) -> None:
    words, says = MALFORMED_FLAGS[name]
    with pytest.raises(InputError) as caught:
        from_words(words)
    message = str(caught.value)
    assert says in message
    assert message.isprintable() and len(message) < 400


# --- auto formats on certified ranges -------------------------------------------------------------------


def prefix(network: Network, layer: int) -> Network:
    """The network that ends with a layer's activation."""
    last = layers(network)[layer].post
    ends = [i for i, op in enumerate(network.ops) if op.out == last]
    return Network(network.name, network.runtime, network.input, network.ops[: ends[0] + 1])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("network", ["reference.qir", "linear.qir", "long.qir"])
def test_nothing_the_reference_does_in_the_region_saturates_an_auto_format(
    network: str, bits: int, folder: Path
) -> None:
    loaded = from_words([network, "--bits", str(bits), "--box", "[-1,0.8],[0,3]", "--bound", "1"])
    report, problem = loaded.quantization, loaded.problem
    assert report is not None and lossless(report)
    rng = np.random.default_rng(bits)
    low, high = (np.array([int(v) for v in ends]) for ends in (problem.region.lower, problem.region.upper))
    codes = rng.integers(low, high, (50, 2), endpoint=True).tolist()
    inputs = [tuple(problem.input_scale * v for v in point) for point in codes]
    for i, chosen in enumerate(report.layers[:-1]):
        kind = chosen.activation
        assert isinstance(kind, Fixed)
        values = [v for point in reference.run(prefix(problem.reference, i), inputs) for v in point]
        assert all(
            -F(1, 2) <= v / kind.scale - kind.min and v / kind.scale < kind.max + F(1, 2) for v in values
        )


# --- hostile values -------------------------------------------------------------------------------------

NASTY = [
    "0",
    "-1",
    "64",
    "true",
    "nan",
    "-inf",
    "1e400",
    "1e99",
    "-0.0",
    "1e-300",
    '"x"',
    '""',
    '"1/0"',
    '"auto"',
    '"float"',
    '"continuous"',
    '"huge.qir"',
    "[]",
    "[1,2]",
    "[[1]]",
    "[-1e99,-1e-99]",
    "{}",
    "1979-05-27",
    "{bits=64,frac=-1024}",
    "{bits=1,frac=1024}",
    '{bits=3,frac="auto"}',
    "{bits=64,frac=64,signed=false}",
    "99999999999999999999999999999999999999999999999999999999999999999999999999999999",
]


@pytest.mark.parametrize("model", ["grid", "continuous"])
def test_any_value_of_any_key_loads_and_executes_or_is_one_clear_line(model: str, folder: Path) -> None:
    path, outcomes = folder / "problem.toml", {"loaded": 0, "refused": 0}
    lines = VALID_PROBLEM.replace('"grid"', f'"{model}"').splitlines()
    for i, line in enumerate(lines):
        for value in NASTY if " = " in line else ():
            key = line.split(" = ")[0]
            path.write_text("\n".join([*lines[:i], f"{key} = {value}", *lines[i + 1 :]]))
            try:
                problem = load_problem(path).problem
            except InputError:
                outcomes["refused"] += 1
            else:
                replay(problem, [problem.region.lower, problem.region.upper])
                outcomes["loaded"] += 1
    assert min(outcomes.values()) >= 20
