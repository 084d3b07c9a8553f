"""The public names are these and no others, and each is there."""

from __future__ import annotations

import qsmt


def test_the_public_names() -> None:
    names = {"Falsified", "Options", "Problem", "Unknown", "Verified", "bound", "check", "load_problem"}
    assert set(qsmt.__all__) == names
    assert all(getattr(qsmt, name) is not None for name in names)
