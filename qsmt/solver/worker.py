"""The child's side of `qsmt.solver.process`: reads calls on stdin, writes results on stdout.

Run as `python -P -m qsmt.solver.worker MEMORY_MIB`. Whatever a solver prints goes to stderr, so that it
cannot corrupt the replies. The child ends when its parent does: a thread waits for stdin to close even
while the solver is busy; and because a solver may keep that thread from running, the kernel is asked too.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import queue
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from qsmt.errors import SoundnessError

HEADER = struct.Struct("<Q")

SET_PARENT_DEATH_SIGNAL = 1
"""Linux: prctl(PR_SET_PDEATHSIG, ...)."""

UNREADABLE = 1
"""The exit code after a call that could not be unpickled here."""


def read_message(stream: IO[bytes]) -> Any:
    """The next message; EOFError when the other side is gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    (size,) = HEADER.unpack(header)
    body = stream.read(size)
    if len(body) < size:
        raise EOFError
    return pickle.loads(body)


def write_message(stream: IO[bytes], message: Any) -> None:
    """Send one message: its length, then its pickle."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(HEADER.pack(len(body)))
    stream.write(body)
    stream.flush()


def _listen(calls: queue.SimpleQueue[Any], stream: IO[bytes]) -> None:
    try:
        while True:
            calls.put(read_message(stream))
    except EOFError:
        os._exit(0)
    except BaseException:
        os._exit(UNREADABLE)


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    """(True, result), or (False, what went wrong): a solver may raise anything at all.

    A soundness alarm is nobody's failure to swallow: it goes back as itself.
    """
    try:
        return True, function(*arguments)
    except SoundnessError as alarm:
        return False, alarm
    except MemoryError:
        return False, "out of memory"
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def main() -> None:
    """Serve calls until the parent closes stdin."""
    _die_with_parent()
    limit = int(sys.argv[1]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(calls, sys.stdin.buffer), daemon=True).start()
    while True:
        function, arguments = calls.get()
        write_message(replies, _outcome(function, arguments))


if __name__ == "__main__":
    main()
