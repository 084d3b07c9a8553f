"""Reals that are quantized: where their codes change, and boxes of one code."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Format, Quantized
from qsmt.dra.analysis import analyze
from qsmt.dra.compiled import InputRelation, compile_problem
from qsmt.dra.domain import Boxes, Mode
from qsmt.dra.inputs import NEAR, codes_of, input_facts, threshold
from qsmt.engine.boxes import Batch, halves, whole
from qsmt.facts import Interval
from qsmt.problem import InputModel, Region
from tests.unit.dra.soundness import QUICK, executed, violations
from tests.unit.dra.wild import Style, wild_problem

F = Fraction
FORMATS: list[tuple[Format, Fraction]] = [
    (Quantized(True, 8, F(float(np.float32(0.0371))), -5), F(1)),
    (Quantized(False, 8, F(float(np.float32(0.1))), 128), F(1)),
    (Quantized(False, 8, F(1, 64), 0), F(2, 3)),
    (Fixed(True, 6, 3), F(1)),
    (Fixed(False, 5, 4), F(16, 15)),
]
every_format = pytest.mark.parametrize(("kind", "scale"), FORMATS, ids=str)


def read(relation: InputRelation, x: Fraction) -> int:
    """The exact code of a real."""
    assert relation.format is not None
    return relation.format.read(relation.scale * x)


def relation_of(kind: Format, scale: Fraction) -> InputRelation:
    return InputRelation(InputModel.CONTINUOUS, scale, kind)


def spans(relation: InputRelation, seed: int, count: int) -> Interval:
    """Intervals of a few codes, and of less than one."""
    assert relation.format is not None
    rng, unit = np.random.default_rng(seed), float(relation.format.scale / relation.scale)
    low = rng.uniform(relation.format.min - 2, relation.format.max, count) * unit
    return Interval(low, low + rng.uniform(0.2, 6.0, count) * unit)


@every_format
def test_a_threshold_lies_between_two_doubles_near_each_other(kind: Format, scale: Fraction) -> None:
    relation = relation_of(kind, scale)
    x = spans(relation, 1, 300)
    first, second, found = threshold(relation, x.lower, x.upper)
    several = [
        read(relation, F(low)) < read(relation, F(high)) for low, high in zip(x.lower, x.upper, strict=True)
    ]
    assert found.tolist() == several and 50 < found.sum() < 300
    near = first[found]
    for _ in range(1 if scale == 1 else NEAR):
        near = np.nextafter(near, np.inf)
    assert (second[found] <= near).all()
    for low, below, above, high in np.stack([x.lower, first, second, x.upper])[:, found].T.tolist():
        codes = [read(relation, F(v)) for v in (low, below, above, high)]
        assert codes[0] <= codes[1] and codes[1] + 1 == codes[2] <= codes[3]


# --- what is cut at thresholds is covered ---------------------------------------------------------------------


def cut(region: Region, relation: InputRelation, times: int) -> Batch:
    """The region in parts, each halved along its longest side again and again."""
    parts = whole(region, 1)
    for _ in range(times):
        longest = (parts.upper - parts.lower).argmax(axis=1)
        parts = halves(parts, longest, grid=False, read=relation)
    return parts


def awkward(relation: InputRelation, low: Fraction, high: Fraction) -> list[Fraction]:
    """Reals next to every double and every threshold of an interval."""
    parts = cut(Region(InputModel.CONTINUOUS, (low,), (high,)), relation, 6)
    tiny = F(1, 2**90)
    ends = sorted({F(v) for v in [*parts.lower.ravel().tolist(), *parts.upper.ravel().tolist()]})
    between = [(a + b) / 2 for a, b in pairwise(ends)]
    near = [v + d for v in [*ends, *between] for d in (-tiny, F(0), tiny)]
    return [v for v in near if low <= v <= high]


def uncovered(relation: InputRelation, kind: Format) -> int:
    """Reals of a region that no part stands for: it must read one of the part's codes, next to it or inside."""
    unit = kind.scale / relation.scale
    low, high = unit * F(7, 3), unit * F(23, 3)
    region, reals = Region(InputModel.CONTINUOUS, (low, low), (high, high)), awkward(relation, low, high)
    parts, rng = cut(region, relation, 9), np.random.default_rng(3)
    facts = input_facts(relation, parts.boxes)
    lost = 0
    for _ in range(400):
        point = [reals[i] for i in rng.integers(0, len(reals), 2).tolist()]
        codes = np.array([read(relation, v) for v in point])
        holds = ((facts.quantized.lower <= codes) & (codes <= facts.quantized.upper)).all(axis=1)
        near = [
            all(F(a) <= v <= F(b) for a, v, b in zip(*row, strict=True))
            for row in zip(
                facts.x.lower[holds].tolist(),
                [point] * holds.sum(),
                facts.x.upper[holds].tolist(),
                strict=True,
            )
        ]
        lost += not any(near)
    return lost


@every_format
def test_parts_stand_for_every_real_between_them(kind: Format, scale: Fraction) -> None:
    assert uncovered(relation_of(kind, scale), kind) == 0


def wide_gap(relation: InputRelation, low: Any, high: Any) -> Any:
    first, second, found = threshold(relation, low, high)
    return first, second + 1e-12, found


def test_a_gap_between_parts_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted faults: parts that are too far apart, and parts that stand for nothing but themselves."""
    kind, scale = FORMATS[0]
    monkeypatch.setattr("qsmt.engine.boxes.threshold", wide_gap)
    assert uncovered(relation_of(kind, scale), kind) > 0
    monkeypatch.undo()
    monkeypatch.setattr("qsmt.dra.inputs.with_neighbours", lambda x: x)
    assert uncovered(relation_of(kind, scale), kind) > 0


# --- boxes of one code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_bounds_hold_on_boxes_of_one_code(seed: int) -> None:
    """At their ends, inside, and at the reals next to them that read their codes."""
    problem = wild_problem(seed, Style((2, 4, 3, 2), model=InputModel.CONTINUOUS, thirds=bool(seed % 2)))
    relation, parts = compile_problem(problem).inputs, cut(problem.region, compile_problem(problem).inputs, 5)
    facts = input_facts(relation, parts.boxes)
    rng, tried = np.random.default_rng(seed), 0
    for i in rng.permutation(len(parts))[:6].tolist():
        ends = [
            sorted({F(a), F(b)})
            for a, b in zip(parts.lower[i].tolist(), parts.upper[i].tolist(), strict=True)
        ]
        axes = [[*e, *((e[0] * k + e[-1] * (8 - k)) / 8 for k in (1, 4, 7))] for e in ends]
        tiny = F(1, 2**80)
        axes = [[*a, a[0] - tiny, a[0] + tiny, ends[j][-1] + tiny] for j, a in enumerate(axes)]
        points = [
            tuple(axis[k] for axis, k in zip(axes, row, strict=True))
            for row in rng.integers(0, 8, (40, 2)).tolist()
        ]
        codes = [(facts.quantized.lower[i], facts.quantized.upper[i])] * len(points)
        points = [
            x
            for x, (low, high) in zip(points, codes, strict=True)
            if all(a <= read(relation, v) <= b for a, v, b in zip(low, x, high, strict=True))
        ]
        ranges = executed(problem, points)
        tried += len(points)
        for mode in Mode:
            found = analyze(problem, parts.boxes[i : i + 1], mode, effort=QUICK)[0]
            assert violations(ranges, found) == []
    assert tried > 30


def test_the_difference_on_one_code_is_as_narrow_as_the_reference() -> None:
    """There the quantized network is a constant; taken as independent, its input would be as wide again."""
    problem = wild_problem(3, Style((2, 4, 3, 1), model=InputModel.CONTINUOUS, wraps=False, bits=8))
    relation = compile_problem(problem).inputs
    assert relation.format is not None
    unit = relation.format.scale / relation.scale
    center = [round(v / unit) * unit for v in problem.region.lower]
    cell = Boxes(*(np.array([[float(v + side * unit * F(49, 100)) for v in center]]) for side in (-1, 1)))
    codes = codes_of(relation, cell.interval)
    assert (codes.lower == codes.upper).all()
    facts = analyze(problem, cell)
    known = facts.layers[0]
    width = known.reference_pre.upper - known.reference_pre.lower
    assert (known.difference_pre.upper - known.difference_pre.lower <= width * 1.0001 + 1e-9).all()
