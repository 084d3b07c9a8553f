"""Both networks on thousands of inputs at once, in doubles, with a bound of the error.

The integer side is exact; where sums are beyond what floats hold, the exact interpreter does the work. The real side
carries a radius.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np

from qsmt.arith.fixed import Format, Quantized
from qsmt.arith.outward import UNIT_ROUNDOFF, float_up, gamma, inflate, up
from qsmt.arith.real import FloatArray
from qsmt.interp import quantized
from qsmt.interp.batch_codes import CODE_RULES, EXACT_BITS, Codes, bits_of_sums, bounds_step
from qsmt.interp.batch_reals import Enclosure, largest, real_side, scaled_input
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Requantize
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real
from qsmt.problem import InputModel, Problem

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Differences:
    """Both networks' outputs and their difference, each (points, m), and the difference's error (m,)."""

    reference: FloatArray
    quantized: FloatArray
    difference: FloatArray
    radius: FloatArray


class BatchInterpreter:
    """A problem's two networks, prepared for many batches of inputs."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._reference = real_side(problem.reference)
        self._quantized = _quantized_side(problem)

    def run(self, points: FloatArray) -> Differences:
        """Evaluate `points` (points, n), the coordinates of x; under `grid` they are integers."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = scaled_input(points, self._problem.input_scale)
            reference = self._reference(scaled)
            codes = self._quantized(points, scaled)
            difference = codes.values - reference.values
            rounding = UNIT_ROUNDOFF * largest(difference)
            radius = inflate(reference.radius + codes.radius + rounding, 3)
        known = np.isfinite(difference).all(axis=0) & np.isfinite(radius)
        difference[:, ~known] = 0.0  # where something overflowed, nothing is known
        return Differences(reference.values, codes.values, difference, np.where(known, radius, np.inf))


def _quantized_side(problem: Problem) -> Callable[[FloatArray, Enclosure], Enclosure]:
    """From (x, scaled x) to the quantized network's output values."""
    network = problem.quantized
    if network.is_real:
        through = real_side(network)
        return lambda _, scaled: through(scaled)
    if not network.is_exact:
        return _hull_side(problem)
    sums = _output_sums(network)
    exact_ops, finish = (network.ops[:-1], sums) if sums else (network.ops, partial(values_of_codes, network))
    read = network.ops[-1].x.type.element
    bits = (
        max(bits_of_sums(op) for op in exact_ops if isinstance(op, Affine | Requantize)) if exact_ops else 0
    )
    bits = max(bits, read.bits + 1 if isinstance(read, Format) else 0)
    precision = next((kind for kind, limit in EXACT_BITS if bits <= limit), None)
    if precision is None:
        return lambda points, _: _exact_side(problem, points)
    code_steps = [CODE_RULES[type(op)](op, precision) for op in exact_ops]

    def side(points: FloatArray, _: Enclosure) -> Enclosure:
        codes = input_codes(problem, points).astype(precision, copy=False)
        for step in code_steps:
            codes = step(codes)
        return finish(codes.astype(np.float64, copy=False))

    return side


def _output_sums(network: Network) -> Callable[[FloatArray], Enclosure] | None:
    """The last op on exact codes, if it is one whose sums no double holds: nothing is rounded to a code behind
    it, so it may be off by a radius. None if it need not.
    """
    op = network.ops[-1]
    if not isinstance(op, Affine) or bits_of_sums(op) <= EXACT_BITS[-1][1]:
        return None
    kind, x = op.out.type.element, op.x.type.element
    assert isinstance(kind, Accumulator) and isinstance(x, Format)
    largest = max(abs(x.min), x.max)
    if kind.overflow is AccumulatorOverflow.WRAP or largest > 2 ** EXACT_BITS[-1][1]:
        return None
    weight, bias = (part.astype(np.float64) for part in op.integers)
    size = np.abs(weight).sum(axis=1) * float(largest) + np.abs(bias)
    error = inflate(gamma(weight.shape[1] + 3) * size, weight.shape[1] + 8)
    transposed, scale = np.ascontiguousarray(weight.T), float_up(kind.scale)

    def sums(codes: FloatArray) -> Enclosure:
        found = values_of_codes(network, codes @ transposed + bias)
        return Enclosure(found.values, inflate(found.radius + error * scale, 4))

    return sums


def _hull_side(problem: Problem) -> Callable[[FloatArray, Enclosure], Enclosure]:
    """Both ends of what the codes can be, exactly; the radius is the largest of the batch."""
    network = problem.quantized
    if max(bits_of_sums(op) for op in network.ops if isinstance(op, Affine | Requantize)) > EXACT_BITS[-1][1]:
        return lambda points, _: _exact_side(problem, points)
    steps = [bounds_step(op) for op in network.ops]

    def side(points: FloatArray, _: Enclosure) -> Enclosure:
        low: Codes = input_codes(problem, points)
        high = low
        for step in steps:
            low, high = step(low, high)
        found = values_of_codes(network, (low + high) / 2)
        kind = network.output.type.element
        assert not isinstance(kind, Real)
        half = largest(high - low) / 2 * float_up(kind.scale)
        return Enclosure(found.values, inflate(found.radius + half, 4))

    return side


def _exact_side(problem: Problem, points: FloatArray) -> Enclosure:
    """The exact interpreter, its results rounded to doubles."""
    network = problem.quantized
    inputs = [tuple(map(Fraction, row)) for row in points.tolist()]
    found, size = (
        quantized.enclose(network, [problem.quantized_input(x) for x in inputs]),
        network.output.size,
    )
    values = np.array([[float(v) for v in row] for row in found.middle]).reshape(len(inputs), size)
    radius = np.spacing(largest(values))
    if found.radius is not None:
        widths = np.array([[float_up(v) for v in row] for row in found.radius]).reshape(len(inputs), size)
        radius = up(radius + largest(widths))
    return Enclosure(values, radius)


def input_codes(problem: Problem, points: FloatArray) -> FloatArray:
    """The input codes; a tie of the input quantizer that doubles cannot tell is decided exactly."""
    kind = problem.quantized.input.type.element
    if problem.region.model is InputModel.GRID or not isinstance(kind, Format):
        return points
    if problem.input_scale == 1 and isinstance(kind, Quantized):
        return kind.read_array(points)
    ratio = problem.input_scale / kind.scale
    position = points * float(ratio)
    codes = np.clip(np.rint(position), kind.min, kind.max)
    doubt = np.spacing(np.abs(position)) * 4 + float(2 * (kind.read_noise - HALF))
    near_tie = np.abs(position - np.floor(position) - 0.5) <= doubt
    for index in np.argwhere(near_tie):
        value = Fraction(float(points[tuple(index)])) * problem.input_scale
        codes[tuple(index)] = float(kind.read(value))
    return codes


def values_of_codes(network: Network, codes: FloatArray) -> Enclosure:
    kind = network.output.type.element
    assert not isinstance(kind, Real), f"@{network.name} is not an integer network"
    scale = kind.scale
    values = codes * float(scale)
    exact = scale.numerator == 1 and (scale.denominator & (scale.denominator - 1)) == 0
    magnitude = largest(values)
    return Enclosure(values, np.zeros_like(magnitude) if exact else 2 * np.spacing(magnitude))
