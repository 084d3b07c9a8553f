"""The bound of qsmt.dra.multipliers again, in rationals, from the networks' exact parameters and formulas.

It is the sum that the module's argument ends with: for the multipliers and rows as the doubles that they are,
the greatest value over every hexagon, the exact constants, and what the rows that were computed miss of the
exact ones on the known magnitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from qsmt.arith.real import ExactArray, FloatArray, IntArray
from qsmt.dra import analysis
from qsmt.dra.activation import Formula, formula
from qsmt.dra.compiled import compile_problem
from qsmt.dra.domain import Boxes, Mode
from qsmt.dra.inputs import input_facts
from qsmt.dra.multipliers import Dual, Hidden, Stage, descended, dual, slopes
from qsmt.dra.optimized import _difference, _form, _layers
from qsmt.dra.pairs import Maps
from qsmt.dra.trace import Trace
from qsmt.facts import Interval
from qsmt.ir.ops import Const
from qsmt.ir.types import Real
from qsmt.problem import InputModel, Problem


@dataclass(frozen=True)
class Prepared:
    """A problem whose outputs wait to be bounded."""

    problem: Problem
    trace: Trace
    hidden: list[Hidden]
    last: Maps
    dual: Dual


def prepared(problem: Problem) -> Prepared:
    """All layers but the last by the mode `difference`, and the dual of the last one's differences."""
    compiled = compile_problem(problem)
    inputs = input_facts(compiled.inputs, Boxes.of_region(problem.region))
    trace = analysis.run(compiled, inputs, analysis.PLANS[Mode.DIFFERENCE])[-1]
    del trace.layers[-1], trace.known[-1], trace.regular[-1]
    hidden, last = _layers(trace)
    rows = _form(*_difference(last), np.arange(len(last.bias)))
    return Prepared(problem, trace, hidden, last, dual(hidden, last, rows, inputs))


def exact_bound(case: Prepared, target: int, chosen: FloatArray) -> Fraction:
    """What `certified` must not be below, for multipliers (2, 1, curved)."""
    stages, rows = case.dual.stages, case.dual.rows
    m = len(case.last.bias)
    a, b = rows.delta[[target]], rows.h[[target]]
    sign, j = (1, target) if target < m else (-1, target - m)
    v, g, _, gap_bias, _ = parameters(case.problem, len(stages))
    last = len(stages)
    total = sign * gap_bias[j]
    total += missed(case, last, [sign * x for x in v[j]], a[0], difference=True)
    total += missed(case, last, [sign * x for x in g[j]], b[0], difference=False)
    for i in reversed(range(last)):
        here = slopes(stages[i], a, b, chosen)
        total += neurons(case, i, here.a[0], here.b[0], here.alpha[0], beta=here.beta[0])
        a, b = descended(stages[i], here)
        kept = kept_rows(case, i)
        v, g, w, gap_bias, bias = parameters(case.problem, i)
        alpha, beta = exact(here.alpha[0]), exact(here.beta[0])
        total += sum(x * gap_bias[k] for x, k in zip(alpha, kept, strict=True))
        total += sum(x * bias[k] for x, k in zip(beta, kept, strict=True))
        rows_v = combined(alpha, [v[k] for k in kept])
        rows_h = combined([*alpha, *beta], [*(g[k] for k in kept), *(w[k] for k in kept)])
        total += missed(case, i, rows_v, a[0], difference=True)
        total += missed(case, i, rows_h, b[0], difference=False)
    found: Fraction = total + at_input(case, exact(a[0]), exact(b[0]))
    return found


def exact(values: FloatArray) -> list[Fraction]:
    return [Fraction(float(v)) for v in values]


def kept_rows(case: Prepared, i: int) -> IntArray:
    """The neurons of hidden layer i that are in its stage."""
    return case.hidden[i + 1].maps.kept if i + 1 < len(case.hidden) else case.last.kept


def combined(weights: list[Fraction], rows: list[Any]) -> list[Fraction]:
    return (
        [
            sum((w * r[k] for w, r in zip(weights, rows, strict=True)), Fraction(0))
            for k in range(len(rows[0]))
        ]
        if rows
        else []
    )


def fractions_of(const: Const) -> ExactArray:
    kind = const.type.element
    if isinstance(kind, Real):
        return const.reals.fractions
    codes: ExactArray = const.codes.astype(object) * kind.scale
    return codes


def parameters(problem: Problem, i: int) -> tuple[ExactArray, ...]:
    """V, G, W, g and the reference's bias of a layer."""
    ours, theirs = (layer.affine for layer in problem.layers[i])
    w, v = fractions_of(ours.weight), fractions_of(theirs.weight)
    b, c = fractions_of(ours.bias), fractions_of(theirs.bias)
    return v, v - w, w, c - b, b


def missed(
    case: Prepared, i: int, wanted: list[Fraction], found: FloatArray, *, difference: bool
) -> Fraction:
    """What a computed row can miss of the exact one: all that layer i reads, also what is not kept."""
    read = case.trace.difference_read(i) if difference else case.trace.reference_read(i)
    kept = case.hidden[i].maps.kept if i < len(case.hidden) else case.last.kept
    computed = dict(zip(kept.tolist(), exact(found), strict=True))
    ends = zip(wanted, exact(read.lower[0]), exact(read.upper[0]), strict=True)
    return sum(
        (
            abs(x - computed.get(k, Fraction(0))) * max(abs(low), abs(high))
            for k, (x, low, high) in enumerate(ends)
            if k in computed
        ),
        Fraction(0),
    )


def at_input(case: Prepared, delta: list[Fraction], h: list[Fraction]) -> Fraction:
    """The greatest value of the last row on the box."""
    problem, inputs = case.problem, case.dual.inputs
    scale = problem.input_scale
    kind = problem.quantized.input.type.element
    lower, upper = problem.region.lower, problem.region.upper
    total, drift = Fraction(0), [Fraction(0)] * len(delta)
    if inputs.rest is not None:
        own = zip(delta, exact(inputs.rest.lower[0]), exact(inputs.rest.upper[0]), strict=True)
        total += sum(max(x * low, x * high) for x, low, high in own)
    if problem.region.model is InputModel.CONTINUOUS and not isinstance(kind, Real):
        drift = [-scale if moves else Fraction(0) for moves in np.ravel(inputs.drift)]
    elif inputs.rest is None and not isinstance(kind, Real):
        drift = [kind.scale - scale] * len(delta)
    row = [x * d + y * scale for x, d, y in zip(delta, drift, h, strict=True)]
    return total + sum(max(x * low, x * high) for x, low, high in zip(row, lower, upper, strict=True))


def neurons(
    case: Prepared, i: int, a: FloatArray, b: FloatArray, alpha: FloatArray, *, beta: FloatArray
) -> Fraction:
    """The greatest values over all neurons of a layer."""
    stage, kept = case.dual.stages[i], kept_rows(case, i)
    ours, theirs = (formula(layer.activation) for layer in case.problem.layers[i])
    step = stage.side.post_unit if stage.side.is_integer else Fraction(0)
    curved = {int(j): k for k, j in enumerate(stage.curved, stage.columns.start)}
    total = Fraction(0)
    for j in range(len(kept)):
        row = tuple(Fraction(float(v[j])) for v in (a, b, alpha, beta))
        if j in curved:
            total += Hexagon.of(case.dual, curved[j], ours, theirs, step=step).greatest(*row)
        else:
            total += fixed(case, i, stage, j, row=row)
    return total


def fixed(case: Prepared, i: int, stage: Stage, j: int, *, row: tuple[Fraction, ...]) -> Fraction:
    """A neuron that follows (d, z) up to an interval, and what its rounded multipliers miss of z."""
    a, b, alpha, beta = row
    phi_d, phi_z, r_z = (
        Fraction(float(v[j])) for v in (stage.passage.phi_d, stage.passage.phi_z, stage.passage.r_z)
    )
    assert alpha == a * phi_d
    rest = a * phi_z + b * r_z - beta
    z = case.trace.layers[i].reference_pre
    k = kept_rows(case, i)[j]
    far = (
        max(abs(Fraction(float(z.lower[0, k]))), abs(Fraction(float(z.upper[0, k])))) if rest else Fraction(0)
    )
    return greatest_of(a, stage.phi, j) + greatest_of(b, stage.r, j) + abs(rest) * far


def greatest_of(x: Fraction, bound: Interval, j: int) -> Fraction:
    return max(x * Fraction(float(bound.lower[j])), x * Fraction(float(bound.upper[j]))) if x else Fraction(0)


@dataclass(frozen=True)
class Hexagon:
    """A hexagon and both activations, exactly."""

    z: tuple[Fraction, Fraction]
    d: tuple[Fraction, Fraction]
    s: tuple[Fraction, Fraction]
    value: tuple[Fraction, Fraction]
    ours: Formula
    theirs: Formula
    step: Fraction

    @staticmethod
    def of(dual: Dual, column: int, ours: Formula, theirs: Formula, *, step: Fraction) -> Hexagon:
        region = dual.region

        def ends(low: FloatArray, high: FloatArray) -> tuple[Fraction, Fraction]:
            return Fraction(float(low[0, column])), Fraction(float(high[0, column]))

        z, d, s = (ends(x.lower, x.upper) for x in (region.z, region.d, region.s))
        return Hexagon(z, d, s, ends(region.least, region.most), ours, theirs, step)

    def greatest(self, a: Fraction, b: Fraction, alpha: Fraction, beta: Fraction) -> Fraction:
        """Over all crossings of all lines at which anything changes."""
        found = []
        for z, s in self.crossings(upper=a >= 0):
            r = self.reference(z)
            phi = self.quantized(s, upper=a >= 0) - r
            found.append(a * phi + b * r - alpha * (s - z) - beta * z)
        return max(found)

    def reference(self, z: Fraction) -> Fraction:
        low, high = self.ours.lower, self.ours.upper
        z = z if low is None else max(z, low)
        return z if high is None else min(z, high)

    def quantized(self, s: Fraction, *, upper: bool) -> Fraction:
        """The greatest value that s allows, or the least one."""
        least, most = self.value
        if upper:
            noise = self.theirs.noise_high
            return min(max(s + noise, least), most) if s + noise >= least + self.step else least
        noise = self.theirs.noise_low
        return max(min(s + noise, most), least) if s + noise <= most - self.step else most

    def crossings(self, *, upper: bool) -> Iterator[tuple[Fraction, Fraction]]:
        (least, most), step = self.value, self.step
        noise = self.theirs.noise_high if upper else self.theirs.noise_low
        kinks = (least + step, most) if upper else (most - step, least)
        zs = [*self.z, *(v for v in (self.ours.lower, self.ours.upper) if v is not None)]
        ss = [*self.s, *(v - noise for v in kinks)]
        for z in zs:
            yield from ((z, s) for s in [*ss, *(z + d for d in self.d)] if self.contains(z, s))
        for s in ss:
            yield from ((s - d, s) for d in self.d if self.contains(s - d, s))

    def contains(self, z: Fraction, s: Fraction) -> bool:
        inside = zip((z, s - z, s), (self.z, self.d, self.s), strict=True)
        return all(low <= v <= high for v, (low, high) in inside)
