"""The child's side of `qsmt.solver.process`: reads calls on stdin, writes results on stdout.

Run as `python -m qsmt.solver.worker MEMORY_MIB`. Whatever a solver prints goes to stderr, so that it
cannot corrupt the replies. The child ends when its parent does: a thread waits for stdin to close even
while the solver is busy.
"""

from __future__ import annotations

import os
import pickle
import queue
import resource
import struct
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from qsmt.errors import SoundnessError

HEADER = struct.Struct("<Q")


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


def main() -> None:
    """Serve calls until the parent closes stdin."""
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
