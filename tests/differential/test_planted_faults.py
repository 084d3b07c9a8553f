"""A cross-check that cannot fail is worthless: every planted fault makes it stop, or is refuted by replay."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from qsmt import encoding as seam
from qsmt.arith.fixed import Fixed
from qsmt.engine import choice, portfolio
from qsmt.engine.alarm import write_problem
from qsmt.engine.check import CheckResult, check
from qsmt.engine.load import load_problem
from qsmt.engine.plan import CrossCheck, Options
from qsmt.errors import SoundnessError
from qsmt.interp import quantized
from qsmt.ir.ops import Affine, Requantize
from qsmt.problem import Problem
from qsmt.verdict import Falsified, Verified
from tests.differential.test_agreement import worst_side
from tests.support.faults import FAULTS, Faulty
from tests.support.in_process import InProcessWorker
from tests.support.networks import Recipe, random_problem, with_bound

SEEDS = range(12)
RECIPE = Recipe(sizes=(2, 3, 1), hidden=Fixed(False, 3, 2), reference_frac=3)


@pytest.fixture(autouse=True)
def _in_a_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(portfolio, "Worker", InProcessWorker)


def problems() -> list[tuple[Problem, bool]]:
    """Bounds just below and just above the maximum, and whether the claim is true."""
    found = []
    for seed in SEEDS:
        problem = random_problem(seed, RECIPE)
        _, _, maximum, denominator = worst_side(problem)
        tiny = Fraction(1, 8 * denominator)
        bounds = (max(maximum - tiny, Fraction(0)), maximum)
        found += [(with_bound(problem, bound), maximum <= bound) for bound in bounds]
    return found


def decide(problem: Problem, name: str) -> CheckResult:
    """Residual queries straight to the named encoding, all of them cross-checked; no help from search."""
    return check(problem, Options(encoding=name, cross_check=CrossCheck.ALL, falsifies=False))


@pytest.mark.parametrize("name", ["bitvector", "milp"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_an_encoding_is_caught(name: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = seam.encodings()
    faulty = {k: Faulty(e, FAULTS[fault]) if k == name else e for k, e in genuine.items()}
    for module in (seam, choice):
        monkeypatch.setattr(module, "encodings", lambda: faulty)
        monkeypatch.setattr(module, "load", faulty.__getitem__)
    alarms = refutations = 0
    for problem, holds in problems():
        try:
            verdict = decide(problem, name).verdict
        except SoundnessError:
            alarms += 1
            continue
        refutations += not isinstance(verdict, Verified | Falsified)
        assert not (isinstance(verdict, Verified) and not holds), (
            f"a wrong proof went through: {problem.sha256}"
        )
        assert not (isinstance(verdict, Falsified) and holds), "a false alarm went through"
    assert alarms + refutations > 0


def test_without_a_fault_there_is_no_alarm_and_every_verdict_is_right() -> None:
    for problem, holds in problems():
        for name in ("bitvector", "milp"):
            assert isinstance(decide(problem, name).verdict, Verified if holds else Falsified)


@pytest.mark.parametrize("kind", ["rounding", "saturation", "bias", "sign", "threshold"])
def test_a_fault_in_the_quantized_interpreter_is_caught(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact interpreter confirms every witness and every extreme point: it cannot be wrong unnoticed."""
    _plant(kind, monkeypatch)
    caught = 0
    for seed in SEEDS:
        problem = with_bound(random_problem(seed, RECIPE), Fraction(0))
        for options in (
            Options(encoding="none", falsifies=False),
            Options(encoding="bitvector", falsifies=False),
        ):
            try:
                caught += not isinstance(check(problem, options).verdict, Verified | Falsified)
            except SoundnessError:
                caught += 1
    assert caught > 0


def _plant(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace one rule of the oracle by a faulty one."""
    table = quantized.RULES._table
    affine, requantize = table[Affine], table[Requantize]
    faulty = {
        "rounding": lambda op, x: requantize(op, x - 2 ** (op.kind.shift - 1)),
        "saturation": lambda op, x: (
            op.rule.target.min + (requantize(op, x) - op.rule.target.min) % op.rule.target.max
        ),
        "bias": lambda op, x: affine(op, x) + 1,
        "sign": lambda op, x: affine(op, x * ([-1] + [1] * (x.shape[1] - 1))),
        "threshold": lambda op, x: requantize(op, x - 1),
    }
    monkeypatch.setitem(table, Affine if kind in ("bias", "sign") else Requantize, faulty[kind])


def test_an_alarm_leaves_a_problem_that_loads_as_the_same_problem(tmp_path: Path) -> None:
    problem = with_bound(
        random_problem(1, Recipe(sizes=(3, 4, 2), input_scale=Fraction(1, 15))), Fraction(1, 3)
    )
    assert load_problem(write_problem(problem, tmp_path)).problem.sha256 == problem.sha256
