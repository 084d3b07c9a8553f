"""Who is asked first: the estimates are those that benchmarks/results/dispatch.md was fitted to, widths included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, inf, log, log2
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.dispatch import LEAST_S, LIMIT_S, Row, fit, read
from benchmarks.scaling import Instance
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query
from qsmt.engine.cost import MEASURED, Growth, Size, estimate, size
from qsmt.facts import Facts, Interval
from qsmt.problem import InputModel
from tests.unit.engine.test_dispatch import UNSAT, FakeBackend

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "dispatch.md"
ALL = [(model, label) for model, known in MEASURED.items() for label in known]
GRID, CONTINUOUS = InputModel.GRID, InputModel.CONTINUOUS


@pytest.fixture(scope="module")
def rows() -> Mapping[InputModel, list[Row]]:
    """What was measured."""
    found = read(RESULTS.read_text())
    return {model: [row for row in found if row.size.model is model] for model in InputModel}


def of(label: str) -> FakeBackend:
    return FakeBackend(UNSAT, trust=label, exact=not label.startswith("milp:"))


def order(at: Size) -> list[str]:
    """Who is asked, in this order; Gurobi needs a licence."""
    labels = [label for label in MEASURED[at.model] if label != "milp:gurobi"]
    return sorted(labels, key=lambda label: estimate(of(label), at))


def mean(seconds: Sequence[float]) -> float:
    """Geometric, as in the scaling table."""
    return exp(sum(log(min(max(t, 0.01), LIMIT_S)) for t in seconds) / len(seconds))


def without_widths(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, size=replace(row.size, width=0.0)) for row in rows]


# --- where the constants come from --------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "label"), ALL)
def test_the_constants_are_those_fitted_to_the_measurements(
    model: InputModel, label: str, rows: Mapping[InputModel, list[Row]]
) -> None:
    """Whoever changes a constant, or measures again, has to change both."""
    found, known = fit(rows[model], label), MEASURED[model][label]
    assert known.seconds == pytest.approx(found.seconds, rel=0.06)
    for rate in ("per_input_bit", "per_unstable_neuron", "per_width_doubling", "spread"):
        assert getattr(known, rate) == pytest.approx(getattr(found, rate), abs=0.006), rate


def test_a_fit_finds_the_growth_that_made_the_seconds(rows: Mapping[InputModel, list[Row]]) -> None:
    """And would so notice a wrong size: with widths that are not those of the seconds, it finds another."""
    known = Growth(1e-3, 0.12, 0.05, 0.7, 0.0)
    made = [replace(row, seconds={"x": known.expected(row.size)}) for row in rows[GRID]]
    made = [row for row in made if LEAST_S < row.seconds["x"] < LIMIT_S]
    found = fit(made, "x")
    assert found.spread < 1e-9 and found.seconds == pytest.approx(known.seconds)
    assert found.per_width_doubling == pytest.approx(known.per_width_doubling)
    wrong = fit([replace(row, size=replace(row.size, width=row.size.width**2)) for row in made], "x")
    assert wrong.per_width_doubling < 0.6 * known.per_width_doubling


@pytest.mark.parametrize("label", MEASURED[GRID])
def test_widths_explain_what_points_and_neurons_do_not(
    label: str, rows: Mapping[InputModel, list[Row]]
) -> None:
    with_them, without = fit(rows[GRID], label), fit(without_widths(rows[GRID]), label)
    assert with_them.per_width_doubling > 0.5 and with_them.spread < 0.85 * without.spread


def test_queries_that_differ_in_width_alone_are_slower_where_they_are_wider(
    rows: Mapping[InputModel, list[Row]],
) -> None:
    """Measured, not estimated: weights of 16 bits beside weights of 4, the same boxes and networks."""
    by_name = {row.name: row for row in rows[GRID]}
    pairs = [(row, by_name[name.replace("/4,", "/16,")]) for name, row in by_name.items() if "/4," in name]
    assert len(pairs) == 16
    for label in ("smt:bitwuzla", "smt:z3", "smt:cvc5", "milp:highs"):
        assert mean([b.seconds[label] for _, b in pairs]) > 2.5 * mean([a.seconds[label] for a, _ in pairs])


@pytest.mark.parametrize("model", MEASURED)
def test_who_is_asked_first_is_as_quick_as_the_best_single_solver(
    model: InputModel, rows: Mapping[InputModel, list[Row]]
) -> None:
    """And of what one of them decides, one of the first two decides all but one query in a hundred."""
    orders = [order(row.size) for row in rows[model]]
    firsts = mean([row.seconds[who[0]] for row, who in zip(rows[model], orders, strict=True)])
    assert firsts < 1.02 * min(mean([row.seconds[label] for row in rows[model]]) for label in orders[0])
    decided = [any(row.seconds[label] < inf for label in orders[0]) for row in rows[model]]
    by_two = [
        any(row.seconds[label] < inf for label in who[:2])
        for row, who in zip(rows[model], orders, strict=True)
    ]
    assert 100 * (sum(decided) - sum(by_two)) <= sum(decided)


# --- what is read off a query -------------------------------------------------------------------------------


def query(inner: int) -> Query:
    made = scaling.problem(Instance((2, 8, 8, 1), 6, 4, inner=inner), 0)
    return Query(made, 0, 1, analyze_region(made))


def test_wider_weights_make_a_query_larger_where_nothing_else_does() -> None:
    small, large = size(query(4)), size(query(12))
    assert small.input_bits == large.input_bits == 2 * log2(9)
    assert large.width > small.width + 8 * 8  # eight bits more for at least half of the neurons


def test_a_sum_that_cannot_vary_has_no_width() -> None:
    asked = query(6)
    first = asked.facts.layers[0]
    fixed = replace(first, quantized_pre=Interval(first.quantized_pre.lower, first.quantized_pre.lower))
    less = replace(asked, facts=Facts((fixed, *asked.facts.layers[1:])))
    assert size(asked).width - size(less).width == pytest.approx(
        float(np.log2(1 + first.quantized_pre.width).sum())
    )


def test_facts_without_ends_have_a_width() -> None:
    asked = query(6)
    last = asked.facts.layers[-1]
    endless = replace(last, quantized_pre=Interval(np.array([-inf]), np.array([inf])))
    found = size(replace(asked, facts=Facts((*asked.facts.layers[:-1], endless))))
    assert size(asked).width < found.width < inf


def test_a_continuous_region_has_no_input_bits() -> None:
    grid = query(6).problem
    problem = replace(grid, region=replace(grid.region, model=InputModel.CONTINUOUS))
    found = size(Query(problem, 0, 1, analyze_region(problem)))
    assert (found.model, found.input_bits) == (CONTINUOUS, 0)


# --- what follows from it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MEASURED)
@pytest.mark.parametrize("label", [*MEASURED[GRID], "smt:somebody", "nobody:knows"])
def test_an_estimate_grows_and_never_overflows(model: InputModel, label: str) -> None:
    small, large, huge = (
        estimate(of(label), Size(model, *at)) for at in ((1, 1, 9), (30, 40, 900), (1e6, 10**6, 1e18))
    )
    assert small < large < huge < inf


@pytest.mark.parametrize("model", MEASURED)
def test_who_is_not_measured_comes_last_and_proofs_before_claims(model: InputModel) -> None:
    at = Size(model, 5.0, 5, 100.0)
    known = [growth.expected(at) for growth in MEASURED[model].values()]
    proof, claim = (estimate(FakeBackend(UNSAT, trust="oracle:new", exact=e), at) for e in (True, False))
    assert max(known) < proof < claim


def test_who_is_endless_on_some_queries_is_worth_less_than_somebody_steady() -> None:
    at = Size(GRID, 5.0, 5, 100.0)
    steady, moody = Growth(1.0, 0.0, 0.0, 0.0, 0.5), Growth(0.5, 0.0, 0.0, 0.0, 2.5)
    assert steady.expected(at) < moody.expected(at)
