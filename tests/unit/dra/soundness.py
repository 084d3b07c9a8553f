"""The oracle of these tests: exact executions, layer by layer, held against every interval of the facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import isnan, lcm

import numpy as np

from qsmt.arith.real import ExactArray
from qsmt.arith.units import each
from qsmt.dra.domain import Effort
from qsmt.facts import Facts, Interval
from qsmt.interp import quantized, reference
from qsmt.interp.reference import Ratios, ratios
from qsmt.ir.network import layers
from qsmt.ir.ops import Op, PerNeuron, Requantize, Value
from qsmt.ir.types import Real, units_of
from qsmt.problem import Problem

Point = tuple[Fraction, ...]

QUICK = Effort(nodes=24)
"""What the mode `optimized` may take where there are hundreds of problems."""


@dataclass(frozen=True)
class Range:
    """The least and greatest exact value of each neuron over all executed points."""

    lower: list[Fraction]
    upper: list[Fraction]


def executed(problem: Problem, points: Sequence[Point]) -> list[dict[str, Range]]:
    """Per layer: what each field of `LayerFacts` must contain."""
    reals = _real_values(problem, points)
    codes = _quantized_values(problem, points)
    found = []
    for (ours, theirs), r, q in zip(problem.layers, reals, codes, strict=True):
        ranges = {}
        for name, real, code, value in (
            ("pre", r[0], q[0], theirs.pre),
            ("post", r[1], q[1], theirs.post),
        ):
            ranges[f"reference_{name}"] = _range(real)
            ranges[f"quantized_{name}"] = _range(code)
            ranges[f"difference_{name}"] = _range(_minus(_times(code, _unit(value)), real))
        found.append(ranges)
        assert ours.pre.size == theirs.pre.size
    return found


def violations(ranges: Sequence[Mapping[str, Range]], facts: Facts) -> list[str]:
    """Every interval that an execution leaves (the facts are those of one box)."""
    return [
        f"layer {i} {name}[{j}]: {float(value)!r} is not in [{low!r}, {high!r}]"
        for i, (layer, known) in enumerate(zip(ranges, facts.layers, strict=True))
        for name, values in layer.items()
        for j, value, low, high in _left(values, getattr(known, name))
    ]


def _left(values: Range, bound: Interval) -> Iterator[tuple[int, Fraction, float, float]]:
    ends = zip(values.lower, values.upper, bound.lower.tolist(), bound.upper.tolist(), strict=True)
    for j, (least, greatest, low, high) in enumerate(ends):
        if isnan(low) or isnan(high) or (low > -np.inf and Fraction(low) > least):
            yield j, least, low, high
        elif high < np.inf and Fraction(high) < greatest:
            yield j, greatest, low, high


def _real_values(problem: Problem, points: Sequence[Point]) -> list[tuple[Ratios, Ratios]]:
    value = ratios([problem.reference_input(x) for x in points])
    found = []
    for layer in layers(problem.reference):
        pre = value = reference.RULES[type(layer.affine)](layer.affine, value)
        for op in layer.activation:
            value = reference.RULES[type(op)](op, value)
        found.append((pre, value))
    return found


def _quantized_values(problem: Problem, points: Sequence[Point]) -> list[tuple[Ratios, Ratios]]:
    inputs = [problem.quantized_input(x) for x in points]
    if problem.quantized.is_real:
        value = ratios(inputs)
        found = []
        for layer in layers(problem.quantized):
            pre = value = reference.RULES[type(layer.affine)](layer.affine, value)
            for op in layer.activation:
                value = reference.RULES[type(op)](op, value)
            found.append((pre, value))
        return found
    codes: ExactArray = np.array([[int(v) for v in x] for x in inputs], dtype=object)
    found = []
    for layer in layers(problem.quantized):
        sums = codes = quantized.RULES[type(layer.affine)](layer.affine, codes)
        for op in layer.activation:
            codes = _step(op, codes)
        found.append((Ratios(sums, 1), Ratios(codes, 1)))
    return found


def _step(op: Op, codes: ExactArray) -> ExactArray:
    """The exact interpreter's rule; a requantization decides each accumulator once."""
    if isinstance(op, Requantize) and not isinstance(op.kind, PerNeuron):
        return np.asarray(np.frompyfunc(cache(op.rule.apply), 1, 1)(codes), dtype=object)
    return quantized.RULES[type(op)](op, codes)


def _unit(value: Value) -> tuple[Fraction, ...]:
    kind = value.type.element
    return each(Fraction(1) if isinstance(kind, Real) else units_of(kind), value.size)


def _times(values: Ratios, factors: tuple[Fraction, ...]) -> Ratios:
    common = lcm(*(f.denominator for f in factors))
    whole = np.array([int(f * common) for f in factors], dtype=object)
    return values.mapped(lambda v: v * whole, values.denominator * common)


def _minus(a: Ratios, b: Ratios) -> Ratios:
    common = lcm(a.denominator, b.denominator)
    left, right = (v.mapped(lambda n, v=v: n * (common // v.denominator), common) for v in (a, b))  # type: ignore[misc]
    if left.upper is None and right.upper is None:
        return Ratios(left.numerators - right.numerators, common)
    return Ratios(left.numerators - _above(right), common, _above(left) - right.numerators)


def _above(values: Ratios) -> ExactArray:
    return values.numerators if values.upper is None else values.upper


def _range(values: Ratios) -> Range:
    """Of values that are only known between rationals, what certainly lies between the least and the greatest."""
    least, greatest = _above(values).min(axis=0), values.numerators.max(axis=0)
    return Range(
        [Fraction(int(v), values.denominator) for v in least],
        [Fraction(int(v), values.denominator) for v in greatest],
    )
