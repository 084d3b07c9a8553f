"""What the documents show is what the commands print, up to the seconds and the boxes they take."""

from __future__ import annotations

import shlex

import pytest

from tests.golden.documents import ROOT, blocks, without_effort
from tests.support.command import qsmt

SHOWN = {"docs/analysis.md": 1}
"""How many commands each document shows; the README and the tutorial have tests of their own."""

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
    assert {d for d in documents if blocks(d)} == {*SHOWN, "README.md", "docs/tutorial.md"}


def test_what_is_not_the_same_everywhere_is_left_out_and_nothing_else() -> None:
    shown = blocks("docs/tutorial.md")["check tuned/problem.toml --format html -o report.html"]
    assert without_effort(
        shown.replace(" boxes", "9 boxes").replace("[-0.0499", "[-0.04", 1)
    ) == without_effort(shown)
    for found, other in (("VERIFIED", "FALSIFIED"), ("0.0476412", "0.0476413"), ("1,185,921", "1,185,922")):
        assert found in shown and without_effort(shown.replace(found, other)) != without_effort(shown)
