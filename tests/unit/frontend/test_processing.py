"""What is done before and behind a network: as if it were done to the numbers themselves."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from qsmt.engine.check import check
from qsmt.engine.load import Loaded, load_problem
from qsmt.engine.plan import Options
from qsmt.errors import InputError
from qsmt.interp import quantized, reference
from qsmt.verdict import Falsified, Verified
from tests.support.problem_files import BOUND, QUANTIZED, VALID_PROBLEM, write_valid_networks
from tests.support.truth import all_points

F = Fraction
REFERENCE = 'network = "reference.qir"\ninput_scale = "1/16"\n'
BEFORE = 'input_mean = [0.1, -2]\ninput_range = [2, "3/7"]\n'
BEHIND = 'output_scale = ["3/7", -2]\noutput_shift = "1/3"\n'
FLOAT = '[quantized]\nnetwork = "reference.qir"\nscheme = "float"\n'


def loaded(folder: Path, *changes: tuple[str, str]) -> Loaded:
    write_valid_networks(folder)
    text = VALID_PROBLEM
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "problem.toml").write_text(text)
    return load_problem(folder / "problem.toml")


def test_the_reference_reads_normalised_inputs(tmp_path: Path) -> None:
    plain = loaded(tmp_path).problem
    made = loaded(tmp_path, (REFERENCE, REFERENCE + BEFORE)).problem
    for x in all_points(plain):
        read = plain.reference_input(x)
        normal = ((read[0] - F(1, 10)) / 2, (read[1] + 2) / F(3, 7))
        assert reference.run(made.reference, [read]) == reference.run(plain.reference, [normal])
    assert made.quantized.ops[0].out == plain.quantized.ops[0].out


def test_what_is_quantized_is_the_network_with_its_normalisation(tmp_path: Path) -> None:
    halves = "input_mean = 0\ninput_range = 0.5\n"
    made = loaded(tmp_path, (QUANTIZED, QUANTIZED + halves)).problem
    plain = loaded(tmp_path).problem
    doubled = [2 * c for c in plain.quantized.ops[0].weight.codes.ravel()]  # type: ignore[union-attr]
    assert made.quantized.ops[0].weight.codes.ravel().tolist() == doubled  # type: ignore[union-attr]


@pytest.mark.parametrize("bound", ["0.1", "0.45", "1.5", "4"])
def test_an_error_bound_of_scaled_outputs(bound: str, tmp_path: Path) -> None:
    """Of the reference alone: so the networks differ by what was done, too."""
    made = loaded(tmp_path, (REFERENCE, REFERENCE + BEHIND), (BOUND, f"bound = {bound}"))
    plain = loaded(tmp_path).problem
    points = all_points(plain)
    ours = reference.run(plain.reference, [plain.reference_input(x) for x in points])
    theirs = quantized.run(plain.quantized, [plain.quantized_input(x) for x in points])
    scale = (F(3, 7), F(-2))
    worst = max(
        abs(q - (s * r + F(1, 3)))
        for a, b in zip(ours, theirs, strict=True)
        for r, q, s in zip(a, b, scale, strict=True)
    )
    verdict = check(made.problem, Options(encoding="none", jobs=1)).verdict
    assert isinstance(verdict, Verified if worst <= F(bound) else Falsified)


def test_both_sides_scaled_alike_differ_alike(tmp_path: Path) -> None:
    """Integer outputs too take any rational scale: it goes into the inequalities."""
    both = (
        (REFERENCE, REFERENCE + "output_scale = 3\n"),
        (QUANTIZED, QUANTIZED + "output_scale = 3\n"),
    )
    for factor, kind in ((1, "0.06"), (3, "0.18"), (3, "0.17"), (1, "0.0566")):
        changes = both if factor == 3 else ()
        made = loaded(tmp_path, *changes, (BOUND, f"bound = {kind}")).problem
        plain = loaded(tmp_path, (BOUND, f'bound = "{F(kind) / factor}"')).problem
        options = Options(encoding="none", jobs=1)
        assert type(check(made, options).verdict) is type(check(plain, options).verdict)


def test_a_box_in_physical_units(tmp_path: Path) -> None:
    ends = "lower = [-3, 0]\nupper = [3, 5]\n"
    units = "lower = [94, 0]\nupper = [106, 10]\nmean = [100, 0]\nrange = 2\n"
    assert loaded(tmp_path, (ends, units)).problem.sha256 == loaded(tmp_path).problem.sha256


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([(REFERENCE, REFERENCE + "input_range = 0\n")], "reference.input_range: is zero"),
        (
            [(REFERENCE, REFERENCE + "input_range = [1, 2, 3]\n")],
            "input_range has 3 numbers, the network 2 inputs",
        ),
        ([(REFERENCE, REFERENCE + "output_scale = [1, 0]\n")], "reference.output_scale: is zero"),
        (
            [(REFERENCE, REFERENCE + "output_scale = [1, 2, 3]\n")],
            "output_scale has 3 numbers, the network 2 outputs",
        ),
        (
            [("lower = [-3, 0]\n", "lower = [-3, 0]\nmean = [1]\n")],
            "region.mean: has 1 numbers, the box 2",
        ),
        ([("lower = [-3, 0]\n", "lower = [-3, 0]\nrange = -1\n")], "region.range: is not positive"),
        (
            [(QUANTIZED, '[quantized]\nnetwork = "quantized.qir"\ninput_mean = 1\n')],
            "reads codes, which cannot be normalised",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: list[tuple[str, str]], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, *changes)
    assert said in str(caught.value)
