"""The type checker: for each rule, a network that breaks it and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qsmt.arith.curves import Function
from qsmt.arith.fixed import Fixed, Overflow, Quantized
from qsmt.arith.real import RealTensor
from qsmt.arith.requantize import Rational, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.table import Table
from qsmt.errors import MalformedModel
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Curve, LeakyRelu, Op, PerNeuron, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Channels, Real, TensorType
from qsmt.ir.verify import MAX_ELEMENTS, MAX_SCALE, accumulator_range, verify

REAL = Real()
CODE = Fixed(True, 4, 2)
ACC = Accumulator(9, Fraction(1, 16))
UP = Rounding.HALF_UP


def reals(name: str, *shape: int) -> Const:
    return Const(name, TensorType(shape, REAL), RealTensor.of_floats(np.ones(shape)))


def codes(name: str, *shape: int, value: int = 1, kind: Fixed = CODE) -> Const:
    return Const(name, TensorType(shape, kind), np.full(shape, value, dtype=np.int64))


X = Value("x", TensorType((2,), REAL))
Z = Value("z", TensorType((3,), REAL))
H = Value("h", TensorType((3,), REAL))
LINEAR = Affine(Z, X, reals("w", 3, 2), reals("b", 3))

Q = Value("x", TensorType((2,), CODE))
A = Value("a", TensorType((3,), ACC))
R = Value("r", TensorType((3,), ACC))
Y = Value("y", TensorType((3,), CODE))
SUMS = Affine(A, Q, codes("w", 3, 2), codes("b", 3))
NARROW = Requantize(Y, R, Shift(2, UP), Overflow.SATURATE)

ABOUT_FOUR = Value("y", TensorType((3,), Quantized(False, 3, Fraction(1, 4), 4)))

UNITS = Fraction(1, 16), Fraction(1, 8), Fraction(1, 16)
PER_CHANNEL = Network(
    "units",
    "ideal",
    Q,
    (
        Affine(
            Value("a", TensorType((3,), Accumulator(9, UNITS))),
            Q,
            Const(
                "w", TensorType((3, 2), Channels(4, tuple(4 * u for u in UNITS))), np.ones((3, 2), np.int64)
            ),
            Const("b", TensorType((3,), Channels(4, UNITS)), np.ones(3, np.int64)),
        ),
    ),
)

FLOAT = Network("float", "real", X, (LINEAR, Relu(H, Z)))
INTEGER = Network("integer", "ideal", Q, (SUMS, Relu(R, A), NARROW))


def with_op(i: int, op: Op, *, of: Network) -> Network:
    return replace(of, ops=(*of.ops[:i], op, *of.ops[i + 1 :]))


def reads(*tables: Table) -> Network:
    """The sums, as a table makes codes of them."""
    kind = tables[0] if len(tables) == 1 else PerNeuron(tables)
    return replace(INTEGER, ops=(SUMS, Requantize(Y, A, kind, Overflow.SATURATE)))


def test_tables_of_all_sums_that_occur_are_sound() -> None:
    """Sums of two codes, and of a bias, from -60 to 60: all of them, or as far as they do not saturate."""
    turns = tuple(abs(v) % 8 for v in range(-60, 61))
    for tables in ([Table(-60, 1, turns)], [Table(-3, 1, (-8, 0, 7))], [Table(3, -1, (7, 0, -8))]):
        assert verify(reads(*tables))


def test_the_networks_that_the_rules_are_broken_in_are_sound() -> None:
    assert verify(FLOAT) is FLOAT
    assert verify(INTEGER) is INTEGER
    clamped = Clamp(R, A, Fraction(-3), Fraction(9))
    assert verify(with_op(1, clamped, of=INTEGER))


@dataclass(frozen=True)
class Broken:
    """A network, what its error says, and what it names."""

    network: Network
    message: str
    at: str


def rebuilt(affine: Affine, **changes: Any) -> Affine:
    return replace(affine, **changes)


def sums(**changes: Any) -> Network:
    """INTEGER with another affine op; what reads the op follows its result."""
    affine = rebuilt(SUMS, **changes)
    relu = Relu(Value("r", affine.out.type), affine.out)
    return replace(INTEGER, ops=(affine, relu, replace(NARROW, x=relu.out)))


def retyped(value: Value, element: Real | Fixed | Accumulator) -> Value:
    return Value(value.name, TensorType(value.type.shape, element))


EIGHT_BITS = retyped(A, replace(ACC, bits=8))
HUGE = np.broadcast_to(np.int64(0), (MAX_ELEMENTS // 2 + 1, 2))

BROKEN: dict[str, Callable[[], Broken]] = {
    "no ops": lambda: Broken(replace(FLOAT, ops=()), "does not begin with an affine op", "%x"),
    "first op is not affine": lambda: Broken(
        replace(FLOAT, ops=(Relu(Value("r", X.type), X),)), "does not begin with an affine op", "%x"
    ),
    "input is a matrix": lambda: Broken(
        replace(FLOAT, input=Value("x", TensorType((2, 1), REAL))), "not that of a vector", "%x"
    ),
    "input is empty": lambda: Broken(
        replace(FLOAT, input=Value("x", TensorType((0,), REAL))), "not that of a vector", "%x"
    ),
    "input is larger than any tensor": lambda: Broken(
        replace(FLOAT, input=Value("x", TensorType((MAX_ELEMENTS + 1,), REAL))), "not that of a vector", "%x"
    ),
    "result is a matrix": lambda: Broken(
        with_op(1, Relu(Value("h", TensorType((3, 1), REAL)), Z), of=FLOAT), "not that of a vector", "%h"
    ),
    "an op skips its predecessor": lambda: Broken(
        replace(FLOAT, ops=(*FLOAT.ops, Relu(Value("g", Z.type), Z))),
        "reads %z, not the value before it",
        "%g",
    ),
    "an op reads another type": lambda: Broken(
        with_op(2, replace(NARROW, x=retyped(R, replace(ACC, bits=10))), of=INTEGER),
        "reads %r, not the value before it",
        "%y",
    ),
    "a value is defined twice": lambda: Broken(with_op(1, Relu(Z, Z), of=FLOAT), "is defined twice", "%z"),
    "a value has the input's name": lambda: Broken(
        with_op(1, Relu(Value("x", Z.type), Z), of=FLOAT), "is defined twice", "%x"
    ),
    "a leaky ReLU that is steep": lambda: Broken(
        with_op(1, LeakyRelu(H, Z, Fraction(3, 2)), of=FLOAT), "has the slope 3/2", "%h"
    ),
    "a leaky ReLU that is a ReLU": lambda: Broken(
        with_op(1, LeakyRelu(H, Z, Fraction(0)), of=FLOAT), "has the slope 0, which is not between", "%h"
    ),
    "a curve on codes": lambda: Broken(
        with_op(1, Curve(R, A, Function.TANH), of=replace(INTEGER, ops=INTEGER.ops[:2])),
        "is a function of real numbers, applied to codes",
        "%r",
    ),
    "a curve that changes the type": lambda: Broken(
        with_op(1, Curve(retyped(H, CODE), Z, Function.TANH), of=FLOAT), "has type [3] fixed", "%h"
    ),
    "an activation after a curve": lambda: Broken(
        replace(FLOAT, ops=(LINEAR, Curve(H, Z, Function.TANH), Relu(Value("g", Z.type), H))),
        "one of them must be alone",
        "%g",
    ),
    "a curve after an activation": lambda: Broken(
        replace(FLOAT, ops=(*FLOAT.ops, LeakyRelu(Value("g", Z.type), H, Fraction(1, 2)))),
        "one of them must be alone",
        "%g",
    ),
    "weight of another shape": lambda: Broken(
        with_op(0, rebuilt(LINEAR, weight=reals("w", 2, 3)), of=FLOAT), "do not map [2] to [3]", "%z"
    ),
    "bias of another shape": lambda: Broken(
        with_op(0, rebuilt(LINEAR, bias=reals("b", 2)), of=FLOAT), "do not map [2] to [3]", "%z"
    ),
    "an array of another shape than its type": lambda: Broken(
        with_op(0, rebuilt(LINEAR, weight=replace(reals("w", 3, 2), data=reals("w", 2, 3).data)), of=FLOAT),
        "holds an array of shape [2, 3], not [3, 2]",
        "@w",
    ),
    "codes in a real constant": lambda: Broken(
        with_op(0, rebuilt(LINEAR, weight=replace(reals("w", 3, 2), data=codes("w", 3, 2).data)), of=FLOAT),
        "is real but holds codes",
        "@w",
    ),
    "reals in a fixed-point constant": lambda: Broken(
        sums(weight=replace(codes("w", 3, 2), data=reals("w", 3, 2).data)), "does not hold 64-bit codes", "@w"
    ),
    "narrow integers in a fixed-point constant": lambda: Broken(
        sums(bias=replace(codes("b", 3), data=np.ones(3, dtype=np.int32))), "does not hold 64-bit codes", "@b"
    ),
    "a code below its format": lambda: Broken(
        sums(weight=codes("w", 3, 2, value=-9)), "a code outside", "@w"
    ),
    "a code above its format": lambda: Broken(sums(bias=codes("b", 3, value=8)), "a code outside", "@b"),
    "a constant of accumulators": lambda: Broken(
        sums(bias=replace(codes("b", 3), type=TensorType((3,), ACC))), "is an accumulator; constants", "@b"
    ),
    "a constant larger than any tensor": lambda: Broken(
        Network(
            "integer",
            "ideal",
            Q,
            (
                Affine(
                    Value("a", TensorType((HUGE.shape[0],), ACC)),
                    Q,
                    Const("w", TensorType(HUGE.shape, CODE), HUGE),
                    Const("b", TensorType(HUGE.shape[:1], CODE), HUGE[:, 0]),
                ),
            ),
        ),
        "more than",
        "@w",
    ),
    "real weights on codes": lambda: Broken(
        sums(weight=reals("w", 3, 2)), "no affine op has the types", "%a"
    ),
    "codes as result of reals": lambda: Broken(
        with_op(0, rebuilt(LINEAR, out=retyped(Z, CODE)), of=replace(FLOAT, ops=FLOAT.ops[:1])),
        "no affine op has the types",
        "%z",
    ),
    "a fixed-point result of an affine op": lambda: Broken(
        sums(out=retyped(A, Fixed(True, 9, 4))), "no affine op has the types", "%a"
    ),
    "products between the units of the accumulator": lambda: Broken(
        sums(out=retyped(A, replace(ACC, units=Fraction(1, 8)))), "does not divide", "%a"
    ),
    "a bias between the units of the accumulator": lambda: Broken(
        sums(bias=codes("b", 3, kind=Fixed(True, 4, 5))), "does not divide", "%a"
    ),
    "an exact accumulator that can overflow upwards": lambda: Broken(
        sums(weight=codes("w", 3, 2, value=-8), bias=codes("b", 3, value=7), out=EIGHT_BITS),
        "can reach 156, which 8 bits",
        "%a",
    ),
    "an exact accumulator that can overflow downwards": lambda: Broken(
        sums(weight=codes("w", 3, 2, value=7), bias=codes("b", 3, value=-8), out=EIGHT_BITS),
        "can reach -144, which 8 bits",
        "%a",
    ),
    "a ReLU that changes the type": lambda: Broken(
        with_op(1, Relu(retyped(R, replace(ACC, bits=10)), A), of=replace(INTEGER, ops=INTEGER.ops[:2])),
        "has type",
        "%r",
    ),
    "a ReLU that changes the shape": lambda: Broken(
        with_op(1, Relu(Value("h", TensorType((2,), REAL)), Z), of=FLOAT), "has type", "%h"
    ),
    "a clamp that changes the type": lambda: Broken(
        with_op(1, Clamp(retyped(H, CODE), Z, None, Fraction(1)), of=FLOAT), "has type", "%h"
    ),
    "a clamp to nothing": lambda: Broken(
        with_op(1, Clamp(H, Z, Fraction(1), Fraction(1, 2)), of=FLOAT), "empty range", "%h"
    ),
    "a clamp of codes below a unit": lambda: Broken(
        with_op(1, Clamp(R, A, Fraction(1, 2), None), of=INTEGER), "not an integer", "%r"
    ),
    "a clamp of codes above a unit": lambda: Broken(
        with_op(1, Clamp(R, A, None, Fraction(7, 3)), of=INTEGER), "not an integer", "%r"
    ),
    "a clamp of codes above their format": lambda: Broken(
        with_op(1, Clamp(R, A, Fraction(256), None), of=INTEGER), "clamps to codes outside acc<i9", "%r"
    ),
    "a clamp of codes below their format": lambda: Broken(
        with_op(1, Clamp(R, A, None, Fraction(-257)), of=INTEGER), "clamps to codes outside acc<i9", "%r"
    ),
    "a clamp of reals beyond doubles": lambda: Broken(
        with_op(1, Clamp(H, Z, None, Fraction(2) ** 1024), of=FLOAT), "beyond the range of doubles", "%h"
    ),
    "an input of a tiny unit": lambda: Broken(
        replace(INTEGER, input=retyped(Q, Fixed(True, 4, 401))), "unit that is not within", "%x"
    ),
    "a result of a huge unit": lambda: Broken(
        sums(out=retyped(A, replace(ACC, units=2 * MAX_SCALE))), "unit that is not within", "%a"
    ),
    "a constant of a tiny unit": lambda: Broken(
        sums(bias=codes("b", 3, kind=Fixed(True, 4, 401))), "unit that is not within", "@b"
    ),
    "a requantization of reals": lambda: Broken(
        with_op(1, Requantize(retyped(H, CODE), Z, Shift(0, UP), Overflow.WRAP), of=FLOAT),
        "cannot requantize",
        "%h",
    ),
    "a requantization to an accumulator": lambda: Broken(
        with_op(2, replace(NARROW, out=retyped(Y, ACC)), of=INTEGER), "cannot requantize", "%y"
    ),
    "a requantization to another shape": lambda: Broken(
        with_op(2, replace(NARROW, out=Value("y", TensorType((2,), CODE))), of=INTEGER),
        "cannot requantize",
        "%y",
    ),
    "a shift that the types contradict": lambda: Broken(
        with_op(2, replace(NARROW, kind=Shift(3, UP)), of=INTEGER),
        "multiplies by 1/8, but the types say 1/4",
        "%y",
    ),
    "a ratio that the types contradict": lambda: Broken(
        with_op(2, replace(NARROW, kind=Rational(Fraction(1, 3), UP)), of=INTEGER), "multiplies by 1/3", "%y"
    ),
    "a symmetric saturation about a zero point": lambda: Broken(
        with_op(2, replace(NARROW, out=ABOUT_FOUR, overflow=Overflow.SATURATE_SYMMETRIC), of=INTEGER),
        "only fixed-point formats do",
        "%y",
    ),
    "a table of other sums": lambda: Broken(reads(Table(-8, 4, (-8, -4, 0, 4))), "between the points", "%y"),
    "a table that runs the other way, of other sums": lambda: Broken(
        reads(Table(6, -2, (6, 4, 2))), "between the points", "%y"
    ),
    "a table that ends where it does not saturate": lambda: Broken(
        reads(Table(-200, 1, (*range(-8, 7), 1))), "beyond its table", "%y"
    ),
    "a table that begins where it does not saturate": lambda: Broken(
        reads(Table(0, 1, (1, *range(-8, 7)))), "beyond its table", "%y"
    ),
    "outputs of several units": lambda: Broken(PER_CHANNEL, "a unit for each output", "%a"),
    "a name that cannot be printed": lambda: Broken(
        with_op(1, Relu(Value("h 1", Z.type), Z), of=FLOAT), "'h 1' is not a name", "network @float"
    ),
    "a network without a name": lambda: Broken(replace(FLOAT, name=""), "'' is not a name", "network @"),
    "a runtime that cannot be printed": lambda: Broken(
        replace(FLOAT, runtime='re"al'), "is not a runtime", "network @float"
    ),
    "two constants of one name": lambda: Broken(
        with_op(0, rebuilt(LINEAR, bias=reals("w", 3)), of=FLOAT), "name of two constants", "@w"
    ),
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_a_network_that_breaks_one_rule_is_refused(make: Callable[[], Broken]) -> None:
    broken = make()
    with pytest.raises(MalformedModel) as refusal:
        verify(broken.network)
    assert broken.message in str(refusal.value)
    assert broken.at in str(refusal.value)
    assert f"network @{broken.network.name}" in str(refusal.value)


# --- accumulators -------------------------------------------------------------------------------------------


def brute_range(op: Affine, low: int, high: int) -> tuple[int, int]:
    weight, bias = op.integers
    corners = np.array(np.meshgrid(*[[low, high]] * op.x.size)).reshape(op.x.size, -1)
    reached = weight @ corners.astype(object) + bias[:, None]
    return int(reached.min()), int(reached.max())


@pytest.mark.parametrize("seed", range(8))
def test_the_range_of_an_accumulator_is_attained(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = replace(codes("w", 3, 2), data=rng.integers(-8, 8, (3, 2)))
    bias = replace(codes("b", 3), data=rng.integers(-8, 8, 3))
    op = rebuilt(SUMS, weight=weight, bias=bias)
    assert accumulator_range(op, -5, 7) == brute_range(op, -5, 7)
    assert accumulator_range(op, 2, 3) == brute_range(op, 2, 3)


def test_an_exact_accumulator_needs_room_for_the_worst_input_and_no_more() -> None:
    low, high = accumulator_range(SUMS, CODE.min, CODE.max)
    assert (low, high) == (-12, 18)
    for bits, fits in ((6, True), (5, False)):
        network = sums(out=retyped(A, replace(ACC, bits=bits)))
        if fits:
            verify(network)
        else:
            with pytest.raises(MalformedModel, match="5 bits do not hold"):
                verify(network)


def test_a_wrapping_accumulator_may_be_as_narrow_as_it_likes() -> None:
    wrapping = Accumulator(1, ACC.scale, AccumulatorOverflow.WRAP)
    verify(sums(out=retyped(A, wrapping)))


def test_an_accumulator_may_be_finer_than_its_products() -> None:
    fine = sums(out=retyped(A, Accumulator(12, Fraction(1, 48))))
    kind = Rational(Fraction(1, 12), UP)
    verify(replace(fine, ops=(*fine.ops[:2], replace(NARROW, x=fine.ops[1].out, kind=kind))))


def test_constants_may_be_shared_between_ops() -> None:
    weight, bias = reals("w", 2, 2), reals("b", 2)
    first, second = Value("z0", X.type), Value("z1", X.type)
    ops = (Affine(first, X, weight, bias), Affine(second, first, weight, bias))
    network = verify(Network("shared", "real", X, ops))
    assert list(network.constants) == [weight, bias]
