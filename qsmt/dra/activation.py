"""What lies between two affine ops, as one formula, and what it does to a difference.

Every activation of the IR but those of qsmt.dra.shape is a clamp: monotone and elementwise, and equals

    value = clamp(pre + noise, lower, upper)        noise in [noise_low, noise_high], in real units,

with exact rationals. A clamp passes through a rounding, because a rounding is monotone: round(clamp(v,
L, U)) = clamp(round(v), round(L), round(U)). A clamp after a clamp is a clamp, and noises add. Saturation
is a clamp to the target's range. Wrapping and zeroing are not; but as long as a code fits, they do
nothing, so the formula holds for the neurons of which that is known (`regular` in qsmt.dra.interval).

**The difference after the activation.** With reference z, difference d and noise r,

    delta = clamp_q(z + d + r) - clamp_r(z).

Let z be in [l, u], d + r <= c and clamp_q(..) <= cap. Then delta <= g(z) where, with K = min(upper_q, cap),

    g(z) = max(min(z + c, K), lower_q) - clamp_r(z),

a function of one variable whose slopes are -1, 0 and 1. Its maximum on [l, u] is at an end or at the knee
z = K - c, where the quantized side saturates. For the only other place where the slope falls is where
the reference leaves its lower limit, z = lower_r. If the knee is to the left of it, g is constant between
them. If the knee is to the right and the quantized side has left its lower limit, g does not fall
between them; if it has not, g is constant from there down to l.

This is the exact optimum over the hexagon {l <= z <= u, a <= d <= c, q <= z + d <= p} once z is first cut
to [q - c, p - a]. The eleven cases of the published table (QEBVerif, CAV 2023, table 1) are special cases,
some of them looser. The lower bound is the upper bound of the negated problem.

Rounding: a candidate is an interval of doubles around the true point. g is bounded there with its
increasing terms at the upper and its decreasing ones at the lower end, each operation rounded up. Where
neither side is limited, g is evaluated as c + (z - clamp_r(z)): no cancellation, the result is exactly c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.arith.outward import add_down, add_up, float_down, float_up
from qsmt.arith.real import FloatArray
from qsmt.arith.units import Unit, common
from qsmt.dra.domain import Clamps, Limits, both, cut, limits_between, minus, pair, plus
from qsmt.facts import Interval
from qsmt.ir.ops import Clamp, Op, Relu, Requantize, Value
from qsmt.ir.rules import Rules
from qsmt.ir.types import Real, units_of


@dataclass(frozen=True, slots=True)
class Formula:
    """`clamp(pre + noise, lower, upper)`, exactly, in real units; None means no limit."""

    lower: Fraction | None = None
    upper: Fraction | None = None
    noise_low: Fraction = Fraction(0)
    noise_high: Fraction = Fraction(0)

    def clamped(self, lower: Fraction | None, upper: Fraction | None) -> Formula:
        """This formula, followed by a clamp."""
        return replace(
            self,
            lower=_clamp(self.lower, lower, upper) if self.lower is not None else lower,
            upper=_clamp(self.upper, lower, upper) if self.upper is not None else upper,
        )


def _clamp(value: Fraction, lower: Fraction | None, upper: Fraction | None) -> Fraction:
    above = value if lower is None else max(value, lower)
    return above if upper is None else min(above, upper)


FormulaRule: TypeAlias = Callable[..., Formula]
FORMULAS: Rules[FormulaRule] = Rules("the formula of an activation")


def formula(ops: tuple[Op, ...]) -> Formula:
    """The formula of a layer's activation."""
    found = Formula()
    for op in ops:
        found = FORMULAS[type(op)](op, found)
    return found


def unit(value: Value) -> Unit:
    """What one unit of a value's type stands for."""
    kind = value.type.element
    return Fraction(1) if isinstance(kind, Real) else units_of(kind)


def one_unit(value: Value) -> Fraction:
    """The same of a value that is not per channel."""
    return common(unit(value))


@FORMULAS.register(Relu)
def _relu(_: Relu, before: Formula) -> Formula:
    return before.clamped(Fraction(0), None)


@FORMULAS.register(Clamp)
def _clamp_op(op: Clamp, before: Formula) -> Formula:
    if op.lower is None and op.upper is None:
        return before
    scale = one_unit(op.x)
    return before.clamped(*(None if v is None else v * scale for v in (op.lower, op.upper)))


@FORMULAS.register(Requantize)
def _requantize(op: Requantize, before: Formula) -> Formula:
    scale, (least, greatest) = one_unit(op.out), op.limits
    low, high = op.noise

    def moved(limit: Fraction | None) -> Fraction | None:
        return None if limit is None else _limit_after(op, limit) * scale

    noisy = Formula(
        moved(before.lower),
        moved(before.upper),
        before.noise_low + low * scale,
        before.noise_high + high * scale,
    )
    return noisy.clamped(least * scale, greatest * scale)


def _limit_after(op: Requantize, limit: Fraction) -> int:
    """The code that a limit of the operand becomes: the same for all neurons, as verify sees to."""
    if limit == 0:
        return op.rules[0].unbounded(0)
    return op.rule.unbounded(int(limit / one_unit(op.x)))


@dataclass(frozen=True, slots=True)
class Activation:
    """A formula in doubles."""

    limits: Limits
    noise: tuple[float, float]


def compiled(exact: Formula) -> Activation:
    """The formula, rounded outward."""
    noise = (float_down(exact.noise_low), float_up(exact.noise_high))
    return Activation(limits_between(exact.lower, exact.upper), noise)


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """What is known when the difference after an activation is asked for; all in real units."""

    reference: Interval  # z
    quantized: Interval  # z + d
    difference: Interval  # d
    quantized_post: Interval  # clamp_q(z + d + noise)

    def __getitem__(self, boxes: slice) -> Before:
        return Before(*(getattr(self, name)[boxes] for name in Before.__slots__))


def difference_after(known: Before, quantized: Activation, reference: Activation) -> Interval:
    """Bounds of clamp_q(z + d + noise) - clamp_r(z); the lower one as the upper one of the negated problem."""
    z = both(known.reference.meet(minus(known.quantized, known.difference)))
    low, high = quantized.noise
    noisy = plus(known.difference, Interval(np.array(low), np.array(high)))
    c, cap = pair(noisy.upper, -noisy.lower), pair(known.quantized_post.upper, -known.quantized_post.lower)
    clamps = Clamps.of(quantized.limits, c), Clamps.of(reference.limits, c)
    with np.errstate(invalid="ignore"):  # a limit may be infinite
        greatest = _greatest(z, c, cap, clamps)
    return Interval(-greatest[1], greatest[0])


def _greatest(z: Interval, c: FloatArray, cap: FloatArray, clamps: tuple[Clamps, Clamps]) -> FloatArray:
    """An upper bound of g on z."""
    cap = np.minimum(cap, clamps[0].high_up)
    found = [(z.lower, z.lower), (z.upper, z.upper), _knee(z, c, cap)]
    lower, upper = (np.stack(ends) for ends in zip(*found, strict=True))
    greatest: FloatArray = _bound_at(Interval(lower, upper), c, cap, clamps).max(axis=0)
    return greatest


def _knee(z: Interval, c: FloatArray, cap: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where the quantized side saturates, moved into z."""
    return cut(add_down(cap, -c), z), cut(add_up(cap, -c), z)


def _bound_at(at: Interval, c: FloatArray, cap: FloatArray, clamps: tuple[Clamps, Clamps]) -> FloatArray:
    """An upper bound of g at every point of `at`.

    With k = clamp_r(z), g is the greater of min(c + (z - k), K - k) and lower_q - k.
    """
    q, r = clamps
    base = -r.down(at.lower)
    passed = np.minimum(add_up(c, _excess(at.upper, r)), add_up(cap, base))
    return np.maximum(passed, add_up(q.low_up, base))


def _excess(z: FloatArray, r: Clamps) -> FloatArray:
    """An upper bound of z - clamp_r(z): zero inside the limits, and exactly so."""
    return np.minimum(add_up(z, -r.low_down), 0.0) + np.maximum(add_up(z, -r.high_down), 0.0)
