"""Whatever is in the file: a network, or one line that names the file and what is wrong in it."""

from __future__ import annotations

import time
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qsmt.errors import InputError
from qsmt.frontend.base import load_network
from qsmt.interp import reference
from qsmt.ir.network import Network
from tests.support.onnx_models import EXPECTED, MALFORMED, small


def outcome(path: Path) -> Network | InputError:
    """What loading a file gives; any other exception escapes, and fails the test."""
    try:
        return load_network(path)
    except InputError as error:
        return error


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_model_gives_one_line_with_the_file_and_the_culprit(name: str, tmp_path: Path) -> None:
    path = MALFORMED[name](tmp_path)
    start = time.perf_counter()
    error = outcome(path)
    assert isinstance(error, InputError), f"{name} was read as {error}"
    line = str(error)
    assert path.name in line
    assert EXPECTED[name] in line
    assert line.isprintable()
    assert len(line) < 600
    assert time.perf_counter() - start < 10


def test_table_is_large_and_its_lines_are_distinct(tmp_path: Path) -> None:
    lines = set()
    for number, (name, write) in enumerate(MALFORMED.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        if name != "many large matrices":  # the slow one
            lines.add(str(outcome(write(folder))).replace(str(folder), ""))
    assert len(MALFORMED) >= 120
    assert len(lines) >= len(MALFORMED) - 12


def test_every_prefix_of_a_model_is_refused(tmp_path: Path) -> None:
    content = small().SerializeToString()
    for length in range(len(content)):
        path = tmp_path / "model.onnx"
        path.write_bytes(content[:length])
        assert isinstance(outcome(path), InputError), length


def test_damaged_bytes_never_escape_as_another_exception(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = np.frombuffer(small().SerializeToString(), np.uint8)
    path = tmp_path / "model.onnx"
    read = 0
    for _ in range(1500):
        damaged = content.copy()
        at = rng.integers(len(content), size=rng.integers(1, 4))
        damaged[at] = rng.integers(256, size=at.size)
        path.write_bytes(damaged.tobytes())
        read += isinstance(outcome(path), Network)
    assert 150 < read < 1350  # names and numbers may change; structure may not


ABSURD = [
    "huge dimensions",
    "sixty million inputs",
    "identity of a million inputs",
    "enormous broadcast",
    "overflowing parameter",
]


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_size_is_refused_before_it_is_allocated(name: str, tmp_path: Path) -> None:
    path = MALFORMED[name](tmp_path)
    tracemalloc.start()
    assert isinstance(outcome(path), InputError)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * 2**20


def test_little_network_is_sound(tmp_path: Path) -> None:
    """What the table's models damage: it must be read before they are."""
    path = tmp_path / "model.onnx"
    path.write_bytes(small().SerializeToString())
    network = load_network(path)
    points = [(Fraction(0),) * 3, (Fraction(1),) * 3]
    assert reference.run(network, points) == [(Fraction(5, 2),), (Fraction(29, 2),)]
