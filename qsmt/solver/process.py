"""Killable children: a function runs in another process, within wall time and memory, or is stopped.

A solver may crash, hang, or eat the machine; none of that may touch the program that asked. A worker
is a fresh interpreter that serves one call at a time and is kept alive between calls, so that isolation
does not cost a start per query. A call that overstays is ended by killing its worker. A worker is also
killed when the thread ends that made its first call: let the threads live as long as their workers.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from qsmt.errors import SoundnessError
from qsmt.solver.worker import read_message, write_message

SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class CallFailed(Exception):
    """A call did not return: the reason is "timeout", or what the child said or how it ended."""


class Worker:
    """One child process. Use as a context manager; only `interrupt` is for other threads."""

    def __init__(self, memory_mib: int) -> None:
        self._memory_mib = memory_mib
        self._child: subprocess.Popen[bytes] | None = None
        self._expired = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.pid if self._child else None

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, timeout_s: float) -> Any:
        """`function(*arguments)`, computed in the child; both sides must be importable and picklable.

        Raises:
            CallFailed: the call took longer than `timeout_s`, raised, or its process died.
            SoundnessError: the call raised it.
        """
        self._expired = False
        child = self._running()
        timer = threading.Timer(min(timeout_s, threading.TIMEOUT_MAX), self._expire)
        timer.start()
        try:
            returned, result = _exchange(child, (function, arguments))
        except (EOFError, OSError):
            raise CallFailed(self._death()) from None
        except BaseException:  # an interrupt: the reply would be taken for the next call's
            self.close()
            raise
        finally:
            timer.cancel()
            timer.join()  # or a late one would kill the next call
        if self._expired:  # just after the reply
            self.close()
        if isinstance(result, SoundnessError):
            raise result
        if not returned:
            raise CallFailed(str(result))
        return result

    def interrupt(self) -> None:
        """From another thread: the call that is under way fails, as if its time were up."""
        self._expire()

    def close(self) -> None:
        """End the child, whatever it is doing."""
        self._kill()
        if self._child is not None:
            self._child.communicate()
        self._child = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "qsmt.solver.worker",
                    str(self._memory_mib),
                ],  # nothing from here
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **SINGLE_THREADED},
                start_new_session=True,  # its own group: killed with everything it started
            )
        return self._child

    def _expire(self) -> None:
        self._expired = True
        self._kill()

    def _kill(self) -> None:
        child = self._child  # the thread that calls may close it meanwhile
        if child is not None and child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def _death(self) -> str:
        code = self._child.wait() if self._child is not None else 0
        self.close()
        if self._expired:
            return "timeout"
        return (
            f"the solver's process died ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
        )


def _exchange(child: subprocess.Popen[bytes], call: tuple[Any, ...]) -> tuple[bool, Any]:
    """Send a call, and wait for its reply where an interrupt always comes through.

    Some libraries have interrupted system calls restarted; a wait in `select` never is.
    """
    assert child.stdin is not None and child.stdout is not None
    write_message(child.stdin, call)
    select.select([child.stdout], [], [])
    reply: tuple[bool, Any] = read_message(child.stdout)
    return reply
