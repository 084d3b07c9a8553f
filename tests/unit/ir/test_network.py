"""Networks as layers, their constants, and the tables of rules."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from qsmt.errors import UnsupportedOp
from qsmt.ir.network import layers
from qsmt.ir.ops import Affine, Clamp, Const, Relu, Requantize, Value
from qsmt.ir.rules import Rules
from qsmt.ir.types import Real
from tests.support.any_network import integer_network, real_network
from tests.support.networks import Recipe, random_problem, reference_network


def test_a_layer_runs_from_one_affine_op_to_the_next() -> None:
    network = random_problem(1, Recipe(sizes=(2, 3, 4, 1))).quantized
    found = layers(network)
    assert [layer.affine.out.name for layer in found] == ["a0", "a1", "a2"]
    assert [layer.pre.size for layer in found] == [3, 4, 1]
    assert [[type(op) for op in layer.activation] for layer in found] == [[Requantize], [Requantize], []]
    assert [layer.post.name for layer in found] == ["h0", "h1", "a2"]


@pytest.mark.parametrize("seed", range(20))
def test_layers_are_the_whole_network_in_order(seed: int) -> None:
    for network in (real_network(seed), integer_network(seed)):
        ops = [op for layer in layers(network) for op in (layer.affine, *layer.activation)]
        assert ops == list(network.ops)
        assert layers(network)[-1].post == network.output


def test_a_network_says_whether_it_is_real() -> None:
    assert real_network(0).is_real
    assert not integer_network(0).is_real


def scale(value: Value | Const) -> Fraction:
    kind = value.type.element
    assert not isinstance(kind, Real)
    return kind.scale


def as_reals(integers: np.ndarray, unit: Fraction) -> list[Fraction]:
    return [int(v) * unit for v in integers.flat]


def test_the_integers_of_an_affine_op_are_in_units_of_the_accumulator() -> None:
    ops = [op for seed in range(20) for op in integer_network(seed).ops if isinstance(op, Affine)]
    for op in ops:
        weight, bias = op.integers
        products = scale(op.weight) * scale(op.x)
        assert as_reals(weight, scale(op.out)) == as_reals(op.weight.codes, products)
        assert as_reals(bias, scale(op.out)) == as_reals(op.bias.codes, scale(op.bias))
        assert {type(v) for v in [*weight.flat, *bias.flat]} == {int}


def test_a_clipped_reference_clamps() -> None:
    network = reference_network([(np.eye(2), np.zeros(2))] * 2, clip=Fraction(3))
    assert [type(op) for op in network.ops] == [Affine, Clamp, Affine]


# --- tables of rules --------------------------------------------------------------------------------------------


def test_a_rule_is_found_by_the_type_of_the_op() -> None:
    rules: Rules[str] = Rules("a consumer")
    assert rules.register(Relu, Clamp)("elementwise") == "elementwise"
    assert rules[Relu] == rules[Clamp] == "elementwise"
    assert rules.supported == {Relu, Clamp}


def test_a_hole_in_a_table_is_named() -> None:
    rules: Rules[str] = Rules("a consumer")
    with pytest.raises(UnsupportedOp, match="a consumer: has no rule for Affine"):
        rules[Affine]


def test_a_rule_cannot_be_replaced() -> None:
    rules: Rules[str] = Rules("a consumer")
    rules.register(Relu)("one")
    with pytest.raises(ValueError, match="a consumer: Relu registered twice"):
        rules.register(Relu)("two")
