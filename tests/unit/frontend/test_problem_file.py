"""The problem file is read exactly, and whatever is wrong with it is one line that says where."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest

from qsmt.arith.rounding import Rounding
from qsmt.errors import InputError, MalformedProblem
from qsmt.frontend import toml_table
from qsmt.frontend.exact_number import exact_number
from qsmt.frontend.formats import AUTO, FixedPointScheme, FormatSpec
from qsmt.frontend.problem_file import (
    Deployed,
    ProblemFile,
    QuantizeHere,
    SecondFloat,
    read_problem_file,
)
from qsmt.frontend.runtimes import Runtime
from qsmt.problem import InputModel, Region
from tests.support.problem_files import BOUND, ENDS, QUANTIZED, SCALE, VALID_PROBLEM

F = Fraction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "problem.toml"


def read(path: Path, *changes: tuple[str, str]) -> ProblemFile:
    text = VALID_PROBLEM
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return read_problem_file(path)


# --- what a right file says -----------------------------------------------------------------------------


def test_every_key_arrives(path: Path) -> None:
    assert read(path) == ProblemFile(
        path=path,
        reference=path.parent / "reference.qir",
        input_scale=F(1, 16),
        quantized=QuantizeHere(
            path.parent / "reference.qir",
            FixedPointScheme(
                input=FormatSpec(8, 4, signed=True),
                weights=FormatSpec(8, 4),
                bias=FormatSpec(8, 4),
                hidden=FormatSpec(8, 4, signed=False),
                output=None,
                rounding=Rounding.HALF_UP,
            ),
        ),
        region=Region(InputModel.GRID, (F(-3), F(0)), (F(3), F(5))),
        outputs=(0, 1),
        bound=F(1, 20),
    )


def test_what_may_be_left_out(path: Path) -> None:
    left_out = [SCALE, 'output = "exact"', 'rounding = "half_up"', "outputs = [0, 1]"]
    file = read(path, *((line, "") for line in left_out))
    assert file.input_scale is None and file.outputs is None
    assert isinstance(file.quantized, QuantizeHere)
    assert file.quantized.scheme.output is None and file.quantized.scheme.rounding is Rounding.HALF_UP


def test_formats_may_be_auto_and_outputs_may_have_one(path: Path) -> None:
    output = 'output = { bits = 9, frac = "auto", signed = true }'
    quantized = read(path, ('output = "exact"', output), ('"half_up"', '"floor"')).quantized
    assert isinstance(quantized, QuantizeHere)
    assert quantized.scheme.output == FormatSpec(9, AUTO, signed=True)
    assert quantized.scheme.rounding is Rounding.FLOOR


def test_numbers_mean_what_is_written(path: Path) -> None:
    lower = 'lower = [0.1, "1/3"]\nupper = [1_0.5e-1, "5e+1"]\n'
    file = read(path, ('"grid"', '"continuous"'), (ENDS, lower), (BOUND, "bound = [0.1, 1e-30]"))
    assert file.region.lower == (F(1, 10), F(1, 3))
    assert file.region.upper == (F(105, 100), F(50))
    assert file.bound == (F(1, 10), F(1, 10**30))


def test_a_center_a_radius_and_a_clip(path: Path) -> None:
    around = "center = [1, 254, 100]\nradius = 3\n"
    assert read(path, (ENDS, around)).region == Region(
        InputModel.GRID, (F(-2), F(251), F(97)), (F(4), F(257), F(103))
    )
    assert read(path, (ENDS, around + "clip = [0, 255]\n")).region == Region(
        InputModel.GRID, (F(0), F(251), F(97)), (F(4), F(255), F(103))
    )


def test_a_point_is_a_region(path: Path) -> None:
    region = read(path, (ENDS, "center = [1, 2]\nradius = 0\n")).region
    assert region.lower == region.upper == (F(1), F(2))


def test_the_three_forms_of_the_quantized_side(path: Path) -> None:
    folder = path.parent
    forms = {
        'network = "b.onnx"\nscheme = "float"': SecondFloat(folder / "b.onnx"),
        'network = "sub/b.onnx"\nruntime = "onnxruntime"': Deployed(
            folder / "sub/b.onnx", Runtime.ONNXRUNTIME
        ),
        'network = "/b.qir"': Deployed(Path("/b.qir"), None),
    }
    for text, expected in forms.items():
        assert read(path, (QUANTIZED, f"[quantized]\n{text}\n")).quantized == expected


def test_a_byte_order_mark_and_windows_line_ends_are_no_obstacle(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + VALID_PROBLEM.replace("\n", "\r\n").encode())
    assert read_problem_file(path).bound == F(1, 20)


# --- what a wrong file says: the contents are in tests/support/problem_files.py -------------------------


def complaint(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_problem_file(path)
    assert isinstance(caught.value, MalformedProblem)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 500
    return message


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    (tmp_path / "latin1.toml").write_bytes(b"# \xe9t\xe9\n")
    assert "there is no such file" in complaint(tmp_path / "absent.toml")
    assert "is a directory" in complaint(tmp_path)
    assert "is not UTF-8 text (byte 2)" in complaint(tmp_path / "latin1.toml")
    assert complaint(Path("a\0b.toml")) == "'a\\x00b.toml': there is no such file"
    assert "cannot be read: File name too long" in complaint(Path("x" * 300))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert "is not a regular file" in complaint(tmp_path / "pipe.toml")


def test_a_huge_file_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)  # sparse: a gibibyte of nothing
    assert f"is larger than {toml_table.MAX_BYTES // 2**20} MiB" in complaint(path)


def test_control_characters_do_not_reach_the_terminal(path: Path) -> None:
    path.write_text('schema = "\\u001b[31m' + "x" * 10_000 + '"\n')
    assert "'\\x1b[31mxxx" in complaint(path)
    path.write_text('schema = "qsmt.problem/1"\n"\\u001b[31m\\n' + "y" * 10_000 + '" = 1\n')
    assert "'\\x1b[31m\\nyyy" in complaint(path)


# --- exact numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", F(0)),
        ("-1", F(-1)),
        ("+1.50", F(3, 2)),
        (".5", F(1, 2)),
        ("5.", F(5)),
        ("1e-3", F(1, 1000)),
        ("2.5E+2", F(250)),
        ("-2/6", F(-1, 3)),
        ("0e400", F(0)),
        ("1" + "0" * 100, F(10**100)),
        ("0." + "1" * 3000, F(int("1" * 3000), 10**3000)),
    ],
)
def test_a_number_is_exact(text: str, value: Fraction) -> None:
    assert exact_number(text) == value


NOT_NUMBERS = (
    """+ . e5 1e 1e401 1e-401 1/0 1/00 1/-2 1.5/2 1/2e3 0x10 inf -inf nan 1_0 ١ 1,5 --1 1e1e1 2e100"""
)


@pytest.mark.parametrize("text", ["", " ", "1 ", "\n1", "1" * 4001, "1" + "0" * 101, *NOT_NUMBERS.split()])
def test_everything_else_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        exact_number(text)
