"""From files and flags to problems: what comes out is what was asked for, or one clear line."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.engine.load import Loaded, load_problem, problem_from_flags
from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.interp import reference
from qsmt.interp.replay import replay, violated
from qsmt.ir.network import Network, layers
from qsmt.ir.text import print_network
from qsmt.problem import ErrorBound, InputModel, Region
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
from tests.support.shared import shared_data

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
    """What `qsmt check` makes of these flags."""
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="+", type=Path)
    parser.add_argument("--bits", type=int)
    parser.add_argument("--box", required=True)
    parser.add_argument("--bound", required=True)
    parser.add_argument("--runtime")
    parser.add_argument("--input-model", type=InputModel, default=InputModel.GRID, dest="model")
    flags = vars(
        parser.parse_intermixed_args([f"--box={w}" if p == "--box" else w for p, w in joined(words)])
    )
    return problem_from_flags(*flags.pop("networks"), **flags)


def joined(words: Sequence[str]) -> list[tuple[str, str]]:
    """Each word with the one before it; a flag whose value may begin with a dash is written with `=`."""
    pairs = list(zip(["", *words[:-1]], words, strict=True))
    return [(before, word) for before, word in pairs if word != "--box"]


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
    assert loaded.quantization is not None and loaded.quantization.warnings == ()


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


# --- flags ----------------------------------------------------------------------------------------------


def test_bits_and_a_box(folder: Path) -> None:
    loaded = from_words(VALID_FLAGS)
    problem, report = loaded.problem, loaded.quantization
    assert problem.quantized.input.type.element == Fixed(True, 8, 6)
    assert problem.region == Region(InputModel.GRID, (F(-64),) * 2, (F(64),) * 2)
    assert problem.input_scale == F(1, 64)
    assert problem.claim == ErrorBound((0, 1), (F(1, 20),) * 2)
    assert report is not None and report.warnings == ()
    hidden = report.layers[0].activation
    assert isinstance(hidden, Fixed) and (hidden.signed, hidden.bits) == (False, 8)
    assert report.layers[0].bias.bits == 16
    assert loaded.sources == (Path("reference.qir"),)


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
    assert report is not None and report.warnings == ()
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


# --- the published tasks --------------------------------------------------------------------------------

PUBLISHED = """\
schema = "qsmt.problem/1"
[reference]
network = "{network}"
input_scale = "1/255"
[quantized]
network = "{network}"
scheme = "fixed-point"
input = {{ bits = 8, frac = 8, signed = {signed} }}
weights = {{ bits = {bits}, frac = {weight_frac} }}
bias = {{ bits = {bits}, frac = {activation_frac} }}
hidden = {{ bits = {bits}, frac = {activation_frac}, signed = false }}
output = "exact"
rounding = "half_up"
[region]
model = "grid"
{region}
[property]
kind = "error-bound"
bound = "{bound}"
outputs = [{output}]
"""


def published_acas(network: Path, row: dict[str, str], *, bound: str) -> str:
    bits = int(row["Q"])
    return PUBLISHED.format(
        network=network,
        signed="true",
        bits=bits,
        weight_frac=bits - 2,
        activation_frac=bits - 2,
        region=f"lower = {row['int_lo']}\nupper = {row['int_hi']}",
        bound=bound,
        output=0,
    )


def test_the_published_acas_xu_tasks_are_reproduced_to_the_printed_digits(tmp_path: Path) -> None:
    folder = shared_data() / "acasxu"
    network = folder / "onnx" / "ACASXU_run2a_1_1_batch_2000.onnx"
    rows = list(csv.DictReader((folder / "qebverif_fp_exact.csv").read_text().splitlines()))
    assert len(rows) == 40
    for row in rows:
        path = tmp_path / "problem.toml"
        path.write_text(published_acas(network, row, bound=row["max_abs_err"]))
        problem = load_problem(path).problem
        assert problem.region.points == int(row["points"])
        (execution,) = replay(problem, [tuple(map(F, json.loads(row["argmax"])))])
        found = abs(execution.difference[0]), execution.reference[0], execution.quantized[0]
        printed = [F(row[name]) for name in ("max_abs_err", "dnn", "qnn")]
        assert all(abs(a - b) <= F(1, 2 * 10**6) for a, b in zip(found, printed, strict=True)), row
        path.write_text(published_acas(network, row, bound=str(printed[0] - F(1, 10**6))))
        assert violated(load_problem(path).problem, execution) == 0


def test_the_published_mnist_scheme_loads(tmp_path: Path) -> None:
    folder = shared_data() / "qebverif"
    pixels = [0, 255] + [100] * 782
    text = PUBLISHED.format(
        network=folder / "P1_mnist_784-100-10.onnx",
        signed="false",
        bits=6,
        weight_frac=5,
        activation_frac=4,
        region=f"center = {pixels}\nradius = 3\nclip = [0, 255]",
        bound="1",
        output=7,
    )
    (tmp_path / "problem.toml").write_text(text)
    loaded = load_problem(tmp_path / "problem.toml")
    region, report = loaded.problem.region, loaded.quantization
    assert [str(v) for v in (*region.lower[:3], *region.upper[:3])] == ["0", "252", "97", "3", "255", "103"]
    assert report is not None
    assert [layer.weights for layer in report.layers] == [Fixed(True, 6, 5)] * 2
    assert report.layers[0].activation == Fixed(False, 6, 4)
    assert load_network(folder / "P1_mnist_784-100-10.onnx").input.size == 784


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
    "'x'",
    "''",
    "'1/0'",
    "'auto'",
    "'float'",
    "'continuous'",
    "'huge.qir'",
    "[]",
    "[1,2]",
    "[[1]]",
    "[-1e99,-1e-99]",
    "{}",
    "1979-05-27",
    "{bits=64,frac=-1024}",
    "{bits=1,frac=1024}",
    "{bits=3,frac='auto'}",
    "{bits=64,frac=64,signed=false}",
] + ["9" * 100]


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
    assert min(outcomes.values()) > 20
