"""Networks with tanh, sigmoid, hard swish, leaky ReLU through the whole pipeline: no verdict outruns its proof."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Fixed
from qsmt.arith.real import RealTensor
from qsmt.dra.domain import Mode
from qsmt.engine.analyze import analyze
from qsmt.engine.bound import bound
from qsmt.engine.check import check
from qsmt.engine.export import export
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import Options
from qsmt.engine.trial import executions
from qsmt.errors import SoundnessError
from qsmt.frontend.base import load_network
from qsmt.interp.replay import Execution, keeps, replay, violated
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.verdict import Falsified, Unknown, Verified, Witness
from tests.support.any_network import Kind, curved
from tests.support.networks import Recipe, random_problem, reference_network, with_bound
from tests.support.shared import shared_data
from tests.support.truth import all_points

F = Fraction
KINDS: list[Kind] = [*Function, F(1, 10)]


def pair(kind: Kind, *, seed: int = 1, off: float = 0.001) -> Problem:
    """Two real networks 3-6-6-1 of one shape; the second is a little off."""
    rng = np.random.default_rng(seed)
    shapes = [(6, 3), (6, 6), (1, 6)]
    ours = [(rng.normal(size=s), rng.normal(size=s[0])) for s in shapes]
    theirs = [(w + off * rng.normal(size=w.shape), b) for w, b in ours]
    reference, second = (curved(reference_network(p, clip=None), [kind, kind, None]) for p in (ours, theirs))
    region = Region(InputModel.CONTINUOUS, (F(-1),) * 3, (F(1),) * 3)
    made = random_problem(0, Recipe(sizes=(3, 1)))
    return replace(made, reference=reference, quantized=second, region=region, input_scale=F(1))


def grid(kind: Kind) -> Problem:
    """An integer network beside a real one, on a grid of 25 points."""
    problem = random_problem(4, Recipe(sizes=(2, 4, 1)))
    return replace(problem, reference=curved(problem.reference, [kind, None]))


def reach(problem: Problem) -> tuple[Fraction, Fraction]:
    """Rationals around the largest difference on a grid."""
    found = replay(problem, all_points(problem))
    return max(e.exceeds(0) for e in found), max(max(-e.range_of(0)[0], e.range_of(0)[1]) for e in found)


@pytest.mark.parametrize("kind", KINDS)
def test_two_real_networks_are_bounded_proved_and_refuted(kind: Kind) -> None:
    problem = pair(kind)
    found = bound(problem, Options(jobs=1, timeout_s=60), gap=F(1, 1000))
    (low, high), extremes = found.outputs[0].certified, found.outputs[0].extremes
    assert extremes is not None
    assert low <= extremes[0] <= extremes[1] <= high
    assert max(-low, high) - max(-extremes[0], extremes[1]) <= 0.0011
    proved = check(with_bound(problem, F(max(-low, high))), Options(jobs=1))
    assert isinstance(proved.verdict, Verified)
    refuted = check(with_bound(problem, F(9, 10) * max(-extremes[0], extremes[1])), Options(jobs=1))
    assert isinstance(refuted.verdict, Falsified)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", KINDS)
def test_every_mode_of_analysis_contains_what_happens(kind: Kind, mode: Mode) -> None:
    problem = pair(kind)
    low, high = analyze(problem, mode, seconds=1.0).outputs[0].certified
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    for execution in replay(problem, [tuple(map(F, x)) for x in points.tolist()]):
        assert low <= execution.difference[0] <= high
    assert high - low < (30.0 if mode in (Mode.NAIVE, Mode.SYMBOLIC) else 3.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_grid_is_decided_to_the_last_digits(kind: Kind) -> None:
    problem = grid(kind)
    least, most = reach(problem)
    assert isinstance(check(with_bound(problem, most), Options(jobs=1)).verdict, Verified)
    below = check(with_bound(problem, least - F(1, 2**100)), Options(jobs=1)).verdict
    assert isinstance(below, Falsified)
    assert below.witness.radius < F(1, 2**100)
    found = bound(problem, Options(jobs=1)).outputs[0]
    assert max(-found.certified[0], found.certified[1]) == pytest.approx(float(most), abs=1e-12)


@pytest.mark.parametrize("one_point", [False, True])
@pytest.mark.parametrize("kind", [Function.TANH, Function.SIGMOID])
def test_a_bound_inside_the_enclosure_is_neither_proved_nor_refuted(kind: Kind, one_point: bool) -> None:
    problem = grid(kind)
    if one_point:
        worst = max(replay(problem, all_points(problem)), key=lambda e: abs(e.difference[0]))
        problem = replace(problem, region=Region(InputModel.GRID, worst.input, worst.input))
    least, most = reach(problem)
    assert least < most
    found = check(with_bound(problem, (least + most) / 2), Options(jobs=1)).verdict
    assert isinstance(found, Unknown)
    assert "too close to the bound to tell" in found.reason


def test_what_cannot_be_encoded_is_left_undecided_with_a_reason() -> None:
    problem = pair(Function.TANH)
    low, high = analyze(problem, Mode.BEST).outputs[0].certified
    tight = with_bound(problem, F(max(-low, high)) * F(99, 100))
    found = check(tight, Options(jobs=1, encoding="milp", falsifies=False))
    assert isinstance(found.verdict, Unknown)
    assert "there are no rows for tanh" in found.verdict.reason
    assert isinstance(check(tight, Options(jobs=1)).verdict, Verified)  # the search decides it


def test_the_encodings_decide_a_leaky_relu_that_search_is_kept_from() -> None:
    problem = grid(F(1, 4))
    least, _ = reach(problem)
    options = Options(jobs=1, encoding="milp", falsifies=False)
    assert isinstance(check(with_bound(problem, least), options).verdict, Verified)
    assert isinstance(check(with_bound(problem, least - F(1, 2**30)), options).verdict, Falsified)


def test_nothing_is_exported_for_a_function_without_a_formula(tmp_path: Path) -> None:
    written = export(with_bound(pair(Function.SIGMOID), F(1, 10**6)), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".mps", ".smt2")]
    assert "no rows for sigmoid" in str(written)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("ACC_controller_tanh", (30, "1.4", 30, 79, "1.8"), (30, "1.4", "30.2", 100, "2.2")),
        ("TORA_ReLUtanh_controller", ("-0.77", "-0.45", "0.51", "-0.3"), ("-0.75", "-0.43", "0.54", "-0.28")),
    ],
)
def test_a_published_controller_is_compared_with_its_half_precision_copy(
    name: str, low: tuple[str, ...], high: tuple[str, ...]
) -> None:
    """Over the initial set that was published with it."""
    network = load_network(shared_data() / "arch_controllers" / f"{name}.onnx")
    region = Region(InputModel.CONTINUOUS, tuple(map(F, low)), tuple(map(F, high)))
    problem = Problem(network, in_half_precision(network), region, F(1), ErrorBound((0,), (F(1),)))
    found = bound(problem, Options(jobs=1, timeout_s=60), gap=F(1, 500)).outputs[0]
    assert found.extremes is not None
    reached = max(-found.extremes[0], found.extremes[1])
    assert found.certified[1] - found.certified[0] < 0.1
    assert isinstance(
        check(with_bound(problem, F(max(-found.certified[0], found.certified[1])))).verdict, Verified
    )
    assert isinstance(check(with_bound(problem, reached * F(99, 100))).verdict, Falsified)


def in_half_precision(network: Network) -> Network:
    """Every parameter rounded to half precision."""

    def rounded(const: Const) -> Const:
        return replace(const, data=RealTensor.of_floats(const.reals.nearest.astype(np.float16)))

    ops: list[Op] = [
        replace(op, weight=rounded(op.weight), bias=rounded(op.bias)) if isinstance(op, Affine) else op
        for op in network.ops
    ]
    return replace(network, ops=tuple(ops))


# --- executions that are known between rationals ------------------------------------------------------------


def execution(middle: Fraction, radius: Fraction) -> Execution:
    return Execution((F(0),), (F(0),), (middle,), (radius,))


CLAIM = with_bound(random_problem(0, Recipe(sizes=(1, 1), input=Fixed(True, 4, 0))), F(1))
AT_ZERO = replace(CLAIM, region=Region(InputModel.GRID, (F(-1),), (F(1),)))


@pytest.mark.parametrize("sign", [1, -1])
def test_only_a_whole_interval_beyond_the_bound_is_a_violation(sign: int) -> None:
    half = F(1, 2)
    assert violated(AT_ZERO, execution(sign * (1 + half), F(1, 4))) == 0
    assert violated(AT_ZERO, execution(sign * (1 + half), half)) is None
    assert not keeps(AT_ZERO, execution(sign * (1 + half), half))
    assert not keeps(AT_ZERO, execution(sign * half, half + F(1, 10**30)))
    assert keeps(AT_ZERO, execution(sign * half, half))


def test_a_witness_must_exceed_the_bound_by_more_than_its_radius() -> None:
    with pytest.raises(ValueError, match="does not exceed"):
        Falsified(Witness((F(0),), 0, (F(0),), (F(2),), F(1)), F(1))


def test_an_execution_is_outside_what_is_certified_only_with_its_whole_interval(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # for the alarm's folder
    run = Investigation(AT_ZERO, Options())
    run.certify(np.array([-1.0]), np.array([1.0]))
    monkeypatch.setattr("qsmt.engine.investigation.replay", lambda _, points: [execution(F(3, 2), F(1))])
    run.observe([(F(0),)])
    assert run.is_undecided
    run.verify(["dra"])
    assert isinstance(run.outcome, Unknown)
    monkeypatch.setattr("qsmt.engine.investigation.replay", lambda _, points: [execution(F(3), F(1))])
    with pytest.raises(SoundnessError, match="outside the certified"):
        run.observe([(F(0),)])
    (report,) = tmp_path.glob("qsmt-alarm-*/report.json")
    assert json.loads(report.read_text())["witness"]["exact"] == "3"


def test_bounds_that_contain_nothing_are_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every region has an input, whether one was executed or not: such bounds would prove any claim."""
    run = Investigation(AT_ZERO, Options())
    monkeypatch.setattr("qsmt.engine.investigation.alarm_folder", lambda *_: "folder")
    run.certify(np.array([-1.0]), np.array([0.5]))
    with pytest.raises(SoundnessError, match="where nothing is"):
        run.certify(np.array([1.0]), np.array([2.0]))


def test_a_grid_of_irrational_values_makes_no_trials() -> None:
    assert executions(grid(Function.TANH)) is None
    assert executions(grid(Function.HARD_SWISH)) is not None
