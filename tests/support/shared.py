"""Networks and properties that are not part of this repository; tests that use them skip where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def shared_data() -> Path:
    """The folder of the shared data, or skip the test that asked."""
    if not _ROOT.is_dir():
        pytest.skip(f"the shared data is not at {_ROOT}")
    return _ROOT


def shared_names(pattern: str) -> list[str]:
    """The files of a kind, relative to the folder, to parametrize a test with; one placeholder if it is absent.

    A test opens `shared_data() / name`, and so skips by name for the placeholder.
    """
    found = sorted(path.relative_to(_ROOT).as_posix() for path in _ROOT.glob(pattern))
    return found or [pattern]
