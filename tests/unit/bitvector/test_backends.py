"""The solvers: models, limits, and that unknown is a value with a reason."""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from typing import TypeAlias

import pytest

from qsmt.solver.base import Limits, Status
from qsmt_bitvector.backends import milliseconds
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from qsmt_bitvector.backends.cvc5 import Cvc5
from qsmt_bitvector.backends.z3 import Z3
from qsmt_bitvector.encoding import BitVectorModel
from qsmt_bitvector.smtlib import Input, Script
from tests.unit.bitvector.test_encoding import QUERIES

Solver: TypeAlias = Bitwuzla | Z3 | Cvc5
BACKENDS = [
    pytest.param(b, marks=[pytest.mark.skip(reason=b.available() or "")] if b.available() else [])
    for b in (Bitwuzla(), Z3(), Cvc5())
]
INPUTS = (Input(0, -3, 4), Input(1, 7, 7), Input(2, 0, 5))
BODY = "(declare-fun u0 () (_ BitVec 3))(declare-fun u2 () (_ BitVec 3))"
FACTORS = f"""
(declare-fun u0 () (_ BitVec 96))(declare-fun u1 () (_ BitVec 96))
(assert (= (bvmul u0 u1) (_ bv{25132741228741 * 16309690970759} 96)))
(assert (bvult u1 u0))(assert (bvult (_ bv1 96) u1))(assert (bvult u0 (_ bv{2**46} 96)))
"""


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_a_model_gives_unsigned_values(backend: Solver) -> None:
    answer = backend.solve(
        Script(INPUTS, f"{BODY}(assert (= u0 #b111))(assert (bvult #b011 u2))"), Limits(10)
    )
    assert answer.status is Status.SAT
    assert answer.assignment is not None
    assert answer.assignment["u0"] == 7
    assert answer.assignment["u2"] > 3


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_a_variable_that_does_not_matter_may_have_any_value(backend: Solver) -> None:
    script = Script(INPUTS, f"{BODY}(assert true)")
    answer = backend.solve(script, Limits(10))
    assert answer.assignment is not None
    decoded = BitVectorModel(QUERIES[0][0], script).decode({"u0": Fraction(7)})
    assert list(decoded) == [4, 7, 0]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_no_model_without_sat(backend: Solver) -> None:
    answer = backend.solve(Script(INPUTS, f"{BODY}(assert (bvult u0 #b000))"), Limits(10))
    assert (answer.status, answer.assignment) == (Status.UNSAT, None)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
def test_a_time_limit_ends_in_unknown_with_a_reason(backend: Solver) -> None:
    script = Script((Input(0, 0, 2**96 - 1), Input(1, 0, 2**96 - 1)), FACTORS)
    started = time.monotonic()
    answer = backend.solve(script, Limits(0.3))
    assert answer.status is Status.UNKNOWN
    assert answer.reason is not None and backend.name in answer.reason
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda b: b.name)
@pytest.mark.parametrize("limits", [Limits(1e9, seed=7), Limits(float("inf"), seed=2**31)], ids=str)
def test_limits_of_any_size_are_understood(backend: Solver, limits: Limits) -> None:
    assert backend.solve(Script(INPUTS, f"{BODY}(assert (= u0 #b001))"), limits).status is Status.SAT


def test_a_time_limit_is_at_least_a_millisecond() -> None:
    assert milliseconds(Limits(0.0)) == milliseconds(Limits(-1.0)) == 1
    assert milliseconds(Limits(2.5)) == 2500


@pytest.mark.parametrize(("backend", "module"), [(Bitwuzla(), "bitwuzla"), (Z3(), "z3"), (Cvc5(), "cvc5")])
def test_a_missing_package_is_a_reason(backend: Solver, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    reason = backend.available()
    assert reason is not None and module in reason
