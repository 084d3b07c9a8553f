"""Networks of wide codes, about which solvers in doubles were wrong: they are not asked, or right at every point."""

from __future__ import annotations

from fractions import Fraction

import pytest

from benchmarks.claims import NEARLY, Side, sides_of
from benchmarks.scaling import Instance
from qsmt.encoding import answer, reach
from qsmt.solver.base import Limits, Status
from qsmt_milp.backends import gurobi, scip
from qsmt_milp.backends.gurobi import GurobiBackend
from qsmt_milp.backends.highs import HighsBackend
from qsmt_milp.backends.scip import ScipBackend
from qsmt_milp.encoding import MilpEncoding

LIMITS = Limits(20.0)
WIDE = Instance((2, 8, 8, 1), 8, 12, inner=16)
"""Rows with terms of 2**31, of which SCIP's maximum was too low, and of the other sign."""
TEN_BITS = (
    (Instance((2, 8, 8, 1), 10, 16, inner=10), 2),
    (Instance((2, 16, 16, 1), 12, 8, inner=10), 2),
)
"""Of these, Gurobi took violations for impossible: the first with its presolve, the second with larger terms."""


def positive(instance: Instance, seed: int) -> Side:
    return next(found for found in sides_of(instance, seed) if found.side == 1)


def available(backend: GurobiBackend | ScipBackend) -> None:
    if (reason := backend.available()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def wide() -> Side:
    return positive(WIDE, 0)


def test_a_program_of_wide_codes_goes_to_another_solver_which_says_so(wide: Side) -> None:
    available(ScipBackend())
    found = answer(wide.query(wide.largest / 2), "milp", "scip", LIMITS)
    assert (found.backend, found.status) == ("highs", Status.SAT)
    assert found.remark is not None and "2**20" in found.remark and "instead of scip" in found.remark


def test_so_does_an_objective_and_its_maximum_is_no_less_than_what_there_is(wide: Side) -> None:
    available(ScipBackend())
    found = reach(wide.objective, "milp", "scip", LIMITS)
    assert found.trust == "milp:highs" and found.upper is not None and found.upper >= wide.largest * NEARLY


def test_where_nobody_takes_it_nobody_answers(wide: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of solvers that are too narrow, none is asked after all."""
    monkeypatch.setattr(MilpEncoding, "backends", lambda _: (ScipBackend(), GurobiBackend()))
    found = answer(wide.query(wide.largest), "milp", "scip", LIMITS)
    assert (found.status, found.backend) == (Status.UNKNOWN, "scip") and "2**20" in (found.reason or "")
    most = reach(wide.objective, "milp", "scip", LIMITS)
    assert (most.upper, most.witness) == (None, None) and "2**20" in (most.reason or "")


def test_without_the_limit_the_maximum_is_too_low(wide: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the limit is there for. If this ever fails, SCIP has become better, and the limit can be measured anew."""
    available(ScipBackend())
    monkeypatch.setattr(scip, "WIDEST", 99)
    found = reach(wide.objective, "milp", "scip", LIMITS)
    assert found.trust == "milp:scip" and found.upper is not None and found.upper < wide.largest


def test_limits_are_below_what_was_wrong_and_above_what_is_usual(wide: Side) -> None:
    eight = positive(Instance((2, 8, 8, 1), 8, 12), 0).model
    for backend in (HighsBackend(), ScipBackend(), GurobiBackend()):
        assert backend.too_large(eight) is None
    assert HighsBackend().too_large(wide.model) is None
    assert all(backend.too_large(wide.model) for backend in (ScipBackend(), GurobiBackend()))


@pytest.mark.parametrize(("instance", "seed"), TEN_BITS)
def test_gurobi_finds_violations_of_ten_bit_networks(instance: Instance, seed: int) -> None:
    available(GurobiBackend())
    for found in sides_of(instance, seed):
        query = found.query(found.largest * Fraction(99, 100))
        said = answer(query, "milp", "gurobi", LIMITS)
        assert (said.backend, said.status) == ("gurobi", Status.SAT)


def test_with_its_presolve_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    available(GurobiBackend())
    careful = gurobi._options
    monkeypatch.setattr(
        gurobi, "_options", lambda limits: careful(limits) | {"Presolve": -1, "NumericFocus": 0}
    )
    monkeypatch.setattr(gurobi, "LARGEST", 18)
    found = positive(*TEN_BITS[0])
    query = found.query(found.largest * Fraction(99, 100))
    assert answer(query, "milp", "gurobi", LIMITS).status is Status.UNSAT


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("inner", [8, 10, 12])
@pytest.mark.parametrize("solver", ["highs", "scip", "gurobi"])
def test_claims_about_networks_of_up_to_twelve_bits_are_right(solver: str, inner: int, seed: int) -> None:
    for sizes, bits, radius in (((2, 8, 8, 1), 10, 12), ((2, 8, 1), 12, 16)):
        for found in sides_of(Instance(sizes, bits, radius, inner=inner), seed):
            most = reach(found.objective, "milp", solver, LIMITS)
            assert most.upper is None or most.upper >= found.largest * NEARLY
            said = answer(found.query(found.largest * Fraction(99, 100)), "milp", solver, LIMITS)
            assert said.status is not Status.UNSAT
