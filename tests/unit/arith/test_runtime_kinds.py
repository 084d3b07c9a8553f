"""The requantizations of runtimes: each against its definition, written down a second time and differently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from random import Random

import numpy as np
import pytest

from qsmt.arith.fixed import Overflow, Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.noise import noise_of, thresholds
from qsmt.arith.requantize import Requantization, pieces
from qsmt.arith.rounding import Rounding, round_fraction
from qsmt.arith.runtime_kinds import (
    DoubleAway,
    DoubleUp,
    F32Mul,
    F64Mul,
    RuntimeKind,
    SingleUp,
    images,
    stacked,
)
from qsmt.arith.table import Table

S8, U8 = Quantized(True, 8, Fraction(1, 64)), Quantized(False, 8, Fraction(1, 64), 7)
HALF = Fraction(1, 2)

# --- the definitions once more -----------------------------------------------------------------------------


def half_away(value: Fraction) -> int:
    return floor(value + HALF) if value >= 0 else ceil(value - HALF)


def f32(kind: F32Mul, acc: int) -> int:
    return int(np.rint(np.float32(acc) * np.float32(kind.factor)))


def f64(kind: F64Mul, acc: int) -> int:
    return half_away(Fraction(acc * kind.factor))


def high(kind: DoubleAway | DoubleUp, acc: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul, as C computes it: a nudge, a division toward zero."""
    product = acc * 2 ** max(kind.e, 0) * kind.q
    nudge = 2**30 if product >= 0 else 1 - 2**30
    return int(Fraction(product + nudge, 2**31))


def double_away(kind: DoubleAway, acc: int) -> int:
    return half_away(Fraction(high(kind, acc), 2 ** max(-kind.e, 0)))


def double_up(kind: DoubleUp, acc: int) -> int:
    return floor(Fraction(high(kind, acc), 2 ** max(-kind.e, 0)) + (HALF if kind.e < 0 else 0))


def single_up(kind: SingleUp, acc: int) -> int:
    return floor(Fraction(acc * kind.q, 2 ** (31 - kind.e)) + HALF)


def ideal(kind: Ideal, acc: int) -> int:
    """On the doubled grid: floor((2 v + 1) / 2), and one less where the floor of an exact half is odd."""
    value = acc * kind.multiplier + kind.offset * kind.multiplier
    up = floor((2 * value + 1) / 2)
    return up - (2 * value == 2 * up - 1 and up % 2)


DEFINITIONS: dict[type, Callable[..., int]] = {
    F32Mul: f32,
    F64Mul: f64,
    DoubleAway: double_away,
    DoubleUp: double_up,
    SingleUp: single_up,
    Ideal: ideal,
}
CLASSES = list(DEFINITIONS)
every_class = pytest.mark.parametrize("kind_class", CLASSES, ids=lambda c: c.__name__)


def kinds(kind_class: type, *, count: int, seed: int) -> list[RuntimeKind]:
    """Kinds whose multipliers are those of real layers, and some that are extreme."""
    rng = Random(f"{kind_class.__name__}/{seed}")
    made: list[RuntimeKind] = []
    for _ in range(count):
        if kind_class is Ideal:
            offset = Fraction(rng.randint(-99, 99), 100)
            made.append(Ideal(Fraction(2.0 ** rng.uniform(-14, 0)), offset, Rounding.HALF_EVEN))
        elif kind_class in (F32Mul, F64Mul):
            factor = 2.0 ** rng.uniform(-14, 0)
            made.append(F32Mul(float(np.float32(factor))) if kind_class is F32Mul else F64Mul(factor))
        else:
            made.append(kind_class(rng.randint(2**30, 2**31 - 1), rng.randint(-13, 1)))
    if kind_class in (F32Mul, F64Mul):
        return [*made, kind_class(0.5), kind_class(2.0**-9)]
    if kind_class is Ideal:
        ties = [(HALF, Fraction(0)), (Fraction(1, 1000), HALF), (Fraction(1, 3), Fraction(1, 2))]
        return [*made, *(Ideal(factor, offset, Rounding.HALF_EVEN) for factor, offset in ties)]
    return [*made, *(kind_class(2**30, e) for e in (0, -1, -8))]


def accumulators(seed: int) -> list[int]:
    rng = Random(seed)
    wide = [rng.randint(-(2**30), 2**30 - 1) for _ in range(300)]
    return [*range(-2100, 2100, 3), *(rng.randint(-(2**17), 2**17) for _ in range(300)), *wide]


# --- the rules --------------------------------------------------------------------------------------------


@every_class
def test_the_rule_is_its_definition(kind_class: type) -> None:
    for kind in kinds(kind_class, count=8, seed=1):
        for acc in accumulators(2):
            assert kind.rounded(acc) == DEFINITIONS[kind_class](kind, acc), (kind, acc)


@every_class
def test_arrays_are_rounded_as_single_numbers(kind_class: type) -> None:
    """One rule for all columns, and one for each."""
    several, accs = kinds(kind_class, count=12, seed=3), np.array(accumulators(4))
    together = stacked(several)(np.repeat(accs[:, None], len(several), axis=1))
    for column, kind in enumerate(several):
        expected = [kind.rounded(int(acc)) for acc in accs]
        assert together[:, column].tolist() == expected
        assert stacked([kind])(accs).tolist() == expected


@every_class
@pytest.mark.parametrize("target", [S8, U8], ids=str)
def test_thresholds_reproduce_the_rule_on_the_whole_range_of_a_small_layer(
    kind_class: type, target: Quantized
) -> None:
    for kind in kinds(kind_class, count=3, seed=5):
        rule = Requantization(kind, Overflow.SATURATE, target)
        stairs = rule.staircase(-5000, 5000)
        assert len(stairs.thresholds) <= 255
        for acc in range(-5000, 5001):
            assert stairs(acc) == target.saturated(DEFINITIONS[kind_class](kind, acc))


@every_class
def test_thresholds_reproduce_the_rule_on_random_ranges_of_32_bits(kind_class: type) -> None:
    rng = Random(6)
    for kind in kinds(kind_class, count=6, seed=7):
        widest = 2 ** (kind.widest - 1)
        low, high_end = sorted(rng.sample(range(-widest, widest), 2))
        stairs = Requantization(kind, Overflow.SATURATE, S8).staircase(low, high_end)
        near = [t + d for t in stairs.thresholds for d in (-1, 0, 1) if low <= t + d <= high_end]
        for acc in [low, high_end, *near]:
            assert stairs(acc) == S8.saturated(kind.rounded(acc))
        levels = np.array([stairs.first + 1 + i for i in range(len(stairs.thresholds))], dtype=np.int64)
        assert thresholds([kind], levels, (low, high_end))[:, 0].tolist() == list(stairs.thresholds)


# --- the noise --------------------------------------------------------------------------------------------


@every_class
@pytest.mark.parametrize("target", [S8, U8], ids=str)
def test_the_noise_explains_every_result(kind_class: type, target: Quantized) -> None:
    """clamp(acc * M + r) is the result for some r within the noise; and no bound is far from being needed."""
    for kind in kinds(kind_class, count=3, seed=8):
        assert kind.nominal is not None
        ratio = kind.nominal * (1 + Fraction(1, 2**25))  # the exact ratio of the units is a little different
        low, high_end = noise_of([kind], [ratio], (target.min, target.max), (-6000, 6000))
        assert low <= 0 <= high_end
        seen = [Fraction(0)]
        for acc in range(-6000, 6001):
            y, value = target.saturated(kind.rounded(acc)), acc * ratio
            need = y - value
            if y == target.min:
                need = min(need, Fraction(0))
            if y == target.max:
                need = max(need, Fraction(0))
            assert low <= need <= high_end
            seen.append(need)
        assert high_end - max(seen) < Fraction(1, 2**20)
        assert min(seen) - low < Fraction(1, 2**20)


def test_a_wrong_rule_would_be_noticed() -> None:
    """Planted faults: another rounding of ties, a multiplier one digit off, one bit more of shift."""
    up, away = DoubleUp(2**30, -1), DoubleAway(2**30, -1)
    assert any(up.rounded(acc) != away.rounded(acc) for acc in range(-50, 50))
    exact = F32Mul(float(np.float32(2.0**-9 * 1.337)))
    off = F32Mul(float(np.nextafter(np.float32(exact.factor), np.float32(1))))
    assert any(exact.rounded(acc) != off.rounded(acc) for acc in range(2**16, 2**20))
    shifted = SingleUp(2**30 + 12345, -8)
    assert any(shifted.rounded(a) != replace(shifted, e=-9).rounded(a) for a in range(1000))
    double = F64Mul(exact.factor)
    assert any(exact.rounded(acc) != double.rounded(acc) for acc in range(-(2**17), 2**17))


# --- tables -------------------------------------------------------------------------------------------------


def test_a_table_says_its_codes_and_extends_the_last_ones() -> None:
    table = Table(-3, 2, (5, 6, 6, 9))
    assert [table.rounded(acc) for acc in (-100, -3, -2, -1, 0, 1, 2, 3, 100)] == [5, 5, 5, 6, 6, 6, 6, 9, 9]
    falling = Table(3, -2, (9, 6, 5))
    assert [falling.rounded(acc) for acc in (3, 1, -1, -50, 50)] == [9, 6, 5, 5, 9]
    assert falling.is_monotone and table.is_monotone and not Table(0, 1, (2, 1)).is_monotone


def test_tables_side_by_side_may_differ_in_length() -> None:
    tables = [Table(-3, 2, (5, 6, 6, 9)), Table(0, 1, (1, 2))]
    accs = np.arange(-6, 7)
    found = stacked(tables)(np.stack([accs, accs], axis=1))
    for column, table in enumerate(tables):
        assert found[:, column].tolist() == [table.rounded(int(acc)) for acc in accs]


TURNING = [
    Table(-3, 2, (5, 1, 6, 9, -2, 0, 0)),
    Table(3, -2, (9, 6, 7)),
    Table(0, 1, (1, 2)),
    Table(4, 3, (8,)),
]


def test_the_image_of_a_table_that_turns_is_that_of_everything_between() -> None:
    accs = range(-12, 14)
    pairs = [(low, high_end) for low in accs for high_end in accs if low <= high_end]
    low, high_end = (
        np.array(ends)[:, None].repeat(len(TURNING), axis=1) for ends in zip(*pairs, strict=True)
    )
    least, greatest = images(TURNING)(low, high_end)
    for k, (first, last) in enumerate(pairs):
        for column, table in enumerate(TURNING):
            codes = [table.rounded(acc) for acc in range(first, last + 1)]
            assert (
                (least[k, column], greatest[k, column])
                == (min(codes), max(codes))
                == table.image(first, last)
            )
    alone = images(TURNING[:1])(low[:, :1], high_end[:, :1])
    assert np.array_equal(alone[0], least[:, :1])


def test_by_its_ends_the_image_of_a_table_that_turns_would_be_too_small() -> None:
    """Planted fault: the rule of monotone kinds."""
    table = TURNING[0]
    assert table.image(-3, 9) == (-2, 9)
    assert {table.rounded(-3), table.rounded(9)} == {5, 0}


@pytest.mark.parametrize("by", [1, 2, 5])
def test_pieces_reproduce_a_table_that_turns(by: int) -> None:
    for table in TURNING:
        found = pieces(lambda count, table=table: table.rounded(count * by), table, -12, 13, by=by)  # type: ignore[misc]
        assert [found(count) for count in range(-12, 14)] == [table.rounded(by * c) for c in range(-12, 14)]
        assert all(a != b for a, b in zip(found.values, found.values[1:], strict=False)) or table.is_monotone


@pytest.mark.parametrize("rounding", Rounding)
def test_an_ideal_rounding_rounds_in_each_way(rounding: Rounding) -> None:
    kinds = [
        Ideal(Fraction(n, 8), Fraction(offset, 4), rounding) for n in (1, 3, 4, 7) for offset in (-2, 0, 1)
    ]
    accs = np.arange(-40, 41)
    found = stacked(kinds)(np.repeat(accs[:, None], len(kinds), axis=1))
    for column, kind in enumerate(kinds):
        exact = [round_fraction((int(a) + kind.offset) * kind.multiplier, rounding) for a in accs]
        assert found[:, column].tolist() == exact == [kind.rounded(int(a)) for a in accs]


def test_ideal_kinds_that_round_differently_stand_side_by_side() -> None:
    mixed = [Ideal(Fraction(1, 2), Fraction(0), rounding) for rounding in Rounding]
    accs = np.arange(-5, 6)
    found = stacked(mixed)(np.repeat(accs[:, None], len(mixed), axis=1))
    for column, kind in enumerate(mixed):
        assert found[:, column].tolist() == [kind.rounded(int(a)) for a in accs]


def test_the_noise_of_a_table_is_that_of_the_accumulators_it_is_about() -> None:
    """A ReLU as a table has no noise at all, if its limits are known."""
    codes = tuple(max(code, 0) for code in range(-128, 128))
    table = Table(-128, 1, codes)
    assert noise_of([table], [Fraction(1)], (0, 127), (-128, 127)) == (Fraction(0), Fraction(0))
    low, high_end = noise_of([table], [Fraction(1)], (-128, 127), (-128, 127))
    assert (low, high_end) == (Fraction(0), Fraction(128))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: F32Mul(0.1), "single precision"),
        (lambda: F32Mul(-0.5), "positive"),
        (lambda: F64Mul(0.0), "positive"),
        (lambda: DoubleAway(2**29, 0), "31-bit multiplier"),
        (lambda: DoubleUp(2**31, 0), "31-bit multiplier"),
        (lambda: SingleUp(2**30, 31), "exponent"),
        (lambda: Ideal(Fraction(0), Fraction(0), Rounding.FLOOR), "positive multiplier"),
        (lambda: Ideal(Fraction(1), Fraction(1), Rounding.FLOOR), "less than one unit"),
        (lambda: Table(0, 0, (1,)), "step"),
        (lambda: Table(0, 1, ()), "at least one code"),
        (lambda: Table(-(2**60) - 1, 1, (-128, 127)), "2\\*\\*60"),
        (lambda: Table(2**59, 2**60, (1, 2)), "2\\*\\*60"),
        (lambda: Table(0, 1, (2**61,)), "2\\*\\*60"),
    ],
)
def test_parameters_that_no_runtime_has_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_largest_tables_are_read_alike_one_by_one_and_in_arrays() -> None:
    acc = np.array([-(2**47), -1, 0, 1, 2**47 - 1])
    for first in (-(2**60), 2**60 - 2):
        table = Table(first, 1, (-(2**60), 2**60))
        expected = [table.rounded(int(v)) for v in acc]
        assert stacked([table])(acc[:, None]).ravel().tolist() == expected
        least, greatest = images([table])(acc[:, None], acc[:, None])
        assert least.tolist() == greatest.tolist() == [[v] for v in expected]


def test_a_product_beyond_single_precision_is_an_infinity_which_saturates() -> None:
    kind = F32Mul(2.0**120)
    rule = Requantization(kind, Overflow.SATURATE, S8)
    assert [rule.apply(acc) for acc in (-(2**31), -256, -1, 0, 256)] == [-128, -128, -128, 0, 127]
    acc = np.array([-(2**31), 0, 2**31 - 1])
    assert np.clip(stacked([kind])(acc), -128, 127).tolist() == [rule.apply(int(v)) for v in acc]
