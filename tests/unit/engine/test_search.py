"""The search decides what is true, certifies at any moment, and notices if a box is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.dra.analysis import analyze, analyze_region
from qsmt.dra.compiled import InputRelation
from qsmt.dra.domain import Boxes, Mode
from qsmt.engine import branch, costs, pieces
from qsmt.engine.bound import bound
from qsmt.engine.boxes import Batch, Rows, halves
from qsmt.engine.branch import Search
from qsmt.engine.check import analyse, check
from qsmt.engine.costs import Costs, estimate
from qsmt.engine.crew import Crew
from qsmt.engine.dispatch import open_queries
from qsmt.engine.investigation import Investigation, Silence
from qsmt.engine.pieces import Examination, Prepared, examine
from qsmt.engine.plan import CrossCheck, Options
from qsmt.engine.policy import Policy, claim_limits
from qsmt.engine.search import conclude, refusal
from qsmt.errors import SoundnessError
from qsmt.facts import Facts, Interval, LinearForm
from qsmt.interp.replay import replay
from qsmt.problem import InputModel, Problem, Region
from qsmt.verdict import Falsified, Unknown, Verdict, Verified
from qsmt_milp import MilpEncoding
from tests.support.any_network import any_problem
from tests.support.constraints import example
from tests.support.networks import Recipe, random_problem, with_bound
from tests.support.truth import all_points, true_maximum, true_range

TINY = Fraction(1, 2**40)
SPLITTING, MIXED, RUNNING = Costs(0.2, 2), Costs(3.0, 4), Costs(1e9, 4)
"""Cut down to single points; cut and run; run everything at once."""


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Callable[[Costs], None]:
    return lambda costs: monkeypatch.setattr(branch, "estimate", lambda _: costs)


def decided(problem: Problem, **options: object) -> Verdict:
    """By the search alone."""
    found = check(problem, Options(encoding="none", falsifies=False, **{"jobs": 1, **options}))  # type: ignore[arg-type]
    return found.verdict


def continuous(problem: Problem) -> Problem:
    """The same networks on the reals that the codes of the region stand for."""
    scale = problem.input_scale
    ends = (tuple(v * scale for v in end) for end in (problem.region.lower, problem.region.upper))
    return replace(problem, region=Region(InputModel.CONTINUOUS, *ends), input_scale=Fraction(1))


def started(problem: Problem) -> Search:
    run = Investigation(problem, Options(jobs=1))
    run.perform(analyse, "analysis")
    limits = claim_limits(problem.claim.bounds)
    policy = Policy(lambda: limits, lambda: run.verdict is not None, dive_share=0.5)
    return Search.begin(run, policy, Crew(problem, jobs=1, memory_mib=4096))


@pytest.mark.parametrize("costs", [SPLITTING, MIXED, RUNNING])
@pytest.mark.parametrize("seed", range(6))
def test_the_verdict_is_right_on_both_sides_of_the_maximum(
    seed: int, costs: Costs, cost: Callable[[Costs], None]
) -> None:
    cost(costs)
    problem = random_problem(seed, Recipe(sizes=(3, 4, 2), input_scale=Fraction(1, 7) if seed % 2 else None))
    worst = true_maximum(problem)
    assert isinstance(decided(with_bound(problem, worst)), Verified)
    below = decided(with_bound(problem, worst - TINY))
    assert isinstance(below, Falsified)
    assert abs(below.witness.difference) == worst


@pytest.mark.parametrize("seed", range(4))
def test_where_every_point_is_run_the_extremes_are_witnessed(
    seed: int, cost: Callable[[Costs], None]
) -> None:
    cost(RUNNING)
    problem = random_problem(seed, Recipe(sizes=(3, 4, 2)))
    search = started(with_bound(problem, true_maximum(problem)))
    while not search.done:
        search.step()
    search.finish()
    assert [o.extremes for o in search.run.outputs] == [true_range(problem, i) for i in range(2)]


@pytest.mark.parametrize("model", InputModel)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_certified_holds_after_every_step(
    seed: int, model: InputModel, cost: Callable[[Costs], None]
) -> None:
    cost(MIXED)
    problem = random_problem(seed, Recipe(sizes=(3, 4, 2), radius=3))
    truth = [true_range(problem, i) for i in range(2)]
    claimed = with_bound(problem, true_maximum(problem) * Fraction(9, 8))
    search = started(claimed if model is InputModel.GRID else continuous(claimed))
    widths = []
    for _ in range(40):
        if search.done:
            break
        search.step()
        search.check_nothing_is_lost()
        for (low, high), least, greatest in zip(
            truth, search.certified.lower.tolist(), search.certified.upper.tolist(), strict=True
        ):
            assert least <= low and high <= greatest
        widths.append(float(search.certified.width.max()))
    assert widths == sorted(widths, reverse=True)


def test_a_continuous_region_of_one_point_is_executed() -> None:
    problem = random_problem(5, Recipe())
    end = (Fraction(1, 3), Fraction(1, 7))
    point = replace(problem, region=Region(InputModel.CONTINUOUS, end, end), input_scale=Fraction(1))
    truth = abs(replay(point, [end])[0].difference[0])
    assert decided(with_bound(point, truth)) == Verified(("enumeration",))
    assert isinstance(decided(with_bound(point, truth - TINY)), Falsified)


def test_a_continuous_claim_with_room_is_proved_by_cutting() -> None:
    problem = continuous(random_problem(1, Recipe(sizes=(2, 3, 1), radius=4)))
    reach = max(abs(float(v)) for v in ends_of(analyze_region(problem).difference))
    loose = with_bound(problem, Fraction(reach) * Fraction(9, 10))
    assert decided(loose, timeout_s=60) == Verified(("dra",))


def ends_of(interval: Interval) -> list[float]:
    return [*interval.lower.tolist(), *interval.upper.tolist()]


def test_time_that_is_up_leaves_the_problem_undecided() -> None:
    problem = with_bound(random_problem(6, Recipe(input=Fixed(True, 6, 4), radius=16)), Fraction(1, 2**30))
    found = decided(problem, timeout_s=1e-9)
    assert isinstance(found, Unknown)
    assert "open" in found.reason


def test_one_job_is_deterministic(cost: Callable[[Costs], None]) -> None:
    """Every number of the report, after a search that cuts and runs boxes."""
    cost(MIXED)
    problem = random_problem(3, Recipe(sizes=(3, 4, 2), radius=3))
    at_the_maximum = with_bound(problem, true_maximum(problem))
    one, two = (check(at_the_maximum, Options(jobs=1, encoding="none")) for _ in range(2))
    assert (one.verdict, one.outputs) == (two.verdict, two.outputs)
    assert [s.figures for s in one.stages] == [s.figures for s in two.stages]
    figures = one.stages[-1].figures
    assert one.stages[-1].name == "search" and figures["boxes"] > 10 and figures["points"] > 10


def test_progress_says_how_far_the_search_is(cost: Callable[[Costs], None]) -> None:
    """Boxes open, the certified and the witnessed bound, and the pace; the share that is closed grows to all."""
    cost(SPLITTING)
    told: list[tuple[float, float, str]] = []

    class Listening(Silence):
        def progress(self, done: float, total: float, note: str) -> None:
            told.append((done, total, note))

    problem = random_problem(3, Recipe(sizes=(3, 4, 2), radius=3))
    found = bound(problem, Options(jobs=1, encoding="none"), Listening())
    said = re.compile(r"([\d,]+) box(?:es)? open, certified (\S+), witnessed (\S+), [\d,]+ boxes/s$")
    notes = [said.search(note) for _, _, note in told]
    assert len(notes) > 3 and all(notes)
    open_boxes, *ends = zip(*(note.groups() for note in notes if note), strict=True)
    certified, witnessed = ([float(v) for v in column] for column in ends)
    assert certified == sorted(certified, reverse=True) and witnessed == sorted(witnessed)
    assert open_boxes[0] != "0" and open_boxes[-1] == "0" and certified[-1] == witnessed[-1]
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][:2] == (100, 100) and found.reason is None


def test_codes_that_no_double_holds_are_not_searched() -> None:
    """Points are made as doubles; beyond 2**53 they would be the wrong ones."""
    problem = random_problem(1, Recipe(input=Fixed(True, 60, 0), reference_frac=2))
    assert max(map(abs, problem.region.upper)) > 2**53
    assert "2**52" in (refusal(Investigation(problem, Options())) or "")


@pytest.mark.parametrize("seed", range(3))
def test_an_analysis_without_linear_forms_will_do(
    seed: int, monkeypatch: pytest.MonkeyPatch, cost: Callable[[Costs], None]
) -> None:
    for analysis in ("USUAL", "THOROUGH"):
        monkeypatch.setattr(pieces, analysis, Mode.INTERVAL)
    cost(SPLITTING)
    problem = random_problem(seed, Recipe(sizes=(3, 4, 2)))
    worst = true_maximum(problem)
    assert isinstance(decided(with_bound(problem, worst)), Verified)
    assert isinstance(decided(with_bound(problem, worst - TINY)), Falsified)


def test_forms_of_some_boxes_only_are_not_taken_for_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accumulator that may wrap on one box has no linear form there."""
    problem = any_problem(7, model=InputModel.CONTINUOUS, wild=False)
    root = Boxes.of_region(problem.region)
    complete = analyze(problem, root, Mode.DIFFERENCE)
    size = problem.reference.output.size
    one = LinearForm(
        *(np.zeros((1, size, *shape)) for shape in ((problem.input_size,), (problem.input_size,), (), ()))
    )
    ends = [np.repeat(end, 2, axis=0) for end in (root.lower, root.upper)]
    monkeypatch.setattr(pieces, "analyze", lambda *_: replace(complete, form=one))
    assert pieces.bounds_on(Prepared(problem), Boxes(*ends)).form is None
    assert pieces.bounds_on(Prepared(problem), Boxes(*ends)[:1]).form is one


def test_the_input_that_moves_the_difference_most_is_cut_first(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = continuous(random_problem(1, Recipe(sizes=(3, 4, 1))))
    root, everything = Boxes.of_region(problem.region), claim_limits([Fraction(0)])
    for mode in (Mode.INTERVAL, Mode.DIFFERENCE):
        monkeypatch.setattr(pieces, "THOROUGH", mode)
        found = examine(Prepared(problem), Examination(root, everything))
        assert found.rise.shape == (1, 3) and (found.rise > 0).any()
        assert found.seen is not None
        inside = (root.lower <= found.seen.points) & (found.seen.points <= root.upper)
        assert inside.all()
        none = examine(Prepared(problem), Examination(root, claim_limits([Fraction(10**6)])))
        assert none.seen is None and (none.rise == 0).all()


@pytest.mark.parametrize("model", InputModel)
def test_the_boxes_of_a_constraint_are_probed_at_random(model: InputModel) -> None:
    """At points of the region that are the same whoever asks; an error bound needs none."""
    made = example(1).problem
    problem = made if model is InputModel.GRID else continuous(made)
    prepared, root = Prepared(problem), Boxes.of_region(problem.region)
    probes = np.concatenate(list(pieces._probes(prepared, root)))
    assert len(probes) == pieces.PROBES and np.array_equal(
        probes, np.concatenate([*pieces._probes(prepared, root)])
    )
    assert all(problem.region.contains(tuple(map(Fraction, point))) for point in probes.tolist())
    assert not list(pieces._probes(Prepared(random_problem(1, Recipe())), root))


def test_a_property_of_one_network_is_analysed_as_such() -> None:
    """Beside silence nothing cancels, so that lines do before planes; of two networks it is the other way round."""
    made = [Prepared(e.problem) for e in map(example, range(24))]
    assert {m.modes for m in made if m.problem.reference.is_silent} == {pieces.LONE}
    assert {
        m.modes for m in made if not m.problem.reference.is_silent and not m.problem.quantized.is_silent
    } == {(pieces.USUAL, pieces.THOROUGH)}


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_thorough_analysis_is_used_where_it_pays(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch, a sample is analysed both ways; what it gains decides of the others."""
    problem = continuous(random_problem(1, Recipe(sizes=(3, 4, 1))))
    root = Boxes.of_region(problem.region)
    many = Boxes(*(np.repeat(end, pieces.SAMPLED + 5, axis=0) for end in (root.lower, root.upper)))
    asked: list[tuple[Mode, int]] = []

    def analysed(problem: Problem, boxes: Boxes, mode: Mode) -> Facts:
        asked.append((mode, len(boxes)))
        facts, size = analyze(problem, boxes, Mode.BEST), share if mode is pieces.THOROUGH else 1.0
        last = facts.layers[-1]
        wide = Interval(
            np.full_like(last.difference_post.lower, -size), 0 * last.difference_post.lower + size
        )
        return replace(facts, layers=(*facts.layers[:-1], replace(last, difference_post=wide)))

    monkeypatch.setattr(pieces, "analyze", analysed)
    found = examine(Prepared(problem), Examination(many, claim_limits([Fraction(0)])))
    chosen = pieces.THOROUGH if share < pieces.WORTH else pieces.USUAL
    assert asked == [(pieces.THOROUGH, pieces.SAMPLED), (pieces.USUAL, pieces.SAMPLED), (chosen, 5)]
    assert len(found.bounds.lower) == pieces.SAMPLED + 5


def test_a_proof_that_exceeds_the_claim_is_an_alarm(cost: Callable[[Costs], None]) -> None:
    """Limits that are too wide close boxes that the claim does not allow to be closed."""
    cost(MIXED)
    problem = random_problem(2, Recipe(sizes=(3, 4, 2)))
    search = started(with_bound(problem, true_maximum(problem) / 2))
    wide, narrow = claim_limits([Fraction(100)] * 2), search.policy.limits()
    search.policy = Policy(lambda: wide, lambda: False)
    while not search.done:
        search.step()
    search.policy = Policy(lambda: narrow, lambda: False)
    with pytest.raises(SoundnessError, match="every box is closed"):
        conclude(search.run, search)


# --- planted faults: a box that is lost is noticed -----------------------------------------------------


def dropped_half(batch: Batch, axis: Rows, *, grid: bool, read: InputRelation | None) -> Batch:
    return halves(batch, axis, grid=grid, read=read)[: len(batch)]


def off_by_one(batch: Batch, axis: Rows, *, grid: bool, read: InputRelation | None) -> Batch:
    found = halves(batch, axis, grid=grid, read=read)
    found.lower[len(batch) + np.arange(len(batch)), axis] += 1
    return found[found.lower[:, 0] <= found.upper[:, 0]]


@pytest.mark.parametrize("fault", [dropped_half, off_by_one])
@pytest.mark.parametrize("model", InputModel)
def test_a_lost_part_is_a_soundness_alarm(
    fault: Callable[..., Batch],
    model: InputModel,
    monkeypatch: pytest.MonkeyPatch,
    cost: Callable[[Costs], None],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)  # for the alarm's folder
    cost(MIXED)
    problem = random_problem(1, Recipe(sizes=(3, 4, 2), radius=3))
    worst = true_maximum(problem)
    problem = (
        with_bound(problem, worst) if model is InputModel.GRID else with_bound(continuous(problem), 2 * worst)
    )
    assert not isinstance(decided(problem, timeout_s=20), Falsified)
    monkeypatch.setattr(branch, "halves", fault)
    with pytest.raises(SoundnessError, match=r"make up|outside the certified"):
        decided(problem, timeout_s=20)


# --- costs and residual --------------------------------------------------------------------------------


def test_costs_are_sane_for_small_and_large_networks() -> None:
    for sizes in ((2, 3, 1), (5, 50, 50, 50, 1)):
        found = estimate(Prepared(random_problem(0, Recipe(sizes=sizes, radius=1))))
        assert found.ratio > 0 and 1 <= found.batch <= 1024


def test_a_batch_is_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """All bounds of all layers of a batch stay below the limit, whatever that is."""
    prepared = Prepared(random_problem(0, Recipe(sizes=(5, 50, 50, 1), radius=1)))
    sizes = []
    for limit in (2**28, 2**18, 2**16, 1):
        monkeypatch.setattr(costs, "BATCH_BYTES", limit)
        sizes.append(estimate(prepared).batch)
    assert sizes[0] > sizes[1] > sizes[2] == max(1, 2**16 // (8 * costs.BOUNDS * 106)) and sizes[3] == 1


def test_the_residual_covers_every_open_point_with_facts_that_hold(cost: Callable[[Costs], None]) -> None:
    cost(SPLITTING)
    problem = random_problem(4, Recipe(sizes=(3, 4, 1), radius=2))
    search = started(with_bound(problem, true_maximum(problem)))
    for _ in range(4):
        search.step()
    opened = search.pool.all
    for most in (10**6, 1):
        parts = search.residual(most)
        assert len(parts) == (len(opened) if most > 1 else 1)
        for x in all_points(problem):
            inside = ((opened.lower <= np.array(x, float)) & (np.array(x, float) <= opened.upper)).all(axis=1)
            if inside.any():
                holders = [facts for part, facts in parts if part.region.contains(x)]
                assert holders
                value = replay(problem, [x])[0].difference[0]
                assert all(f.difference.lower[0] <= value <= f.difference.upper[0] for f in holders)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_box_that_lies_in_the_rounding_of_the_regions_end_is_not_left(
    seed: int, cost: Callable[[Costs], None]
) -> None:
    """The region begins at a tie, which reads the code above it; the next double reads the code below it."""
    cost(SPLITTING)
    recipe = Recipe(sizes=(2, 4, 2), input=Fixed(True, 6, 4), input_scale=Fraction(7, 5))
    tie = Fraction(-29, 2) / 16 / Fraction(7, 5)
    ends = (tie, Fraction(0)), (tie + Fraction(1, 16), Fraction(1, 16))
    problem = replace(random_problem(seed, recipe), region=Region(InputModel.CONTINUOUS, *ends))
    search, beyond = started(problem), 0
    while beyond == 0 and not search.done:
        search.step()
        beyond = sum(Fraction(v) < tie for v in search.pool.all.upper[:, 0].tolist())
    assert beyond
    parts = search.residual(10**6)
    assert 0 < len(parts) <= search.open_boxes - beyond
    for part, facts in parts:
        for query in open_queries(part, facts):
            assert MilpEncoding().refuses(query) is None  # facts and exact intervals share values
    assert all(any(part.region.contains(end) for part, _ in parts) for end in ends)


def test_what_the_search_leaves_is_decided_by_an_encoding_and_the_proof_rests_on_both(
    cost: Callable[[Costs], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict of three parts: boxes that analysis closed, boxes that were run, and boxes put to a solver."""
    cost(Costs(1.5, 4))
    problem = random_problem(3, Recipe(sizes=(3, 4, 2), radius=3))
    monkeypatch.setattr(Search, "done", property(_has_some_of_each))
    options = Options(
        encoding="auto", backend="bitwuzla", falsifies=False, cross_check=CrossCheck.OFF, jobs=1
    )
    found = check(with_bound(problem, true_maximum(problem)), options)
    assert found.verdict == Verified(("dra", "enumeration", "smt:bitwuzla"))
    searched, asked = found.stages[-2:]
    left, proofs = searched.figures["open"], asked.figures["proofs"]
    assert left > 0 and proofs == {"smt:bitwuzla": asked.figures["queries"]}
    assert asked.summary.endswith(f"have no solution ({asked.figures['queries']} by smt:bitwuzla)")
    below = check(with_bound(problem, true_maximum(problem) - TINY), options)
    assert isinstance(below.verdict, Falsified)


def _has_some_of_each(search: Search) -> bool:
    return len(search.pool) == 0 or bool(search.tally.settled and search.tally.enumerated)
