"""No overflow, no saturation: against the sums of every layer at every input, computed here."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from qsmt.arith.fixed import Fixed
from qsmt.engine.check import check
from qsmt.engine.parts import Asking, Part, parts_of
from qsmt.engine.plan import Options
from qsmt.engine.random_problem import Size, random_problem
from qsmt.errors import MalformedProblem
from qsmt.frontend import layer_ranges
from qsmt.frontend.property_table import AskedRange, PropertyKind
from qsmt.interp import quantized
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Relu, Requantize
from qsmt.ir.text import parse
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from qsmt.problem import InputModel, Problem, Region
from qsmt.verdict import Falsified, Verified
from tests.support.truth import all_points

OPTIONS = Options(encoding="none", jobs=1, timeout_s=60)
SEEDS = range(90)


def sums(problem: Problem, layer: Layer) -> list[int]:
    """Every exact sum of a layer, at every input: the accumulators before they wrap."""
    network = problem.quantized
    before = network.ops[: network.ops.index(layer.affine)]
    points = [problem.quantized_input(x) for x in all_points(problem)]
    read = layer.affine.x.type.element
    assert isinstance(read, Fixed)
    inputs = quantized.run(Network("before", "ideal", network.input, before), points) if before else None
    codes = points if inputs is None else [[v / read.scale for v in row] for row in inputs]
    weight, bias = layer.affine.integers
    return [
        int(sum(w * c for w, c in zip(row, code, strict=True)) + b)
        for code in codes
        for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
    ]


def in_range(layer: Layer, acc: int) -> bool:
    kind = layer.pre.type.element
    assert isinstance(kind, Accumulator)
    return kind.min <= acc <= kind.max


def unsaturated(layer: Layer, acc: int) -> bool:
    rule = next(op.rule for op in layer.activation if isinstance(op, Requantize))
    if isinstance(layer.activation[0], Relu):
        acc = max(acc, 0)
    code, target = rule.unbounded(acc), rule.target
    return code <= target.max and (code >= target.min or target.min == 0)


def wraps(layer: Layer) -> bool:
    kind = layer.pre.type.element
    return isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP


def asked(problem: Problem, kind: PropertyKind) -> tuple[Part, ...]:
    asking = Asking(problem.reference, problem.quantized, problem.region, problem.input_scale)
    return parts_of(AskedRange(kind, None), asking)


def found(seed: int, kind: PropertyKind) -> list[tuple[bool, bool]]:
    """Per layer: what `check` says, and what is true."""
    problem = random_problem(seed, Size.SMALL)
    every = layers(problem.quantized)
    if not isinstance(problem.quantized.input.type.element, Fixed):
        return []
    try:
        parts = asked(problem, kind)
    except MalformedProblem:
        rounded = [layer for layer in every if any(isinstance(op, Requantize) for op in layer.activation)]
        assert not rounded or any(wraps(layer) for layer in rounded)
        return []
    pairs = []
    for part in parts:
        index = int((part.statement or "").rsplit(" ", 1)[1])
        verdict = check(part.problem, OPTIONS).verdict
        assert isinstance(verdict, Verified | Falsified)
        good = in_range if kind is PropertyKind.NO_OVERFLOW else unsaturated
        truth = all(good(every[index], acc) for acc in sums(problem, every[index]))
        pairs.append((isinstance(verdict, Verified), truth))
    return pairs


@pytest.mark.parametrize("kind", [PropertyKind.NO_OVERFLOW, PropertyKind.NO_SATURATION])
def test_every_layer_is_decided_as_its_sums_say(kind: PropertyKind) -> None:
    pairs = [pair for seed in SEEDS for pair in found(seed, kind)]
    assert all(said == truth for said, truth in pairs)
    assert {truth for _, truth in pairs} == {False, True}


def test_both_encodings_decide_them_too() -> None:
    problem = random_problem(3, Size.SMALL)
    for part in asked(problem, PropertyKind.NO_SATURATION):
        plain = type(check(part.problem, OPTIONS).verdict)
        for encoding in ("bitvector", "milp"):
            options = Options(encoding=encoding, jobs=1, timeout_s=60)
            assert isinstance(check(part.problem, options).verdict, plain)


def test_an_end_that_is_off_by_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = layer_ranges._property

    def off(network: Any, index: int, layer: Layer, ends: list[layer_ranges.Ends]) -> Any:
        return real(network, index, layer, [[(v + side, side) for v, side in one] for one in ends])

    monkeypatch.setattr(layer_ranges, "_property", off)
    pairs = (
        pair
        for seed in range(400)
        for kind in (PropertyKind.NO_OVERFLOW, PropertyKind.NO_SATURATION)
        for pair in found(seed, kind)
    )
    assert any(said != truth for said, truth in pairs)


def test_what_has_no_range_is_refused() -> None:
    problem = random_problem(0, Size.SMALL)
    asking = Asking(problem.reference, problem.quantized, problem.region, problem.input_scale)
    with pytest.raises(MalformedProblem, match="there is no layer 9"):
        parts_of(AskedRange(PropertyKind.NO_OVERFLOW, (9,)), asking)
    with pytest.raises(MalformedProblem, match="is a float network"):
        parts_of(AskedRange(PropertyKind.NO_OVERFLOW, None), replace(asking, quantized=problem.reference))


def doubled(before: str, ops: str, *, bits: int = 8, overflow: str = "exact", bias: int = 0) -> Network:
    """Twice a code of four bits and a bias, an op before the rounding, and the rounding."""
    kind = f"acc<i{bits}, scale 1, {overflow}>"
    middle = f"%r : [1] {kind} = {before} %a {ops}" if before else ""
    return parse(f"""\
network @n runtime "ideal" {{
  const @w : [1, 1] fixed<s4, frac 0> = [2]
  const @b : [1] fixed<s10, frac 0> = [{bias}]
  %x : [1] fixed<s4, frac 0> = input
  %a : [1] {kind} = affine %x, @w, @b
  {middle}
  %h : [1] quantized<u4, scale 1, zero 8> = requantize %{"r" if before else "a"} {{shift 0, floor, saturate}}
}}
""")


@pytest.mark.parametrize(
    ("before", "ops", "lower", "upper", "holds"),
    [
        ("", "", -4, 3, True),
        ("", "", -5, 3, False),
        ("", "", -4, 4, False),
        ("relu", "", -8, 3, True),
        ("relu", "", -8, 4, False),
        ("clamp", "{-8, 7}", -8, 7, True),
        ("clamp", "{-9, 7}", -8, 7, False),
        ("clamp", "{-8, 8}", -8, 7, False),
    ],
)
def test_what_a_relu_or_a_clip_takes_away_does_not_saturate(
    before: str, ops: str, lower: int, upper: int, *, holds: bool
) -> None:
    network = doubled(before, ops)
    region = Region(InputModel.GRID, (Fraction(lower),), (Fraction(upper),))
    (part,) = parts_of(
        AskedRange(PropertyKind.NO_SATURATION, None), Asking(network, network, region, Fraction(1))
    )
    assert isinstance(check(part.problem, OPTIONS).verdict, Verified if holds else Falsified)


def test_of_a_sum_that_may_wrap_around_no_saturation_is_refused() -> None:
    network = doubled("", "", bits=4, overflow="wrap", bias=7)
    with pytest.raises(MalformedProblem, match="may wrap around"):
        layer_ranges.no_saturation(network, None)
