"""What the README shows is what the commands print, up to the seconds and the boxes they take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.command import qsmt

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```console\n\$ qsmt (?P<arguments>[^\n]*)\n(?P<output>.*?)```", re.DOTALL)
BLOCKS = {m["arguments"]: m["output"] for m in BLOCK.finditer((ROOT / "README.md").read_text())}


def without_effort(text: str) -> str:
    """When points are cheaper than boxes is measured on every machine."""
    text = re.sub(r"\d+\.\d\d(?= s$|  )", "0.00", text, flags=re.MULTILINE)
    return re.sub(r"analysed [\d,]+ boxes.*|─+", "", text)


def test_there_is_something_to_compare() -> None:
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("arguments", BLOCKS)
def test_the_readme_is_true(
    arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    printed = qsmt(capsys, *shlex.split(arguments)).out
    assert without_effort(printed) == without_effort(BLOCKS[arguments])
