"""Both exact interpreters compute what the plain ones compute, on networks of every op, type and size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.curves import Function, hard_swish
from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Shift
from qsmt.arith.rounding import Rounding
from qsmt.errors import UnsupportedOp
from qsmt.interp import quantized, reference
from qsmt.interp.reference import Ratios
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Clamp, Const, Curve, Relu, Requantize, Value
from qsmt.ir.text import parse
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real, TensorType
from qsmt.ir.verify import verify
from tests.support import naive
from tests.support.any_network import (
    codes_of,
    curved,
    curved_network,
    integer_network,
    real_network,
    reals_of,
)

SEEDS = range(150)


def test_real_networks_of_all_magnitudes() -> None:
    for seed in SEEDS:
        network = real_network(seed)
        points = reals_of(network, seed)
        assert reference.run(network, points) == [naive.run(network, x) for x in points], seed


def test_real_networks_with_rational_curves() -> None:
    for seed in SEEDS:
        network = curved_network(seed, (Function.HARD_SWISH,))
        points = reals_of(network, seed)
        assert reference.run(network, points) == [naive.run(network, x) for x in points], seed


def test_what_is_not_rational_is_held_between_rationals() -> None:
    """Against the plain interpreter, which takes the middle of every enclosure: the radius covers the difference."""
    narrow = 0
    for seed in SEEDS:
        network = curved_network(seed)
        points = reals_of(network, seed)
        found = reference.enclose(network, points)
        expected = [naive.run(network, x, middle=True) for x in points]
        radii = found.radius or [(Fraction(0),) * network.output.size] * len(points)
        narrow += max(map(max, radii)) < Fraction(1, 2**100)
        for middle, radius, values in zip(found.middle, radii, expected, strict=True):
            assert all(abs(m - v) <= r for m, r, v in zip(middle, radius, values, strict=True)), seed
    assert narrow > len(SEEDS) / 2


def test_values_that_are_no_rationals_are_not_handed_out_as_such() -> None:
    network = curved(real_network(1), [Function.TANH] * len(layers(real_network(1))))
    with pytest.raises(ValueError, match="are not rational"):
        reference.run(network, [(Fraction(1),) * network.input.size])


@pytest.mark.parametrize("low", [-4, -3, -2, -1, 1, 4])
def test_a_hard_swish_of_an_interval_holds_all_its_values(low: int) -> None:
    one = TensorType((1,), Real())
    op = Curve(Value("y", one), Value("x", one), Function.HARD_SWISH)
    x = Ratios(np.array([[low]], dtype=object), 1, np.array([[low + 2]], dtype=object))
    found = reference.RULES[Curve](op, x)
    assert found.upper is not None
    least, greatest = (Fraction(int(v[0, 0]), found.denominator) for v in (found.numerators, found.upper))
    values = [hard_swish(low + Fraction(k, 8)) for k in range(17)]
    assert least <= min(values) <= max(values) <= greatest
    assert greatest == max(values)
    assert least == (Fraction(-3, 8) if low <= -3 / 2 <= low + 2 else min(values))


def test_integer_networks_of_every_kind() -> None:
    for seed in SEEDS:
        network = integer_network(seed)
        points = codes_of(network, seed)
        assert quantized.run(network, points) == [naive.run(network, x) for x in points], seed


def test_the_random_networks_reach_every_rounding_overflow_and_wrap() -> None:
    ops = [op for seed in SEEDS for op in integer_network(seed).ops]
    narrow = [op for op in ops if isinstance(op, Requantize)]
    assert {(op.rule.exact.rounding, type(op.kind)) for op in narrow} >= {(r, Shift) for r in Rounding}
    assert {op.overflow for op in narrow} == set(Overflow)
    sums = [op.out.type.element for op in ops if isinstance(op, Affine)]
    assert {s.overflow for s in sums if isinstance(s, Accumulator)} == set(AccumulatorOverflow)


def test_no_points_have_no_outputs() -> None:
    assert reference.run(real_network(1), []) == []
    assert quantized.run(integer_network(1), []) == []


def test_one_point_at_a_time_is_the_same_as_all_at_once() -> None:
    network = real_network(5)
    points = reals_of(network, 5)
    assert reference.run(network, points) == [reference.run(network, [x])[0] for x in points]


def test_outputs_are_python_numbers_of_any_size() -> None:
    (output,) = quantized.run(integer_network(3), codes_of(integer_network(3), 3)[:1])
    assert {type(v) for v in output} == {Fraction}


# --- by hand ----------------------------------------------------------------------------------------------


def layer(acc: Accumulator, *weights: int, bias: int = 0, x: Fixed) -> Affine:
    """One neuron with 8-bit integer weights."""
    kind = Fixed(True, 8, 0)
    return Affine(
        Value("a", TensorType((1,), acc)),
        Value("x", TensorType((len(weights),), x)),
        Const("w", TensorType((1, len(weights)), kind), np.array([weights])),
        Const("b", TensorType((1,), kind), np.array([bias])),
    )


def outputs(affine: Affine, *points: tuple[int, ...]) -> list[Fraction]:
    network = verify(Network("n", "ideal", affine.x, (affine,)))
    return [y for (y,) in quantized.run(network, [tuple(map(Fraction, x)) for x in points])]


def test_a_wrapping_accumulator_keeps_the_low_bits() -> None:
    wrapping = Accumulator(8, Fraction(1), AccumulatorOverflow.WRAP)
    affine = layer(wrapping, 100, 27, bias=1, x=Fixed(True, 3, 0))
    assert outputs(affine, (1, 1), (1, 0), (-1, -1), (-4, -4), (3, 3)) == [-128, 101, -126, 5, 126]


def test_the_output_stands_for_its_code_times_its_unit() -> None:
    affine = layer(Accumulator(12, Fraction(1, 8)), 3, x=Fixed(True, 4, 3))
    assert outputs(affine, (5,), (-8,)) == [Fraction(15, 8), Fraction(-3)]


def test_a_bias_is_aligned_to_the_products() -> None:
    """Input 1/8, weight 1, bias 5: the bias is 40 units of 1/8."""
    affine = layer(Accumulator(12, Fraction(1, 8)), 1, bias=5, x=Fixed(True, 4, 3))
    assert outputs(affine, (0,), (1,)) == [5, Fraction(41, 8)]


PUBLISHED = """
network @published runtime "ideal" {
  const @w0 : [2, 2] fixed<s4, frac 2> = [5, -1, -3, 3]
  const @b0 : [2] fixed<s4, frac 2> = [0, 0]
  const @w1 : [1, 2] fixed<s4, frac 2> = [1, 3]
  const @b1 : [1] fixed<s4, frac 2> = [0]
  %x : [2] fixed<u4, frac 4> = input
  %a0 : [2] acc<i9, scale 1/64, exact> = affine %x, @w0, @b0
  %h0 : [2] fixed<u4, frac 2> = requantize %a0 {shift 4, half_up, saturate}
  %a1 : [1] acc<i7, scale 1/16, exact> = affine %h0, @w1, @b1
}
"""


def test_the_example_of_the_literature_by_hand() -> None:
    """The 2-2-1 network of QEBVerif at (9, 6): accumulators 39 and -9, hidden codes 2 and 0."""
    (output,) = quantized.run(parse(PUBLISHED), [(Fraction(9), Fraction(6))])
    assert output == (Fraction(2, 16),)


# --- consumers without a rule ---------------------------------------------------------------------------------


def test_the_real_interpreter_knows_no_requantization() -> None:
    with pytest.raises(UnsupportedOp, match="interpreter of real networks: has no rule for Requantize"):
        reference.RULES[Requantize]


def test_the_integer_interpreter_knows_every_op() -> None:
    assert quantized.RULES.supported == {Affine, Relu, Clamp, Requantize}
