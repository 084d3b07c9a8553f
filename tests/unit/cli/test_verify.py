"""`qsmt verify` and `qsmt supports`, as the VNN-LIB standard has them; `qsmt radius` and properties from a file."""

from __future__ import annotations

import re
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from qsmt.engine.check import CheckResult
from qsmt.engine.vnnlib import load_question, outputs
from qsmt.frontend.base import load_network
from qsmt.interp import reference
from tests.support.command import qsmt
from tests.support.onnx_models import model, node
from tests.support.problem_files import BOUND, ENDS, VALID_PROBLEM, write_valid_networks

F = Fraction
Capture = pytest.CaptureFixture[str]

ONE = """\
(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)
(assert (and (>= X_0 -1) (<= X_0 1) (>= X_1 0) (<= X_1 0.3)))
(assert (>= Y_0 {limit}))
"""

TWO = """\
(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [2]))
(declare-network g (declare-input V real [1,2]) (declare-output W real [2]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 0.3)))
(assert (and (== X[0,0] V[0,0]) (== V[0,1] X[0,1])))
(assert (or (> (- Y[0] W[0]) {limit}) (> (- W[0] Y[0]) {limit})))
"""


ONE_TYPED = """\
(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [1,2]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 0.3)))
(assert (>= Y[0,0] 1.5))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_valid_networks(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "query.vnnlib"
    path.write_text(text)
    return path


def values(lines: list[str]) -> dict[str, Fraction]:
    """The pairs of an assignment of version 1.0."""
    return {name: F(number) for name, number in re.findall(r"\((\w+) (\S+?)\)", " ".join(lines))}


def test_unsat_is_one_line(folder: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "verify", write(folder, ONE.format(limit=9)), "--network", "f=reference.qir")
    assert (ran.code, ran.out, ran.err) == (0, "unsat\n", "")


def test_sat_comes_with_an_input_that_does_it(folder: Path, capsys: Capture) -> None:
    network = load_network(folder / "reference.qir")
    ran = qsmt(capsys, "verify", write(folder, ONE.format(limit=0.1)), "--network", "f=reference.qir")
    first, *lines = ran.out.splitlines()
    found = values(lines)
    assert (ran.code, first) == (0, "sat") and list(found) == ["X_0", "X_1", "Y_0", "Y_1"]
    (outputs,) = reference.run(network, [(found["X_0"], found["X_1"])])
    assert -1 <= found["X_0"] <= 1 and 0 <= found["X_1"] <= F(3, 10)
    assert outputs[0] >= F(1, 10) and float(found["Y_0"]) == float(outputs[0])


def test_an_inequality_that_is_met_exactly_is_met(folder: Path, capsys: Capture) -> None:
    """Of a closed one the solution counts, of an open one it does not: at a single input, and in a box around it."""
    network = load_network(folder / "reference.qir")
    y = reference.run(network, [(F(1, 2), F(1, 4))])[0][0]
    point = ONE.replace("(>= X_0 -1) (<= X_0 1)", "(>= X_0 0.5) (<= X_0 0.5)")
    point = point.replace("(>= X_1 0) (<= X_1 0.3)", "(>= X_1 0.25) (<= X_1 0.25)")
    for sign, expected in ((">=", "sat"), ("<=", "sat"), (">", "unsat"), ("<", "unsat")):
        text = point.replace(">= Y_0", f"{sign} Y_0").format(limit=f"{y.numerator}/{y.denominator}")
        ran = qsmt(capsys, "verify", write(folder, text), "--network", "f=reference.qir")
        assert ran.out.splitlines()[0] == expected


@pytest.mark.parametrize("limit", ["-99", "(- Y_0 1)"])
def test_a_witness_that_is_no_decimal_is_moved_into_the_box(
    limit: str, folder: Path, capsys: Capture
) -> None:
    """An end at a third cannot be written down: the doubles next to it are inside of the box or outside."""
    text = ONE.replace("(>= X_0 -1) (<= X_0 1)", "(>= (* 3 X_0) 1) (<= (* 3 X_0) 1.00001)").format(
        limit=limit
    )
    ran = qsmt(capsys, "verify", write(folder, text), "--network", "f=reference.qir")
    found = values(ran.out.splitlines()[1:])
    assert ran.out.startswith("sat") and 1 <= 3 * found["X_0"] <= F("1.00001")


def test_a_quantized_network_is_asked_about_with_bits(folder: Path, capsys: Capture) -> None:
    """With two bits, the network is another one: some limits separate the two."""
    answers = set()
    for limit in (0.1, 0.124, 0.126, 0.13, 0.2):
        path = write(folder, ONE.format(limit=limit))
        asked = ("verify", path, "--network", "f=reference.qir")
        answers.add((qsmt(capsys, *asked).out.split()[0], qsmt(capsys, *asked, "--bits", 2).out.split()[0]))
    assert answers == {("sat", "sat"), ("sat", "unsat"), ("unsat", "unsat")}


@pytest.mark.parametrize("limit", ["-99", "(- Y_0 1)"])
def test_the_outputs_shown_are_those_of_the_network_that_is_asked_about(
    limit: str, folder: Path, capsys: Capture
) -> None:
    """Also where a case holds whatever the outputs are."""
    ran = qsmt(
        capsys, "verify", write(folder, ONE.format(limit=limit)), "--network", "f=reference.qir", "--bits", 2
    )
    found = values(ran.out.splitlines()[1:])
    network = load_question(folder / "query.vnnlib", {"f": folder / "reference.qir"}, bits=2).networks[0]
    assert not network.is_real
    assert [F(v) for v in outputs(network, (found["X_0"], found["X_1"]))] == [found["Y_0"], found["Y_1"]]


def test_a_quantized_networks_witness_is_a_real_input_of_the_box(folder: Path, capsys: Capture) -> None:
    path = write(folder, ONE.format(limit=0.1))
    ran = qsmt(capsys, "verify", path, "--network", "f=quantized.qir")
    first, *lines = ran.out.splitlines()
    found = values(lines)
    assert first == "sat" and -1 <= found["X_0"] <= 1 and 0 <= found["X_1"] <= F(3, 10)


def test_two_networks(folder: Path, capsys: Capture) -> None:
    pairs = ("--network", "f=reference.qir", "--network", "g=quantized.qir")
    assert qsmt(capsys, "verify", write(folder, TWO.format(limit=0.5)), *pairs).out == "unsat\n"
    lines = qsmt(capsys, "verify", write(folder, TWO.format(limit=0.001)), *pairs).out.splitlines()
    assert [lines[i] for i in (0, 1, 4, 7, 10)] == [
        "sat",
        "X real [1,2]",
        "Y real [2]",
        "V real [1,2]",
        "W real [2]",
    ]
    assert lines[2:4] == lines[8:10] and abs(float(lines[5]) - float(lines[11])) > 0.001


def test_the_order_of_the_networks_does_not_matter(folder: Path, capsys: Capture) -> None:
    swapped = ("--network", "f=quantized.qir", "--network", "g=reference.qir")
    assert qsmt(capsys, "verify", write(folder, TWO.format(limit=0.5)), *swapped).out == "unsat\n"
    assert qsmt(capsys, "verify", write(folder, TWO.format(limit=0.001)), *swapped).out.startswith("sat\n")


def test_a_network_equal_to_another_takes_no_file(folder: Path, capsys: Capture) -> None:
    path = write(folder, TWO.format(limit=0.001).replace("network g ", "network g (equal-to f) "))
    ran = qsmt(capsys, "verify", path, "--network", "f=reference.qir")
    assert ran.out == "unsat\n"
    ran = qsmt(capsys, "verify", path, "--network", "f=reference.qir", "--network", "g=reference.qir")
    assert ran.code == 2 and "g is no network of" in ran.err


def test_time_that_is_up(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    from qsmt.engine import vnnlib

    monkeypatch.setattr(vnnlib, "NEARLY", 0.0)
    path = write(folder, ONE.format(limit=0.5))
    monkeypatch.setattr("qsmt.engine.investigation.Investigation.verify", lambda *_: None)
    monkeypatch.setattr("qsmt.engine.check.falsify", lambda _: ("", {}))
    monkeypatch.setattr("qsmt.engine.check.search", lambda _: ("", {}))
    monkeypatch.setattr("qsmt.engine.check.solve_residual", lambda _: ("", {}))
    ran = qsmt(capsys, "verify", path, "--network", "f=reference.qir", "--timeout", 1)
    assert (ran.code, ran.out) == (0, "timed-out\n") and ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "0 networks are given"),
        (("--network", "reference.qir"), "not NAME=FILE"),
        (("--network", "f=reference.qir", "--network", "f=wide.qir"), "names f twice"),
        (("--network", "f=wide.qir"), "X has 2 elements, that of"),
        (("--network", "f=none.onnx"), "none.onnx"),
        (("--network", "f=quantized.qir", "--bits", 8), "is quantized already"),
        (
            ("--network", "f=reference.qir", "--serialise-assignments", "reference.qir"),
            "cannot be made: File",
        ),
    ],
)
def test_bad_usage_is_one_line(arguments: tuple[str, ...], said: str, folder: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "verify", write(folder, ONE.format(limit=9)), *arguments)
    assert ran.code == 2 and said in ran.err and ran.out == "" and ran.err.count("\n") == 1


def test_supports_answers_every_capability(capsys: Capture) -> None:
    lists = {
        "onnx-element-types": {"real"},
        "vnnlib-versions": {"1.0", "2.0"},
        "hidden-node-theories": {"NH"},
        "multiple-input-output-theories": {"SIO"},
        "multiple-network-theories": {"SNET", "MNET", "MENET", "MINET"},
        "multiple-node-comparison-theories": {"SNC"},
        "arithmetic-complexity-theories": {"BND", "OUTC"},
        "optimised-disjunctive-reasoning": {"false"},
        "serialise-assignments": {"true"},
        "unsat-proofs": {"false"},
        "onnx-operators-unsat-proofs": set(),
    }
    for command in ("supports", "capabilities"):
        for name, expected in lists.items():
            ran = qsmt(capsys, command, f"--{name}")
            assert ran.code == 0 and set(ran.out.splitlines()) == expected
    versions = qsmt(capsys, "supports", "--onnx-opset-versions").out.splitlines()
    assert len(versions) == 2 and int(versions[0]) < int(versions[1])
    assert "Gemm" in qsmt(capsys, "supports", "--onnx-operators").out.splitlines()
    assert qsmt(capsys, "supports", "--multiple-inputs-output-theories").out == "SIO\n"


def test_the_solver_says_its_name_and_its_version(capsys: Capture) -> None:
    assert qsmt(capsys, "--name").out == "qsmt\n"
    assert qsmt(capsys, "--version").out == f"{metadata.version('qsmt')}\n"


FLOATS = TWO.replace(" real ", " float32 ")


def test_a_witness_is_one_in_the_declared_type(folder: Path, capsys: Capture) -> None:
    """ADR 13; of a network that is no ONNX file nothing is known of a runtime, and that is said."""
    pairs = ("--network", "f=reference.qir", "--network", "g=quantized.qir")
    ran = qsmt(capsys, "verify", write(folder, FLOATS.format(limit=0.5)), *pairs)
    assert (ran.code, ran.out) == (0, "unsat\n")
    about = "qsmt: the answer is about exact arithmetic; float32 is declared, and nothing is known of its rounding\n"
    assert ran.err == about
    ran = qsmt(capsys, "verify", write(folder, FLOATS.format(limit=0.001)), *pairs)
    lines = ran.out.splitlines()
    assert lines[:2] == ["sat", "X float32 [1,2]"] and ran.err == about
    assert all(F(float(np.float32(float(v)))) == F(v) for v in lines[2:4])
    assert qsmt(capsys, "verify", write(folder, TWO.format(limit=0.5)), *pairs).err == ""


SUM = """\
(vnnlib-version <2.0>)
(declare-network f (declare-input X float32 [1,3]) (declare-output Y float32 [1,1]))
(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0) (>= X[0,2] 0.0) (<= X[0,2] 1.0)))
(assert (>= Y[0,0] {limit}))
"""


def summing(folder: Path, *, shifted: bool = False) -> str:
    """A file with the sum of three inputs, of which zero is subtracted, or one."""
    nodes = [node("Sub", ["x", "s"], ["d"]), node("MatMul", ["d", "w"], ["y"])]
    constants = {"w": np.ones((3, 1), np.float32), "s": np.full(3, float(shifted), np.float32)}
    (folder / "sum.onnx").write_bytes(model(nodes, x=[1, 3], constants=constants).SerializeToString())
    return f"f={folder / 'sum.onnx'}"


@pytest.mark.parametrize(
    ("limit", "answer", "stands"),
    [
        ("3.00001", "unsat", True),  # the exact maximum is 3, and three roundings of it are 6e-7
        ("3.0000001", "unsat", False),
        ("2.9999999", "sat", False),
        ("2.9", "sat", True),
    ],
)
def test_an_answer_that_rounding_cannot_change_needs_no_remark(
    limit: str, answer: str, stands: bool, folder: Path, capsys: Capture
) -> None:
    ran = qsmt(capsys, "verify", write(folder, SUM.format(limit=limit)), "--network", summing(folder))
    assert ran.out.splitlines()[0] == answer
    assert (ran.err == "") == stands and (stands or "whose rounding can move what is compared by" in ran.err)


def test_what_is_known_of_rounding_is_known_of_files_that_are_executed_as_they_are_read(
    folder: Path, capsys: Capture
) -> None:
    """A normalisation is folded into the first layer, and rounds by itself in a runtime."""
    network = summing(folder, shifted=True)
    ran = qsmt(capsys, "verify", write(folder, SUM.format(limit="3.1")), "--network", network)
    assert ran.out == "unsat\n" and "nothing is known of its rounding" in ran.err
    ran = qsmt(
        capsys, "verify", write(folder, SUM.format(limit="3.1")), "--network", summing(folder), "--bits", 8
    )
    assert ran.out == "unsat\n" and "nothing is known of its rounding" in ran.err


def test_the_declared_type_must_be_that_of_the_file(folder: Path, capsys: Capture) -> None:
    (folder / "f.onnx").write_bytes(model([node("Relu", ["x"], ["y"])], x=[1, 2]).SerializeToString())
    text = ONE_TYPED.replace("real", "float32")
    ran = qsmt(capsys, "verify", write(folder, text), "--network", "f=f.onnx")
    assert ran.out == "unsat\n"
    ran = qsmt(
        capsys, "verify", write(folder, text.replace("X float32", "X float16")), "--network", "f=f.onnx"
    )
    assert ran.code == 2 and "X is declared float16, that of f.onnx is float32" in ran.err


def test_an_assignment_is_written_as_tensors(folder: Path, capsys: Capture) -> None:
    """The inputs, as they are printed; the outputs, as they are printed."""
    pairs = ("--network", "f=reference.qir", "--network", "g=quantized.qir")
    for text, kind in ((TWO, np.float64), (FLOATS, np.float32)):
        asked = ("verify", write(folder, text.format(limit=0.001)), *pairs)
        printed = qsmt(capsys, *asked).out.splitlines()
        ran = qsmt(capsys, *asked, "--serialise-assignments", "found")
        assert ran.out == "sat\n"
        for i, (name, shape) in enumerate({"X": (1, 2), "Y": (2,), "V": (1, 2), "W": (2,)}.items()):
            tensor = onnx.load_tensor(folder / "found" / f"{name}.pb")
            values = onnx.numpy_helper.to_array(tensor)
            assert tensor.name == name and values.dtype == kind and values.shape == shape
            expected = [float(v) for v in printed[2 + 3 * i : 4 + 3 * i]]
            assert values.ravel().tolist() == [float(kind(v)) for v in expected]
    ran = qsmt(
        capsys, "verify", write(folder, TWO.format(limit=0.5)), *pairs, "--serialise-assignments", "none"
    )
    assert ran.out == "unsat\n" and not list((folder / "none").iterdir())


@pytest.mark.parametrize("flags", [(), ("--vnnlib-versions", "--onnx-operators")])
def test_supports_takes_exactly_one(flags: tuple[str, ...], capsys: Capture) -> None:
    ran = qsmt(capsys, "supports", *flags)
    assert ran.code == 2 and "name exactly one" in ran.err and ran.out == ""


# --- other properties, from a file ----------------------------------------------------------------------------

CLAIM = 'kind = "error-bound"\nbound = "0.05"\noutputs = [0, 1]\n'


def problem(folder: Path, claim: str, *changes: tuple[str, str]) -> Path:
    text = VALID_PROBLEM.replace(CLAIM, claim)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "problem.toml").write_text(text)
    return folder / "problem.toml"


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ('kind = "output-constraint"\nrequire = ["q[0] <= 9", "q[0] < 0 or r[1] > -9"]\n', "verified"),
        ('kind = "output-constraint"\nforbid = ["q[0] > -9 and r[0] > -9"]\n', "falsified"),
        ('kind = "top-1-agreement"\nmargin = 1\n', "verified"),
        ('kind = "robustness"\nclass = 0\nmargin = 9\n', "falsified"),
        ('kind = "robustness"\nnetwork = "reference"\n', None),
        ('kind = "no-overflow"\n', "verified"),
        ('kind = "no-saturation"\nlayers = [0]\n', None),
    ],
)
def test_a_property_is_checked_and_its_witness_replayed(
    claim: str, verdict: str | None, folder: Path, capsys: Capture
) -> None:
    path, report = problem(folder, claim), folder / "report.json"
    ran = qsmt(capsys, "check", path, "--json", "-o", report)
    assert verdict in (None, ran.report["verdict"])
    assert ran.code == {"verified": 0, "falsified": 1}[ran.report["verdict"]]
    assert qsmt(capsys, "check", path).out.startswith(ran.report["verdict"].upper())
    if ran.code == 1:
        assert qsmt(capsys, "replay", report).out.startswith("CONFIRMED")


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ('kind = "output-constraint"\n', "property.require: is missing, and so is forbid"),
        (
            'kind = "output-constraint"\nrequire = ["q[0]"]\n',
            "property.require[0]: 'q[0]' is not one inequality",
        ),
        ('kind = "output-constraint"\nforbid = ["q[9] < 1"]\n', "there is no output 9"),
        ('kind = "output-constraint"\nforbid = [3]\n', "property.forbid[0]: is 3, not a string"),
        ('kind = "robustness"\nclass = 2\n', "there is no class 2"),
        ('kind = "robustness"\nnetwork = "both"\n', "property.network: is 'both', not one of"),
        ('kind = "top-1-agreement"\nmargin = -1\n', "property.margin: is negative"),
        ('kind = "no-saturation"\nlayers = [1]\n', "layer 1 of @float_fixed_point does not requantize"),
        ('kind = "no-overflow"\nlayers = [7]\n', "there is no layer 7"),
        ('kind = "no-overflow"\nbound = 1\n', "property.bound: is not a key of this table"),
    ],
)
def test_a_property_that_does_not_fit_is_refused(
    claim: str, said: str, folder: Path, capsys: Capture
) -> None:
    ran = qsmt(capsys, "check", problem(folder, claim))
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1


def test_cases_have_the_names_that_a_user_would_write(folder: Path, capsys: Capture) -> None:
    path = problem(
        folder,
        'kind = "output-constraint"\nrequire = ["q[0] <= 9", "q[0] < 0 or r[1] > -9"]\nforbid = ["q[0]>8"]\n',
    )
    ran = qsmt(capsys, "check", path)
    rows = [line.split("[")[0] for line in ran.out.splitlines() if line.endswith((" ≤ 0", " < 0"))]
    assert len(rows) == 3
    for name in ("  q[0] > 9  ", "  q[0] >= 0 and r[1] <= -9  ", "  q[0] > 8  "):
        assert name in ran.out


@pytest.mark.parametrize("form", ["html", "junit"])
def test_a_broken_property_in_other_forms(form: str, folder: Path, capsys: Capture) -> None:
    path = problem(folder, 'kind = "output-constraint"\nforbid = ["q[0] > -9"]\n')
    ran = qsmt(capsys, "check", path, "--format", form)
    assert ran.code == 1 and "it is not so that every output constraint holds" in ran.out
    if form == "html":
        assert (
            "<th>case</th><th>certified to spare</th>" in ran.out and "what the case has to spare" in ran.out
        )
        assert "certified difference</th>" not in ran.out and ">q[0] &gt; -9<" in ran.out


@pytest.mark.parametrize("command", [("bound",), ("crosscheck",), ("tune",), ("analyze", "--attribute")])
def test_some_commands_are_for_error_bounds(command: tuple[str, ...], folder: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, *command, problem(folder, 'kind = "top-1-agreement"\n'))
    assert ran.code == 2 and "is no error bound" in ran.err


def test_layers_are_named_together_where_all_are_verified(folder: Path, capsys: Capture) -> None:
    path = problem(folder, 'kind = "no-overflow"\n')
    ran = qsmt(capsys, "check", path)
    assert ran.out.startswith(
        "VERIFIED  nothing overflows in layer 0; nothing overflows in layer 1, for every"
    )
    assert "made of 2 problems" in qsmt(capsys, "analyze", path).err


def test_radius(folder: Path, capsys: Capture) -> None:
    around = (ENDS, "center = [0, 1]\nradius = 40\nclip = [-128, 127]\n")
    path = problem(folder, CLAIM, around, (BOUND, "bound = 0.2"))
    ran = qsmt(capsys, "radius", path, "--json", "-o", folder / "radius.json")
    assert ran.code == 0 and ran.report["steps"] and ran.report["trust"]
    assert (folder / "radius.json").read_text() == ran.out
    assert qsmt(capsys, "radius", path).out.startswith(f"RADIUS  {ran.report['radius']} verified, of 40")
    ran = qsmt(capsys, "radius", problem(folder, CLAIM))
    assert ran.code == 2 and "has no center" in ran.err


PENDULUM = Path(__file__).parents[3] / "examples" / "pendulum" / "pendulum.onnx"
AROUND = ("--bits", 8, "--center", "0^4", "--radius", "1/8")


def test_radius_from_flags(folder: Path, capsys: Capture) -> None:
    """The same as from a file: on the grid in codes, on the reals in what the network reads."""
    ran = qsmt(capsys, "radius", PENDULUM, *AROUND, "--bound", "0.02", "--json")
    assert ran.code == 0 and ran.report["steps"][0]["radius"] == 64 and isinstance(ran.report["radius"], int)
    tried = {step["radius"]: step["verdict"] for step in ran.report["steps"]}
    found = ran.report["radius"]
    assert tried[found] == "verified" and all(v == "verified" for r, v in tried.items() if r <= found)
    ran = qsmt(capsys, "check", PENDULUM, "--bits", 8, "--box", "[-1/8,1/8]^4", "--bound", "0.02")
    assert (ran.code == 0) == (found == 64)
    ran = qsmt(capsys, "radius", PENDULUM, *AROUND, "--bound", "1", "--input-model", "continuous")
    assert ran.out.startswith("RADIUS  0.125 verified, of 0.125 at most")
    grid = qsmt(capsys, "radius", PENDULUM, *AROUND, "--bound", "1").out
    assert grid.startswith("RADIUS  64 verified, of 64 at most (codes of 0.001953125, which is 0.125)")
    ran = qsmt(capsys, "radius", PENDULUM, *AROUND, "--bound", "0")
    assert (ran.code, ran.out.split()[:2]) == (1, ["RADIUS", "none:"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--radius: is needed with a network file"),
        (("--radius", "0"), "--radius: is not positive"),
        (("--radius", "x"), "--radius: 'x' is not a decimal"),
        (
            ("--radius", "1", "--center", "0^0"),
            "--center: repeats 0 no times, or makes more than 1048576 numbers",
        ),
        (("--radius", "1", "--center", "0,y"), "--center: 'y' is not a decimal"),
        (("--radius", "1", "--center", "0^3"), "has 4 inputs, the region 3"),
    ],
)
def test_bad_flags_of_radius(arguments: tuple[str, ...], said: str, folder: Path, capsys: Capture) -> None:
    asked = {"--bits": "8", "--center": "0^4", "--bound": "1"} | dict(
        zip(arguments[::2], arguments[1::2], strict=True)
    )
    ran = qsmt(capsys, "radius", PENDULUM, *(text for pair in asked.items() for text in pair))
    assert ran.code == 2 and said in ran.err and ran.out == "" and ran.err.count("\n") == 1


def test_a_problem_file_of_radius_takes_no_flags(folder: Path, capsys: Capture) -> None:
    ran = qsmt(capsys, "radius", problem(folder, CLAIM), "--center", "0")
    assert ran.code == 2 and "cannot be combined with --center" in ran.err


def test_an_interrupt_between_problems_leaves_those_that_are_finished(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qsmt.engine import check

    decide, path, done = check.check_all, problem(folder, CLAIM), list[CheckResult]()

    def once(*given: Any) -> tuple[int, CheckResult]:
        if done:
            raise KeyboardInterrupt
        index, found = decide(*given)
        done.append(found)
        return index, found

    monkeypatch.setattr(check, "check_all", once)
    ran = qsmt(capsys, "check", path, path, "--json")
    assert ran.code == 130 and ran.report["verdict"] == "verified"
    assert ran.err.splitlines() == ["qsmt: 1 of 2 problems are decided", "qsmt: interrupted"]
    ran = qsmt(capsys, "check", path, path)
    assert (ran.code, ran.out, ran.err) == (130, "", "qsmt: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bits", 8, "--bound", 1), 'it has 2 inputs: give --box "[-1,1]^2" or one interval each'),
        (
            ("[2,3]", "--bits", 8, "--box", "[0,1]", "--bound", 1),
            "'[2,3]' is no network file; write the whole box",
        ),
        (("--bits", 8, "--box", "[0,1]^2"), "ask qsmt bound what can be proved"),
    ],
)
def test_a_first_try_is_told_what_is_missing(
    arguments: tuple[object, ...], said: str, folder: Path, capsys: Capture
) -> None:
    ran = qsmt(capsys, "check", "reference.qir", *arguments)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
