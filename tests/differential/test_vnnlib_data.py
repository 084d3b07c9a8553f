"""VNN-LIB files that others wrote: ACAS Xu, cart pole, lunar lander, and pairs of ACAS Xu networks.

What is expected of the float networks is what is published of them. A witness is run by onnxruntime too, in floats.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from qsmt.engine.check import check
from qsmt.engine.load import load_problem
from qsmt.engine.plan import Options
from qsmt.engine.vnnlib import Answer, answer, load_question
from qsmt.verdict import Falsified
from tests.support.shared import shared_data

F = Fraction
OPTIONS = Options(timeout_s=120, jobs=1)


def acas(network: str) -> Path:
    return shared_data() / "acasxu" / "onnx" / f"ACASXU_run2a_{network}_batch_2000.onnx"


def acas_property(number: int) -> Path:
    return shared_data() / "acasxu" / "vnnlib" / f"prop_{number}.vnnlib"


def by_onnxruntime(path: Path, x: tuple[Fraction, ...], shape: tuple[int, ...]) -> list[float]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = np.array([float(v) for v in x], dtype=np.float32).reshape(shape)
    outputs = session.run(None, {session.get_inputs()[0].name: values})[0]
    return [float(v) for v in np.ravel(outputs)]


@pytest.mark.parametrize(
    ("network", "number", "expected"),
    [
        ("1_1", 3, Answer.UNSAT),
        ("1_1", 4, Answer.UNSAT),
        ("2_2", 2, Answer.SAT),
        ("2_2", 4, Answer.UNSAT),
        ("3_3", 1, Answer.UNSAT),
        ("4_5", 2, Answer.SAT),
    ],
)
def test_acas_xu_in_floats(network: str, number: int, expected: Answer) -> None:
    found = answer(load_question(acas_property(number), {"f": acas(network)}), OPTIONS)
    assert found.answer is expected
    if expected is Answer.SAT:
        assert found.inputs is not None
        outputs = by_onnxruntime(acas(network), found.inputs, (1, 1, 1, 5))
        assert max(range(5), key=lambda i: outputs[i]) == 0  # property 2 is broken: COC is the maximum


@pytest.mark.parametrize("bits", [8, 12])
def test_acas_xu_quantized(bits: int) -> None:
    question = load_question(acas_property(4), {"f": acas("1_1")}, bits=bits)
    found = answer(question, OPTIONS)
    assert found.answer in (Answer.SAT, Answer.UNSAT)
    if found.answer is Answer.SAT:
        assert found.outputs[0][0] == min(found.outputs[0])  # property 4 is broken: COC is minimal


@pytest.mark.parametrize("name", ["cartpole_case_safe_14", "lunarlander_case_safe_0"])
@pytest.mark.parametrize("bits", [None, 8])
def test_controllers_of_the_competition(name: str, bits: int | None) -> None:
    folder = shared_data() / "vnncomp_rl"
    model = {"f": folder / f"{name.split('_', maxsplit=1)[0]}.onnx"}
    question = load_question(folder / "vnnlib" / f"{name}.vnnlib.gz", model, bits=bits)
    found = answer(question, OPTIONS)
    assert found.answer in (Answer.SAT, Answer.UNSAT)
    if bits is None and found.answer is Answer.SAT:
        assert found.inputs is not None
        outputs = by_onnxruntime(model["f"], found.inputs, (1, len(found.inputs)))
        assert outputs == pytest.approx([float(v) for v in found.outputs[0]], abs=1e-4)


LOWER, UPPER = ("0.6", "-0.5", "-0.5", "0.45", "-0.5"), ("0.61", "-0.45", "-0.45", "0.46", "-0.45")


def pair_query(bound: str) -> str:
    """All outputs within a bound of each other, on a part of property 1's region."""
    lines = [
        "(vnnlib-version <2.0>)",
        "(declare-network f (declare-input X real [1,1,1,5]) (declare-output Y real [1,5]))",
        "(declare-network g (isomorphic-to f)",
        "  (declare-input V real [1,1,1,5]) (declare-output W real [1,5]))",
    ]
    for i, (low, high) in enumerate(zip(LOWER, UPPER, strict=True)):
        x = f"X[0,0,0,{i}]"
        lines.append(f"(assert (and (>= {x} {low}) (<= {x} {high}) (== {x} V[0,0,0,{i}])))")
    apart = [
        f"({sign} (- Y[0,{i}] W[0,{i}]) {b})"
        for i in range(5)
        for sign, b in ((">", bound), ("<", f"-{bound}"))
    ]
    return "\n".join([*lines, f"(assert (or {' '.join(apart)}))", ""])


PROBLEM = """\
schema = "qsmt.problem/1"
[reference]
network = "{folder}/{name}.onnx"
[quantized]
network = "{folder}/{name}_{pruned}.onnx"
scheme = "float"
[region]
model = "continuous"
lower = [{lower}]
upper = [{upper}]
[property]
kind = "error-bound"
bound = "{bound}"
"""


@pytest.mark.parametrize(
    ("network", "pruned"), [("1_1", "pruned5"), ("2_2", "pruned10"), ("3_3", "pruned30")]
)
@pytest.mark.parametrize("bound", ["0.05", "0.0001"])
def test_a_query_of_two_networks_is_answered_as_check_answers(
    network: str, pruned: str, bound: str, tmp_path: Path
) -> None:
    folder, name = shared_data() / "acasxu_pairs", f"ACASXU_run2a_{network}_batch_2000"
    (tmp_path / "q.vnnlib").write_text(pair_query(bound))
    ends = {"lower": ", ".join(LOWER), "upper": ", ".join(UPPER)}
    (tmp_path / "p.toml").write_text(
        PROBLEM.format(folder=folder, name=name, pruned=pruned, bound=bound, **ends)
    )
    files = {"f": folder / f"{name}.onnx", "g": folder / f"{name}_{pruned}.onnx"}
    found = answer(load_question(tmp_path / "q.vnnlib", files), OPTIONS)
    checked = check(load_problem(tmp_path / "p.toml").problem, OPTIONS).verdict
    assert found.answer is (Answer.SAT if isinstance(checked, Falsified) else Answer.UNSAT)
