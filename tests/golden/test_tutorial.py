"""The walks in the documents are true: their commands, in order, in one folder, and their Python."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from pathlib import Path

import html5lib
import pytest

from qsmt.ir.rules import Rules
from tests.golden.documents import ROOT, blocks, without_effort
from tests.support.command import qsmt

EXAMPLE = ROOT / "examples" / "pendulum"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, to work in."""
    shutil.copytree(EXAMPLE, tmp_path / "pendulum")
    monkeypatch.chdir(tmp_path / "pendulum")
    return tmp_path / "pendulum"


@pytest.mark.slow
def test_the_tutorial_is_true(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = blocks("docs/tutorial.md")
    assert len(shown) == 8
    for arguments, expected in shown.items():
        printed = qsmt(capsys, *shlex.split(arguments)).out
        assert without_effort(printed) == without_effort(expected), arguments
    page = (folder / "report.html").read_text()
    html5lib.HTMLParser(strict=True).parse(page)
    assert "<b>verified</b>" in page and "tuned/problem.toml" in page


@pytest.mark.parametrize("document", ["docs/tutorial.md", "docs/extending.md"])
def test_the_python_of_a_document_is_true(document: str, folder: Path) -> None:
    text = "".join(re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL))
    test = doctest.DocTestParser().get_doctest(text, {}, document, document, 0)
    assert len(test.examples) > 5
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert said == []


def test_python_that_is_not_true_is_noticed() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "planted", "planted", 0)
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert said


# --- extending.md -----------------------------------------------------------------------------------------


def tables() -> set[tuple[str, str]]:
    """Every table of rules in the sources: file and name."""
    found = set()
    for path in [*ROOT.glob("qsmt/**/*.py"), *ROOT.glob("encodings/**/*.py")]:
        for name in re.findall(
            rf"^(\w+): {Rules.__name__}\[.*\] = {Rules.__name__}\(", path.read_text(), re.MULTILINE
        ):
            found.add((path.relative_to(ROOT).as_posix(), name))
    return found


def test_every_table_of_rules_is_in_the_guide_to_new_ops() -> None:
    text = (ROOT / "docs" / "extending.md").read_text()
    rows = re.findall(r"\| `([\w/.]+)` ((?:`\w+`(?:, )?)+) \|", text)
    named = {(path, name) for path, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert len(tables()) >= 10
    assert named == tables()


@pytest.mark.parametrize("document", sorted(p.name for p in (ROOT / "docs").glob("*.md")))
def test_what_a_document_points_to_is_there(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", text)
    assert [link for link in links if "://" not in link and not (ROOT / "docs" / link).exists()] == []
    named = re.findall(r"`((?:qsmt|tests|encodings|docs)/[\w/.-]+\.(?:py|md))`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
