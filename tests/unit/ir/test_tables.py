"""Tables that fall and rise read sums themselves; and a kind of the ideal multiplies by what the types say."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Overflow, Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.real import frozen
from qsmt.arith.requantize import RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import F32Mul
from qsmt.arith.table import Table
from qsmt.errors import MalformedModel
from qsmt.interp import quantized
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Requantize, Value
from qsmt.ir.types import Accumulator, Channels, TensorType
from qsmt.ir.verify import verify

CODES = Quantized(True, 4, Fraction(1, 4))
TURNS = Table(-8, 1, (3, 1, 0, 0, -1, -1, -2, -2, -2, -1, 0, 1, 2, 3, 4, 5))


def network(*kinds: RequantKind) -> Network:
    """The codes as sums, and one requantization of each kind after another."""
    x = Value("x", TensorType((1,), CODES))
    one = Const("w", TensorType((1, 1), Channels(2, (Fraction(1),))), frozen(np.array([[1]])))
    none = Const("b", TensorType((1,), Channels(2, (CODES.scale,))), frozen(np.array([0])))
    sums = Value("a", TensorType((1,), Accumulator(4, CODES.scale)))
    ops: list[Affine | Requantize] = [Affine(sums, x, one, none)]
    for i, kind in enumerate(kinds):
        out = Value(f"h{i}", TensorType((1,), CODES))
        ops.append(Requantize(out, ops[-1].out, kind, Overflow.SATURATE))
    return Network("tables", "onnxruntime", x, tuple(ops))


def test_a_table_that_turns_may_read_sums() -> None:
    made = verify(network(TURNS))
    codes = np.array([[code] for code in range(-8, 8)], dtype=object)
    assert quantized.run_codes(made, codes).ravel().tolist() == list(TURNS.codes)


def test_a_table_that_turns_may_not_read_what_is_clamped_already() -> None:
    """Limits pass through a rounding, because that rises; through this they do not."""
    before = Shift(0, Rounding.FLOOR)
    assert verify(network(before, replace(TURNS, codes=tuple(sorted(TURNS.codes)))))
    with pytest.raises(MalformedModel, match="not monotone and does not read sums themselves"):
        verify(network(before, TURNS))


def test_an_ideal_kind_multiplies_by_the_ratio_of_the_units() -> None:
    assert verify(network(Ideal(Fraction(1), Fraction(1, 3), Rounding.FLOOR)))
    with pytest.raises(MalformedModel, match="multiplies by"):
        verify(network(Ideal(Fraction(1) + Fraction(1, 2**30), Fraction(0), Rounding.FLOOR)))


@pytest.mark.parametrize("codes", [(-30, -20), (20, 30), (-30, 30), (-3, 40)])
def test_limits_are_those_of_what_a_table_leaves_after_saturation(codes: tuple[int, int]) -> None:
    """Also where every entry lies beyond the format: then one code is left."""
    op = network(replace(TURNS, codes=codes * 8)).ops[-1]
    assert isinstance(op, Requantize)
    saturated = [op.rule.apply(acc) for acc in range(-8, 8)]
    assert op.limits == (min(saturated), max(saturated))


def test_a_runtime_does_not_round_to_more_bits_than_thresholds_can_be_looked_at() -> None:
    made = network(F32Mul(1.0))
    wide = replace(made.ops[-1], out=Value("y", TensorType((1,), replace(CODES, bits=25))))
    with pytest.raises(MalformedModel, match="is of 25 bits"):
        verify(replace(made, ops=(made.ops[0], wide)))
