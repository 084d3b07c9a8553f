"""The rule for the difference after an activation: sound, optimal, and never looser than the published table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Rational
from qsmt.arith.rounding import Rounding
from qsmt.dra.activation import Activation, Before, Formula, compiled, difference_after, formula
from qsmt.facts import Interval
from qsmt.ir.ops import Clamp, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, Real, TensorType

HALF = Fraction(1, 2)
UNIT = 4  # all numbers of a case are multiples of 1/UNIT, and so are the extrema of what is bounded


@dataclass(frozen=True)
class Case:
    """Integer ends, in units of 1/UNIT."""

    z: tuple[int, int]
    q: tuple[int, int]  # of z + d, before the noise
    d: tuple[int, int]
    ours: tuple[int | None, int | None]  # the reference's clamp
    theirs: tuple[int | None, int | None]

    def executions(self) -> list[tuple[int, int, int]]:
        """All (z, z + d, difference after) on the grid."""
        return [
            (z, z + d, clamp(z + d, self.theirs) - clamp(z, self.ours))
            for z, d in product(range(self.z[0], self.z[1] + 1), range(self.d[0], self.d[1] + 1))
            if self.q[0] <= z + d <= self.q[1]
        ]


def clamp(value: int, limits: tuple[int | None, int | None]) -> int:
    above = value if limits[0] is None else max(value, limits[0])
    return above if limits[1] is None else min(above, limits[1])


def random_case(rng: np.random.Generator) -> Case:
    def limits() -> tuple[int | None, int | None]:
        low, high = sorted(rng.integers(-6, 12, 2).tolist())
        return [(0, None), (0, high + 7), (low, high), (None, high), (low, None), (None, None)][
            rng.integers(6)
        ]

    def pair(least: int, greatest: int) -> tuple[int, int]:
        low, high = sorted(rng.integers(least, greatest, 2).tolist())
        return low, high

    return Case(pair(-12, 14), pair(-14, 16), pair(-8, 9), limits(), limits())


def interval(ends: tuple[int, int]) -> Interval:
    return Interval(np.array([[ends[0] / UNIT]]), np.array([[ends[1] / UNIT]]))


def activation(limits: tuple[int | None, int | None]) -> Activation:
    low, high = (None if v is None else Fraction(v, UNIT) for v in limits)
    return compiled(Formula(low, high))


def bound(case: Case) -> tuple[float, float]:
    """What the rule says, in units of 1/UNIT."""
    post = interval((clamp(case.q[0], case.theirs), clamp(case.q[1], case.theirs)))
    before = Before(interval(case.z), interval(case.q), interval(case.d), post)
    found = difference_after(before, activation(case.theirs), activation(case.ours))
    return float(found.lower[0, 0]) * UNIT, float(found.upper[0, 0]) * UNIT


def test_the_rule_is_the_exact_optimum_over_the_hexagon() -> None:
    """All corners of the piecewise linear problem are multiples of 1/UNIT, so the grid attains its extrema."""
    rng, met = np.random.default_rng(1), 0
    while met < 1500:
        case = random_case(rng)
        if outcomes := [after for _, _, after in case.executions()]:
            met += 1
            assert bound(case) == (min(outcomes), max(outcomes)), case


def published_table(case: Case) -> tuple[int, int]:
    """The published rule: ReLU against clamp to [0, t]."""
    (least, u), (q, p), (a, c), t = case.z, case.q, case.d, case.theirs[1]
    assert t is not None and case.ours == (0, None) and case.theirs[0] == 0
    low, high = clamp(q, (0, t)), clamp(p, (0, t))
    inside = q >= 0 and p <= t
    if u <= 0:
        return low, high
    if least >= 0:
        return _active(case, t, inside, low=low, high=high)
    if inside:
        return min(q, a), min(p, c)
    if p <= 0 or q >= t:
        return low - u, high
    if p <= t:
        return 0 if a >= 0 else max(a, -u), 0 if c <= 0 else min(c, p)
    if q >= 0:
        return min(a, q, t - u), min(c, t)
    return min(t - u, 0, max(a, -u)), clamp(c, (0, t))


def _active(case: Case, t: int, inside: bool, *, low: int, high: int) -> tuple[int, int]:
    (least, u), (q, p), (a, c) = case.z, case.q, case.d
    if inside:
        return a, c
    if p <= 0 or q >= t:
        return low - u, high - least
    if p <= t:
        return max(a, -u), max(c, -least)
    if q >= 0:
        return min(a, t - u), min(c, t - least)
    return max(-u, min(t - u, a)), max(-least, min(t - least, c))


def test_the_rule_is_never_looser_than_the_published_table() -> None:
    rng, tighter, met = np.random.default_rng(2), 0, 0
    while met < 1500:
        case = random_case(rng)
        case = Case(case.z, case.q, case.d, (0, None), (0, int(rng.integers(1, 14))))
        if case.executions():
            met += 1
            (low, high), (table_low, table_high) = bound(case), published_table(case)
            assert table_low <= low and high <= table_high, case
            tighter += table_low < low or high < table_high
    assert 0 < tighter < 1500


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_equal_activations_pass_a_tiny_difference_on_exactly(size: float) -> None:
    """No cancellation: where neither side is limited the result is d itself, however large z is."""
    one = np.ones((1, 1))
    z, d = Interval(size * one, 3 * size * one), Interval(-1e-40 * one, 1e-35 * one)
    post = Interval(0 * one, 4 * size * one)
    relu = compiled(Formula(Fraction(0)))
    found = difference_after(Before(z, post, d, post), relu, relu)
    assert (found.lower[0, 0], found.upper[0, 0]) == (-1e-40, 1e-35)


def test_unbounded_values_give_unbounded_differences_and_never_a_nan() -> None:
    ends = [(-np.inf, np.inf), (-np.inf, 1.0), (0.0, np.inf), (-1.0, 1.0)]
    formulas = [
        Formula(),
        Formula(Fraction(0)),
        Formula(Fraction(0), Fraction(1)),
        Formula(None, Fraction(1)),
    ]
    for z, q, d, ours, theirs in product(ends, ends, ends, formulas, formulas):
        values = [Interval(np.array([[low]]), np.array([[high]])) for low, high in (z, q, d, q)]
        with np.errstate(all="ignore"):
            found = difference_after(Before(*values), compiled(theirs), compiled(ours))
        assert found.lower[0, 0] < np.inf and found.upper[0, 0] > -np.inf
        # zero is reachable: z = z + d = 0 lies in all of these
        assert found.lower[0, 0] <= 0 <= found.upper[0, 0] or theirs != ours


# --- the formula ------------------------------------------------------------------------------------

ACC = Accumulator(20, Fraction(1, 2**6))
U4, S6 = Fixed(False, 4, 2), Fixed(True, 6, 3)


Maker = Callable[[Value, str], Op]


def relu(x: Value, name: str) -> Op:
    return Relu(Value(name, x.type), x)


def limited(lower: int | None, upper: int | None) -> Maker:
    limits = [None if v is None else Fraction(v) for v in (lower, upper)]
    return lambda x, name: Clamp(Value(name, x.type), x, *limits)


def to(target: Fixed, overflow: Overflow = Overflow.SATURATE) -> Maker:
    def make(x: Value, name: str) -> Op:
        source = x.type.element
        assert not isinstance(source, Real)
        kind = Rational(source.scale / target.scale, Rounding.HALF_UP)
        return Requantize(Value(name, TensorType(x.type.shape, target)), x, kind, overflow)

    return make


def chain(*makers: Maker) -> tuple[Op, ...]:
    """Ops after an accumulator."""
    ops: list[Op] = []
    for i, make in enumerate(makers):
        ops.append(make(ops[-1].out if ops else Value("a", TensorType((1,), ACC)), f"v{i}"))
    return tuple(ops)


@pytest.mark.parametrize(
    ("ops", "lower", "upper", "noise"),
    [
        (chain(), None, None, (0, 0)),
        (chain(relu), 0, None, (0, 0)),
        (chain(limited(-64, 128)), -1, 2, (0, 0)),
        (
            chain(to(U4)),
            0,
            Fraction(15, 4),
            (Fraction(-7, 64), Fraction(1, 8)),
        ),
        (
            chain(to(S6)),
            -4,
            Fraction(31, 8),
            (Fraction(-3, 64), Fraction(1, 16)),
        ),
        (
            chain(to(S6, Overflow.SATURATE_SYMMETRIC), relu),
            0,
            Fraction(31, 8),
            (Fraction(-3, 64), Fraction(1, 16)),
        ),
        # a limit of the accumulator is rounded with the value: 29/64 becomes 2/4
        (
            chain(limited(None, 29), to(U4)),
            0,
            HALF,
            (Fraction(-7, 64), Fraction(1, 8)),
        ),
        # noises of two roundings add up
        (
            chain(to(S6), to(U4, Overflow.WRAP)),
            0,
            Fraction(15, 4),
            (Fraction(-3, 64), Fraction(1, 16) + Fraction(1, 8)),
        ),
    ],
)
def test_an_activation_is_one_clamp_of_one_noisy_sum(
    ops: tuple[Op, ...], lower: Fraction | None, upper: Fraction | None, noise: tuple[Fraction, Fraction]
) -> None:
    assert formula(ops) == Formula(lower, upper, *noise)
