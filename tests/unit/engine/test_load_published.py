"""The published fixed-point tasks, stated as problem files, mean what was published."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

from qsmt.arith.fixed import Fixed
from qsmt.engine.load import load_problem
from qsmt.interp.replay import replay, violated
from tests.support.shared import shared_data

F = Fraction

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


def test_without_the_published_mismatch_of_scales_other_digits_come_out(tmp_path: Path) -> None:
    folder = shared_data() / "acasxu"
    *_, row = csv.DictReader((folder / "qebverif_fp_exact.csv").read_text().splitlines())
    text = published_acas(folder / "onnx" / "ACASXU_run2a_1_1_batch_2000.onnx", row, bound="1")
    (tmp_path / "problem.toml").write_text(text.replace('input_scale = "1/255"\n', ""))
    problem = load_problem(tmp_path / "problem.toml").problem
    assert problem.input_scale == F(1, 256)
    (execution,) = replay(problem, [tuple(map(F, json.loads(row["argmax"])))])
    assert abs(execution.reference[0] - F(row["dnn"])) > F(1, 10**6)
    assert abs(execution.quantized[0] - F(row["qnn"])) <= F(1, 2 * 10**6)


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
