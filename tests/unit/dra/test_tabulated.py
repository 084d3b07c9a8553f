"""A table of codes beside the function that it stands for: its error, and what is gained by knowing it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest

from qsmt.arith.curves import Function, enclosure
from qsmt.arith.fixed import Fixed, Overflow, Quantized
from qsmt.arith.requantize import RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import Hull
from qsmt.arith.table import Table
from qsmt.dra.analysis import analyze_region
from qsmt.dra.compiled import compile_problem
from qsmt.dra.domain import Mode
from qsmt.dra.shape import shape_of
from qsmt.dra.tabulated import Tabulated, tabulated
from qsmt.engine.load import problem_from_flags
from qsmt.facts import Interval
from qsmt.ir.ops import Curve, Requantize, Value
from qsmt.ir.types import Accumulator, Real, TensorType
from qsmt.problem import InputModel, Problem
from tests.support.quantized_onnx import Recipe, write_pair
from tests.unit.dra.soundness import executed, violations
from tests.unit.dra.wild import points_of

SOURCE = Quantized(True, 8, Fraction(float(np.float32(0.0371))), 5)
TARGET = Quantized(False, 8, Fraction(float(np.float32(0.0093))), 100)
SUMS = Accumulator(16, SOURCE.scale / 64)


def value(name: str, kind: Quantized | Fixed | Accumulator | Real) -> Value:
    return Value(name, TensorType((1,), kind))


SHAPE = shape_of(Curve(value("h", Real()), value("z", Real()), Function.TANH))


def activation(kind: RequantKind, source: Quantized | Fixed = SOURCE) -> list[Requantize]:
    """Sums become codes, and codes become codes by this kind."""
    codes = Requantize(value("c", source), value("a", SUMS), Shift(6, Rounding.HALF_EVEN), Overflow.SATURATE)
    return [codes, Requantize(value("t", TARGET), codes.out, kind, Overflow.SATURATE)]


def tanh_table() -> Table:
    codes = range(SOURCE.min, SOURCE.max + 1)
    values = [enclosure(Function.TANH, code * SOURCE.scale)[0] / TARGET.scale for code in codes]
    return Table(SOURCE.min, 1, tuple(TARGET.saturated(round(v)) for v in values))


def made() -> Tabulated:
    found = tabulated(SHAPE, activation(tanh_table()))
    assert found is not None
    return found


def interval(low: Fraction, high: Fraction) -> Interval:
    return Interval(np.array([float(low)]), np.array([float(high)]))


def test_the_error_is_that_of_the_codes_in_range_and_of_no_others() -> None:
    """Against rationals: never less, and by no more than the rounding of a few doubles."""
    table, known, rng = tanh_table(), made(), Random(0)
    for _ in range(200):
        low, high = sorted(rng.randint(SOURCE.min, SOURCE.max) for _ in range(2))
        errors = [
            table.rounded(code) * TARGET.scale - enclosure(Function.TANH, code * SOURCE.scale)[0]
            for code in range(low, high + 1)
        ]
        found = known.error(interval(low * SOURCE.scale, high * SOURCE.scale))
        least, greatest = Fraction(found.lower[0]), Fraction(found.upper[0])
        assert least <= min(errors) <= least + Fraction(1, 2**40)
        assert greatest - Fraction(1, 2**40) <= max(errors) <= greatest


def test_what_is_read_is_a_code_next_to_the_sum() -> None:
    known, rounds = made(), activation(tanh_table())[0].rule
    for acc in range(-(2**15), 2**15, 37):
        exact = rounds.apply(acc) * SOURCE.scale
        read = known.read(interval(acc * SUMS.scale, acc * SUMS.scale))
        assert Fraction(read.lower[0]) <= exact <= Fraction(read.upper[0])
        assert read.upper[0] - read.lower[0] <= float(SOURCE.scale)


@pytest.mark.parametrize("low", [-np.inf, np.nan])
def test_of_sums_that_are_not_known_every_code_is_read(low: float) -> None:
    known = made()
    with np.errstate(invalid="ignore"):  # as an analysis does
        read = known.read(Interval(np.array([low]), np.array([-low])))
    assert read.lower[0] == float(SOURCE.min * SOURCE.scale)
    assert read.upper[0] == float(SOURCE.max * SOURCE.scale)
    assert known.error(read).upper[0] == known.greatest[0].max()


def test_sums_whose_values_no_double_holds_are_not_compared() -> None:
    """A product of two scales has 48 bits; times a code, more than a double has."""
    unit = SOURCE.scale * Fraction(float(np.float32(0.7)))
    assert Fraction(float(unit)) == unit and Fraction(127 * float(unit)) != 127 * unit
    alone = Requantize(value("t", TARGET), value("a", Accumulator(12, unit)), tanh_table(), Overflow.SATURATE)
    assert tabulated(SHAPE, [alone]) is None


WIDE = Quantized(True, 16, Fraction(1, 2**14), 0)
HUGE = Fixed(True, 8, -1020)


def test_a_table_of_sums_is_one_of_the_codes_that_they_are() -> None:
    """One that turns stands alone behind an identity; beyond its ends it goes on as it ends."""
    table, wide = tanh_table(), Accumulator(12, SOURCE.scale)
    alone = Requantize(value("t", TARGET), value("a", wide), table, Overflow.SATURATE)
    found, known = tabulated(SHAPE, [alone]), made()
    assert found is not None
    for low, high in ((SOURCE.min, SOURCE.max), (-7, 9), (3, 3)):
        codes = interval(low * SOURCE.scale, high * SOURCE.scale)
        assert np.array_equal(found.error(codes).lower, known.error(codes).lower)
        assert np.array_equal(found.error(codes).upper, known.error(codes).upper)
        assert np.array_equal(found.read(codes).lower, codes.lower)
    far = found.read(interval(1000 * SOURCE.scale, 2000 * SOURCE.scale))
    assert far.lower[0] == far.upper[0] == float(SOURCE.max * SOURCE.scale)
    finer = replace(alone, kind=Table(SOURCE.min, 2, table.codes))
    assert tabulated(SHAPE, [finer]) is None


def test_other_activations_are_no_tables_of_the_function() -> None:
    """Relations, codes that are many, scales that doubles do not hold, and networks that have no function there."""
    table = tanh_table()
    assert tabulated(None, activation(table)) is None
    assert tabulated(SHAPE, activation(table)[1:]) is None
    assert tabulated(SHAPE, activation(Hull(Fraction(4), Fraction(1)))) is None
    assert tabulated(SHAPE, activation(table, WIDE)) is None
    assert tabulated(SHAPE, activation(table, HUGE)) is None


@pytest.mark.parametrize(
    ("first", "unit"), [(0, Fraction(1, 3)), (0, Fraction(2**48 + 1, 2**50)), (2**31, Fraction(1, 64))]
)
def test_sums_that_doubles_do_not_hold_or_do_not_tell_apart_are_no_codes(first: int, unit: Fraction) -> None:
    """A code times its unit is taken for the number that is read; a unit of sums may be any."""

    def read(first: int, unit: Fraction) -> Tabulated | None:
        kind = Table(first, 1, tuple(range(100)))
        op = Requantize(value("t", TARGET), value("a", Accumulator(40, unit)), kind, Overflow.SATURATE)
        return tabulated(SHAPE, [op])

    assert read(first, unit) is None
    assert read(0, Fraction(2**40 + 1, 2**50)) is not None


# --- what is gained -------------------------------------------------------------------------------------------


def of_onnxruntime(activation: str, folder: Path, model: InputModel) -> Problem:
    """A network quantized by onnxruntime, in a box around some input."""
    before, after = write_pair(Recipe(sizes=(2, 16, 16, 1), activation=activation), folder)
    return problem_from_flags(before, after, box="[-0.2,0.3]^2", bound="0", model=model).problem


@pytest.mark.parametrize("activation", ["Tanh", "Sigmoid", "LeakyRelu"])
@pytest.mark.parametrize("model", InputModel)
def test_differences_go_through_a_function_as_differences(
    activation: str, model: InputModel, tmp_path: Path
) -> None:
    """The bounds hold, and are at most a third of what the ranges of both networks say."""
    problem = of_onnxruntime(activation, tmp_path, model)
    assert sum(layer.quantized.table is not None for layer in compile_problem(problem).layers) == 2
    ranges = executed(problem, points_of(problem, 1, 150))
    widths = {}
    for mode in (Mode.NAIVE, Mode.DIFFERENCE, Mode.BEST):
        facts = analyze_region(problem, mode)
        assert violations(ranges, facts) == []
        widths[mode] = float((facts.difference.upper - facts.difference.lower)[0])
    assert widths[Mode.BEST] <= widths[Mode.DIFFERENCE] < widths[Mode.NAIVE] / 3
