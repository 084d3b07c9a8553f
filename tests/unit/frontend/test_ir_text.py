"""The `.qir` frontend, the choice of a frontend by suffix, and that choosing one imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qsmt.errors import InputError, MalformedModel
from qsmt.frontend.base import MAX_BYTES, frontends, load_network
from qsmt.interp import reference
from qsmt.ir import text
from tests.support.networks import Recipe, random_problem
from tests.support.onnx_models import small

SOURCE = """network @demo runtime "real" {
  const @w : [1, 2] real = [3, -1/3]
  const @b : [1] real = [0x1.8000000000000p+0]
  %x : [2] real = input
  %z : [1] real = affine %x, @w, @b
  %y : [1] real = relu %z
}
"""

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "not text": (b"\xff\xfe network", "not UTF-8"),
    "something else": (b"hello", "expected 'network'"),
    "cut short": (SOURCE[:150].encode(), "line"),
    "undefined constant": (SOURCE.replace("@w, @b", "@w, @c").encode(), "@c is not defined"),
    "undefined value": (SOURCE.replace("relu %z", "relu %q").encode(), "%q is not defined"),
    "unknown op": (SOURCE.replace("relu", "softmax").encode(), "there is no op 'softmax'"),
    "wrong count": (SOURCE.replace("[3, -1/3]", "[3]").encode(), "@w has 1 numbers"),
    "division by zero": (SOURCE.replace("-1/3", "1/0").encode(), "1/0 is not a number"),
    "enormous float": (SOURCE.replace("0x1.8000000000000p+0", "0x1.8p+99999").encode(), "line 3"),
    "enormous number": (SOURCE.replace("-1/3", "9" * 5000).encode(), "line 2"),
    "beyond doubles": (SOURCE.replace("-1/3", "9" * 400).encode(), "line 2"),
    "half an axis": (SOURCE.replace("[1, 2]", "[1/2, 4]").encode(), "line 2"),
    "enormous shape": (SOURCE.replace("[1, 2]", "[99999999999, 2]").encode(), "line 2"),
    "ill typed": (SOURCE.replace("%y : [1]", "%y : [2]").encode(), "network @demo, %y: has type [2] real"),
    "trailing text": (SOURCE.encode() + b"more", "text after the network"),
}


def write(folder: Path, content: bytes, *, name: str = "net.qir") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_text_is_read(tmp_path: Path) -> None:
    network = load_network(write(tmp_path, SOURCE.encode()))
    assert network.name == "demo"
    assert text.print_network(network) == SOURCE


def test_suffix_is_read_in_any_case(tmp_path: Path) -> None:
    assert load_network(write(tmp_path, SOURCE.encode(), name="NET.QIR")).name == "demo"
    assert load_network(write(tmp_path, small().SerializeToString(), name="NET.ONNX")).name == "NET"


@pytest.mark.parametrize("seed", range(10))
def test_printed_networks_come_back_from_a_file(seed: int, tmp_path: Path) -> None:
    problem = random_problem(seed, Recipe(sizes=(3, 4, 2)))
    for network in (problem.reference, problem.quantized):
        printed = text.print_network(network)
        assert text.print_network(load_network(write(tmp_path, printed.encode()))) == printed


@pytest.mark.parametrize("name", BROKEN)
def test_broken_text_gives_one_line_with_the_file(name: str, tmp_path: Path) -> None:
    content, fragment = BROKEN[name]
    with pytest.raises(MalformedModel) as caught:
        load_network(write(tmp_path, content))
    line = str(caught.value)
    assert "\n" not in line
    assert "net.qir" in line
    assert fragment in line


def test_damaged_text_never_escapes_as_another_exception(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = np.frombuffer(SOURCE.encode(), np.uint8)
    read = 0
    for _ in range(1000):
        damaged = content.copy()
        at = rng.integers(len(content), size=rng.integers(1, 3))
        damaged[at] = rng.integers(32, 127, size=at.size)
        try:
            network = load_network(write(tmp_path, damaged.tobytes()))
        except InputError:
            continue
        reference.run(network, [])
        read += 1
    assert 10 < read < 500  # digits and names may change; structure may not


def test_unknown_suffix_names_the_formats(tmp_path: Path) -> None:
    with pytest.raises(MalformedModel, match=r"net.foo: .*ONNX \(.onnx\) or IR text \(.qir\).*'.foo'"):
        load_network(write(tmp_path, b"x", name="net.foo"))


def test_at_most_one_frontend_accepts_a_path() -> None:
    for suffix in (".onnx", ".qir", ".ONNX", ".txt", ""):
        assert sum(frontend.accepts(Path(f"net{suffix}")) for frontend in frontends()) <= 1


def test_enormous_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)  # sparse: takes no space
    with pytest.raises(MalformedModel, match="2147483648 bytes"):
        load_network(path)


def test_choosing_a_frontend_imports_neither_onnx_nor_numpy() -> None:
    script = (
        "import sys; from pathlib import Path; from qsmt.frontend.base import frontends\n"
        "assert any(f.accepts(Path('a.onnx')) for f in frontends())\n"
        "print(sorted({'onnx', 'numpy', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_text_does_not_import_onnx(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCE.encode())
    script = (
        "import sys; from pathlib import Path; from qsmt.frontend.base import load_network\n"
        f"load_network(Path({str(path)!r})); print('onnx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
