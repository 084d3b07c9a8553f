"""Solvers are isolated: a crash, a hang or a memory hog costs one call and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def test_another_thread_interrupts_a_call_and_the_next_one_works(worker: Worker) -> None:
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(worker.call, time.sleep, (PLENTY_S,), timeout_s=PLENTY_S)
        while not call.done():
            worker.interrupt()
            time.sleep(0.05)
        with pytest.raises(CallFailed, match="timeout"):
            call.result()
        assert executor.submit(worker.call, abs, (-3,), timeout_s=PLENTY_S).result() == 3


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


def test_a_time_limit_of_centuries_is_no_error(worker: Worker) -> None:
    assert worker.call(abs, (-3,), timeout_s=1e300) == 3


def test_the_child_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: Worker
) -> None:
    """Or a user's `queue.py` would take part in proofs."""
    (tmp_path / "queue.py").write_text("raise RuntimeError('not the module that was meant')")
    monkeypatch.chdir(tmp_path)
    assert worker.call(abs, (-3,), timeout_s=PLENTY_S) == 3


def test_an_unreadable_call_is_a_failed_one(worker: Worker) -> None:
    with pytest.raises(CallFailed, match="exit code 1"):
        worker.call(_Unreadable(), (), timeout_s=PLENTY_S)
    assert worker.call(abs, (-3,), timeout_s=PLENTY_S) == 3


class _Unreadable:
    def __call__(self) -> None:
        """Never reached: unpickling it fails."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("not a number",)


HANGING = {
    "asleep": "time.sleep, (600,)",
    "busy, and never letting another thread run": "re.fullmatch, ('(a+)+b', 'a' * 60)",
}


@pytest.mark.parametrize("how", HANGING)
def test_a_child_ends_when_its_parent_is_killed(how: str) -> None:
    parent, child = _parent_in_a_call(HANGING[how])
    parent.kill()
    parent.communicate()
    assert _ends(child)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_interrupt_comes_through_even_where_a_library_has_system_calls_restarted(restarted: bool) -> None:
    """gurobipy does that to the process that imports it."""
    setup = "signal.siginterrupt(signal.SIGINT, False)" if restarted else ""
    parent, child = _parent_in_a_call(HANGING["asleep"], setup)
    time.sleep(0.2)  # until it waits for the reply
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=PLENTY_S)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert _ends(child)


def _parent_in_a_call(call: str, setup: str = "") -> tuple[subprocess.Popen[str], int]:
    """A process that waits for a worker, and the worker's process id."""
    program = (
        "import os, re, signal, sys, time; from qsmt.solver.process import Worker\n"
        f"w = Worker(2048); print(w.call(os.getpid, (), timeout_s=30), flush=True)\n{setup}\n"
        f"w.call({call}, timeout_s=600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def _ends(pid: int) -> bool:
    deadline = time.monotonic() + PLENTY_S
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
