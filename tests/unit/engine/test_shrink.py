"""What is wrong is shrunk to next to nothing, and left as files that the other commands read."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from qsmt.arith.runtime_kinds import RuntimeKind
from qsmt.arith.units import each
from qsmt.engine.campaign import Configuration, Panel, Results, conduct, random_cases
from qsmt.engine.faults import FAULTS
from qsmt.engine.load import load_problem
from qsmt.engine.random_affine import Form, affine_problem
from qsmt.engine.random_problem import Size, random_problem
from qsmt.engine.reexecute import reexecute
from qsmt.engine.shrink import shrunk_cases
from qsmt.engine.smaller import smaller
from qsmt.interp.replay import replay
from qsmt.ir.ops import PerNeuron, Requantize
from qsmt.ir.types import units_of
from qsmt.problem import Problem
from qsmt.solver.base import Limits

BITWUZLA = Configuration("bitvector", True, "bitwuzla")


def measure(problem: Problem) -> tuple[int, int]:
    """Neurons and inputs times points; what no smaller problem has more of."""
    return sum(a.pre.size for a, _ in problem.layers) + problem.input_size, problem.region.points or 0


@pytest.mark.parametrize("seed", range(8))
def test_smaller_problems_are_no_larger_and_run(seed: int) -> None:
    problem = random_problem(seed, Size.MEDIUM)
    made = list(smaller(problem, 0))
    assert made
    for candidate, output in made:
        assert all(a <= b for a, b in zip(measure(candidate), measure(problem), strict=True))
        assert candidate.sha256 != problem.sha256
        replay(candidate, [candidate.region.lower])[0].difference[output]


def test_what_each_neuron_has_of_its_own_is_cut_with_it() -> None:
    """Scales and rules per channel: without one hidden neuron, the others round as before."""
    problem = affine_problem(1, Form("f32mul", per_channel=True), sizes=(2, 4, 1))
    rules = _rules(problem)
    found = [
        _rules(made)
        for made, _ in smaller(problem, 0)
        if made.input_size == 2 and made.layers[0][1].pre.size == 3
    ]
    assert found == [[rule for i, rule in enumerate(rules) if i != gone] for gone in range(4)]


def _rules(problem: Problem) -> list[tuple[RuntimeKind, Fraction, Fraction]]:
    """Of each neuron of the first hidden layer: how it is rounded, and the units of its sum and of its weights."""
    layer = problem.layers[0][1]
    (op,) = layer.activation
    units = [each(units_of(v.type.element), layer.pre.size) for v in (layer.pre, layer.affine.weight)]  # type: ignore[arg-type]
    assert isinstance(op, Requantize) and isinstance(op.kind, PerNeuron)
    return list(zip(op.kind.kinds, *units, strict=True))


def test_without_an_output_the_other_one_computes_the_same() -> None:
    seed = next(s for s in range(99) if random_problem(s, Size.SMALL).reference.output.size == 2)
    problem = random_problem(seed, Size.SMALL)
    single, output = next(smaller(problem, 1))
    x = [problem.region.upper]
    assert output == 0 and single.reference.output.size == 1
    assert replay(single, x)[0].difference[0] == replay(problem, x)[0].difference[1]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Panel, Results]:
    monkeypatch.chdir(tmp_path)
    panel = Panel((BITWUZLA,), Limits(20.0), FAULTS["weight-sign"])
    return panel, conduct(panel, random_cases(30, 0, Size.MEDIUM))


def test_a_case_is_shrunk_and_left_as_files(planted: tuple[Panel, Results]) -> None:
    panel, results = planted
    (case,) = shrunk_cases(results, panel)
    problem = load_problem(case.folder / "problem.toml").problem
    assert problem.sha256 == case.found.trial.problem.sha256
    before = results.disagreements[0].trial.problem
    assert measure(problem) < measure(before) and measure(problem)[0] <= 5
    assert (case.folder / "bitvector.smt2").read_text().startswith(";")
    record = json.loads((case.folder / "answers.json").read_text())
    assert record["seed"] == results.disagreements[0].seed and record["wrong"]
    assert reexecute(case.folder / "report.json").confirmed == case.found.trial.violated


def test_without_disagreement_there_is_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    panel = Panel((BITWUZLA,), Limits(20.0))
    assert shrunk_cases(conduct(panel, random_cases(2, 0, Size.SMALL)), panel) == ()
    assert list(tmp_path.iterdir()) == []


def test_what_is_shrunk_is_still_at_the_same_distance_from_its_maximum(
    planted: tuple[Panel, Results],
) -> None:
    panel, results = planted
    (case,) = shrunk_cases(results, panel)
    made = case.found.trial
    assert made.offset == results.disagreements[0].trial.offset
    assert made.witness is not None
    reached = made.query.side * made.witness.difference[made.query.output]
    assert made.query.bound == reached + (made.offset or Fraction(0))
