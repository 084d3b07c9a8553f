"""What the documents show is what the commands print, up to the seconds and the boxes they take."""

from __future__ import annotations

import shlex

import pytest

from tests.golden.documents import ROOT, blocks, without_effort
from tests.support.command import qsmt

SHOWN = {"docs/analysis.md": 1}
"""How many commands each document shows; the README has a test of its own."""

COMMANDS = [(document, arguments) for document in SHOWN for arguments in blocks(document)]


@pytest.mark.parametrize("document", SHOWN)
def test_the_commands_of_a_document_are_found(document: str) -> None:
    assert len(blocks(document)) == SHOWN[document]


@pytest.mark.parametrize(("document", "arguments"), COMMANDS)
def test_a_document_is_true(
    document: str, arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    printed = qsmt(capsys, *shlex.split(arguments)).out
    assert without_effort(printed) == without_effort(blocks(document)[arguments])


def test_no_document_shows_a_command_that_is_not_tested() -> None:
    documents = [str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]]
    assert {d for d in documents if blocks(d)} == {*SHOWN, "README.md"}
