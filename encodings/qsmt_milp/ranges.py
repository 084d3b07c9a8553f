"""Exact bounds of every value of a network over a region: what big-M constants and pruning rest on.

Interval arithmetic in integers and `Fraction`s, op by op, met with the facts that analysis has proved.
So nothing here depends on the facts being there or finite, and everything is as tight as they are.

Bounds of real values are rounded outward to doubles after each op, which keeps the rationals short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isfinite
from typing import TypeAlias

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import ExactArray, RealTensor, exact_array
from qsmt.arith.requantize import Requantization
from qsmt.arith.runtime_kinds import Hull
from qsmt.errors import SoundnessError
from qsmt.facts import Interval
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Clamp, LeakyRelu, Op, Relu, Requantize, Value
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real
from qsmt_milp.neuron import clamp

LARGEST = 44
"""The power of two up to which values are encoded: one unit beside it is 16 tolerances of 1e-9 * 2**18."""


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """Elementwise bounds of a vector: Python integers for codes, `Fraction`s for reals."""

    lower: ExactArray
    upper: ExactArray

    def meet(self, other: Range) -> Range:
        return Range(np.maximum(self.lower, other.lower), np.minimum(self.upper, other.upper))

    def within(self, lower: int, upper: int) -> bool:
        return bool((self.lower >= lower).all() and (self.upper <= upper).all())


Rule: TypeAlias = Callable[..., Range]
RULES: Rules[Rule] = Rules("the exact bounds of the MILP encoding")


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The bounds of each value of one network by name, and why it may be beyond linear rows, if it may."""

    of: dict[str, Range]
    obstacles: tuple[str, ...]


def ranges(network: Network, start: Range, proved: Sequence[tuple[Interval, Interval]]) -> Ranges:
    """Bounds of every value, given those of the input and the facts (pre, post) of each layer.

    They end at the first value with an obstacle: nothing after it will be encoded.
    """
    facts = {v.name: list[Interval]() for v in (network.input, *(op.out for op in network.ops))}
    for layer, (pre, post) in zip(layers(network), proved, strict=True):
        facts[layer.pre.name].append(pre)
        facts[layer.post.name].append(post)
    found = {network.input.name: start}
    obstacles = tuple(excess(f"%{network.input.name}", start))
    for op in network.ops if not obstacles else ():
        known = RULES[type(op)](op, found[op.x.name])
        obstacles = tuple(_overflow(op, found[op.x.name], known))
        for interval in facts[op.out.name] if not obstacles else ():
            known = _met(op.out, known, interval)
        obstacles += tuple(excess(f"%{op.out.name}", known))
        if obstacles:
            break
        found[op.out.name] = known
    return Ranges(found, obstacles)


def _met(value: Value, own: Range, proved: Interval) -> Range:
    to_low, to_high = (Fraction, Fraction) if isinstance(value.type.element, Real) else (ceil, floor)
    lower = [to_low(v) if isfinite(v) else a for v, a in zip(proved.lower.tolist(), own.lower, strict=True)]
    upper = [to_high(v) if isfinite(v) else b for v, b in zip(proved.upper.tolist(), own.upper, strict=True)]
    met = own.meet(Range(exact_array(lower, own.lower.shape), exact_array(upper, own.upper.shape)))
    if (met.lower > met.upper).any():
        raise SoundnessError(f"%{value.name}: the analysis and exact interval arithmetic share no value")
    return met


# --- one rule per op -----------------------------------------------------------------------------------


@RULES.register(Affine)
def _affine(op: Affine, x: Range) -> Range:
    return _real_product(op, x) if isinstance(op.out.type.element, Real) else _product(*op.integers, x)


@RULES.register(Relu)
def _relu(_: Relu, x: Range) -> Range:
    return Range(np.maximum(x.lower, 0), np.maximum(x.upper, 0))


@RULES.register(Clamp)
def _clamp(op: Clamp, x: Range) -> Range:
    kind = Fraction if isinstance(op.out.type.element, Real) else int
    ends = ((kind(clamp(v, op.lower, op.upper)) for v in end) for end in (x.lower, x.upper))
    return Range(*(exact_array(end, x.lower.shape) for end in ends))


@RULES.register(LeakyRelu)
def _leaky_relu(op: LeakyRelu, x: Range) -> Range:
    return Range(*(np.maximum(end, end * op.slope) for end in (x.lower, x.upper)))


@RULES.register(Requantize)
def _requantize(op: Requantize, x: Range) -> Range:
    """By the images of both ends; of a rule that is not monotone there, this is not the range (see below)."""
    ends = [_image(rule, low, high) for rule, low, high in zip(op.rules, x.lower, x.upper, strict=True)]
    lower, upper = zip(*ends, strict=True)
    return Range(exact_array(lower, x.lower.shape), exact_array(upper, x.upper.shape))


def _image(rule: Requantization, low: int, high: int) -> tuple[int, int]:
    if rule.table is None:
        return rule.apply(low), rule.apply(high)
    least, greatest = rule.table.image(low, high)
    return rule.target.saturated(least), rule.target.saturated(greatest)


def _product(weight: ExactArray, bias: ExactArray, x: Range) -> Range:
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    return Range(
        positive @ x.lower + negative @ x.upper + bias, positive @ x.upper + negative @ x.lower + bias
    )


def _real_product(op: Affine, x: Range) -> Range:
    """The product in integers over one denominator, which is many times faster than in fractions."""
    weight, over = op.weight.reals.scaled
    inputs, input_over = RealTensor.of_fractions([*x.lower, *x.upper], (2, op.x.size)).scaled
    denominator = over * input_over
    bias = exact_array((v * denominator for v in op.bias.reals.fractions), (op.out.size,))
    exact = _product(weight, bias, Range(inputs[0], inputs[1]))
    return Range(_outward(exact.lower, denominator, float_down), _outward(exact.upper, denominator, float_up))


def _outward(numerators: ExactArray, denominator: int, rounded: Callable[[Fraction], float]) -> ExactArray:
    return exact_array((_double(Fraction(n) / denominator, rounded) for n in numerators), numerators.shape)


def _double(value: Fraction, rounded: Callable[[Fraction], float]) -> Fraction:
    near = rounded(value)
    return Fraction(near) if isfinite(near) else value


# --- what linear rows, or their solvers, cannot say ------------------------------------------------------------


def _overflow(op: Op, x: Range, out: Range) -> Iterator[str]:
    kind = op.out.type.element
    if isinstance(op, Requantize) and any(isinstance(k, Hull) for k in op.runtime_kinds):
        yield f"%{op.out.name} is computed in float, and known between bounds only"
    if isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP:
        if isinstance(op, Affine) and not out.within(kind.min, kind.max):
            yield f"the accumulator %{op.out.name} may wrap around on this region"
    elif isinstance(op, Requantize) and not _is_known(op, x):
        yield f"%{op.out.name} may overflow on this region, where {op.overflow} is not monotone"


def _is_known(op: Requantize, x: Range) -> bool:
    """Is every rule monotone there, or a table?"""
    triples = zip(op.rules, x.lower, x.upper, strict=True)
    return all(rule.table is not None or rule.is_monotone(low, high) for rule, low, high in triples)


def excess(name: str, known: Range) -> Iterator[str]:
    """Why values of this size are not given to a solver."""
    if not known.within(-(2**LARGEST), 2**LARGEST):
        yield f"{name} may exceed 2**{LARGEST}, too large beside the tolerances of solvers in doubles"
