"""Slopes of the difference at single inputs, straight through the roundings: for regions of many inputs, where trying
every coordinate by itself takes a run of both networks for each.

A rounding is flat between two steps, so that its derivative says nothing; taken for what it does on average it has one
(Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons for conditional
computation", arXiv:1308.3432, 2013). Here every elementwise operation has the slope of a secant, of integers across a
whole step of what it puts out, so that saturation, tables and kinks count as well. Nothing is proved by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qsmt.arith.fixed import Format
from qsmt.arith.real import FloatArray
from qsmt.arith.units import each
from qsmt.engine.ascent import Ascent, Goal
from qsmt.engine.measures import seeds
from qsmt.interp.batch import input_codes
from qsmt.interp.batch_codes import CODE_RULES, EXACT_BITS, bits_of_sums
from qsmt.interp.batch_reals import REAL_RULES, Enclosure
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Op, Requantize
from qsmt.ir.types import Accumulator, AccumulatorOverflow, units_of
from qsmt.problem import InputModel, Problem

NEAR = 2.0**-20
"""Half a secant of a real operation, as a share of the largest value."""

LENGTHS = np.array([1.0, 1 / 2, 1 / 4, 1 / 8])
"""Steps along the signs of the slope, in shares of the width."""

MOVES = (1, 4, 16, 64)
"""So many coordinates go to the end that the slope points to, the steepest first."""

SHRINKING = 0.9
"""From one round to the next, the steps."""

Pull: TypeAlias = Callable[[FloatArray], FloatArray]
Stage: TypeAlias = Callable[[FloatArray], tuple[FloatArray, Pull]]
"""From values (k, n) to values (k, m), and from slopes by the latter (k, m) to slopes by the former (k, n)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One network: what it reads of x, its stages, and the units of what it reads and puts out, by x."""

    read: Callable[[FloatArray], FloatArray]
    stages: list[Stage]
    unit: float  # of an output
    per_x: float  # what is read, by x

    def run(self, points: FloatArray) -> tuple[FloatArray, Pull]:
        """The outputs (k, m), and from slopes by them to slopes by x."""
        value, pulls = self.read(points), list[Pull]()
        for stage in self.stages:
            value, pull = stage(value)
            pulls.append(pull)

        def pulled(slope: FloatArray) -> FloatArray:
            for pull in reversed(pulls):
                slope = pull(slope)
            return slope * (self.unit * self.per_x)

        return value * self.unit, pulled


class StraightThrough:
    """A problem's two networks; see `of`."""

    def __init__(self, problem: Problem, reference: _Side, quantized: _Side) -> None:
        self._claim, self._reference, self._quantized = problem.claim, reference, quantized

    @staticmethod
    def of(problem: Problem) -> StraightThrough | None:
        """None where doubles do not hold the codes, or sums wrap, so that no slope says what a step will do."""
        quantized = _quantized_side(problem)
        if quantized is None:
            return None
        return StraightThrough(problem, _real_side(problem, problem.reference), quantized)

    def slopes(self, points: FloatArray, goal: Goal) -> FloatArray:
        """Of `side` times the goal's measure by each coordinate of x, at points (k, n)."""
        with np.errstate(over="ignore", invalid="ignore"):
            (reference, by_reference), (quantized, by_quantized) = (
                side.run(points) for side in (self._reference, self._quantized)
            )
            start = goal.side * seeds(self._claim, quantized - reference, goal.output)
            found = by_quantized(start) - by_reference(start)
        return np.nan_to_num(found, copy=False, posinf=0.0, neginf=0.0)

    def climb(
        self, ascent: Ascent, starts: FloatArray, goal: Goal, *, rounds: int, deadline: float = np.inf
    ) -> FloatArray:
        """Follow the slopes from each of `starts` (k, n) as far as that gains anything; the best end (n,)."""
        points, rows = starts, np.arange(len(starts))
        best = goal.side * ascent.differences(points)[:, goal.output]
        for number in range(rounds):
            if ascent.exhausted or time.monotonic() > deadline:
                break
            tried = _tried(ascent, points, self.slopes(points, goal), SHRINKING**number)
            gains = goal.side * ascent.differences(tried.reshape(-1, points.shape[1]))[:, goal.output]
            gains = gains.reshape(tried.shape[:2])
            top = gains.argmax(axis=0)
            better = gains[top, rows] > best
            if not better.any():
                break
            points = np.where(better[:, None], tried[top, rows], points)
            best = np.maximum(best, gains[top, rows])
        end: FloatArray = points[int(best.argmax())]
        return end


def _tried(ascent: Ascent, points: FloatArray, slopes: FloatArray, share: float) -> FloatArray:
    """Where points (k, n) may go, (tries, k, n): along the signs, or to the ends in the steepest coordinates."""
    width = ascent.upper - ascent.lower
    along = points + share * LENGTHS[:, None, None] * (np.sign(slopes) * width)
    gain = np.abs(slopes) * width
    order, rows = np.argsort(-gain, axis=1, kind="stable"), np.arange(len(points))[:, None]
    ends = np.where(slopes > 0, ascent.upper, np.where(slopes < 0, ascent.lower, points))
    far = np.repeat(points[None], len(MOVES), axis=0)
    for moved, count in zip(far, MOVES, strict=True):
        moved[rows, order[:, :count]] = ends[rows, order[:, :count]]
    return ascent.snapped(np.concatenate([along, far]))


def _real_side(problem: Problem, network: Network) -> _Side:
    scale = float(problem.input_scale)
    return _Side(lambda x: x * scale, [_real_stage(op) for op in network.ops], 1.0, scale)


def _quantized_side(problem: Problem) -> _Side | None:
    network = problem.quantized
    if network.is_real:
        return _real_side(problem, network)
    sums = [op for op in network.ops if isinstance(op, Affine | Requantize)]
    read, put_out = network.input.type.element, network.output.type.element
    wraps = any(isinstance(op, Affine) and _wraps(op) for op in network.ops)
    wide = max(map(bits_of_sums, sums), default=0) > EXACT_BITS[-1][1]
    if wraps or wide or not network.is_exact or not isinstance(read, Format):
        return None
    assert isinstance(put_out, Format | Accumulator)
    per_x = 1.0 if problem.region.model is InputModel.GRID else float(problem.input_scale / read.scale)
    stages = [_code_stage(op) for op in network.ops]
    return _Side(lambda x: np.array(input_codes(problem, x)), stages, float(put_out.scale), per_x)


def _wraps(op: Affine) -> bool:
    kind = op.out.type.element
    return isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP


def _real_stage(op: Op) -> Stage:
    step = REAL_RULES[type(op)](op)

    def values(x: FloatArray) -> FloatArray:
        return step(Enclosure(x, np.zeros(x.shape[1]))).values

    if isinstance(op, Affine):
        return _linear(values, op.weight.reals.nearest)
    return lambda x: _secant(values, x, NEAR * max(1.0, np.abs(x).max(initial=0.0)), -np.inf, np.inf)


def _code_stage(op: Op) -> Stage:
    rule = CODE_RULES[type(op)](op, np.float64)

    def step(codes: FloatArray) -> FloatArray:
        return rule(codes).astype(np.float64, copy=False)

    if isinstance(op, Affine):
        return _linear(step, op.integers[0].astype(np.float64))
    source, target = op.x.type, op.out.type
    assert isinstance(source.element, Format | Accumulator)
    assert isinstance(target.element, Format | Accumulator)
    units = (each(units_of(kind), source.size) for kind in (source.element, target.element))
    half = np.array(
        [max(1, -(-after // before)) for before, after in zip(*units, strict=True)], dtype=np.float64
    )
    low, high = float(source.element.min), float(source.element.max)
    return lambda codes: _secant(step, codes, half, low, high)


def _linear(step: Callable[[FloatArray], FloatArray], weight: FloatArray) -> Stage:
    return lambda x: (step(x), lambda slope: slope @ weight)


def _secant(
    step: Callable[[FloatArray], FloatArray], x: FloatArray, half: FloatArray | float, low: float, high: float
) -> tuple[FloatArray, Pull]:
    """Elementwise: the values, and the slopes of secants from `half` below to `half` above.

    Steps overwrite their operand.
    """
    below, above = np.maximum(x - half, low), np.minimum(x + half, high)
    width = np.maximum(above - below, np.finfo(np.float64).tiny)
    slope = (step(above) - step(below)) / width
    return step(x), lambda given: given * slope
