"""The mode `optimized`: sound, never looser than `best`, exact where cases can be exhausted; faults are caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qsmt.arith.rounding import Rounding
from qsmt.dra import compiled, multipliers, splitting
from qsmt.dra.analysis import analyze, analyze_region
from qsmt.dra.ascent import closed_form
from qsmt.dra.domain import Boxes, Effort, Mode
from qsmt.dra.hexagon import Vertices, vertices
from qsmt.dra.multipliers import PHI, Dual, Points, certified, points
from qsmt.facts import Facts
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from tests.unit.dra.exact_dual import Prepared, exact_bound, prepared
from tests.unit.dra.soundness import QUICK, Range, executed, violations
from tests.unit.dra.test_analysis import real_network
from tests.unit.dra.wild import Style, points_of, wild_pair, wild_problem

F = Fraction
SOME, MANY = Effort(nodes=60), Effort(nodes=400)


def optimized_facts(problem: Problem, effort: Effort = QUICK) -> Facts:
    return analyze_region(problem, Mode.OPTIMIZED, effort=effort)


@pytest.mark.parametrize("make", [wild_problem, wild_pair])
@pytest.mark.parametrize("seed", range(12))
def test_it_is_never_looser_than_best(make: Callable[[int, Style], Problem], seed: int) -> None:
    problem = make(seed, Style((3, 6, 5, 2), bits=4, radius=5))
    for ours, best in zip(optimized_facts(problem).layers, analyze_region(problem).layers, strict=True):
        for name in ("difference_pre", "difference_post", "reference_post", "quantized_post"):
            bound, other = getattr(ours, name), getattr(best, name)
            assert (bound.lower >= other.lower).all() and (bound.upper <= other.upper).all()


def kinked(slopes: list[str], biases: list[str], outer: list[str]) -> Problem:
    """Two real networks of one input, the second disturbed; their difference is piecewise linear."""
    ours = real_network([[s] for s in slopes], [outer], biases=[biases, ["0"]])
    moved = [str(F(s) * F(9, 10) + F(1, 20)) for s in slopes]
    theirs = real_network(
        [[s] for s in moved], [outer], biases=[[str(F(b) + F(1, 10)) for b in biases], ["0"]]
    )
    region = Region(InputModel.CONTINUOUS, (F(-1),), (F(1),))
    return Problem(ours, theirs, region, F(1), ErrorBound((0,), (F(1),)))


def range_of(problem: Problem) -> Range:
    """The exact range of the difference: it is extreme at an end or at a kink."""
    kinks = {F(-1), F(1)}
    for network in (problem.reference, problem.quantized):
        affine = network.ops[0]
        weight, bias = affine.weight.reals.fractions, affine.bias.reals.fractions  # type: ignore[union-attr]
        kinks |= {-c / w for w, c in zip(weight.ravel().tolist(), bias.tolist(), strict=True) if w}
    points = [(x,) for x in sorted(kinks) if -1 <= x <= 1]
    return executed(problem, points)[-1]["difference_post"]


@pytest.mark.parametrize(
    ("slopes", "biases", "outer"),
    [
        (["1", "-1", "2"], ["0.1", "0.2", "-0.3"], ["1", "1", "-1"]),
        (["1", "1.5", "-2", "-1"], ["-0.2", "0.3", "0.1", "0"], ["1", "-2", "1", "0.5"]),
    ],
)
def test_all_cases_of_a_few_neurons_give_the_exact_range(
    slopes: list[str], biases: list[str], outer: list[str]
) -> None:
    problem = kinked(slopes, biases, outer)
    truth, best = range_of(problem), analyze_region(problem).difference
    found = optimized_facts(problem, MANY).difference
    width = float(truth.upper[0] - truth.lower[0])
    assert best.width[0] > 1.1 * width
    assert width <= found.width[0] <= 1.01 * width
    assert F(float(found.lower[0])) <= truth.lower[0] and truth.upper[0] <= F(float(found.upper[0]))


def test_only_chosen_outputs_take_the_effort() -> None:
    problem = wild_pair(2, Style((3, 6, 5, 3)))
    every = optimized_facts(problem).difference
    one = analyze_region(problem, Mode.OPTIMIZED, outputs=[1], effort=QUICK).difference
    none = analyze_region(problem, Mode.OPTIMIZED, outputs=[], effort=QUICK).difference
    assert one.width[1] < none.width[1]
    assert one.width[0] == none.width[0] > every.width[0]


def test_a_number_of_nodes_gives_the_same_bounds_every_time_and_more_of_them_tighter_ones() -> None:
    problem = wild_pair(2, Style((3, 8, 8, 2)))
    few, again, many = (optimized_facts(problem, e).difference for e in (QUICK, QUICK, MANY))
    assert np.array_equal(few.lower, again.lower) and np.array_equal(few.upper, again.upper)
    assert many.width[0] < few.width[0] < analyze_region(problem).difference.width[0]


def test_without_time_it_is_best() -> None:
    problem = wild_pair(4, Style((3, 8, 8, 2)))
    found = optimized_facts(problem, Effort(nodes=400, seconds=0.0)).difference
    best = analyze_region(problem).difference
    assert (found.width <= best.width).all()


def test_every_box_of_a_batch_is_searched_by_itself() -> None:
    problem = wild_problem(5, Style((3, 6, 6, 2), radius=6, bits=6))
    boxes = Boxes.of_region(problem.region)
    middle = np.floor(0.5 * boxes.lower + 0.5 * boxes.upper)
    two = Boxes(np.concatenate([boxes.lower, boxes.lower]), np.concatenate([boxes.upper, middle]))
    together = analyze(problem, two, Mode.OPTIMIZED, effort=QUICK)
    for i in range(2):
        alone = analyze(problem, two[i : i + 1], Mode.OPTIMIZED, effort=QUICK)
        assert np.array_equal(together.difference.lower[i], alone.difference.lower[0])


# --- the faults -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nothing_cached() -> Iterator[None]:
    """What a fault has compiled is forgotten."""
    compiled._compile.cache_clear()
    yield
    compiled._compile.cache_clear()


Executed = tuple[Problem, list[dict[str, Range]]]


@pytest.fixture(scope="module")
def pool() -> list[Executed]:
    """Problems with few inputs and neurons, so that bounds are close to what executions reach."""
    problems = [kinked(["1", "-1", "2"], ["0.1", "0.2", "-0.3"], ["1", "1", "-1"])]
    problems += [wild_pair(seed, Style((1, 3, 3, 1))) for seed in range(12)]
    problems += [
        wild_problem(seed, Style((1, 3, 3, 1), rounding, bits=3, radius=3, wraps=False))
        for rounding in (Rounding.HALF_UP, Rounding.FLOOR, Rounding.CEIL)
        for seed in range(16)
    ]
    return [(p, executed(p, points_of(p, 1, 60))) for p in problems]


def caught(pool: list[Executed]) -> bool:
    with np.errstate(all="ignore"):
        return any(violations(ranges, optimized_facts(problem, SOME)) for problem, ranges in pool)


def some_vertices(kept: slice) -> Callable[[Any], Vertices]:
    def found(region: Any) -> Vertices:
        v = vertices(region)
        return Vertices(v.z[kept], v.d[kept], v.phi[kept], v.r[kept], v.margin)

    return found


def wrong_noise(region: Any) -> Vertices:
    return vertices(replace(region, noise=-region.noise))


DIVIDED, TIGHTENED = splitting.divided, splitting._tightened


def one_child(columns: Any, nodes: Any) -> Any:
    children = DIVIDED(columns, nodes)
    return children[np.arange(0, len(children), 2)]


def shrunk(neuron: Any, own: Any) -> Any:
    """Intervals lose a fifth at either end before they are called empty."""
    found = TIGHTENED(neuron, own)
    low, high = found[0::2], found[1::2]
    found[0::2], found[1::2] = low + 0.2 * np.abs(high - low) + 1e-9, high - 0.2 * np.abs(high - low) - 1e-9
    return found


FAULTS: dict[str, tuple[Any, str, Any]] = {
    "corners are forgotten": (multipliers, "vertices", some_vertices(slice(4, None))),
    "kinks are forgotten": (multipliers, "vertices", some_vertices(slice(0, 6))),
    "noise has the wrong sign": (multipliers, "vertices", wrong_noise),
    "a child is dropped": (splitting, "divided", one_child),
    "children that are not empty are dropped": (splitting, "_tightened", shrunk),
}


def test_without_a_fault_nothing_is_left(pool: list[Executed]) -> None:
    assert not caught(pool)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(name: str, pool: list[Executed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*FAULTS[name])
    assert caught(pool)


SHARE = 2.0**-30


def planted(case: Prepared, where: str, *, covered: bool) -> tuple[Dual, Points]:
    """Rows or points that are off by far more than rounding, with or without the slack that says so."""
    below, rng = case.dual, np.random.default_rng(1)
    at = points(below.region[:, None])
    if where == "margin":
        size = SHARE * below.region.size.max(axis=0)
        table = at.table.copy()
        table[0, PHI], table[1, PHI] = table[0, PHI] - size, table[1, PHI] + size
        return below, replace(at, table=table, margin=at.margin + (4 * size if covered else 0.0))
    stages = []
    for i, stage in enumerate(below.stages):
        difference = where == "d_error"
        matrix = "weight" if difference else "reference"
        read = (case.trace.difference_read if difference else case.trace.reference_read)(i)
        far = np.maximum(np.abs(read.lower), np.abs(read.upper))[0, case.hidden[i].maps.kept]
        off = SHARE * getattr(stage, matrix) * rng.choice([-1.0, 1.0], getattr(stage, matrix).shape)
        error = 1.001 * np.abs(off) @ far if covered else 0.0
        error = error + getattr(stage, where)
        stages.append(replace(stage, **{matrix: getattr(stage, matrix) + off, where: error}))
    return replace(below, stages=tuple(stages)), at


def is_short(case: Prepared, where: str, *, covered: bool) -> bool:
    """Whether some bound is below the exact one."""
    below, at = planted(case, where, covered=covered)
    targets = np.arange(len(below.rows.constant))
    chosen = closed_form(below, at, targets)
    found, case = certified(below, at, targets, chosen), replace(case, dual=below)
    return any(F(float(found[t])) < exact_bound(case, t, chosen[:, [t]]) for t in targets.tolist())


@pytest.mark.parametrize("where", ["d_error", "z_error", "margin"])
def test_an_error_is_covered_by_its_slack_and_by_nothing_else(where: str) -> None:
    """Against the exact bound: executions seldom reach what rounding hides."""
    style = Style((3, 6, 5, 2), thirds=True, wraps=False)
    with np.errstate(all="ignore"):
        cases = [prepared(wild_pair(seed, style)) for seed in range(8)]
        assert not any(is_short(case, where, covered=True) for case in cases)
        assert any(is_short(case, where, covered=False) for case in cases)
