"""A search that was stopped goes on from its checkpoint to the same end; a wrong file is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest

from qsmt.engine import branch
from qsmt.engine.boxes import Batch
from qsmt.engine.branch import Search
from qsmt.engine.check import check, check_all
from qsmt.engine.checkpoint import Checkpoint
from qsmt.engine.costs import Costs
from qsmt.engine.plan import Options
from qsmt.engine.random_affine import Form, affine_problem
from qsmt.errors import InputError, SoundnessError
from qsmt.interp.replay import keeps, replay
from qsmt.problem import Problem
from qsmt.verdict import Falsified, Unknown, Verified
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import all_points, true_maximum
from tests.unit.engine.test_search import started

BASE = random_problem(3, Recipe(sizes=(3, 4, 2), radius=3))
WORST = true_maximum(BASE)


@pytest.fixture(autouse=True)
def _costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "estimate", lambda _: Costs(0.2, 2))


def stopped(problem: Problem, path: Path, *, steps: int) -> Search:
    search = started(problem)
    for _ in range(steps):
        search.step()
    Checkpoint(path, "check").save(search)
    return search


def resumed(problem: Problem, path: Path) -> object:
    options = Options(jobs=1, encoding="none", falsifies=False, checkpoint=path, resumes=True)
    return check(problem, options).verdict


def test_everything_is_there_again(tmp_path: Path) -> None:
    problem = with_bound(BASE, WORST)
    before, after = stopped(problem, tmp_path / "c", steps=5), started(problem)
    Checkpoint(tmp_path / "c", "check").restore(after)
    assert after.tally == before.tally and len(after.pool) == len(before.pool) > 0
    for name in Batch.__slots__:
        assert np.array_equal(getattr(after.pool.all, name), getattr(before.pool.all, name))
    assert np.array_equal(after.certified.lower, before.certified.lower)
    assert [o.extremes for o in after.run.outputs] == [o.extremes for o in before.run.outputs]
    after.check_nothing_is_lost()


@pytest.mark.parametrize("steps", [0, 1, 4, 10])
def test_the_end_is_the_same(steps: int, tmp_path: Path) -> None:
    for bound, kind in ((WORST, Verified), (WORST - Fraction(1, 2**40), Falsified)):
        stopped(with_bound(BASE, bound), tmp_path / "c", steps=steps)
        assert isinstance(resumed(with_bound(BASE, bound), tmp_path / "c"), kind)


def test_nothing_saved_yet_is_a_beginning(tmp_path: Path) -> None:
    assert isinstance(resumed(with_bound(BASE, WORST), tmp_path / "none"), Verified)
    assert (tmp_path / "none").exists()


def test_another_problem_purpose_or_version_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c"
    search = stopped(with_bound(BASE, WORST), path, steps=1)
    with pytest.raises(InputError, match="another problem"):
        resumed(with_bound(BASE, WORST + Fraction(1, 2**40)), path)
    with pytest.raises(InputError, match="another purpose"):
        Checkpoint(path, "bound --gap 0").restore(search)
    for key, value in (("version", "0.0.1"), ("schema", "qsmt.checkpoint/0")):
        _change(path, key, value)
        with pytest.raises(InputError, match=f"another {key}: '{value}'"):
            resumed(with_bound(BASE, WORST), path)


def _change(path: Path, key: str, value: object) -> None:
    with np.load(path) as found:
        arrays = dict(found)
    header = json.loads(arrays["header"].tobytes()) | {key: value}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


@pytest.mark.parametrize("damage", [b"", b"PK", b"nonsense" * 99, None])
def test_a_damaged_file_is_refused_in_one_line(damage: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "c"
    stopped(with_bound(BASE, WORST), path, steps=2)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(InputError, match="not a checkpoint") as caught:
        resumed(with_bound(BASE, WORST), path)
    assert "\n" not in str(caught.value)


def test_any_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path, rng = tmp_path / "c", Random(0)
    before = stopped(with_bound(BASE, WORST), path, steps=2)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        after = started(with_bound(BASE, WORST))
        try:
            Checkpoint(path, "check").restore(after)
        except InputError:
            refused += 1
        else:
            assert after.tally == before.tally and len(after.pool) == len(before.pool)
    assert 100 < refused < 300


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("witnesses", [["1/0", "0", "0"]]),
        ("witnesses", [["9", "0", "0"]]),
        ("witnesses", [["1/2", "0", "0"]]),
        ("witnesses", [["0"]]),
        ("tally", {"analysed": "many"}),
        ("tally", {"closed": float("inf")}),
        ("tally", {"closed": -1}),
        ("tally", {"analysed": True}),
    ],
)
def test_what_no_search_writes_is_refused_in_one_line(key: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "c"
    stopped(with_bound(BASE, WORST), path, steps=2)
    _change(path, key, value)
    with pytest.raises(InputError, match="not a checkpoint"):
        resumed(with_bound(BASE, WORST), path)


def test_a_bound_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    search = stopped(with_bound(BASE, WORST), path, steps=2)
    search.closed.lower[0] = np.nan
    Checkpoint(path, "check").save(search)
    with pytest.raises(InputError, match="not a checkpoint"):
        resumed(with_bound(BASE, WORST), path)


def test_a_checkpoint_that_has_lost_a_box_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for the alarm's folder
    path = tmp_path / "c"
    search = stopped(with_bound(BASE, WORST), path, steps=3)
    search.pool.take(1)
    Checkpoint(path, "check").save(search)
    with pytest.raises(SoundnessError, match=r"make up|outside the certified"):
        resumed(with_bound(BASE, WORST), path)


@pytest.mark.parametrize("seed", [2, 5, 14])
def test_what_could_not_be_told_is_not_told_after_a_resume_either(seed: int, tmp_path: Path) -> None:
    """Of a hull, another point may have the extreme middle, and be within the bound for certain."""
    problem = affine_problem(seed, Form("hull"), sizes=(2, 3, 1))
    executed = replay(problem, all_points(problem))
    ends = [max(executed, key=lambda e: side * e.value(0)) for side in (1, -1)]
    bound = max(abs(v) for end in ends for v in end.range_of(0))
    claimed = with_bound(problem, bound)
    assert all(keeps(claimed, end) for end in ends) and not all(keeps(claimed, e) for e in executed)
    first, again = (resumed(claimed, tmp_path / "c") for _ in range(2))
    assert isinstance(first, Unknown) and "too close to the bound to tell" in first.reason
    assert first == again


def test_each_of_several_problems_goes_on_from_its_own_file(tmp_path: Path) -> None:
    """As the layers of a no-saturation property are: the second does not write over the first."""
    problems = [with_bound(BASE, WORST), with_bound(BASE, WORST + Fraction(1, 10**6))]
    options = Options(jobs=1, encoding="none", falsifies=False, checkpoint=tmp_path / "c")
    for problem, file in zip(problems, ("c", "c.1"), strict=True):
        stopped(problem, tmp_path / file, steps=3)
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    for _ in range(2):
        _, result = check_all(problems, replace(options, resumes=True))
        assert isinstance(result.verdict, Verified)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["c", "c.1"]
    assert (tmp_path / "c").read_bytes() != before[0]


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    options = Options(jobs=1, encoding="none", checkpoint=tmp_path / "no" / "c")
    with pytest.raises(InputError, match="cannot be written"):
        check(replace(with_bound(BASE, WORST)), options)
