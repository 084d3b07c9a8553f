"""The linear form of the outputs' difference holds at every input, over the reals, with its doubles as they are.

Held against exact executions: on boxes it is loose by the relaxations, on points by nothing but the slack for
rounding, so that a slack that is too small has no place to hide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qsmt.dra import pairs
from qsmt.dra.analysis import analyze_region
from qsmt.dra.domain import Mode
from qsmt.facts import LinearForm
from qsmt.interp.replay import replay
from qsmt.problem import InputModel, Problem, Region
from tests.unit.dra.wild import Style, points_of, wild_pair, wild_problem

F = Fraction


def broken(
    problem: Problem, points: Sequence[tuple[Fraction, ...]], mode: Mode = Mode.DIFFERENCE
) -> list[str]:
    """Where the form, evaluated exactly, is on the wrong side of the exact difference."""
    form = analyze_region(problem, mode).form
    assert form is not None
    found = []
    for execution in replay(problem, list(points)):
        for i, difference in enumerate(execution.difference):
            low, high = (_value(form, side, i, execution.input) for side in ("lower", "upper"))
            if not low <= difference <= high:
                found.append(f"output {i} at {execution.input}")
    return found


def _value(form: LinearForm, side: str, output: int, x: tuple[Fraction, ...]) -> Fraction | float:
    row, constant = getattr(form, side)[output].tolist(), float(getattr(form, f"{side}_constant")[output])
    if not np.isfinite([*row, constant]).all():
        return np.inf if side == "upper" else -np.inf
    return sum((F(c) * v for c, v in zip(row, x, strict=True)), F(constant))


@pytest.mark.parametrize("mode", [Mode.SYMBOLIC, Mode.DIFFERENCE, Mode.BEST])
@pytest.mark.parametrize("model", list(InputModel))
@pytest.mark.parametrize("seed", range(15))
def test_the_form_holds_on_boxes(seed: int, model: InputModel, mode: Mode) -> None:
    problem = wild_problem(seed, Style((3, 5, 4, 2), model=model, thirds=bool(seed % 2)))
    assert broken(problem, points_of(problem, seed, 40), mode) == []


@pytest.mark.parametrize("make", [wild_problem, wild_pair])
@pytest.mark.parametrize("exponent", [0, 30, 100])
@pytest.mark.parametrize("seed", range(8))
def test_the_form_holds_on_points(make: Callable[[int, Style], Problem], exponent: int, seed: int) -> None:
    problem = make(seed, Style((3, 6, 5, 4, 2), thirds=True, exponent=exponent, wraps=False))
    for point in points_of(problem, seed, 4):
        at = replace(problem, region=Region(problem.region.model, point, point))
        assert broken(at, [point]) == []


# --- without its slack, each of these is wrong -----------------------------------------------------------


def test_without_any_slack_a_form_is_wrong_on_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "gamma", lambda terms: 0.0)
    monkeypatch.setattr(pairs, "raised", lambda values: values)
    monkeypatch.setattr(pairs, "raised_twice", lambda values: values)
    found = list[str]()
    for seed in range(8):
        problem = wild_problem(seed, Style((3, 6, 5, 4, 2), exponent=30, wraps=False))
        for point in points_of(problem, seed, 4):
            found += broken(replace(problem, region=Region(problem.region.model, point, point)), [point])
    assert found


def _without_input_error(form: Any, inputs: Any) -> Any:
    rows, constant = form.h * inputs.scale, form.constant
    return rows + form.delta * np.broadcast_to(inputs.drift, inputs.x.lower.shape)[:, None, :], constant


FAULTS: dict[str, dict[str, Any]] = {
    "the input's difference is forgotten": {"qsmt.dra.domains.over_x": _without_input_error},
    "a row's sign does not matter": {
        "qsmt.dra.pairs._spread": lambda pair: pairs.Spread(
            *(v[:, None, :] for v in (0.5 * pair[0] + 0.5 * pair[1], 0.0 * pair[0]))
        )
    },
    "biases are forgotten": {"qsmt.dra.pairs._constants": lambda through, alpha, beta, gammas: gammas},
    "the two networks differ by nothing": {
        "qsmt.dra.trace.maps": lambda layer, read, kept: pairs.maps(
            replace(layer, gap=replace(layer.gap, weight=0 * layer.gap.weight, bias=0 * layer.gap.bias)),
            read,
            kept,
        )
    },
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_form_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for target, wrong in FAULTS[name].items():
        monkeypatch.setattr(target, wrong)
    problems = [
        wild_problem(seed, Style((3, 5, 4, 2), model=model)) for seed in range(10) for model in InputModel
    ]
    assert any(broken(problem, points_of(problem, 1, 40)) for problem in problems)
