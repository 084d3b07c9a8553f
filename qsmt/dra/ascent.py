"""A search for good multipliers (qsmt.dra.multipliers): first in closed form, then by subgradients.

Nothing here needs to be exact: whatever is found is evaluated with outward rounding before it counts.

Let x* be the input at which the last row is greatest, and (z, d, phi, R)_j the point of H_j that decides neuron
j. A subgradient of the bound with respect to neuron j's (alpha, beta) is (d(x*) - d_j, z(x*) - z_j), where d(x*)
and z(x*) are what the layer's maps make of the points of the layer before it. At the optimum both agree
on the average: the mean of the points is a solution of the relaxation, and tells which neurons are relaxed most.

The steps are Adam's (Kingma, Ba, ICLR 2015), in units of the slopes that reach a neuron, with a falling rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra.domain import BoolArray
from qsmt.dra.hexagon import Hexagons
from qsmt.dra.multipliers import PHI, D, Dual, Points, R, Slopes, Stage, Z, descended, ends, slopes

FIRST, SECOND = 0.9, 0.99
"""How fast Adam forgets gradients and their squares."""
TINY = 1e-300
SMALL_SHARE = 1e-3
"""No neuron's unit is less than this share of its layer's largest."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many steps, how large the first one is, and what is left of it after each."""

    steps: int
    rate: float
    decay: float


@dataclass(frozen=True, slots=True, eq=False)
class Ascent:
    """The best multipliers (2, rows, curved); the mean point (4, ..) and the slopes (2, ..) at the end."""

    value: FloatArray
    chosen: FloatArray
    mean: FloatArray
    slopes: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The bound and what decides it: layer by layer, and the rows over the inputs."""

    value: FloatArray
    found: list[Slopes]
    at: FloatArray  # (4, rows, curved)
    inputs: FloatArray


class Tables:
    """For every row and curved neuron the points of the sign that its slope has; signs change rarely."""

    def __init__(self, at: Points, rows: int) -> None:
        shape = at.table.shape[:-2]
        self._both = np.broadcast_to(at.table, (*shape, rows, at.table.shape[-1]))
        self._sign = np.ones((rows, at.table.shape[-1]), dtype=np.bool_)
        self._chosen = self._both[0].copy()

    def of(self, stage: Stage, a: FloatArray) -> FloatArray:
        """The points (4, points, rows, m) of a layer."""
        columns, sign = stage.columns, a >= 0.0
        changed = sign != self._sign[:, columns]
        if changed.any():
            self._turn(columns, changed, sign)
        found: FloatArray = self._chosen[..., columns]
        return found

    def _turn(self, columns: slice, changed: BoolArray, sign: BoolArray) -> None:
        one, other = (table[..., columns][..., changed] for table in self._both)
        self._chosen[..., columns][..., changed] = np.where(sign[changed], one, other)
        self._sign[:, columns] = sign


def evaluate(dual: Dual, tables: Tables, targets: IntArray, chosen: FloatArray) -> Evaluation:
    """The bound of every row, not rounded outward."""
    a, b, value = dual.rows.delta[targets], dual.rows.h[targets], dual.rows.constant[targets]
    found, deciding = [], np.empty((4, *chosen.shape[1:]))
    for stage in reversed(dual.stages):
        here = slopes(stage, a, b, chosen)
        curved = here[stage.curved]
        table = tables.of(stage, curved.a)
        heights = curved.heights(table)
        best = heights.argmax(axis=0)[None]
        deciding[..., stage.columns] = np.take_along_axis(table, best[None], axis=1)[:, 0]
        value = value + np.take_along_axis(heights, best, axis=0)[0].sum(axis=1)
        value += ends(a, stage.phi) + ends(b, stage.r)
        value += here.alpha @ stage.gap_bias + here.beta @ stage.bias
        found.append(here)
        if stage is not dual.stages[0]:
            a, b = descended(stage, here)
    entry = dual.entry
    rows = found[-1].alpha @ entry.difference + found[-1].beta @ entry.reference
    value += rows @ entry.middle + np.abs(rows) @ entry.radius
    return Evaluation(value, found[::-1], deciding, rows)


def gradient(dual: Dual, found: Evaluation) -> FloatArray:
    """A subgradient with respect to the multipliers, (2, rows, curved)."""
    entry, result = dual.entry, np.empty((2, *found.at.shape[1:]))
    y = entry.middle + np.sign(found.inputs) * entry.radius
    d, z = y @ entry.difference.T, y @ entry.reference.T
    for i, (stage, here) in enumerate(zip(dual.stages, found.found, strict=True)):
        d, z = d + stage.gap_bias, z + stage.bias
        point = found.at[..., stage.columns]
        result[0][:, stage.columns] = d[:, stage.curved] - point[D]
        result[1][:, stage.columns] = z[:, stage.curved] - point[Z]
        if i + 1 < len(dual.stages):
            phi, r = _passed(stage, here, d, z)
            phi[:, stage.curved], r[:, stage.curved] = point[PHI], point[R]
            after = dual.stages[i + 1]
            d, z = phi @ after.weight.T + r @ after.gap.T, r @ after.reference.T
    return result


def _passed(stage: Stage, here: Slopes, d: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the neurons that are not curved put out."""
    passage, phi, r = stage.passage, stage.phi, stage.r
    after = passage.phi_d * d + passage.phi_z * z + np.where(here.a >= 0.0, phi.upper, phi.lower)
    return after, passage.r_z * z + np.where(here.b >= 0.0, r.upper, r.lower)


class Steps:
    """Adam: the mean of the gradients so far over the root of that of their squares."""

    def __init__(self, schedule: Schedule, unit: FloatArray) -> None:
        self._schedule, self._unit = schedule, unit
        self._first = self._second = 0.0 * unit
        self._count = 0

    def step(self, slope: FloatArray) -> FloatArray:
        """How far to go."""
        self._count += 1
        slope = slope * self._unit
        self._first = FIRST * self._first + (1.0 - FIRST) * slope
        self._second = SECOND * self._second + (1.0 - SECOND) * (slope * slope)
        size = np.sqrt(self._second / (1.0 - SECOND**self._count)) + TINY
        rate = self._schedule.rate * self._schedule.decay**self._count / (1.0 - FIRST**self._count)
        moved: FloatArray = rate * self._unit * self._first / size
        return moved


def ascend(dual: Dual, at: Points, targets: IntArray, start: FloatArray, schedule: Schedule) -> Ascent:
    """The best multipliers after some steps from `start`."""
    tables, chosen = Tables(at, len(targets)), start
    found = evaluate(dual, tables, targets, chosen)
    value, best, mean = found.value, start.copy(), np.zeros_like(found.at)
    steps = Steps(schedule, np.stack(2 * [_unit(dual, found)]))
    half = schedule.steps // 2
    for t in range(schedule.steps):
        chosen = chosen - steps.step(gradient(dual, found))
        found = evaluate(dual, tables, targets, chosen)
        better = found.value < value
        value = np.where(better, found.value, value)
        best[:, better] = chosen[:, better]
        if t >= half:
            mean += found.at
    return Ascent(value, best, mean / (schedule.steps - half), _curved(dual, found))


def _curved(dual: Dual, found: Evaluation) -> FloatArray:
    """The slopes (a, b) that reach the curved neurons."""
    layers = [s[stage.curved] for stage, s in zip(dual.stages, found.found, strict=True)]
    return np.stack([np.concatenate([s.a for s in layers], 1), np.concatenate([s.b for s in layers], 1)])


def _unit(dual: Dual, found: Evaluation) -> FloatArray:
    """The size of a neuron's multipliers: the slopes that reach it."""
    parts = []
    for stage, here in zip(dual.stages, found.found, strict=True):
        size = np.abs(here.a) + np.abs(here.b)
        floor = SMALL_SHARE * size.max(axis=1, keepdims=True, initial=0.0)
        parts.append(size[:, stage.curved] + floor)
    return np.concatenate(parts, axis=1)


def closed_form(dual: Dual, at: Points, targets: IntArray) -> FloatArray:
    """Multipliers that are best at the centres of the hexagons, out of a few, last layer first."""
    a, b = dual.rows.delta[targets], dual.rows.h[targets]
    tables, chosen = Tables(at, len(targets)), np.zeros((2, len(targets), at.table.shape[-1]))
    for stage in reversed(dual.stages):
        here = slopes(stage, a, b, chosen)[stage.curved]
        table = tables.of(stage, here.a)
        middle = at.table[0, :2, :4, ..., stage.columns].mean(axis=1)
        height = np.full(here.a.shape, np.inf)
        for alpha, beta in _candidates(dual.region[:, stage.columns], here.a, here.b):
            one = Slopes(here.a, here.b, alpha, beta)
            found = one.heights(table).max(axis=0) + alpha * middle[D] + beta * middle[Z]
            better = found < height
            height = np.where(better, found, height)
            chosen[:, :, stage.columns] = np.where(
                better, np.stack([alpha, beta]), chosen[:, :, stage.columns]
            )
        a, b = descended(stage, slopes(stage, a, b, chosen))
    return chosen


def _candidates(region: Hexagons, a: FloatArray, b: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Pairs (alpha, beta): each network's chord, its slope at the centre, or the difference passed on in part."""
    z, d, s = region.z, region.d, region.s
    chord = _ratio(region.reference(z.upper) - region.reference(z.lower), z.upper - z.lower)[0]
    middle = 0.5 * (z.lower + z.upper)[0]
    slope = np.where((middle > region.floor[0]) & (middle < region.ceiling[0]), 1.0, 0.0)
    share = _ratio(np.maximum(d.upper, 0.0) - np.maximum(d.lower, 0.0), d.upper - d.lower)[0]
    theirs = _ratio(region.quantized(s.upper) - region.quantized(s.lower), s.upper - s.lower)[0]
    line = b * np.where(b >= 0.0, chord, slope)
    yield 0.0 * a, line
    yield a * np.where(a >= 0.0, share, 1.0 - share), line
    yield a, line
    yield a * theirs, a * (theirs - chord) + b * chord
    yield a * theirs, a * theirs + (b - a) * chord
    yield a * slope, b * slope


def _ratio(rise: FloatArray, run: FloatArray) -> FloatArray:
    return np.clip(np.nan_to_num(rise / run, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)
