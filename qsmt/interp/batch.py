"""Both networks on thousands of inputs at once, in doubles, with a bound of the error.

The integer side is exact: every accumulator is an integer that a float holds, with every product and
partial sum on the way, whatever the order of summation: single precision below 2**22, double below
2**51. Where that cannot be promised, the exact interpreter does the work. The real side carries
`radius`, a bound of |double - exact| per neuron that holds for every point of the batch
(qsmt.arith.outward gives the error model).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from qsmt.arith.curves import STEEPEST, bounds
from qsmt.arith.fixed import Format, Overflow, Quantized
from qsmt.arith.outward import SMALLEST, UNIT_ROUNDOFF, float_up, gamma, inflate, up
from qsmt.arith.real import FloatArray
from qsmt.arith.requantize import Requantization, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import images, stacked
from qsmt.interp import quantized
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Clamp, Curve, LeakyRelu, Op, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real
from qsmt.problem import InputModel, Problem

EXACT_BITS: tuple[tuple[type[np.floating[Any]], int], ...] = ((np.float32, 22), (np.float64, 51))
"""Integers of this many bits survive a halving and an added half without rounding."""

HALF = Fraction(1, 2)

TABLE_LIMIT = 2**16
"""The most thresholds a requantization is tabulated with."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """Values (points, n), and a bound of their error (n,) that holds for every point."""

    values: FloatArray
    radius: FloatArray

    @property
    def magnitude(self) -> FloatArray:
        """An upper bound of |exact| and |value| per neuron, shape (n,).

        The largest value of all neurons stands for each: that costs a thirtieth of one maximum per column,
        which would be a third of all the time, and the error bound of the next layer is hardly larger.
        """
        return up(max(self.values.max(initial=0.0), -self.values.min(initial=0.0)) + self.radius)


def _largest(values: FloatArray) -> FloatArray:
    """The largest absolute value per column, zero if there are no rows."""
    largest: FloatArray = np.maximum(values.max(axis=0, initial=0.0), -values.min(axis=0, initial=0.0))
    return largest


Codes: TypeAlias = npt.NDArray[np.floating[Any]]
Step: TypeAlias = Callable[[Enclosure], Enclosure]
F = TypeVar("F", bound=Codes)
CodeStep: TypeAlias = Callable[[Codes], Codes]
"""Elementwise steps overwrite their operand, which is the fresh result of an affine step."""

REAL_RULES: Rules[Callable[..., Step]] = Rules("the batch interpreter of real networks")
CODE_RULES: Rules[Callable[..., CodeStep]] = Rules("the batch interpreter of integer networks")


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
        self._reference = _real_side(problem.reference)
        self._quantized = _quantized_side(problem)

    def run(self, points: FloatArray) -> Differences:
        """Evaluate `points` (points, n), the coordinates of x; under `grid` they are integers."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = _scaled_input(points, self._problem.input_scale)
            reference = self._reference(scaled)
            codes = self._quantized(points, scaled)
            difference = codes.values - reference.values
            rounding = UNIT_ROUNDOFF * _largest(difference)
            radius = inflate(reference.radius + codes.radius + rounding, 3)
        known = np.isfinite(difference).all(axis=0) & np.isfinite(radius)
        difference[:, ~known] = 0.0  # where something overflowed, nothing is known
        return Differences(reference.values, codes.values, difference, np.where(known, radius, np.inf))


def _real_side(network: Network) -> Step:
    """From a real network's input to its output; zeros of a network that puts out nothing else are not computed."""
    if network.is_silent:
        zero = np.zeros(network.output.size)
        return lambda x: Enclosure(np.zeros((len(x.values), len(zero))), zero)
    steps = [REAL_RULES[type(op)](op) for op in network.ops]

    def through(value: Enclosure) -> Enclosure:
        for step in steps:
            value = step(value)
        return value

    return through


def _scaled_input(points: FloatArray, scale: Fraction) -> Enclosure:
    """`scale * x`: one rounding for the factor, one for the product; none for a power of two."""
    nearest = float(scale)
    off = abs(scale - Fraction(nearest))
    exact = off == 0 and (scale.numerator & (scale.numerator - 1)) == 0
    magnitude = _largest(points)
    per_unit = 0.0 if exact else float_up(off + abs(scale) * Fraction(1, 2**52))
    radius = inflate(magnitude * per_unit, 2) if per_unit else np.zeros_like(magnitude)
    return Enclosure(points * nearest, radius if scale >= 1 else radius + SMALLEST)  # it may underflow


# --- real networks ---------------------------------------------------------------------------------


@REAL_RULES.register(Affine)
def _real_affine(op: Affine) -> Step:
    weight, bias = op.weight.reals, op.bias.reals
    transposed = np.ascontiguousarray(weight.nearest.T)
    absolute, off = np.abs(weight.nearest), weight.radius
    terms = weight.shape[1] + 1
    inexact = bool(off.any() or bias.radius.any())

    def step(x: Enclosure) -> Enclosure:
        magnitude = x.magnitude
        rounding = gamma(terms) * (absolute @ magnitude + np.abs(bias.nearest))
        error = absolute @ x.radius + rounding
        if inexact:
            error = error + off @ magnitude + bias.radius
        values = x.values @ transposed
        values += bias.nearest
        return Enclosure(values, inflate(error, 4 * terms))

    return step


@REAL_RULES.register(Relu)
def _real_relu(_: Relu) -> Step:
    return lambda x: Enclosure(_clipped(x.values, 0.0, np.inf), x.radius)


@REAL_RULES.register(Clamp)
def _real_clamp(op: Clamp) -> Step:
    limits = [v for v in (op.lower, op.upper) if v is not None]
    low, high = _limits(op)
    off = float_up(max((abs(v - Fraction(float(v))) for v in limits), default=Fraction(0)))
    return lambda x: Enclosure(_clipped(x.values, low, high), x.radius if off == 0 else up(x.radius + off))


@REAL_RULES.register(LeakyRelu)
def _real_leaky_relu(op: LeakyRelu) -> Step:
    slope = float(op.slope)
    per_unit = float_up(abs(op.slope - Fraction(slope)) + op.slope * Fraction(1, 2**52))

    def step(x: Enclosure) -> Enclosure:
        error = x.radius + per_unit * x.magnitude + SMALLEST
        return Enclosure(np.where(x.values < 0.0, slope * x.values, x.values), inflate(error, 4))

    return step


@REAL_RULES.register(Curve)
def _real_curve(op: Curve) -> Step:
    """The value lies between doubles; an error before it is multiplied by at most the greatest slope."""
    steepest = STEEPEST[op.function]

    def step(x: Enclosure) -> Enclosure:
        found = bounds(op.function, x.values)
        width = _largest(found.upper - found.lower)
        return Enclosure(0.5 * found.lower + 0.5 * found.upper, inflate(width + steepest * x.radius, 4))

    return step


def _clipped(values: F, low: float, high: float) -> F:
    """In place; `np.clip` is several times faster than `np.maximum` with a scalar."""
    np.clip(values, low, high, out=values)
    return values


def _limits(op: Clamp) -> tuple[float, float]:
    low = -np.inf if op.lower is None else float(op.lower)
    return low, np.inf if op.upper is None else float(op.upper)


def layer_values(network: Network, points: FloatArray) -> list[FloatArray]:
    """What each layer of a real network computes on points (points, n), after its activation, nearly."""
    ends = {layer.post.name for layer in layers(network)}
    value, found = Enclosure(points, np.zeros(points.shape[1])), []
    with np.errstate(over="ignore", invalid="ignore"):
        for op in network.ops:
            value = REAL_RULES[type(op)](op)(value)
            if op.out.name in ends:
                found.append(value.values.copy())
    return found


# --- integer networks --------------------------------------------------------------------------------


def _quantized_side(problem: Problem) -> Callable[[FloatArray, Enclosure], Enclosure]:
    """From (x, scaled x) to the quantized network's output values."""
    network = problem.quantized
    if network.is_real:
        through = _real_side(network)
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
        half = _largest(high - low) / 2 * float_up(kind.scale)
        return Enclosure(found.values, inflate(found.radius + half, 4))

    return side


def bounds_step(op: Op) -> Callable[[Codes, Codes], tuple[Codes, Codes]]:
    """An op on the least and the greatest codes."""
    if isinstance(op, Affine):
        weight, bias = (part.astype(np.float64) for part in op.integers)
        positive, negative = np.maximum(weight, 0.0).T, np.minimum(weight, 0.0).T
        kind = op.out.type.element
        assert isinstance(kind, Accumulator)

        def sums(low: Codes, high: Codes) -> tuple[Codes, Codes]:
            least, most = low @ positive + high @ negative + bias, high @ positive + low @ negative + bias
            if kind.overflow is AccumulatorOverflow.EXACT:
                return least, most
            wraps = (least < kind.min) | (most > kind.max)
            return np.where(wraps, float(kind.min), least), np.where(wraps, float(kind.max), most)

        return sums
    if isinstance(op, Requantize) and op.runtime_kinds:
        image, low_code, high_code = images(op.runtime_kinds), op.target.min, op.target.max

        def rounded(low: Codes, high: Codes) -> tuple[Codes, Codes]:
            ends = image(low.astype(np.int64), high.astype(np.int64))
            least, most = (np.clip(end, low_code, high_code).astype(np.float64) for end in ends)
            return least, most

        return rounded
    step = CODE_RULES[type(op)](op, np.float64)
    return lambda low, high: (step(low.copy()), step(high.copy()))


def bits_of_sums(op: Affine | Requantize) -> int:
    """How many bits hold every operand, product and partial sum, in any order, and every result."""
    if isinstance(op, Requantize):
        return op.target.bits + 1
    x, acc = op.x.type.element, op.out.type.element
    assert isinstance(x, Format) and isinstance(acc, Accumulator)
    weight, bias = op.integers
    largest = np.abs(weight).sum(axis=1) * max(abs(x.min), x.max) + np.abs(bias)
    return max(int(largest.max()).bit_length() + 1, x.bits + 1, acc.bits)


def _exact_side(problem: Problem, points: FloatArray) -> Enclosure:
    """The exact interpreter, its results rounded to doubles."""
    network = problem.quantized
    inputs = [tuple(map(Fraction, row)) for row in points.tolist()]
    found, size = (
        quantized.enclose(network, [problem.quantized_input(x) for x in inputs]),
        network.output.size,
    )
    values = np.array([[float(v) for v in row] for row in found.middle]).reshape(len(inputs), size)
    radius = np.spacing(_largest(values))
    if found.radius is not None:
        widths = np.array([[float_up(v) for v in row] for row in found.radius]).reshape(len(inputs), size)
        radius = up(radius + _largest(widths))
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
    magnitude = _largest(values)
    return Enclosure(values, np.zeros_like(magnitude) if exact else 2 * np.spacing(magnitude))


@CODE_RULES.register(Affine)
def _code_affine(op: Affine, precision: type[np.floating[Any]]) -> CodeStep:
    weight, bias = (part.astype(precision) for part in op.integers)
    transposed = np.ascontiguousarray(weight.T)
    kind = op.out.type.element
    wraps = isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP

    def step(codes: Codes) -> Codes:
        acc: Codes = codes @ transposed
        acc += bias
        return _wrapped(acc, kind.min, kind.bits) if wraps and isinstance(kind, Accumulator) else acc

    return step


def _wrapped(codes: Codes, low: int, bits: int) -> Codes:
    codes -= low
    np.mod(codes, 2.0**bits, out=codes)
    codes += low
    return codes


@CODE_RULES.register(Relu)
def _code_relu(_: Relu, __: type[np.floating[Any]]) -> CodeStep:
    return lambda codes: _clipped(codes, 0.0, np.inf)


@CODE_RULES.register(Clamp)
def _code_clamp(op: Clamp, _: type[np.floating[Any]]) -> CodeStep:
    kind = op.out.type.element
    assert isinstance(kind, Format | Accumulator)
    low = kind.min if op.lower is None else max(int(op.lower), kind.min)
    high = kind.max if op.upper is None else min(int(op.upper), kind.max)
    return lambda codes: _clipped(codes, float(low), float(high))


def _away(values: Codes) -> Codes:
    return np.copysign(np.ceil(np.abs(values)), values)


def _half_up(values: Codes) -> Codes:
    values += 0.5
    return np.floor(values, out=values)


def _half_down(values: Codes) -> Codes:
    values -= 0.5
    return np.ceil(values, out=values)


_ROUND: dict[Rounding, Callable[[Codes], Codes]] = {
    Rounding.FLOOR: np.floor,
    Rounding.CEIL: np.ceil,
    Rounding.TOWARD_ZERO: np.trunc,
    Rounding.AWAY: _away,
    Rounding.HALF_UP: _half_up,
    Rounding.HALF_DOWN: _half_down,
    Rounding.HALF_EVEN: np.rint,
    Rounding.HALF_AWAY: lambda v: np.copysign(_half_up(np.abs(v)), v),
    Rounding.HALF_TOWARD_ZERO: lambda v: np.copysign(_half_down(np.abs(v)), v),
}


@CODE_RULES.register(Requantize)
def _code_requantize(op: Requantize, precision: type[np.floating[Any]]) -> CodeStep:
    if op.runtime_kinds:
        return _as_the_runtime(op, precision)
    rule, source = op.rule, op.x.type.element
    assert isinstance(source, Format | Accumulator)
    limit = dict(EXACT_BITS)[precision]
    if (
        isinstance(rule.kind, Shift)
        and rule.kind.shift < 64
        and source.bits - min(0, rule.kind.shift) <= limit
    ):
        return _shifted(rule, rule.kind)
    if rule.is_monotone(source.min, source.max) and rule.target.max - rule.target.min <= TABLE_LIMIT:
        return _tabulated(rule, source.min, source.max)
    apply = np.frompyfunc(lambda code: float(rule.apply(int(code))), 1, 1)
    return lambda codes: np.asarray(apply(codes), dtype=precision)


def _as_the_runtime(op: Requantize, precision: type[np.floating[Any]]) -> CodeStep:
    rule, low, high = stacked(op.runtime_kinds), op.target.min, op.target.max
    return lambda codes: np.clip(rule(codes.astype(np.int64)), low, high).astype(precision)


def _shifted(rule: Requantization, kind: Shift) -> CodeStep:
    factor, rounded, overflow = 2.0**-kind.shift, _ROUND[kind.rounding], _overflow(rule)

    def step(codes: Codes) -> Codes:
        codes *= factor
        result = overflow(rounded(codes))
        result += 0.0  # no negative zero: a code is an integer
        return result

    return step


def _overflow(rule: Requantization) -> CodeStep:
    target = rule.target
    low, high = float(target.min), float(target.max)
    match rule.overflow:
        case Overflow.SATURATE:
            return lambda codes: _clipped(codes, low, high)
        case Overflow.SATURATE_SYMMETRIC:
            return lambda codes: _clipped(codes, -high if target.signed else 0.0, high)
        case Overflow.WRAP:
            return lambda codes: _wrapped(codes, target.min, target.bits)
        case Overflow.SATURATE_ZERO:
            return lambda codes: np.where((codes >= low) & (codes <= high), codes, 0)


def _tabulated(rule: Requantization, low: int, high: int) -> CodeStep:
    stairs = rule.staircase(low, high)
    thresholds = np.array(stairs.thresholds, dtype=np.float64)
    return lambda codes: stairs.first + np.searchsorted(thresholds, codes, side="right").astype(codes.dtype)
