"""Run the command line in this process, and catch what it prints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from qsmt.cli.main import run


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)


def qsmt(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """`qsmt arguments...`"""
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    return Ran(code, captured.out, captured.err)
