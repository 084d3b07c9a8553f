"""Progress on stderr: a live line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.status import Status

from qsmt.engine.investigation import Watch

REFRESH_S = 0.1


class LiveLine(AbstractContextManager["LiveLine"]):
    """A spinner with the stage and how far it is."""

    def __init__(self) -> None:
        self._status = Status("starting", console=Console(stderr=True))
        self._stage = ""
        self._shown = 0.0

    def __enter__(self) -> LiveLine:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._stage = name
        self._status.update(name)

    def progress(self, done: float, total: float, note: str) -> None:
        """The stage has done this much."""
        if time.monotonic() - self._shown > REFRESH_S:
            self._shown = time.monotonic()
            self._status.update(f"{self._stage}: {done:,.0f} of {total:,.0f}  {note}")


class LogLines(AbstractContextManager["LogLines"]):
    """One line per stage, where stderr is not a terminal and the user asked for more (`-v`)."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stderr.flush()

    def stage(self, name: str) -> None:
        """A stage begins."""
        sys.stderr.write(f"qsmt: {name}\n")

    def progress(self, done: float, total: float, note: str) -> None:
        """Only stages are logged."""


class Quiet(LogLines):
    """Nothing."""

    def stage(self, name: str) -> None:
        """Say nothing."""


def watcher(*, quiet: bool, verbose: bool) -> LiveLine | LogLines:
    """What suits this stderr and these flags."""
    if quiet:
        return Quiet()
    if sys.stderr.isatty():
        return LiveLine()
    return LogLines() if verbose else Quiet()


__all__ = ["LiveLine", "LogLines", "Quiet", "Watch", "watcher"]
