"""The largest verified radius is the one that trying every radius gives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from qsmt.engine import radius as bisection
from qsmt.engine.check import CheckResult, check, check_all
from qsmt.engine.load import Loaded, load_problem
from qsmt.engine.plan import Options
from qsmt.engine.radius import RadiusResult, Step, radius
from qsmt.errors import MalformedProblem
from qsmt.report.decimal import at_least, at_most
from qsmt.report.radius import render
from qsmt.verdict import Verified, Witness
from tests.support.problem_files import BOUND, ENDS, VALID_PROBLEM, write_valid_networks

F = Fraction
OPTIONS = Options(encoding="none", jobs=1, timeout_s=60)

SATURATING = "hidden = { bits = 8, frac = 4", "hidden = { bits = 4, frac = 4"
"""Far from the centre the hidden layer saturates, so that there are bounds that hold nearby only."""


def loaded(folder: Path, *changes: tuple[str, str]) -> Loaded:
    write_valid_networks(folder)
    text = VALID_PROBLEM
    for old, new in (SATURATING, *changes):
        assert old in text
        text = text.replace(old, new)
    (folder / "problem.toml").write_text(text)
    return load_problem(folder / "problem.toml")


def by_trial(folder: Path, bound: str, most: int) -> int | None:
    good = [r for r in range(most + 1) if verified(folder, bound, r)]
    return max(good) if good else None


def verified(folder: Path, bound: str, size: int) -> bool:
    around = f"center = [1, 2]\nradius = {size}\nclip = [-100, 41]\n"
    problem = loaded(folder, (ENDS, around), (BOUND, f"bound = {bound}")).problem
    return isinstance(check(problem, OPTIONS).verdict, Verified)


@pytest.mark.parametrize("bound", ["0", "0.03", "0.06", "0.12", "0.3", "9"])
def test_it_is_what_trying_every_radius_gives(bound: str, tmp_path: Path) -> None:
    around = "center = [1, 2]\nradius = 40\nclip = [-100, 41]\n"
    found = radius(loaded(tmp_path, (ENDS, around), (BOUND, f"bound = {bound}")), OPTIONS)
    assert found.verified == by_trial(tmp_path, bound, 40)
    if found.verified is not None and found.verified < 40:
        assert found.broken == found.verified + 1 and found.witness is not None
    assert found.trust or found.verified is None


def test_of_reals_it_stops_at_the_gap(tmp_path: Path) -> None:
    around = "center = [1, 2]\nradius = 7\n"
    made = loaded(tmp_path, ('"grid"', '"continuous"'), (ENDS, around), (BOUND, "bound = 0.3"))
    found = radius(made, OPTIONS, gap=F(1, 4))
    assert found.verified is not None and found.verified > 0
    assert found.verified == 7 or found.broken is None or found.verified < found.broken


def test_an_interrupt_leaves_the_radii_that_are_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first radius is not verified, the centre is; the third is interrupted."""
    made = loaded(tmp_path, (ENDS, "center = [1, 2]\nradius = 40\n"), (BOUND, "bound = 0.06"))
    interrupt_after(2, monkeypatch)
    found = radius(made, OPTIONS)
    assert found.reason == "interrupted" and found.verified == 0
    assert [step.radius for step in found.steps] == [40, 0]
    assert "interrupted: a larger radius may hold" in render(found, made.parts[0])
    interrupt_after(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        radius(made, OPTIONS)


def interrupt_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(range(calls))

    def interrupted(*given: Any) -> tuple[int, CheckResult]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return check_all(*given)

    monkeypatch.setattr(bisection, "check_all", interrupted)


def test_a_box_has_no_radius(tmp_path: Path) -> None:
    with pytest.raises(MalformedProblem, match="has no center"):
        radius(loaded(tmp_path), OPTIONS)


def test_a_centre_that_is_no_point_of_the_region_is_refused(tmp_path: Path) -> None:
    for around, said in (
        ("center = [0.5, 0.5]\nradius = 1.5\n", r"region.center\[0\]: stands for the code 1/2"),
        ("center = [1, 12]\nradius = 5\nclip = [-100, 9]\n", r"region.center\[1\]: lies outside of clip"),
    ):
        with pytest.raises(MalformedProblem, match=said):
            radius(loaded(tmp_path, (ENDS, around)), OPTIONS)


def test_a_radius_in_physical_units_holds_the_codes_inside(tmp_path: Path) -> None:
    """Where a code is 3 units, a radius of 4 holds one code on either side, as one of 3 does."""
    codes = by_trial(tmp_path, "0.06", 40)
    around = "center = [3, 6]\nradius = 120\nrange = 3\nclip = [-300, 123]\n"
    found = radius(loaded(tmp_path, (ENDS, around), (BOUND, "bound = 0.06")), OPTIONS)
    assert codes is not None and 0 < codes < 40
    assert found.verified == 3 * codes + 2 and found.broken == 3 * codes + 3
    assert not found.counts_codes


def test_a_radius_is_shown_rounded_to_the_safe_side(tmp_path: Path) -> None:
    made = loaded(tmp_path)
    third, steps = F(2, 3), (Step(F(2, 3), "verified", 0.0), Step(F(5, 3), "falsified", 0.0))
    witness = Witness((F(1), F(1)), 0, (F(0),), (F(1),))
    found = RadiusResult(third, F(5, 3), witness, F(2), steps, 0.0, ("dra",), reason=None, counts_codes=False)
    said = render(found, made.parts[0])
    assert "0.666666 verified" in said and "broken at   1.66667," in said
    assert "  0.666666      verified" in said and "  1.66667       falsified" in said
    assert at_most(F(1, 4)) == at_least(F(1, 4)) == "0.25"


def test_what_time_did_not_allow_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loaded(tmp_path, (ENDS, "center = [1, 2]\nradius = 40\n"), (BOUND, "bound = 0.06"))
    assert radius(made, OPTIONS).reason is None
    monkeypatch.setattr(bisection, "STEPS", 1)
    found = radius(made, OPTIONS)
    assert found.verified == 0 and found.reason == "time was up"
