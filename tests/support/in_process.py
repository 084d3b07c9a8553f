"""A worker that works in this process: for tests that replace what the worker would import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qsmt.errors import SoundnessError
from qsmt.solver.process import CallFailed


class InProcessWorker:
    """Calls at once; an exception is a failed call, as in a real worker."""

    def __init__(self, memory_mib: int) -> None:
        self.memory_mib = memory_mib

    def __enter__(self) -> InProcessWorker:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""

    def interrupt(self) -> None:
        """A call in this process goes on to its end."""

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, timeout_s: float) -> Any:
        """The function's result, whatever the time it takes."""
        try:
            return function(*arguments)
        except SoundnessError:
            raise
        except Exception as error:
            raise CallFailed(f"{type(error).__name__}: {error}") from error
