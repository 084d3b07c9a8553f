"""The IR's type checker. Every frontend ends with it, and every pass keeps it true.

A network that passes is one for which all consumers' rules are defined: a chain of ops in SSA form that
begins with an affine op, whose shapes agree, whose constants fit their types, whose accumulators are
exact integers, and whose `exact` accumulators cannot overflow.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import gcd
from typing import NoReturn, assert_never

import numpy as np

from qsmt.arith.fixed import Fixed, Format, Overflow, Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.real import RealTensor
from qsmt.arith.runtime_kinds import Hull, is_monotone
from qsmt.arith.table import Table
from qsmt.arith.units import distinct, each, shown
from qsmt.errors import MalformedModel
from qsmt.ir.network import Network
from qsmt.ir.ops import (
    ALONE,
    Affine,
    Clamp,
    Const,
    Curve,
    LeakyRelu,
    Op,
    PerNeuron,
    Relu,
    Requantize,
    Value,
)
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Channels, Real, units_of

LARGEST = Fraction(float(np.finfo(np.float64).max))

MAX_ELEMENTS = 2**26
"""No tensor is larger: 64 Mi parameters in one layer are beyond any controller and any proof."""


MAX_SCALE = Fraction(2) ** 400
"""No unit is larger, nor smaller than its inverse: whatever is made of units and codes stays a normal double."""

NAME = re.compile(r"[\w.:/-]+")
"""What a name is made of, so that the textual form can be read back."""


def verify(network: Network) -> Network:
    """`network`, if it is well typed.

    Raises:
        MalformedModel: with the name of the network and of the offending value.
    """
    current = network.input
    seen = {current.name}
    _check_names(network)
    _check_vector(network, current)
    if not network.ops or not isinstance(network.ops[0], Affine):
        _fail(network, current, "the network does not begin with an affine op")
    for before, op in zip((None, *network.ops), network.ops, strict=False):
        if op.x != current:
            _fail(network, op.out, f"reads %{op.x.name}, not the value before it, %{current.name}")
        if op.out.name in seen:
            _fail(network, op.out, "is defined twice")
        if not isinstance(op, Affine) and (isinstance(op, ALONE) or isinstance(before, ALONE)):
            _check_alone(network, before, op)
        seen.add(op.out.name)
        _check_vector(network, op.out)
        _check_op(network, op)
        current = op.out
    _check_output(network, current)
    return network


def _check_names(network: Network) -> None:
    named: list[Value | Const] = [network.input, *(op.out for op in network.ops), *network.constants]
    for name in (network.name, *(v.name for v in named)):
        if not NAME.fullmatch(name):
            raise MalformedModel(f"{name!r} is not a name", where=f"network @{network.name}")
    if re.search(r'["\n]', network.runtime):
        raise MalformedModel(f"{network.runtime!r} is not a runtime", where=f"network @{network.name}")
    constants: dict[str, Const] = {}
    for const in network.constants:
        if constants.setdefault(const.name, const) is not const:
            _fail(network, const, "is the name of two constants")


def _check_vector(network: Network, value: Value) -> None:
    shape = value.type.shape
    if len(shape) != 1 or not 1 <= shape[0] <= MAX_ELEMENTS:
        _fail(
            network, value, f"has shape {list(shape)}, not that of a vector of 1 to {MAX_ELEMENTS} elements"
        )
    _check_scale(network, value)


def _check_output(network: Network, value: Value) -> None:
    kind = value.type.element
    if not isinstance(kind, Real) and len(distinct(units_of(kind))) > 1:
        _fail(network, value, "has a unit for each output; only sums that are requantized do")


def _check_scale(network: Network, at: Value | Const) -> None:
    kind = at.type.element
    if isinstance(kind, Real):
        return
    units = units_of(kind)
    if isinstance(units, tuple) and len(units) != at.type.shape[0]:
        _fail(network, at, f"has {len(units)} scales for {at.type.shape[0]} rows")
    if not all(1 / MAX_SCALE <= unit <= MAX_SCALE for unit in distinct(units)):
        _fail(network, at, "has a unit that is not within 2**-400 to 2**400")


def _check_op(network: Network, op: Op) -> None:
    match op:
        case Affine():
            _check_affine(network, op)
        case Relu():
            _check_same_type(network, op)
        case Clamp():
            _check_clamp(network, op)
        case Requantize():
            _check_requantize(network, op)
        case LeakyRelu() | Curve():
            _check_real_function(network, op)
        case _:
            assert_never(op)


def _check_affine(network: Network, op: Affine) -> None:
    m, n = op.out.size, op.x.size
    if op.weight.type.shape != (m, n) or op.bias.type.shape != (m,):
        shapes = f"weight {list(op.weight.type.shape)}, bias {list(op.bias.type.shape)}"
        _fail(network, op.out, f"{shapes} do not map [{n}] to [{m}]")
    for const in (op.weight, op.bias):
        _check_const(network, const)
    match op.out.type.element, op.x.type.element, op.weight.type.element, op.bias.type.element:
        case Real(), Real(), Real(), Real():
            return
        case (
            Accumulator() as acc,
            Fixed() | Quantized() as x,
            Fixed() | Quantized() | Channels(),
            Fixed() | Quantized() | Channels(),
        ):
            if any(r.denominator != 1 for ratios in op.ratios for r in ratios):
                _fail(
                    network,
                    op.out,
                    f"scale {shown(acc.units)} does not divide that of the products or of the bias",
                )
            _check_accumulator(network, op, acc, x)
        case types:
            _fail(network, op.out, f"no affine op has the types {', '.join(map(str, types))}")


def _check_accumulator(network: Network, op: Affine, acc: Accumulator, x: Fixed | Quantized) -> None:
    if acc.overflow is AccumulatorOverflow.WRAP:
        return
    low, high = accumulator_range(op, x.min, x.max)
    if low < acc.min or high > acc.max:
        _fail(
            network, op.out, f"can reach {low if low < acc.min else high}, which {acc.bits} bits do not hold"
        )


def accumulator_range(op: Affine, low: int, high: int) -> tuple[int, int]:
    """The least and greatest sum over all outputs when every input code lies in [low, high]."""
    weight, bias = op.integers
    positive, negative = np.maximum(weight, 0).sum(axis=1), np.minimum(weight, 0).sum(axis=1)
    least, greatest = positive * low + negative * high + bias, positive * high + negative * low + bias
    return int(least.min()), int(greatest.max())


def _check_const(network: Network, const: Const) -> None:
    if const.type.size > MAX_ELEMENTS:
        _fail(network, const, f"has more than {MAX_ELEMENTS} elements")
    _check_scale(network, const)
    if const.data.shape != const.type.shape:
        _fail(
            network, const, f"holds an array of shape {list(const.data.shape)}, not {list(const.type.shape)}"
        )
    match const.type.element:
        case Real():
            if not isinstance(const.data, RealTensor):
                _fail(network, const, "is real but holds codes")
        case (Fixed() | Quantized() | Channels()) as kind:
            if isinstance(const.data, RealTensor) or const.data.dtype != np.int64:
                _fail(network, const, "is made of codes but does not hold 64-bit codes")
            if const.data.size and not (
                kind.fits(int(const.data.min())) and kind.fits(int(const.data.max()))
            ):
                _fail(network, const, f"holds a code outside {kind}")
        case Accumulator():
            _fail(network, const, "is an accumulator; constants are real or fixed-point")


def _check_alone(network: Network, before: Op | None, op: Op) -> None:
    if not isinstance(before, Affine):
        _fail(network, op.out, "is one of several ops between two affine ops, but one of them must be alone")


def _check_real_function(network: Network, op: LeakyRelu | Curve) -> None:
    _check_same_type(network, op)
    if not isinstance(op.out.type.element, Real):
        _fail(network, op.out, "is a function of real numbers, applied to codes")
    if isinstance(op, LeakyRelu) and not 0 < op.slope < 1:
        _fail(network, op.out, f"has the slope {op.slope}, which is not between 0 and 1")


def _check_same_type(network: Network, op: Relu | Clamp | LeakyRelu | Curve) -> None:
    if op.out.type != op.x.type:
        _fail(network, op.out, f"has type {op.out.type}, its operand {op.x.type}")


def _check_clamp(network: Network, op: Clamp) -> None:
    _check_same_type(network, op)
    if not _ordered(op.lower, op.upper):
        _fail(network, op.out, f"clamps to the empty range [{op.lower}, {op.upper}]")
    limits: list[Fraction] = [v for v in (op.lower, op.upper) if v is not None]
    match op.out.type.element:
        case Real():
            if any(abs(v) > LARGEST for v in limits):
                _fail(network, op.out, "clamps to a limit beyond the range of doubles")
        case Channels():
            _fail(network, op.out, "is per channel; only constants are")
        case kind:
            if any(v.denominator != 1 for v in limits):
                _fail(network, op.out, "clamps codes to a limit that is not an integer")
            if not (_ordered(op.lower, kind.max) and _ordered(kind.min, op.upper)):
                _fail(network, op.out, f"clamps to codes outside {kind}")


def _ordered(a: Fraction | int | None, b: Fraction | int | None) -> bool:
    """Is `a <= b`, where None is no limit?"""
    return a is None or b is None or a <= b


def _check_requantize(network: Network, op: Requantize) -> None:
    source, target = op.x.type.element, op.out.type.element
    coded = isinstance(source, Format | Accumulator) and isinstance(target, Format)
    if not coded or op.out.type.shape != op.x.type.shape:
        _fail(network, op.out, f"cannot requantize {op.x.type} to {op.out.type}")
    if op.overflow is Overflow.SATURATE_SYMMETRIC and not isinstance(target, Fixed):
        _fail(network, op.out, "saturates symmetrically about its zero point; only fixed-point formats do")
    ratios = each(op.ratio, op.out.size)
    if op.runtime_kinds:
        _check_runtime_kinds(network, op, ratios)
    elif any(op.rule.kind.nominal != ratio for ratio in set(ratios)):
        what = f"multiplies by {op.rule.kind.nominal}, but the types say {shown(op.ratio)}"
        _fail(network, op.out, what)


def _check_tables(network: Network, op: Requantize) -> None:
    """A table's noise (qsmt.arith.noise) is that of its own points, so others must not occur, or saturate alike."""
    tables = [kind for kind in op.runtime_kinds if isinstance(kind, Table)]
    if not tables:
        return
    low, high = op.limits
    every = tables if len(tables) == op.out.size else tables * op.out.size
    for table, (least, greatest, divisor, rest) in zip(every, _operands(network, op), strict=True):
        ends = sorted((table.first, table.first + (len(table.codes) - 1) * table.step))
        below, above = (op.target.saturated(table.rounded(end)) for end in ends)
        if divisor % table.step or (rest - table.first) % table.step:
            _fail(network, op.out, "reads what lies between the points of its table")
        if (least < ends[0] and below > low) or (greatest > ends[1] and above < high):
            _fail(network, op.out, "reads what lies beyond its table, which does not saturate there")


def _operands(network: Network, op: Requantize) -> list[tuple[int, int, int, int]]:
    """Of each neuron: the least and the greatest operand, and d, r such that all are r plus multiples of d."""
    before, source = network.ops[network.ops.index(op) - 1], op.x.type.element
    assert isinstance(source, Format | Accumulator)
    x = before.x.type.element
    wraps = isinstance(source, Accumulator) and source.overflow is AccumulatorOverflow.WRAP
    if not isinstance(before, Affine) or wraps:
        return [(source.min, source.max, 1, 0)] * op.out.size
    assert isinstance(x, Format)
    weight, bias = before.integers
    positive, negative = np.maximum(weight, 0).sum(axis=1), np.minimum(weight, 0).sum(axis=1)
    least, greatest = positive * x.min + negative * x.max + bias, positive * x.max + negative * x.min + bias
    divisors = [gcd(*row) for row in weight.tolist()]
    return list(zip(least.tolist(), greatest.tolist(), divisors, bias.tolist(), strict=True))


MOST_BITS = 24
"""Of codes that a runtime's kind rounds to: each of them has a threshold, and consumers look at all."""

NOMINAL = Fraction(1, 2**20)
"""A runtime's multiplier is within this relative distance of the ratio of the units: it is rounded, not another."""


def _check_runtime_kinds(network: Network, op: Requantize, ratios: tuple[Fraction, ...]) -> None:
    source, kinds = op.x.type.element, op.runtime_kinds
    assert isinstance(source, Format | Accumulator)
    if op.overflow is not Overflow.SATURATE:
        _fail(network, op.out, "saturates, as every kernel of a runtime does")
    if op.target.bits > MOST_BITS:
        _fail(network, op.out, f"is of {op.target.bits} bits, and runtimes round to {MOST_BITS} at most")
    if not isinstance(
        network.ops[network.ops.index(op) - 1], Affine
    ):  # limits pass through what rises, alike for all
        if isinstance(op.kind, PerNeuron):
            _fail(network, op.out, "has a rule for each neuron and does not read sums themselves")
        if not all(map(is_monotone, kinds)):
            _fail(network, op.out, "has a table that is not monotone and does not read sums themselves")
    if isinstance(op.kind, PerNeuron) and len(kinds) != op.out.size:
        _fail(network, op.out, f"has {len(kinds)} rules for {op.out.size} neurons")
    if len({type(kind) for kind in kinds}) != 1:
        _fail(network, op.out, "mixes kinds of requantization")
    widest = min(kind.widest for kind in kinds)
    if not -(1 << (widest - 1)) <= source.min <= source.max < 1 << (widest - 1):
        _fail(network, op.out, f"reads {op.x.type.element}, more than the {widest} bits of its kind")
    _check_tables(network, op)
    for kind, ratio in set(zip(kinds if len(kinds) > 1 else kinds * len(ratios), ratios, strict=True)):
        if isinstance(kind, Hull | Ideal) and kind.nominal != ratio:
            _fail(network, op.out, f"multiplies by {kind.nominal}, but the types say {ratio}")
        if kind.nominal is not None and not abs(kind.nominal / ratio - 1) <= NOMINAL:
            what = f"multiplies by {float(kind.nominal)}, but the types say {float(ratio)}"
            _fail(network, op.out, what)


def _fail(network: Network, at: Value | Const, what: str) -> NoReturn:
    sigil = "@" if isinstance(at, Const) else "%"
    raise MalformedModel(what, where=f"network @{network.name}, {sigil}{at.name}")
