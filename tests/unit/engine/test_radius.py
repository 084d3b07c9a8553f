"""The largest verified radius is the one that trying every radius gives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from qsmt.engine.check import check
from qsmt.engine.load import Loaded, load_problem
from qsmt.engine.plan import Options
from qsmt.engine.radius import radius
from qsmt.errors import MalformedProblem
from qsmt.verdict import Verified
from tests.support.problem_files import BOUND, ENDS, VALID_PROBLEM, write_valid_networks

F = Fraction
OPTIONS = Options(encoding="none", jobs=1, timeout_s=60)


def loaded(folder: Path, *changes: tuple[str, str]) -> Loaded:
    write_valid_networks(folder)
    text = VALID_PROBLEM
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "problem.toml").write_text(text)
    return load_problem(folder / "problem.toml")


def by_trial(folder: Path, bound: str, most: int) -> int | None:
    good = [r for r in range(most + 1) if verified(folder, bound, r)]
    return max(good) if good else None


def verified(folder: Path, bound: str, size: int) -> bool:
    around = f"center = [1, 2]\nradius = {size}\nclip = [-100, 9]\n"
    problem = loaded(folder, (ENDS, around), (BOUND, f"bound = {bound}")).problem
    return isinstance(check(problem, OPTIONS).verdict, Verified)


@pytest.mark.parametrize("bound", ["0", "0.03", "0.06", "0.1", "0.3", "9"])
def test_it_is_what_trying_every_radius_gives(bound: str, tmp_path: Path) -> None:
    around = "center = [1, 2]\nradius = 20\nclip = [-100, 9]\n"
    found = radius(loaded(tmp_path, (ENDS, around), (BOUND, f"bound = {bound}")), OPTIONS)
    assert found.verified == by_trial(tmp_path, bound, 20)
    if found.verified is not None and found.verified < 20:
        assert found.broken == found.verified + 1 and found.witness is not None
    assert found.trust or found.verified is None


def test_of_reals_it_stops_at_the_gap(tmp_path: Path) -> None:
    around = "center = [1, 2]\nradius = 7\n"
    made = loaded(tmp_path, ('"grid"', '"continuous"'), (ENDS, around), (BOUND, "bound = 0.3"))
    found = radius(made, OPTIONS, gap=F(1, 4))
    assert found.verified is not None and found.verified > 0
    assert found.verified == 7 or found.broken is None or found.verified < found.broken


def test_a_box_has_no_radius(tmp_path: Path) -> None:
    with pytest.raises(MalformedProblem, match="has no center"):
        radius(loaded(tmp_path), OPTIONS)
