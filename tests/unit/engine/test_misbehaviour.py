"""A solver that crashes, hangs, eats memory or answers nonsense costs its share of the budget, and nothing else.

Real child processes misbehave here: at the first of two residual boxes the worker does what the test says; at the
second it asks the genuine solver, whose answer must still arrive.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from qsmt.engine import portfolio
from qsmt.engine.check import analyse
from qsmt.engine.dispatch import solve_residual
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import CrossCheck, Options
from qsmt.verdict import Unknown
from tests.unit.engine.test_dispatch import TRUE

SCRIPT = """
import os, signal
from fractions import Fraction
from qsmt.encoding import QueryAnswer, answer
from qsmt.solver.base import Status

def misbehave(query, encoding, backend, limits):
    try:
        os.close(os.open(__file__ + ".begun", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return answer(query, encoding, backend, limits)
    {body}
"""

BODIES = {
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "died"),
    "hang": ("signal.pause()", "timeout"),
    "memory": ("return bytearray(1 << 40)", "out of memory"),  # more than there is, at once
    "nonsense": (
        "return QueryAnswer(Status.SAT, encoding, backend, 0.0, (Fraction(10**6),) * query.problem.input_size)",
        "replayed exactly",
    ),
}
TIMEOUT_S = 8.0


@pytest.mark.parametrize("how", BODIES)
def test_the_other_queries_are_still_answered(
    how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    body, reason = BODIES[how]
    name = f"misbehaving_{how}"
    (tmp_path / f"{name}.py").write_text(SCRIPT.format(body=body))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(portfolio, "answer", import_module(name).misbehave)
    options = Options(
        encoding="bitvector",
        backend="bitwuzla",
        cross_check=CrossCheck.OFF,
        timeout_s=TIMEOUT_S,
        jobs=1,
        memory_mib=1500,
    )
    run = Investigation(TRUE, options)
    run.perform(analyse, "analysis")
    run.residual *= 2
    begun = time.monotonic()
    run.perform(solve_residual, "encodings")
    assert time.monotonic() - begun < TIMEOUT_S
    figures = run.stages[-1].figures
    assert figures["queries"] == 2 and figures["unsat"] == 1
    assert isinstance(run.outcome, Unknown) and reason in run.outcome.reason
    del sys.modules[name]
