"""The batch interpreter: its integers are exact, and its error radius holds, at all magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

from qsmt.arith.curves import Bounds, Function, bounds
from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import RealTensor
from qsmt.arith.requantize import Rational, RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.frontend.combined import OutputInequality, constrained
from qsmt.interp import batch, batch_codes, batch_reals
from qsmt.interp.batch import BatchInterpreter, Differences
from qsmt.interp.batch_reals import Enclosure
from qsmt.interp.replay import Execution, replay
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Op, Relu, Requantize, Value
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real, TensorType
from qsmt.ir.verify import accumulator_range, verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from tests.support.any_network import any_problem, codes_of, curved, curved_network, real_network
from tests.support.networks import Recipe, random_problem, reference_network

F = Fraction
Point = tuple[Fraction, ...]
SEEDS = range(120)


def doubles(points: Sequence[Point]) -> np.ndarray:
    return np.array([[float(v) for v in x] for x in points])


def holds(found: Differences, executions: list[Execution]) -> bool:
    """Is every exact difference within the radius of the one that was found?"""
    radius = [F(r) if np.isfinite(r) else None for r in found.radius.tolist()]
    return all(
        r is None or execution.range_of(i)[0] - r <= F(d) <= execution.range_of(i)[1] + r
        for row, execution in zip(found.difference.tolist(), executions, strict=True)
        for i, (d, r) in enumerate(zip(row, radius, strict=True))
    )


def codes_agree(problem: Problem, found: Differences, executions: list[Execution]) -> bool:
    """The quantized outputs, which are exact where their unit is a power of two."""
    kind = problem.quantized.output.type.element
    assert not isinstance(kind, Real)
    exact = kind.scale.numerator == 1 and kind.scale.denominator.bit_count() == 1
    return not exact or [tuple(map(F, row)) for row in found.quantized.tolist()] == [
        e.quantized for e in executions
    ]


@cache
def case(seed: int, model: InputModel) -> tuple[Problem, list[Point], list[Execution]]:
    problem = any_problem(seed, model=model)
    points = codes_of(problem.quantized, seed)
    if model is InputModel.CONTINUOUS:  # halves of a code: ties of the input quantizer
        kind = problem.quantized.input.type.element
        assert isinstance(kind, Fixed)
        unit = kind.scale / problem.input_scale / 2
        points = [tuple(F(float(v * unit)) for v in x) for x in points]
    return problem, points, replay(problem, points)


def agrees(seed: int, model: InputModel) -> bool:
    problem, points, executions = case(seed, model)
    found = BatchInterpreter(problem).run(doubles(points))
    return holds(found, executions) and codes_agree(problem, found, executions)


@pytest.mark.parametrize("model", InputModel)
def test_the_radius_holds_on_networks_of_everything(model: InputModel) -> None:
    assert [seed for seed in SEEDS if not agrees(seed, model)] == []


@pytest.mark.parametrize("make", [real_network, curved_network])
@pytest.mark.parametrize("seed", range(20))
def test_the_radius_holds_between_two_real_networks(seed: int, make: Callable[..., Network]) -> None:
    first = make(seed)
    sizes = [first.input.size, *(op.out.size for op in first.ops if isinstance(op, Affine))]
    outputs = tuple(range(sizes[-1]))
    problem = Problem(
        reference=first,
        quantized=real_network(seed + 1000, sizes=sizes),
        region=Region(InputModel.CONTINUOUS, (F(-9),) * sizes[0], (F(9),) * sizes[0]),
        input_scale=F(1, 7),
        claim=ErrorBound(outputs, (F(1),) * len(outputs)),
    )
    rng = np.random.default_rng(seed)
    points = rng.uniform(-9, 9, (20, sizes[0])) * 2.0 ** rng.integers(-300, 1, (20, sizes[0]))
    executions = replay(problem, [tuple(map(F, x)) for x in points.tolist()])
    assert holds(BatchInterpreter(problem).run(points), executions)


@pytest.mark.parametrize("kind", [*Function, F(1, 10)])
def test_the_radius_holds_and_is_tiny_where_there_are_curves(kind: Function | Fraction) -> None:
    problem = random_problem(3, Recipe(sizes=(4, 16, 16, 2), input_scale=F(1, 7), radius=9))
    problem = replace(problem, reference=curved(problem.reference, [kind, kind, None]))
    low, high = (np.array(list(map(int, end))) for end in (problem.region.lower, problem.region.upper))
    points = np.random.default_rng(0).integers(low, high, (40, 4), endpoint=True)
    executions = replay(problem, [tuple(map(F, x)) for x in points.tolist()])
    found = BatchInterpreter(problem).run(points.astype(float))
    assert holds(found, executions)
    assert found.radius.max() < 1e-11


CURVE_FAULTS: dict[str, tuple[str, Any]] = {
    "the width of a value is forgotten": ("bounds", lambda f, x: Bounds(*2 * [bounds(f, x).lower])),
    "errors pass a curve unseen": ("STEEPEST", dict.fromkeys(Function, 0.0)),
}


def through_a_tanh() -> tuple[Problem, list[Point]]:
    """One neuron, whose operand nearly cancels: all its digits are lost but a few."""
    weight, bias = np.array([[2.0**20]]), np.array([-float(F(2**20 * 5, 7))])
    first = reference_network([(weight, bias), (np.ones((1, 1)), np.zeros(1))], clip=None)
    return Problem(
        reference=curved(first, [Function.TANH, None]),
        quantized=reference_network(
            [(np.zeros((1, 1)), np.zeros(1)), (np.ones((1, 1)), np.zeros(1))], clip=None
        ),
        region=Region(InputModel.CONTINUOUS, (F(-9),), (F(9),)),
        input_scale=F(1, 7),
        claim=ErrorBound((0,), (F(1),)),
    ), [(F(5),), (F(5) + F(1, 2**18),), (F(5) - F(1, 2**17),)]


def test_the_radius_holds_where_an_operand_nearly_cancels() -> None:
    problem, points = through_a_tanh()
    for x in points:
        assert holds(BatchInterpreter(problem).run(doubles([x])), replay(problem, [x]))


@pytest.mark.parametrize("fault", CURVE_FAULTS)
def test_a_fault_of_a_curve_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_reals, *CURVE_FAULTS[fault])
    problem, points = through_a_tanh()
    identity = reference_network([(np.ones((1, 1)), np.zeros(1))] * 2, clip=None)
    direct = replace(problem, reference=curved(identity, [Function.TANH, None]))
    assert any(
        not holds(BatchInterpreter(asked).run(doubles([x])), replay(asked, [x]))
        for asked in (problem, direct)
        for x in points
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_radius_of_an_ordinary_problem_is_tiny(seed: int) -> None:
    problem = random_problem(seed, Recipe(sizes=(4, 16, 16, 2), input_scale=F(1, 7)))
    points = np.array([[float(v) for v in problem.region.lower]])
    assert BatchInterpreter(problem).run(points).radius.max() < 2e-12


def test_a_batch_is_the_same_as_its_points_one_by_one() -> None:
    problem, points, _ = case(4, InputModel.GRID)
    interpreter = BatchInterpreter(problem)
    together = interpreter.run(doubles(points)).quantized
    alone = [interpreter.run(doubles([x])).quantized[0] for x in points]
    assert np.array_equal(together, alone)


def test_the_given_points_are_left_alone() -> None:
    problem, points, _ = case(4, InputModel.GRID)
    given = doubles(points)
    BatchInterpreter(problem).run(given)
    assert np.array_equal(given, doubles(points))


def test_no_points_have_no_outputs() -> None:
    problem, points, _ = case(4, InputModel.GRID)
    found = BatchInterpreter(problem).run(doubles(points)[:0])
    assert found.difference.shape == (0, problem.reference.output.size)


# --- the edges of exactness -------------------------------------------------------------------------------


def one_neuron(source: Fixed, weight: int, *ops: Callable[[Value], Op], bits: int = 63) -> Problem:
    """A quantized network of one neuron and what follows it, beside a reference that is zero."""
    x, kind = Value("x", TensorType((1,), source)), Fixed(True, bits, 0)
    w = Const("w", TensorType((1, 1), kind), np.array([[weight]]))
    b = Const("b", TensorType((1,), kind), np.array([0]))
    draft = Affine(Value("a", TensorType((1,), Accumulator(1, source.scale))), x, w, b)
    low, high = accumulator_range(draft, source.min, source.max)
    needed = max(abs(low), abs(high)).bit_length() + 1
    affine = replace(draft, out=Value("a", TensorType((1,), Accumulator(needed, source.scale))))
    chain: list[Op] = [affine]
    for make in ops:
        chain.append(make(chain[-1].out))
    return Problem(
        reference=reference_network([(np.zeros((1, 1)), np.zeros(1))]),
        quantized=verify(Network("q", "ideal", x, tuple(chain))),
        region=Region(InputModel.GRID, (F(source.min),), (F(source.max),)),
        input_scale=source.scale,
        claim=ErrorBound((0,), (F(1),)),
    )


def requantize(target: Fixed, kind: RequantKind, overflow: Overflow) -> Callable[[Value], Op]:
    return lambda x: Requantize(Value("y", TensorType((1,), target)), x, kind, overflow)


def clamp(lower: int | None, upper: int | None) -> Callable[[Value], Op]:
    limits = (None if v is None else F(v) for v in (lower, upper))
    return lambda x: Clamp(Value("c", x.type), x, *limits)


UP = Rounding.HALF_UP
S4 = Fixed(True, 4, 0)

EDGES: dict[str, Callable[[], Problem]] = {
    "wrapped to more bits than single precision": lambda: one_neuron(
        S4, 5, requantize(Fixed(True, 40, 0), Shift(0, UP), Overflow.WRAP)
    ),
    "wrapped to 64 bits": lambda: one_neuron(
        S4, 5, requantize(Fixed(True, 64, 0), Shift(0, UP), Overflow.WRAP)
    ),
    "scaled up by a ratio beyond single precision": lambda: one_neuron(
        S4, 5, requantize(Fixed(True, 40, 25), Rational(F(2**25), UP), Overflow.SATURATE)
    ),
    "scaled up by a shift beyond double precision": lambda: one_neuron(
        S4, 5, requantize(Fixed(True, 64, 58), Shift(-58, UP), Overflow.SATURATE)
    ),
    "an accumulator just within single precision": lambda: one_neuron(Fixed(True, 11, 0), 1023, bits=11),
    "an accumulator just beyond single precision": lambda: one_neuron(
        Fixed(True, 12, 0), 2**12 - 1, requantize(Fixed(True, 12, -12), Shift(12, UP), Overflow.SATURATE)
    ),
    "an accumulator just beyond double precision": lambda: one_neuron(
        Fixed(True, 12, 0), 2**42 - 1, requantize(Fixed(True, 12, -42), Shift(42, UP), Overflow.SATURATE)
    ),
    "an accumulator far beyond double precision": lambda: one_neuron(Fixed(True, 12, 0), 2**60 + 1),
    "an output beyond double precision that reads codes beyond single precision": lambda: one_neuron(
        Fixed(True, 30, 0), 2**40 - 1
    ),
    "a shift to nothing": lambda: one_neuron(
        Fixed(True, 12, 0), 7, requantize(Fixed(True, 4, -100), Shift(100, UP), Overflow.SATURATE)
    ),
    "a limit that single precision does not hold": lambda: one_neuron(
        S4, 2**30, clamp(-(2**31) + 1, 2**29 + 1)
    ),
    "a limit beyond the type": lambda: one_neuron(S4, 5, clamp(-(10**400), 10**400)),
    "a lower limit at the top": lambda: one_neuron(S4, 5, clamp(63, None)),
}


@pytest.mark.parametrize("make", EDGES.values(), ids=EDGES)
def test_integers_stay_exact_at_the_edges_of_the_formats(make: Callable[[], Problem]) -> None:
    problem = make()
    low, high = int(problem.region.lower[0]), int(problem.region.upper[0])
    step = max(1, (high - low) // 500)
    points: list[Point] = [(F(v),) for v in {*range(low, high, step), high, -1, 0, 1}]
    executions, found = replay(problem, points), BatchInterpreter(problem).run(doubles(points))
    assert holds(found, executions)
    if all(F(float(e.quantized[0])) == e.quantized[0] for e in executions):
        assert codes_agree(problem, found, executions)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("shift", [1, 2, 10, 11, 12, 21, 30])
def test_every_rounding_is_exact_around_its_ties(rounding: Rounding, shift: int) -> None:
    target = Fixed(True, 14, -shift)
    problem = one_neuron(Fixed(True, 13, 0), 1, requantize(target, Shift(shift, rounding), Overflow.SATURATE))
    points: list[Point] = [
        (F(v),) for v in {*range(-70, 71), *(s * (2**11 + k) for s in (-1, 1) for k in range(-3, 4))}
    ]
    found = BatchInterpreter(problem).run(doubles(points))
    assert codes_agree(problem, found, replay(problem, points))
    assert not np.signbit(found.quantized[found.quantized == 0]).any()


def wide_output(seed: int) -> tuple[Problem, list[Point]]:
    """A property's combinations of a 16-bit network's outputs, whose sums no double holds, beside silence."""
    weights, hidden = Fixed(True, 8, 6), Fixed(False, 16, 10)
    recipe = Recipe((2, 5, 3), input=Fixed(True, 16, 10), weights=weights, hidden=hidden, radius=2000)
    base = random_problem(seed, recipe)
    third = OutputInequality.of({}, {0: F(1), 1: F(-1, 3**20), 2: F(2**9 + 1)}, F(0), strict=True)
    made = constrained(None, base.quantized, ((third,),))
    problem = replace(base, reference=made.reference, quantized=made.quantized, claim=made.claim)
    rng = np.random.default_rng(seed)
    ends = zip(problem.region.lower, problem.region.upper, strict=True)
    columns = [rng.integers(int(low), int(high) + 1, 40).tolist() for low, high in ends]
    return problem, [tuple(map(F, point)) for point in zip(*columns, strict=True)]


@pytest.mark.parametrize("seed", range(12))
def test_sums_of_outputs_that_no_double_holds_are_within_their_radius(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the output is rounded: the network is not left to the exact interpreter, a thousand times slower."""
    problem, points = wide_output(seed)
    executions = replay(problem, points)
    monkeypatch.setattr(batch, "_exact_side", None)
    found = BatchInterpreter(problem).run(doubles(points))
    last = problem.quantized.ops[-1]
    assert isinstance(last, Affine) and batch_codes.bits_of_sums(last) > 51
    assert holds(found, executions) and (found.radius < 1e-9 * np.abs(found.difference).max()).all()
    assert not holds(replace(found, radius=0 * found.radius), executions)


def test_a_network_of_zeros_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, points = wide_output(0)
    monkeypatch.setitem(batch_reals.REAL_RULES._table, Affine, lambda _: None)
    assert problem.reference.is_silent
    assert not BatchInterpreter(problem).run(doubles(points)).reference.any()


def test_a_wrapping_accumulator_wraps() -> None:
    made = one_neuron(Fixed(True, 6, 0), 100)
    affine = made.quantized.ops[0]
    assert isinstance(affine, Affine)
    kind = Accumulator(8, F(1), AccumulatorOverflow.WRAP)
    narrow = replace(affine, out=Value("a", TensorType((1,), kind)))
    problem = replace(made, quantized=verify(replace(made.quantized, ops=(narrow,))))
    points: list[Point] = [(F(v),) for v in range(-32, 32)]
    assert codes_agree(problem, BatchInterpreter(problem).run(doubles(points)), replay(problem, points))


# --- where doubles fail -----------------------------------------------------------------------------------


def test_where_something_overflows_nothing_is_claimed() -> None:
    """Output 0 is inf - inf in doubles, and 0 in truth; output 1 is fine."""
    huge = np.full((2, 1), 1e200)
    back = np.array([[1e200, -1e200], [0.0, 0.0]])
    reference = reference_network([(huge, np.zeros(2)), (back, np.ones(2))])
    problem = Problem(
        reference=reference,
        quantized=reference,
        region=Region(InputModel.CONTINUOUS, (F(1),), (F(2),)),
        input_scale=F(1),
        claim=ErrorBound((0, 1), (F(0), F(0))),
    )
    found = BatchInterpreter(problem).run(np.array([[1.0], [2.0]]))
    assert found.radius[0] == np.inf
    assert not found.difference[:, 0].any()


def test_an_input_that_underflows_when_scaled_is_within_its_radius() -> None:
    problem = replace(random_problem(0, Recipe(sizes=(1, 2, 1))), input_scale=F(1, 8))
    problem = replace(problem, region=replace(problem.region, model=InputModel.CONTINUOUS))
    tiny = np.array([[2.0**-1074]])
    scaled = batch_reals.scaled_input(tiny, problem.input_scale)
    assert F(float(scaled.radius[0])) >= abs(F(2) ** -1077 - F(float(scaled.values[0, 0])))


# --- planted faults ------------------------------------------------------------------------------------------


@contextmanager
def planted(table: Rules[Any], op: type[Op], rule: Callable[..., Any]) -> Iterator[None]:
    original = table._table[op]
    table._table[op] = rule
    try:
        yield
    finally:
        table._table[op] = original


def caught(seeds: range = range(400)) -> bool:
    return any(not agrees(seed, InputModel.GRID) for seed in seeds)


def least_slack(seed: int) -> Affine:
    """1025 * w + b: three roundings, each of which can be off by nearly a whole unit roundoff."""
    rng = np.random.default_rng(seed)
    w, b = 1 + F(int(rng.integers(2**20)), 3 * 2**40), F(int(rng.integers(2**20)), 7 * 2**50)
    x, z = Value("x", TensorType((1,), Real())), Value("z", TensorType((1,), Real()))
    weight, bias = RealTensor.of_fractions([w], (1, 1)), RealTensor.of_fractions([b], (1,))
    return Affine(z, x, Const("w", TensorType((1, 1), Real()), weight), Const("b", z.type, bias))


def slack_holds(seed: int) -> bool:
    op = least_slack(seed)
    found = batch_reals.REAL_RULES[Affine](op)(Enclosure(np.array([[1025.0]]), np.zeros(1)))
    exact = 1025 * op.weight.reals.fractions[0, 0] + op.bias.reals.fractions[0]
    return bool(abs(F(float(found.values[0, 0])) - exact) <= F(float(found.radius[0])))


def limit_holds() -> bool:
    """Zero, clamped from a third up."""
    z = Value("z", TensorType((1,), Real()))
    step = batch_reals.REAL_RULES[Clamp](Clamp(replace(z, name="c"), z, F(1, 3), None))
    found = step(Enclosure(np.zeros((1, 1)), np.zeros(1)))
    return abs(F(float(found.values[0, 0])) - F(1, 3)) <= F(float(found.radius[0]))


def test_the_radius_holds_where_there_is_least_slack() -> None:
    assert all(map(slack_holds, range(2000)))
    assert limit_holds()


CODE, REAL = dict(batch_codes.CODE_RULES._table), dict(batch_reals.REAL_RULES._table)


def with_rounding(op: Requantize, precision: Any) -> Any:
    wrong = Rounding.HALF_AWAY if op.rule.exact.rounding is Rounding.HALF_UP else op.rule.exact.rounding
    return CODE[Requantize](replace(op, kind=replace(op.rule.exact, rounding=wrong)), precision)


def unsaturated(op: Requantize, precision: Any) -> Any:
    return CODE[Requantize](replace(op, overflow=Overflow.WRAP), precision)


def with_bias(op: Affine, precision: Any) -> Any:
    changed = replace(op)
    changed.__dict__["integers"] = (op.integers[0], op.integers[1] + 1)
    return CODE[Affine](changed, precision)


def with_sign(op: Affine, precision: Any) -> Any:
    changed = replace(op)
    changed.__dict__["integers"] = (-op.integers[0], op.integers[1])
    return CODE[Affine](changed, precision)


CODE_FAULTS: dict[str, tuple[type[Op], Callable[..., Any]]] = {
    "half up done as half away": (Requantize, with_rounding),
    "no saturation": (Requantize, unsaturated),
    "bias off by one unit": (Affine, with_bias),
    "weight signs": (Affine, with_sign),
    "ReLU forgotten": (Relu, lambda op, precision: lambda codes: codes),
    "clamp forgotten": (Clamp, lambda op, precision: lambda codes: codes),
}


@pytest.mark.parametrize(("op", "rule"), CODE_FAULTS.values(), ids=CODE_FAULTS)
def test_a_fault_of_the_integer_side_is_caught(op: type[Op], rule: Callable[..., Any]) -> None:
    with planted(batch_codes.CODE_RULES, op, rule):
        assert caught()


def certain(op: Op) -> Callable[[Enclosure], Enclosure]:
    """The rule, but sure of its result."""
    step = REAL[type(op)](op)

    def surely(x: Enclosure) -> Enclosure:
        found = step(x)
        return Enclosure(found.values, np.zeros_like(found.radius))

    return surely


def without_rounding(op: Affine) -> Callable[[Enclosure], Enclosure]:
    """Errors are passed on, none is added."""
    step, weight = REAL[Affine](op), np.abs(op.weight.reals.nearest)
    return lambda x: Enclosure(step(x).values, weight @ x.radius)


def nearest_only(op: Affine) -> Callable[[Enclosure], Enclosure]:
    """Parameters that are not doubles taken for doubles."""

    def rounded(const: Const) -> Const:
        return replace(const, data=RealTensor.of_floats(const.reals.nearest))

    step: Callable[[Enclosure], Enclosure] = REAL[Affine](
        replace(op, weight=rounded(op.weight), bias=rounded(op.bias))
    )
    return step


def optimist(op: Clamp) -> Callable[[Enclosure], Enclosure]:
    """Limits that are not doubles taken for doubles."""
    step = REAL[Clamp](op)
    return lambda x: Enclosure(step(x).values, x.radius)


REAL_FAULTS: dict[str, tuple[type[Op], Callable[..., Any]]] = {
    "no radius at all": (Affine, certain),
    "no rounding errors": (Affine, without_rounding),
    "ReLU forgotten": (Relu, lambda op: lambda x: x),
}


@pytest.mark.parametrize(("op", "rule"), REAL_FAULTS.values(), ids=REAL_FAULTS)
def test_a_fault_of_the_real_side_is_caught(op: type[Op], rule: Callable[..., Any]) -> None:
    with planted(batch_reals.REAL_RULES, op, rule):
        assert caught()


def test_parameters_that_are_silently_rounded_are_caught() -> None:
    with planted(batch_reals.REAL_RULES, Affine, nearest_only):
        assert not all(map(slack_holds, range(2000)))


def test_limits_that_are_silently_rounded_are_caught() -> None:
    with planted(batch_reals.REAL_RULES, Clamp, optimist):
        assert not limit_holds()


def test_without_a_fault_nothing_is_caught() -> None:
    assert not caught()
