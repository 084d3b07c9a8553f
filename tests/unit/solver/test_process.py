"""Solvers are isolated: a crash, a hang or a memory hog costs one call and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qsmt.errors import SoundnessError
from qsmt.solver.process import CallFailed, Worker

PLENTY_S = 30.0
ALARM = "from qsmt.errors import SoundnessError; raise SoundnessError('two bounds share no value')"


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker(2048) as started:
        yield started


def test_calls_share_one_child(worker: Worker) -> None:
    first = worker.call(os.getpid, (), timeout_s=PLENTY_S)
    assert first != os.getpid()
    assert worker.call(os.getpid, (), timeout_s=PLENTY_S) == first


def test_a_hanging_call_is_killed_and_the_next_one_works(worker: Worker) -> None:
    with pytest.raises(CallFailed, match="timeout"):
        worker.call(time.sleep, (60,), timeout_s=0.3)
    assert worker.call(abs, (-3,), timeout_s=PLENTY_S) == 3


def test_a_crash_is_reported_and_the_next_call_works(worker: Worker) -> None:
    with pytest.raises(CallFailed, match="SIGABRT"):
        worker.call(os.abort, (), timeout_s=PLENTY_S)
    assert worker.call(abs, (-3,), timeout_s=PLENTY_S) == 3


def test_memory_is_limited(worker: Worker) -> None:
    with pytest.raises(CallFailed, match="out of memory"):
        worker.call(bytearray, (1 << 33,), timeout_s=PLENTY_S)


def test_an_exception_is_a_failed_call_that_names_it(worker: Worker) -> None:
    with pytest.raises(CallFailed, match="ValueError: invalid literal"):
        worker.call(int, ("x",), timeout_s=PLENTY_S)


def test_a_soundness_alarm_in_the_child_is_one_in_the_parent(worker: Worker) -> None:
    with pytest.raises(SoundnessError, match="share no value"):
        worker.call(exec, (ALARM,), timeout_s=PLENTY_S)


def test_what_a_solver_prints_does_not_corrupt_the_replies(worker: Worker) -> None:
    worker.call(os.write, (1, b"Set parameter Username\n"), timeout_s=PLENTY_S)
    assert worker.call(abs, (-3,), timeout_s=PLENTY_S) == 3


def test_a_child_ends_when_its_parent_is_killed() -> None:
    program = (
        "import os, sys, time; from qsmt.solver.process import Worker\n"
        "w = Worker(2048); print(w.call(os.getpid, (), timeout_s=30), flush=True)\n"
        "w.call(time.sleep, (600,), timeout_s=600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + PLENTY_S
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
