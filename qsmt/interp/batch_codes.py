"""Integer networks on thousands of inputs at once, exactly, in integers that a float holds.

Every product and every partial sum on the way is one too, whatever the order of summation: single precision below
2**22, double below 2**51.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from qsmt.arith.fixed import Format, Overflow
from qsmt.arith.requantize import Requantization, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import images, stacked
from qsmt.interp.batch_reals import clipped
from qsmt.ir.ops import Affine, Clamp, Op, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow

EXACT_BITS: tuple[tuple[type[np.floating[Any]], int], ...] = ((np.float32, 22), (np.float64, 51))
"""Integers of this many bits survive a halving and an added half without rounding."""

TABLE_LIMIT = 2**16
"""The most thresholds a requantization is tabulated with."""

Codes: TypeAlias = npt.NDArray[np.floating[Any]]
CodeStep: TypeAlias = Callable[[Codes], Codes]
"""Elementwise steps overwrite their operand, which is the fresh result of an affine step."""

CODE_RULES: Rules[Callable[..., CodeStep]] = Rules("the batch interpreter of integer networks")


def bits_of_sums(op: Affine | Requantize) -> int:
    """How many bits hold every operand, product and partial sum, in any order, and every result."""
    if isinstance(op, Requantize):
        return op.target.bits + 1
    x, acc = op.x.type.element, op.out.type.element
    assert isinstance(x, Format) and isinstance(acc, Accumulator)
    weight, bias = op.integers
    largest = np.abs(weight).sum(axis=1) * max(abs(x.min), x.max) + np.abs(bias)
    return max(int(largest.max()).bit_length() + 1, x.bits + 1, acc.bits)


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
    return lambda codes: clipped(codes, 0.0, np.inf)


@CODE_RULES.register(Clamp)
def _code_clamp(op: Clamp, _: type[np.floating[Any]]) -> CodeStep:
    kind = op.out.type.element
    assert isinstance(kind, Format | Accumulator)
    low = kind.min if op.lower is None else max(int(op.lower), kind.min)
    high = kind.max if op.upper is None else min(int(op.upper), kind.max)
    return lambda codes: clipped(codes, float(low), float(high))


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
            return lambda codes: clipped(codes, low, high)
        case Overflow.SATURATE_SYMMETRIC:
            return lambda codes: clipped(codes, -high if target.signed else 0.0, high)
        case Overflow.WRAP:
            return lambda codes: _wrapped(codes, target.min, target.bits)
        case Overflow.SATURATE_ZERO:
            return lambda codes: np.where((codes >= low) & (codes <= high), codes, 0)


def _tabulated(rule: Requantization, low: int, high: int) -> CodeStep:
    stairs = rule.staircase(low, high)
    thresholds = np.array(stairs.thresholds, dtype=np.float64)
    return lambda codes: stairs.first + np.searchsorted(thresholds, codes, side="right").astype(codes.dtype)
