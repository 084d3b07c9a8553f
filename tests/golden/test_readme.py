"""What the README shows is what the commands print, up to the seconds and the boxes they take."""

from __future__ import annotations

import shlex

import pytest

from tests.golden.documents import ROOT, blocks, without_effort
from tests.support.command import qsmt

BLOCKS = blocks("README.md")


def test_there_is_something_to_compare() -> None:
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("arguments", BLOCKS)
def test_the_readme_is_true(
    arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    printed = qsmt(capsys, *shlex.split(arguments)).out
    assert without_effort(printed) == without_effort(BLOCKS[arguments])
