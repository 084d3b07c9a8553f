"""What a search leaves open, the encodings bound: soundly, by exact executions, and only by who counts."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from threading import Event, Timer

import pytest

from qsmt.arith.fixed import Fixed
from qsmt.arith.outward import float_down, float_up
from qsmt.encoding import Objective
from qsmt.engine import bound as bounding
from qsmt.engine import maxima
from qsmt.engine.bound import BoundResult, bound
from qsmt.engine.investigation import Investigation
from qsmt.engine.leaves import empty
from qsmt.engine.plan import Options, Trust
from qsmt.errors import SoundnessError
from qsmt.problem import InputModel, Problem
from qsmt.solver.base import Limits, Optimum
from qsmt.solver.process import CallFailed, Worker
from qsmt_milp import MilpEncoding
from qsmt_milp.backends.gurobi import GurobiBackend
from qsmt_milp.backends.highs import HighsBackend
from qsmt_milp.encoding import MilpEncoded
from qsmt_milp.model import Model
from tests.support.in_process import InProcessWorker
from tests.support.networks import Recipe, random_problem
from tests.support.truth import true_range

OPTIONS = Options(jobs=1, timeout_s=60.0, backend="highs")
CLOSE = 1e-3


@pytest.fixture(autouse=True)
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search leaves the whole region open; solvers work in this process, so that faults can be planted."""
    monkeypatch.setattr(bounding, "SEARCH_SHARE", 0.0)
    monkeypatch.setattr(bounding, "ends_in_time", lambda _: False)
    monkeypatch.setattr(maxima, "Worker", InProcessWorker)


def small(seed: int) -> Problem:
    return random_problem(
        seed, Recipe(sizes=(2, 4, 3, 2), hidden=Fixed(False, 4, 2), radius=3, reference_frac=3)
    )


def assert_tight(problem: Problem, found: BoundResult, *, slack: float) -> None:
    for output in found.outputs:
        low, high = true_range(problem, output.index)
        assert float_down(low) - slack <= output.certified[0] <= low
        assert high <= output.certified[1] <= float_up(high) + slack


@pytest.mark.parametrize("seed", range(6))
def test_a_numerical_solver_bounds_what_is_open_and_is_named(seed: int) -> None:
    problem = small(seed)
    found = bound(problem, OPTIONS)
    assert_tight(problem, found, slack=CLOSE)
    assert found.trust == ("milp:highs",)
    assert [stage.name for stage in found.stages][-1] == "encodings"


def test_under_exact_trust_a_grid_is_bounded_exactly() -> None:
    """Mostly the certificate is of the witnessed maximum itself; else of next to nothing more."""
    exact = 0
    for seed in range(6):
        problem = small(seed)
        found = bound(problem, replace(OPTIONS, trust=Trust.EXACT, backend="certified"))
        assert found.trust == ("milp-certified",)
        assert_tight(problem, found, slack=1e-5)
        if found.reason is None:
            assert_tight(problem, found, slack=0.0)
            exact += 1
    assert exact >= 4


def test_under_exact_trust_a_numerical_bound_does_not_count() -> None:
    problem = small(0)
    found = bound(problem, replace(OPTIONS, trust=Trust.EXACT))
    assert found.trust == () and found.reason is not None
    assert "no solver" in found.stages[-1].summary
    assert_tight(problem, found, slack=float("inf"))


def test_real_inputs_are_bounded_from_samples() -> None:
    """The witnesses of a continuous region are within the certified bounds, and not far."""
    problem = small(3)
    region = replace(problem.region, model=InputModel.CONTINUOUS)
    found = bound(replace(problem, region=region), OPTIONS)
    assert found.trust == ("milp:highs",)
    for output in found.outputs:
        low, high = true_range(problem, output.index)  # of the grid, which is part of the region
        assert output.certified[0] <= low and high <= output.certified[1]


def test_without_encodings_the_question_is_not_asked() -> None:
    found = bound(small(0), Options(jobs=1, timeout_s=0.5, encoding="none"))
    assert all(stage.name != "encodings" for stage in found.stages)


def test_the_label_is_that_of_who_solved_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model beyond gurobi's licence goes to another solver."""
    if (reason := GurobiBackend().available()) is not None:
        pytest.skip(reason)
    for place in ("qsmt_milp.backends.gurobi", "qsmt_milp.encoding"):
        monkeypatch.setattr(f"{place}.has_full_licence", lambda: False)
    monkeypatch.setattr("qsmt_milp.backends.gurobi.FREE_SIZE", 5)
    assert bound(small(0), replace(OPTIONS, backend="gurobi")).trust == ("milp:highs",)


def test_an_interrupt_ends_a_call_that_is_under_way() -> None:
    stop, begun = Event(), time.monotonic()
    run = Investigation(small(0), OPTIONS)
    stage = maxima.Maxima(run, empty(2), Fraction(0), stop.is_set)
    Timer(0.3, stop.set).start()
    with Worker(1024) as worker, pytest.raises(CallFailed), stage._interruptible(worker):
        worker.call(time.sleep, (60.0,), timeout_s=60.0)
    assert time.monotonic() - begun < 30


# --- planted faults -----------------------------------------------------------------------------------------


def test_a_solver_whose_bound_is_too_low_is_an_alarm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    honest = HighsBackend.maximize

    def eager(self: HighsBackend, model: Model, limits: Limits) -> Optimum:
        found = honest(self, model, limits)
        assert found.upper is not None
        return replace(found, upper=found.upper - Fraction(1, 10))

    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setattr(HighsBackend, "maximize", eager)
    with pytest.raises(SoundnessError, match=r"outside the certified .* rests on milp:highs"):
        bound(small(1), OPTIONS)


def test_an_objective_of_the_wrong_side_is_an_alarm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    honest = MilpEncoding.encode_objective

    def turned(self: MilpEncoding, objective: Objective) -> MilpEncoded:
        query = objective.query
        other = replace(query, side=-1) if query.side > 0 else replace(query, side=1)
        return honest(self, replace(objective, query=other))

    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setattr(MilpEncoding, "encode_objective", turned)
    alarms = 0
    for seed in range(4):
        try:
            found = bound(small(seed), OPTIONS)
        except SoundnessError:
            alarms += 1
            continue
        with pytest.raises(AssertionError):
            assert_tight(small(seed), found, slack=CLOSE)
    assert alarms
