"""The solvers behind the encoding: what they answer, what they are told, and what happens without them."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import SimpleNamespace

import pytest

from qsmt.solver.base import Backend, Limits, Status
from qsmt_milp import MilpEncoding
from qsmt_milp.backends import gurobi, highs
from qsmt_milp.backends.gurobi import FREE_SIZE, GurobiBackend
from qsmt_milp.backends.highs import HighsBackend
from qsmt_milp.backends.scip import ScipBackend
from qsmt_milp.model import Builder, Model, combination
from tests.support.networks import Recipe, random_problem
from tests.unit.milp.oracle import no_facts, query

BACKENDS: tuple[Backend[Model], ...] = (HighsBackend(), GurobiBackend(), ScipBackend())
LIMITS = Limits(wall_s=30)


@pytest.fixture(params=BACKENDS, ids=lambda b: b.name)
def backend(request: pytest.FixtureRequest) -> Backend[Model]:
    found: Backend[Model] = request.param
    reason = found.available()
    return found if reason is None else pytest.skip(reason)


@pytest.fixture
def full_gurobi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qsmt_milp.encoding.has_full_licence", lambda: True)


def knapsack(n: int, target: int) -> Model:
    """Is there a choice of odd numbers with this sum? No, if the sum is odd and their number even."""
    builder = Builder()
    chosen = [builder.binary(f"b{i}") for i in range(n)]
    weights = [2 * ((i * 37) % 101) + 1 for i in range(n)]
    builder.equal("sum", combination(weights, chosen), target)
    builder.equal("count", combination([1] * n, chosen), n // 2)
    return builder.model("a knapsack", combination([1] * n, chosen))


def test_sat_unsat_and_the_assignment(backend: Backend[Model]) -> None:
    builder = Builder()
    x, y = builder.variable("x", 0, 10, integer=True), builder.variable("y", 0, 10, integer=False)
    builder.equal("tie", y * 2 - x * 3)
    for limit, want in ((7, Status.SAT), (16, Status.UNSAT)):
        builder.at_least(f"sum{limit}", x + y, limit)
        answer = backend.solve(builder.model("", x), LIMITS)
        assert answer.status is want
        if answer.assignment is not None:
            assert answer.assignment["y"] * 2 == answer.assignment["x"] * 3
            assert sum(answer.assignment.values()) >= 7


def test_a_time_limit_gives_unknown_with_the_reason(backend: Backend[Model]) -> None:
    answer = backend.solve(knapsack(60, 2001), Limits(wall_s=0.0))
    assert answer.status is Status.UNKNOWN
    assert answer.assignment is None and "ime limit" in (answer.reason or "")


def test_threads_and_seed_may_change_from_one_query_to_the_next(backend: Backend[Model]) -> None:
    problem = random_problem(3, Recipe(sizes=(2, 4, 3, 1)))
    encoded = MilpEncoding().encode(query(problem, Fraction(1, 16), 1, no_facts(problem)))
    limits = (Limits(wall_s=30, threads=n, seed=n) for n in (1, 2, 1))
    assert len({backend.solve(encoded.model, limit).status for limit in limits}) == 1


def test_nothing_is_printed(backend: Backend[Model], capfd: pytest.CaptureFixture[str]) -> None:
    gurobi._session.cache_clear()
    gurobi.has_full_licence.cache_clear()
    assert MilpEncoding().backends()
    backend.solve(knapsack(6, 12), LIMITS)
    assert capfd.readouterr() == ("", "")


def test_a_solution_clear_of_the_edge_is_looked_for(backend: Backend[Model]) -> None:
    """With `enough` beyond reach, the search goes on to the best solution; without it, to any."""
    builder = Builder()
    x = builder.variable("x", 0, 1, integer=False)
    k = builder.variable("k", 0, 7, integer=True)
    builder.at_least("threshold", x + k, 3)
    answer = backend.solve(builder.model("", x + k, enough=100), LIMITS)
    assert answer.assignment is not None and sum(answer.assignment.values()) == 8


def test_labels(backend: Backend[Model]) -> None:
    assert backend.trust == f"milp:{backend.name}" and not backend.exact


# --- HiGHS --------------------------------------------------------------------------------------------------


def test_this_highs_takes_every_option() -> None:
    highspy = pytest.importorskip("highspy")
    solver = highs._quiet(highspy)
    options = highs._options(Limits(wall_s=9, threads=2, seed=3)) | {
        "objective_target": 1.0,
        "mip_max_improving_sols": 1,
    }
    for name, value in options.items():
        assert solver.setOptionValue(name, value) == highspy.HighsStatus.kOk
        assert solver.getOptionValue(name)[1] == value


@pytest.mark.parametrize(
    ("status", "want"),
    [
        ("kInfeasible", Status.UNSAT),
        ("kUnboundedOrInfeasible", Status.UNKNOWN),
        ("kUnbounded", Status.UNKNOWN),
        ("kTimeLimit", Status.UNKNOWN),
        ("kSolveError", Status.UNKNOWN),
        ("kNotset", Status.UNKNOWN),
        ("kOptimal", Status.UNKNOWN),  # without a feasible solution it is no answer
    ],
)
def test_only_infeasible_is_unsat(status: str, want: Status) -> None:
    highspy = pytest.importorskip("highspy")
    solver = SimpleNamespace(
        getModelStatus=lambda: getattr(highspy.HighsModelStatus, status),
        getInfo=lambda: SimpleNamespace(
            primal_solution_status=highspy.SolutionStatus.kSolutionStatusInfeasible
        ),
        modelStatusToString=str,
    )
    answer = highs._interpreted(highspy, solver, knapsack(2, 2))
    assert answer.status is want
    assert (answer.reason is not None) == (want is Status.UNKNOWN)


# --- licences, and solvers that are not there ---------------------------------------------------------------


def test_a_model_over_the_licence_is_unknown_with_the_reason() -> None:
    if (reason := GurobiBackend().available()) is not None:
        pytest.skip(reason)
    if gurobi.has_full_licence():
        pytest.skip("this Gurobi has a full licence")
    answer = GurobiBackend().solve(knapsack(FREE_SIZE + 1, 12), LIMITS)
    assert answer.status is Status.UNKNOWN
    assert answer.reason == "a model of 2001 variables and 2 rows is over the limit of this Gurobi licence"


def test_gurobi_comes_first_only_with_a_full_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    for full, want in (
        (True, ["gurobi", "highs", "scip", "certified"]),
        (False, ["highs", "scip", "gurobi", "certified"]),
    ):
        monkeypatch.setattr("qsmt_milp.encoding.has_full_licence", lambda full=full: full)
        assert [b.name for b in MilpEncoding().backends()] == want


@pytest.mark.parametrize("missing", ["gurobipy", "highspy", "pyscipopt"])
def test_without_a_library_the_rest_works(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gurobi._session.cache_clear()
    gurobi.has_full_licence.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    try:
        absent = next(b for b in MilpEncoding().backends() if b.name in missing)
        assert f"{missing} cannot be imported" in (absent.available() or "")
        answer = absent.solve(knapsack(4, 8), LIMITS)
        assert answer.status is Status.UNKNOWN and missing in (answer.reason or "")
        assert len(MilpEncoding().backends()) == 4
    finally:
        gurobi._session.cache_clear()
        gurobi.has_full_licence.cache_clear()
