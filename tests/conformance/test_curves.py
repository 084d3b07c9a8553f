"""Every encoding and solver on leaky ReLUs; and every encoding says which functions it has no formula for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from qsmt.arith.curves import Function
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Encoding
from qsmt.engine.judge import Mark
from qsmt.engine.trial import SIDES, Trial, executions, least_step, maximum
from qsmt.errors import SoundnessError
from qsmt.problem import InputModel, Problem, Region
from qsmt.solver.base import Backend
from qsmt_bitvector import rules as bit_rules
from qsmt_bitvector import surrogate
from qsmt_milp import rules as milp_rules
from tests.conformance.test_matrix import COLUMNS, ENCODINGS
from tests.support.any_network import curved
from tests.support.conformance import tried
from tests.support.networks import Recipe, random_problem
from tests.unit.milp.oracle import no_facts, query, tight_facts

SLOPES = (Fraction(1, 2), Fraction(1, 100), Fraction(1, 3))


def leaky(seed: int) -> Problem:
    """An integer network, and a real one with leaky ReLUs."""
    problem = random_problem(
        seed, Recipe(sizes=((2, 3, 1), (1, 4, 1), (2, 2, 2, 1))[seed % 3], reference_frac=3)
    )
    slope = SLOPES[seed % len(SLOPES)]
    return replace(problem, reference=curved(problem.reference, [slope] * (len(problem.layers) - 1) + [None]))


def trials(seed: int) -> Iterator[Trial]:
    """Just below, at and just above the exact maximum, on either side."""
    problem = leaky(seed)
    executed, known = executions(problem), (tight_facts, no_facts, analyze_region)[seed % 3](problem)
    assert executed is not None
    for side in SIDES:
        worst, step = maximum(executed, 0, side), least_step(executed)
        for offset in (-step, Fraction(0), step):
            bound = side * worst.difference[0] + offset
            if bound >= 0:
                yield Trial(query(problem, bound, side, known), offset < 0, offset, worst)


def failures(encoding: Encoding, backend: Backend[Any], seeds: range) -> list[str]:
    results = [(made, tried(encoding, backend, made)) for seed in seeds for made in trials(seed)]
    assert len(results) > 2 * len(seeds)
    return [f"{made.query}: {mark}: {reason}" for made, (mark, reason) in results if mark is not Mark.RIGHT]


@pytest.mark.parametrize(("encoding", "backend"), COLUMNS)
def test_leaky_relus_are_encoded_exactly(encoding: Encoding, backend: Backend[Any]) -> None:
    assert failures(encoding, backend, range(3)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "backend"), COLUMNS)
def test_many_leaky_relus_are_encoded_exactly(encoding: Encoding, backend: Backend[Any]) -> None:
    assert failures(encoding, backend, range(3, 21)) == []


@pytest.mark.parametrize("function", Function)
@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_what_has_no_formula_is_refused_by_name(encoding: Encoding, function: Function) -> None:
    problem = random_problem(0, Recipe())
    asked = replace(problem, reference=curved(problem.reference, [function, None]))
    refusal = encoding.refuses(query(asked, Fraction(1), 1, no_facts(asked)))
    assert refusal is not None
    assert refusal.endswith(f"for {function}")


def test_leaky_relus_on_reals_are_encoded_too() -> None:
    """A continuous region, and two real networks: rows hold them, bit-vectors say that they do not."""
    problem = leaky(0)
    region = Region(InputModel.CONTINUOUS, problem.region.lower, problem.region.upper)
    pair = replace(problem, region=region, quantized=problem.reference)
    asked = query(pair, Fraction(1, 1000), 1, analyze_region(pair))
    refusals = {encoding.name: encoding.refuses(asked) for encoding in ENCODINGS}
    assert refusals["milp"] is None
    assert "continuous" in (refusals["bitvector"] or "")


# --- planted faults ---------------------------------------------------------------------------------------

LEAKY, MILP_LEAKY, SURROGATE = bit_rules.leaky, milp_rules._leaky, surrogate._leaky
FAULTS: dict[str, list[tuple[Any, str, Any]]] = {
    "bitvector": [
        (module, "leaky", lambda circuit, form, slope, name: LEAKY(circuit, form, slope / 2, name))
        for module in (bit_rules, surrogate)
    ],
    "milp": [
        (
            milp_rules,
            "_leaky",
            lambda builder, name, op, neuron: MILP_LEAKY(
                builder, name, replace(op, slope=op.slope / 2), neuron
            ),
        )
    ],
}


@pytest.mark.parametrize("name", FAULTS)
def test_another_slope_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute, wrong in FAULTS[name]:
        monkeypatch.setattr(module, attribute, wrong)
    encoding = next(e for e in ENCODINGS if e.name == name)
    backend = next(b for b in encoding.backends() if b.available() is None)
    assert caught(encoding, backend)


def caught(encoding: Encoding, backend: Backend[Any]) -> bool:
    """By a wrong answer, or because a formula contradicts what analysis has proved."""
    try:
        return failures(encoding, backend, range(6)) != []
    except SoundnessError:
        return True
