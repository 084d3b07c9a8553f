"""Boxes: halves lose nothing, the pool loses nothing, and a part's problem is a part of the problem."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.engine.boxes import Batch, Pool, halves, part_of, searchable, splittable, whole
from qsmt.engine.leaves import grid_points
from qsmt.problem import InputModel, Region
from tests.support.networks import Recipe, random_problem


def random_batch(rng: np.random.Generator, count: int, *, grid: bool) -> Batch:
    lower = rng.integers(-9, 9, (count, 3)).astype(np.float64)
    extent = rng.integers(0, 5, lower.shape) if grid else rng.random(lower.shape)
    bounds = np.sort(rng.normal(size=(2, count, 2)), axis=0)
    return Batch(lower, lower + extent, rng.random(lower.shape), bounds[0], bounds[1])


def points_of(batch: Batch) -> list[tuple[float, ...]]:
    return sorted(map(tuple, grid_points(batch.lower, batch.upper, 0, 10**6).tolist()))


@pytest.mark.parametrize("seed", range(20))
def test_halves_of_integer_boxes_hold_the_same_points_once_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch = random_batch(rng, 6, grid=True)
    possible = splittable(batch, np.ones(3), grid=True)
    able = np.flatnonzero(possible.any(axis=1))
    batch, possible = batch[able], possible[able]
    axis = np.where(possible, rng.random(possible.shape), -1).argmax(axis=1)
    parts = halves(batch, axis, grid=True)
    assert points_of(parts) == points_of(batch)
    assert (parts.points > 0).all() and len(parts) == 2 * len(batch)


@pytest.mark.parametrize("seed", range(20))
def test_halves_of_real_boxes_share_their_middle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch, axis = random_batch(rng, 6, grid=False), rng.integers(0, 3, 6)
    parts, rows = halves(batch, axis, grid=False), np.arange(6)
    low, high = parts[:6], parts[6:]
    assert np.array_equal(low.lower, batch.lower) and np.array_equal(high.upper, batch.upper)
    assert np.array_equal(low.upper[rows, axis], high.lower[rows, axis])
    others = np.arange(3) != axis[:, None]
    assert np.array_equal(low.upper[others], batch.upper[others])
    assert np.array_equal(high.lower[others], batch.lower[others])


def test_reals_that_cannot_be_told_apart_are_not_cut() -> None:
    narrow = Batch(*(np.array([[v]]) for v in (1.0, np.nextafter(1.0, 2), 0.0, 0.0, 0.0)))
    assert not splittable(narrow, np.array([1e-300]), grid=False).any()
    assert not splittable(replace(narrow, upper=np.array([[1 + 1e-13]])), np.array([1.0]), grid=False).any()


@pytest.mark.parametrize("seed", range(10))
def test_the_pool_gives_back_what_was_put_in_and_the_best_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = random_batch(rng, 3, grid=True)
    pool, expected = Pool(first, first.greatest[:, 0]), first.greatest[:, 0].tolist()
    for _ in range(60):
        if rng.random() < 0.6:
            more = random_batch(rng, int(rng.integers(1, 200)), grid=True)
            pool.add(more, more.greatest[:, 0])
            expected += more.greatest[:, 0].tolist()
        elif rng.random() < 0.7:
            count = int(rng.integers(1, 60))
            taken = pool.take(count, newest=int(rng.integers(0, 2)) * (count // 2))
            assert len(taken) == min(count, len(expected))
            for value in taken.greatest[:, 0].tolist():
                expected.remove(value)
        else:
            for value in pool.remove(pool.priority > 1.0).greatest[:, 0].tolist():
                assert value > 1.0
                expected.remove(value)
        assert sorted(pool.all.greatest[:, 0].tolist()) == sorted(expected)
        assert np.array_equal(pool.all.greatest[:, 0], pool.priority)
    best = sorted(expected, reverse=True)[:5]
    assert sorted(pool.take(5).greatest[:, 0].tolist(), reverse=True) == best


def test_the_newest_come_first_if_asked_for() -> None:
    batch = random_batch(np.random.default_rng(0), 8, grid=True)
    pool = Pool(batch[:4], np.full(4, 9.0))
    pool.add(batch[4:], np.arange(4.0))
    taken = pool.take(3, newest=2)
    assert {tuple(row) for row in batch[6:].least.tolist()} < {tuple(row) for row in taken.least.tolist()}


def test_a_part_of_a_region_whose_ends_are_no_doubles_lies_inside_it() -> None:
    problem = random_problem(0, Recipe())
    region = Region(InputModel.CONTINUOUS, (Fraction(1, 3),) * 2, (Fraction(2, 3),) * 2)
    problem = replace(problem, region=region, input_scale=Fraction(1))
    root = whole(region, 1)
    assert part_of(problem, root.lower[0], root.upper[0]).region == region
    half = halves(root, np.array([0]), grid=False)[:1]
    part = part_of(problem, half.lower[0], half.upper[0]).region
    assert part.lower == region.lower and part.upper[0] < region.upper[0] and part.upper[1] == region.upper[1]


def test_integers_that_doubles_cannot_halve_are_not_searched() -> None:
    wide, one = (Fraction(2) ** 53,), (Fraction(0),)
    assert not searchable(Region(InputModel.GRID, one, wide))
    assert searchable(Region(InputModel.CONTINUOUS, one, wide))
    assert not searchable(Region(InputModel.CONTINUOUS, one, one))
