"""NNet files: the decimals that are written, the network of the ONNX file, and the normalisation around it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.frontend.nnet import read_nnet
from qsmt.interp import reference
from qsmt.ir.ops import Affine
from tests.support.command import qsmt
from tests.support.shared import shared_data

SMALL = """\
// a comment
2,2,1,3,
2,3,1,
0,
-1.0,0.0,
1.0,10.0,
0.0,5.0,7.5,
2.0,2.5e0,3.0,
1.0,-2.0,
0.5,0.25,
-1.0,1e-1,
0.5,
-0.25,
0.0,
1.0,2.0,-4.0,
0.1,
"""

ACAS = "ACASXU_run2a_1_1_batch_2000"


def by_hand(x: Fraction, y: Fraction) -> Fraction:
    """What SMALL computes of normalised inputs."""
    half, zero = Fraction(1, 2), Fraction(0)
    h = (x - 2 * y + half, half * x + y / 4 - Fraction(1, 4), -x + y / 10)
    return max(h[0], zero) + 2 * max(h[1], zero) - 4 * max(h[2], zero) + Fraction(1, 10)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.nnet"
    path.write_text(SMALL)
    return path


POINTS = [(Fraction(a, 3), Fraction(b, 7)) for a in range(-4, 5) for b in range(-5, 6)]


def test_every_number_is_the_decimal_that_is_written(small: Path) -> None:
    assert reference.run(load_network(small), POINTS) == [(by_hand(*point),) for point in POINTS]


def test_the_physical_network_normalises_before_and_after(small: Path) -> None:
    expected = [(by_hand(x / 2, (y - 5) / Fraction(5, 2)) * 3 + Fraction(15, 2),) for x, y in POINTS]
    assert reference.run(read_nnet(small).physical, POINTS) == expected


def test_one_layer_is_normalised_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "one.nnet"
    path.write_text("1,1,1,1,\n1,1,\n0,\n0,\n1,\n3,4,\n2,8,\n6,\n1,\n")
    assert reference.run(load_network(path), [(Fraction(5),)]) == [(Fraction(31),)]
    assert reference.run(read_nnet(path).physical, [(Fraction(5),)]) == [(Fraction(60),)]


def test_the_network_is_the_one_in_the_onnx_file() -> None:
    """The ONNX file holds the decimals of the NNet file in single precision, and nothing else."""
    folder = shared_data() / "acasxu"
    found, made = (
        load_network(folder / "nnet" / f"{ACAS}.nnet"),
        load_network(folder / "onnx" / f"{ACAS}.onnx"),
    )
    assert [type(op) for op in found.ops] == [type(op) for op in made.ops]
    pairs = [(a, b) for a, b in zip(found.ops, made.ops, strict=True) if isinstance(a, Affine)]
    assert len(pairs) == 7
    for a, b in pairs:
        assert isinstance(b, Affine)
        for ours, theirs in ((a.weight, b.weight), (a.bias, b.bias)):
            assert np.array_equal(ours.reals.nearest.astype(np.float32), theirs.reals.nearest)


def test_both_files_compute_the_same_to_single_precision() -> None:
    folder = shared_data() / "acasxu"
    networks = load_network(folder / "nnet" / f"{ACAS}.nnet"), load_network(folder / "onnx" / f"{ACAS}.onnx")
    points = [tuple(map(Fraction, x)) for x in np.random.default_rng(1).uniform(-0.5, 0.5, (3, 5)).tolist()]
    ours, theirs = (reference.run(network, points) for network in networks)
    assert (
        max(abs(a - b) for p, q in zip(ours, theirs, strict=True) for a, b in zip(p, q, strict=True)) < 1e-5
    )


def test_the_normalisation_is_read_past_inputs_that_the_network_does_not_have() -> None:
    found = read_nnet(shared_data() / "acasxu" / "nnet" / f"{ACAS}.nnet")
    assert found.means == tuple(map(Fraction, ("19791.091", "0", "0", "650", "600")))
    assert found.output_mean == Fraction("7.5188840201005975") and found.output_range == Fraction("373.94992")
    assert found.maximums[0] == 60760 and found.minimums[3] == 100


def test_a_problem_is_checked_from_it(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = qsmt(capsys, "check", small, "--bits", "12", "--box", "[-1,1]^2", "--bound", "0.1")
    assert ran.code == 0 and ran.out.startswith("VERIFIED")


MALFORMED = {
    "2,2,1,3,\n": (
        "",
        "line 2: has 3 numbers for the number of layers, inputs, outputs, largest layer, not 4",
    ),
    "1.0,-2.0,\n": ("1.0,\n", "line 9: has 1 numbers for the weights of neuron 0 of layer 0, not 2"),
    "0.5,\n-0.25": ("0.5,1,\n-0.25", "line 12: has 2 numbers for the bias of neuron 0 of layer 0, not 1"),
    "-1.0,1e-1,": ("-1.0,nan,", "line 11: 'nan' is not a decimal or a ratio of integers"),
    "2.0,2.5e0": ("0.0,2.5e0", "line 8: a range is not a positive number"),
    "2,3,1,\n": ("2,3,2,\n", "line 3: sizes run from 2 to 2, but there are 2 inputs, 1 outputs"),
    "1.0,2.0,-4.0,\n0.1,\n": ("1.0,2.0,-4.0,\n", "ends where the bias of neuron 0 of layer 1 should be"),
    "0.1,\n": ("0.1,\n5,\n", "line 17: is more than the layers that the file announces"),
    "0.0,5.0,7.5": ("0.0,5.0", "line 7: has 2 numbers for means of the inputs and of the output, not 3"),
    "2,2,1,3": ("2,2,1.5,3", "line 2: holds a number for"),
    "// a comment": ("// \udcff", "is not UTF-8 text"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_damaged_file_gives_one_line_with_the_place(what: str, tmp_path: Path) -> None:
    instead, said = MALFORMED[what]
    assert what in SMALL
    path = tmp_path / "bad.nnet"
    head, tail = SMALL.rsplit(what, 1)
    path.write_bytes((head + instead + tail).encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        load_network(path)
    assert said in str(caught.value) and "bad.nnet" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize("length", range(0, len(SMALL) - 6, 7))
def test_a_file_that_is_cut_short_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.nnet"
    path.write_text(SMALL[:length])
    with pytest.raises(InputError):
        load_network(path)
