"""Faults planted in the MILP encoding: enumeration catches every one of them on some problem of the matrix."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

import pytest

from qsmt.arith.rounding import Rounding
from qsmt_milp.backends.highs import HighsBackend
from tests.conformance.test_milp import QUICK, check, check_edges
from tests.unit.milp.oracle import Fault, plant

FAULTS: dict[str, Fault] = {
    "rounding offset one too large": ("qsmt_milp.steps.offset", lambda f: lambda q, r: f(q, r) + 1),
    "rounding offset missing": ("qsmt_milp.steps.offset", lambda _: lambda q, r: 0),
    "rounding by the rule, its clamp by another": (
        "qsmt_milp.neuron.Neuron.unclamped",
        lambda _: lambda n, v: v if n.rule is None else n.rule.unbounded(int(v)),
    ),
    "no saturation, no ReLU": ("qsmt_milp.rules.crosses", lambda _: lambda n, b: (False, False)),
    "no saturation at the top": ("qsmt_milp.rules.crosses", lambda f: lambda n, b: (f(n, b)[0], False)),
    "bias one too large": (
        "qsmt_milp.rules.parameters",
        lambda f: lambda op: (f(op)[0], f(op)[1] + 1),
    ),
    "weight of the wrong sign": (
        "qsmt_milp.rules.parameters",
        lambda f: lambda op: (f(op)[0] * -1, f(op)[1]),
    ),
    "threshold one step too high": (
        "qsmt_milp.encoding.step",
        lambda f: lambda *a: f(*a) * 3,
    ),
    "threshold one step too low": (
        "qsmt_milp.encoding.put_threshold",
        lambda f: lambda b, d, *, limit: f(b, d, limit=limit - Fraction(1, 1000)),
    ),
    "strict bound as a closed row": (
        "qsmt_milp.encoding.step",
        lambda f: lambda *a: None,
    ),
    "M too small": (
        "qsmt_milp.bigm.activation",
        lambda f: lambda *a, **k: tuple(m * Fraction(3, 4) for m in f(*a, **k)),
    ),
    "the wrong side": (
        "qsmt_milp.encoding.put_threshold",
        lambda f: lambda b, d, *, limit: f(b, d * -1, limit=limit),
    ),
    "input scale missing": ("qsmt_milp.inputs.reals", lambda _: lambda problem, x: x),
    "the output's scale missing": ("qsmt_milp.encoding._unit", lambda _: lambda problem: Fraction(1)),
    "rounded inputs moved": ("qsmt_milp.inputs.recovered", lambda f: lambda p, i, **_: p.region.lower[i]),
}


def mistakes() -> Iterator[str]:
    """On rounding at its edges and on the quick part of the matrix, in turn, as far as they are asked for."""
    for rounding, index in itertools.zip_longest(Rounding, QUICK):
        yield from check_edges(rounding) if rounding is not None else ()
        yield from check(index, HighsBackend())


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(FAULTS[name], monkeypatch)
    assert next(mistakes(), None) is not None
