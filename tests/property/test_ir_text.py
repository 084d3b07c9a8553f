"""The textual form: what is printed can be read back and is the same; what is damaged is refused."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from random import Random
from typing import get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qsmt.arith.real import RealTensor
from qsmt.errors import MalformedModel
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op
from qsmt.ir.text import parse, print_network
from tests.support.any_network import curved_network, integer_network, real_network

seeds = st.integers(0, 2**32)


def same_const(a: Const, b: Const) -> bool:
    if isinstance(a.data, RealTensor) or isinstance(b.data, RealTensor):
        return (a.name, a.type) == (b.name, b.type) and a.reals.equals(b.reals)
    return (a.name, a.type) == (b.name, b.type) and np.array_equal(a.codes, b.codes)


def same_op(a: Op, b: Op) -> bool:
    if isinstance(a, Affine) and isinstance(b, Affine):
        consts = same_const(a.weight, b.weight) and same_const(a.bias, b.bias)
        return consts and (a.out, a.x) == (b.out, b.x)
    return a == b


def same(a: Network, b: Network) -> bool:
    heads = (a.name, a.runtime, a.input, len(a.ops)) == (b.name, b.runtime, b.input, len(b.ops))
    return heads and all(map(same_op, a.ops, b.ops))


@given(seeds, st.booleans())
@settings(max_examples=200)
def test_reading_what_was_printed_gives_the_same_network(seed: int, real: bool) -> None:
    network = curved_network(seed) if real else integer_network(seed)
    text = print_network(network)
    again = parse(text)
    assert same(network, again)
    assert print_network(again) == text


def test_the_random_networks_have_every_op_and_the_comparison_sees_a_difference() -> None:
    networks = [f(seed) for seed in range(40) for f in (curved_network, integer_network)]
    kinds = {type(op) for n in networks for op in n.ops}
    assert kinds == set(get_args(Op))
    assert not any(same(a, b) for i, a in enumerate(networks) for b in networks[:i])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3))
def test_no_digit_of_a_double_is_lost(numbers: list[float]) -> None:
    from tests.support.networks import reference_network

    network = reference_network([(np.array([numbers]), np.zeros(1))])
    (op,) = parse(print_network(network)).ops
    assert isinstance(op, Affine)
    assert op.weight.reals.fractions.tolist() == [[Fraction(v) for v in numbers]]


# --- damaged text ----------------------------------------------------------------------------------------


@cache
def texts() -> tuple[str, ...]:
    return tuple(print_network(f(seed)) for seed in range(12) for f in (real_network, integer_network))


FRAGMENTS = [
    *'{}[]<>:=,@%"-/ \n\t\0é0',
    *(
        "0x1p99999",
        "1/0",
        "9" * 5000,
        "-1",
        "1e9",
        "none",
        "const",
        "input",
        "real",
        "acc<i1, scale 1/3, wrap>",
    ),
    *("fixed<s99, frac 0>", "frac 1/2", "shift 999999999999", "[0]", "[-2, -1]", "[99999999999999999999]"),
    *('"', "relu", "%x", "@w0", "@b0", "-0x0.0p0", "0x1.123456789abcdefp0", "saturate", "i9999"),
]


def damaged(text: str, rng: Random) -> str:
    """A few edits: cut, copied, swapped and inserted pieces."""
    for _ in range(rng.randint(1, 3)):
        a, b = sorted((rng.randrange(len(text) + 1), min(len(text), rng.randrange(len(text) + 1))))
        b = min(b, a + 30)
        match rng.randrange(5):
            case 0:
                text = text[:a] + text[b:]
            case 1:
                text = text[:a] + text[a:b] + text[a:]
            case 2:
                text = text[:a] + rng.choice(FRAGMENTS) + text[b:]
            case 3:
                text = text[:a] + rng.choice(FRAGMENTS) + text[a:]
            case _:
                lines = text.split("\n")
                rng.shuffle(lines)
                text = "\n".join(lines) if rng.random() < 0.2 else text[:a]
    return text


def outcome(text: str) -> Network | str:
    """The network, or the message that refuses it; anything else that is raised is a defect."""
    try:
        return parse(text)
    except MalformedModel as error:
        return str(error)


@given(seeds)
@settings(max_examples=1500)
def test_damaged_text_is_refused_in_one_line_or_is_a_network(seed: int) -> None:
    rng = Random(seed)
    found = outcome(damaged(rng.choice(texts()), rng))
    if isinstance(found, Network):
        assert same(found, parse(print_network(found)))
    else:
        assert "\n" not in found


@given(st.text(max_size=60))
def test_any_text_at_all_is_refused(text: str) -> None:
    found = outcome(text)
    assert isinstance(found, str)
    assert found.startswith("IR text, line ")


def test_damage_does_both_what_is_refused_and_what_is_not() -> None:
    found = [outcome(damaged(texts()[seed % 24], Random(seed))) for seed in range(300)]
    refused = {str(f).split(": ", 1)[-1] for f in found if isinstance(f, str)}
    assert len(refused) > 60  # different messages
    assert sum(isinstance(f, Network) for f in found) >= 5
