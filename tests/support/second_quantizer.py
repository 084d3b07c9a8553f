"""A second fixed-point quantizer, written from the scheme's definition: slow, and on rational numbers.

It shares no code with the first but the number format's record. It executes networks on values, not on codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import TypeAlias

import numpy as np

from qsmt.arith.fixed import Fixed
from qsmt.arith.outward import float_down, float_up
from qsmt.arith.real import RealTensor
from qsmt.arith.rounding import Rounding
from qsmt.frontend.fixed_point import ActivationRanges
from qsmt.frontend.formats import AUTO, Auto, FixedPointScheme, FormatSpec
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Op, Relu, Value
from qsmt.ir.types import Real, TensorType
from qsmt.ir.verify import verify

F = Fraction
Clip: TypeAlias = tuple[Fraction | None, Fraction | None]
RELU: Clip = (F(0), None)


@dataclass(frozen=True)
class Spec:
    """A small float network: per layer its weight rows, its bias, and the clips behind it."""

    weights: list[list[list[Fraction]]]
    biases: list[list[Fraction]]
    clips: list[list[Clip]]

    def network(self) -> Network:
        x = source = Value("in", TensorType((len(self.weights[0][0]),), Real()))
        ops: list[Op] = []
        for i, (rows, bias, clips) in enumerate(zip(self.weights, self.biases, self.clips, strict=True)):
            shape = (len(rows), len(rows[0]))
            w = Const(
                f"w{i}",
                TensorType(shape, Real()),
                RealTensor.of_fractions([v for r in rows for v in r], shape),
            )
            b = Const(f"b{i}", TensorType(shape[:1], Real()), RealTensor.of_fractions(bias, shape[:1]))
            ops.append(Affine(Value(f"pre{i}", TensorType(shape[:1], Real())), x, w, b))
            x = ops[-1].out
            for k, clip in enumerate(clips):
                out = Value(f"post{i}_{k}", x.type)
                ops.append(Relu(out, x) if clip == RELU else Clamp(out, x, *clip))
                x = out
        return verify(Network("float", "real", source, tuple(ops)))


# --- the second quantizer -------------------------------------------------------------------------------


def half_away(v: Fraction) -> int:
    return floor(abs(v) + F(1, 2)) * (1 if v >= 0 else -1)


ROUND: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.HALF_UP: lambda v: floor(v + F(1, 2)),
    Rounding.HALF_AWAY: half_away,
    Rounding.FLOOR: floor,
    Rounding.HALF_EVEN: round,
}


def ends(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def finest(bits: int, signed: bool, values: Sequence[Fraction], rounding: Callable[[Fraction], int]) -> int:
    low, high = ends(bits, signed)
    return next(f for f in range(60, -60, -1) if all(low <= rounding(v * F(2) ** f) <= high for v in values))


@dataclass
class Second:
    """What the second quantizer found; running it needs no codes: it computes with the values."""

    formats: list[tuple[Fixed, Fixed, Fixed | None]]
    codes: list[tuple[list[list[int]], list[int]]]
    units: list[Fraction]
    lost: list[tuple[int, int]]
    clips: list[list[Clip]]
    rounding: Callable[[Fraction], int]
    input: Fixed

    def run(self, x: Sequence[int]) -> list[Fraction]:
        values = [F(v) * self.input.scale for v in x]
        for (w, b, act), (rows, bias), unit, clips in zip(
            self.formats, self.codes, self.units, self.clips, strict=True
        ):
            sums = [
                sum((c * w.scale * v for c, v in zip(row, values, strict=True)), start=k * b.scale)
                for row, k in zip(rows, bias, strict=True)
            ]
            values = [self._activate(z, act, unit, clips) for z in sums]
        return values

    def _activate(self, z: Fraction, act: Fixed | None, unit: Fraction, clips: list[Clip]) -> Fraction:
        grid = unit if act is None else act.scale
        low, high = ends(act.bits, act.signed) if act else (-(10**60), 10**60)

        def saturated(code: int) -> int:
            return min(max(code, low), high)

        code = saturated(int(z / grid) if act is None else self.rounding(z / grid))
        for lower, upper in clips:
            code = code if lower is None else max(code, saturated(half_away(lower / grid)))
            code = code if upper is None else min(code, saturated(half_away(upper / grid)))
        return code * grid


def second_quantizer(spec: Spec, scheme: FixedPointScheme, ranges: ActivationRanges | None) -> Second:
    assert scheme.input.frac != AUTO
    rounding = ROUND[scheme.rounding]
    source = Fixed(scheme.input.signed is not False, scheme.input.bits, scheme.input.frac)
    out = Second([], [], [], [], spec.clips, rounding, source)
    for i, (rows, bias, clips) in enumerate(zip(spec.weights, spec.biases, spec.clips, strict=True)):
        flat = [v for row in rows for v in row]
        w = parameter_format(scheme.weights, flat, idle=None)
        b = parameter_format(scheme.bias, bias, idle=w.frac + source.frac)
        table = [[clamped(half_away(v / w.scale), w) for v in row] for row in rows]
        shift = [clamped(half_away(v / b.scale), b) for v in bias]
        lost = (
            sum(half_away(v / w.scale) != clamped(half_away(v / w.scale), w) for v in flat),
            sum(half_away(v / b.scale) != clamped(half_away(v / b.scale), b) for v in bias),
        )
        wanted = scheme.output if i == len(spec.weights) - 1 else scheme.hidden
        act = (
            None
            if wanted is None
            else hidden_format(wanted, clips, ranges.layers[i] if ranges else None, rounding)
        )
        out.formats.append((w, b, act))
        out.codes.append((table, shift))
        out.units.append(min(w.scale * source.scale, b.scale))
        out.lost.append(lost)
        source = act or source
    return out


def clamped(code: int, kind: Fixed) -> int:
    low, high = ends(kind.bits, kind.signed)
    return min(max(code, low), high)


def parameter_format(wanted: FormatSpec, values: list[Fraction], *, idle: int | None) -> Fixed:
    frac = wanted.frac
    if frac == AUTO:
        zero = wanted.bits - 1 if idle is None else idle
        frac = finest(wanted.bits, True, values, half_away) if any(values) else zero
    return Fixed(True, wanted.bits, frac)


def hidden_format(
    wanted: FormatSpec,
    clips: list[Clip],
    known: tuple[float, float] | None,
    rounding: Callable[[Fraction], int],
) -> Fixed:
    least = F(-(10**30))
    for lower, upper in clips:
        least = least if lower is None else max(least, lower)
        least = least if upper is None else min(least, upper)
    signed = least < 0 if wanted.signed is None else wanted.signed
    frac = wanted.frac
    if frac == AUTO:
        assert known is not None
        values = [clip_all(F(v), clips) for v in known]
        zero = wanted.bits - 1 if signed else wanted.bits
        frac = finest(wanted.bits, signed, values, rounding) if any(values) else zero
    return Fixed(signed, wanted.bits, frac)


def clip_all(value: Fraction, clips: list[Clip]) -> Fraction:
    for lower, upper in clips:
        value = value if lower is None else max(value, lower)
        value = value if upper is None else min(value, upper)
    return value


# --- random material ------------------------------------------------------------------------------------

CLIPS: list[list[Clip]] = [
    [RELU],
    [RELU],
    [],
    [(F(0), F(6, 5))],
    [(F(-1, 2), F(3, 4))],
    [RELU, (None, F(1))],
    [(F(-1), F(2)), RELU],
    [(F(1, 3), None)],
    [(F(-3), F(-1, 3))],
    [(F(1), F(2)), (F(-1), F(1, 2))],
    [(F(40), F(50))],
    [(None, F(-40))],
]
SPECS: list[tuple[int, int | Auto]] = [(4, 2), (4, AUTO), (6, 3), (6, AUTO), (8, 5), (3, 0), (5, 7), (5, -2)]


def random_spec(rng: np.random.Generator) -> Spec:
    sizes = rng.integers(1, 5, rng.integers(2, 5)).tolist()
    third = bool(rng.integers(0, 4) == 0)  # some numbers that no double holds
    unit = F(1, 3) if third else F(2) ** -int(rng.integers(1, 7))
    reach = int(rng.integers(1, 80))

    def numbers(n: int) -> list[Fraction]:
        zero = rng.integers(0, 8) == 0
        return [F(0) if zero else int(v) * unit for v in rng.integers(-reach, reach, n, endpoint=True)]

    pairs = list(pairwise(sizes))
    return Spec(
        [[numbers(n) for _ in range(m)] for n, m in pairs],
        [numbers(m) for _, m in pairs],
        [CLIPS[rng.integers(len(CLIPS))] for _ in pairs],
    )


def random_scheme(rng: np.random.Generator) -> FixedPointScheme:
    def pick() -> FormatSpec:
        bits, frac = SPECS[rng.integers(len(SPECS))]
        return FormatSpec(bits, frac)

    signed = [None, None, True][rng.integers(3)]
    return FixedPointScheme(
        input=FormatSpec(5, int(rng.integers(-1, 7)), bool(rng.integers(2))),
        weights=pick(),
        bias=pick(),
        hidden=replace(pick(), signed=signed),
        output=None if rng.integers(2) else replace(pick(), signed=signed),
        rounding=list(ROUND)[rng.integers(len(ROUND))],
    )


def certified(spec: Spec, low: Fraction, high: Fraction) -> ActivationRanges:
    """Interval arithmetic over a box that is the same for every input, rounded outward at the end."""
    box = [(low, high)] * len(spec.weights[0][0])
    found = []
    for rows, bias, clips in zip(spec.weights, spec.biases, spec.clips, strict=True):
        box = [
            (
                clip_all(b + sum(min(w * lo, w * hi) for w, (lo, hi) in zip(row, box, strict=True)), clips),
                clip_all(b + sum(max(w * lo, w * hi) for w, (lo, hi) in zip(row, box, strict=True)), clips),
            )
            for row, b in zip(rows, bias, strict=True)
        ]
        found.append((float_down(min(lo for lo, _ in box)), float_up(max(hi for _, hi in box))))
    return ActivationRanges(tuple(found))
