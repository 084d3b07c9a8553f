"""The analysis as a whole: the published example to the digit, inputs, overflow, infinities, stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import RealTensor
from qsmt.arith.requantize import Shift
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import CACHE_BYTES, PLANS, analyze, analyze_region
from qsmt.dra.compiled import compile_problem
from qsmt.dra.domain import Boxes, Mode
from qsmt.dra.inputs import input_facts
from qsmt.dra.stability import stability
from qsmt.facts import Facts, Interval, LayerFacts, Stability
from qsmt.frontend.combined import silent
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real, TensorType
from qsmt.ir.verify import verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from tests.support.any_network import any_problem
from tests.support.networks import Recipe, quantized_network, random_problem
from tests.unit.dra.soundness import QUICK, executed, violations
from tests.unit.dra.wild import Style, points_of, wild_pair, wild_problem

F = Fraction


def real_network(*layers: list[list[str]], biases: list[list[str]] | None = None) -> Network:
    """Affine layers with ReLUs between them; numbers as decimals or ratios."""
    value = source = Value("x", TensorType((len(layers[0][0]),), Real()))
    ops: list[Op] = []
    for i, rows in enumerate(layers):
        m, n = len(rows), len(rows[0])
        weight = RealTensor.of_fractions([F(v) for row in rows for v in row], (m, n))
        bias = RealTensor.of_fractions([F(v) for v in (biases[i] if biases else ["0"] * m)], (m,))
        out = Value(f"z{i}", TensorType((m,), Real()))
        ops.append(
            Affine(
                out, value, Const(f"w{i}", TensorType((m, n), Real()), weight), Const(f"b{i}", out.type, bias)
            )
        )
        value = out
        if i < len(layers) - 1:
            value = Value(f"h{i}", out.type)
            ops.append(Relu(value, out))
    return verify(Network("reference", "real", source, tuple(ops)))


def golden(rounding: Rounding) -> Problem:
    """The example that was published with the method (QEBVerif, CAV 2023)."""
    recipe = Recipe(
        sizes=(2, 2, 1),
        input=Fixed(False, 4, 4),
        weights=Fixed(True, 4, 2),
        hidden=Fixed(False, 4, 2),
        rounding=rounding,
    )
    zero = np.zeros(2, dtype=np.int64)
    codes = [(np.array([[5, -1], [-3, 3]]), zero), (np.array([[1, 3]]), zero[:1])]
    return Problem(
        reference=real_network([["1.2", "-0.2"], ["-0.7", "0.8"]], [["0.3", "0.7"]]),
        quantized=quantized_network(codes, recipe),
        region=Region(InputModel.GRID, (F(6), F(3)), (F(12), F(9))),
        input_scale=F(1, 15),
        claim=ErrorBound((0,), (F(1),)),
    )


HALF_STEP = 0.5 * 2.0**-2
"""Half a unit of the hidden format, which the published tables count into the difference before the activation."""


def same(found: Interval, printed: list[tuple[str, str]], *, noise: float = 0.0) -> None:
    """The printed intervals, to the digit, and rounded outward."""
    ends = zip(found.lower - noise, found.upper + noise, printed, strict=True)
    for low, high, (least, greatest) in ends:
        assert F(float(low)) <= F(least) and F(greatest) <= F(float(high))
        assert abs(low - float(least)) < 1e-12 and abs(high - float(greatest)) < 1e-12


def test_the_published_example_of_interval_mode_comes_out_to_the_digit() -> None:
    """With noise in [-1/2, 1/2], as published; that of half_up at 4 dropped bits is [-7/16, 1/2]."""
    problem = golden(Rounding.HALF_EVEN)
    inputs = input_facts(compile_problem(problem).inputs, Boxes.of_region(problem.region)).difference
    hidden, output = analyze_region(problem, Mode.INTERVAL).layers
    same(inputs[0], [("-0.05", "-0.025"), ("-0.0375", "-0.0125")])
    printed = [("-0.194375", "0.133125"), ("-0.204375", "0.123125")]
    same(hidden.difference_pre, printed, noise=HALF_STEP)
    same(hidden.difference_post, [("-0.194375", "0.133125"), ("-0.2", "0.123125")])
    same(output.difference_post, [("-0.24459375", "0.117625")])


def test_the_published_example_of_symbolic_mode_comes_out_to_the_digit() -> None:
    hidden, output = analyze_region(golden(Rounding.HALF_EVEN), Mode.SYMBOLIC).layers
    printed = [("-0.168125", "0.106875"), ("-0.185625", "0.104375")]
    same(hidden.difference_pre, printed, noise=HALF_STEP)
    same(output.difference_post, [("-0.19721875", "0.2045")])


@pytest.mark.parametrize("mode", [Mode.INTERVAL, Mode.SYMBOLIC])
def test_the_exact_noise_is_tighter_than_the_published_one(mode: Mode) -> None:
    published, ours = (
        analyze_region(golden(r), mode).difference for r in (Rounding.HALF_EVEN, Rounding.HALF_UP)
    )
    assert ours.lower[0] > published.lower[0] + 0.003
    problem = golden(Rounding.HALF_UP)
    assert violations(executed(problem, points_of(problem, 1, 100)), analyze_region(problem, mode)) == []


# --- modes and batches ----------------------------------------------------------------------------------


def looser(inner: Facts, outer: Facts, names: Sequence[str] = LayerFacts.__slots__) -> list[str]:
    """The bounds of `inner` that are not within those of `outer`, up to rounding."""
    found = []
    for i, (tight, loose) in enumerate(zip(inner.layers, outer.layers, strict=True)):
        for name in names:
            a, b = getattr(tight, name), getattr(loose, name)
            slack = 1e-12 * (1 + np.abs(b.lower) + np.abs(b.upper))
            if (a.lower < b.lower - slack).any() or (a.upper > b.upper + slack).any():
                found.append(f"layer {i}, {name}")
    return found


@pytest.mark.parametrize("seed", range(20))
def test_best_is_never_looser_than_any_mode_nor_interval_than_naive(seed: int) -> None:
    for problem in (wild_problem(seed, Style((3, 5, 4, 2))), wild_pair(seed, Style((3, 5, 4, 2)))):
        facts = {mode: analyze_region(problem, mode) for mode in PLANS}
        assert looser(facts[Mode.INTERVAL], facts[Mode.NAIVE]) == []
        for mode in PLANS:
            assert looser(facts[Mode.BEST], facts[mode]) == [], mode


def test_best_is_tighter_than_the_intersection_of_the_modes() -> None:
    """The product is more than its parts: somewhere the last lane improves on all of them."""
    gains = 0
    for seed in range(20):
        problem = wild_problem(seed, Style((4, 10, 10, 10, 2), radius=6, bits=6, wraps=False))
        parts = [analyze_region(problem, mode).difference for mode in PLANS if mode is not Mode.BEST]
        best = analyze_region(problem, Mode.BEST).difference
        gains += int((best.upper < np.min([p.upper for p in parts], axis=0) - 1e-6).any())
    assert gains >= 2


def test_differences_are_far_tighter_than_naive_on_close_networks() -> None:
    recipe = Recipe(
        sizes=(4, 12, 12, 2),
        input=Fixed(True, 8, 7),
        weights=Fixed(True, 10, 8),
        hidden=Fixed(False, 10, 7),
        reference_frac=9,
        radius=4,
    )
    problem = random_problem(3, recipe)
    naive, interval = (analyze_region(problem, mode).difference.width for mode in (Mode.NAIVE, Mode.INTERVAL))
    assert (interval < naive / 4).all()


def test_a_batch_equals_its_boxes_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = wild_problem(3, Style((3, 6, 6, 2), radius=6, bits=6))
    corner = np.array([[float(v) for v in x] for x in points_of(problem, 3, 11)])
    boxes = Boxes(corner, corner + 2)
    whole = analyze(problem, boxes)
    monkeypatch.setattr("qsmt.dra.analysis.CACHE_BYTES", 2 * 8 * 2 * 36)  # groups of two, and one left over
    for other in (analyze(problem, boxes), *(analyze(problem, boxes[i : i + 1]) for i in range(11))):
        count = len(other.difference.lower)
        assert other.difference.lower.shape == (count, 2)
    grouped = analyze(problem, boxes)
    for i in range(11):
        alone = analyze(problem, boxes[i : i + 1])[0]
        for facts in (whole[i], grouped[i]):
            np.testing.assert_allclose(facts.difference.lower, alone.difference.lower, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(facts.difference.upper, alone.difference.upper, rtol=1e-12, atol=1e-14)
    assert CACHE_BYTES > 2**16


def test_a_problem_is_compiled_once_whatever_its_region_and_claim() -> None:
    problem = random_problem(1, Recipe())
    other = replace(
        problem, claim=ErrorBound((0,), (F(9),)), region=replace(problem.region, upper=problem.region.lower)
    )
    assert compile_problem(problem) is compile_problem(other)


# --- exactness ------------------------------------------------------------------------------------------


def test_a_network_differs_from_itself_by_nothing() -> None:
    network = real_network([["0.7", "-1.3"], ["-0.1", "3"]], [["2.2", "1.9"], ["-5", "0.3"]], [["1", "1"]])
    box = Region(InputModel.CONTINUOUS, (F(-1), F(0)), (F(1), F(1, 3)))
    found = analyze_region(Problem(network, network, box, F(1, 3), ErrorBound((0,), (F(0),)))).difference
    assert (np.abs(found.lower) < 1e-300).all() and (np.abs(found.upper) < 1e-300).all()


def test_codes_are_bounded_by_the_exact_rule_at_both_ends() -> None:
    """With one input, the image of an interval under monotone steps is exact: the ends are attained."""
    for seed in range(40):
        style = Style(
            (1, 3), rounding=list(Rounding)[seed % 9], rational=seed % 2 == 0, wraps=False, radius=5
        )
        problem = wild_problem(seed, style)
        (ranges,), (facts,) = executed(problem, points_of(problem, 1, 50)), analyze_region(problem).layers
        for name in ("quantized_pre", "quantized_post"):
            assert getattr(facts, name).lower.tolist() == ranges[name].lower
            assert getattr(facts, name).upper.tolist() == ranges[name].upper


# --- inputs -----------------------------------------------------------------------------------------------


def continuous(low: Fraction, high: Fraction, *, scale: int = 1) -> Interval:
    """Bounds of the input difference of one real input in [low, high], format s4.2: from -2 to 7/4."""
    recipe = Recipe(sizes=(1, 1), input=Fixed(True, 4, 2), hidden=Fixed(False, 4, 2))
    problem = replace(
        random_problem(1, recipe),
        region=Region(InputModel.CONTINUOUS, (low,), (high,)),
        input_scale=F(scale),
    )
    return input_facts(compile_problem(problem).inputs, Boxes.of_region(problem.region)).difference[0]


@pytest.mark.parametrize(
    ("low", "high", "least", "greatest"),
    [
        (F(0), F(1), F(-1, 8), F(1, 8)),  # half a unit
        (F(1, 2), F(1, 2), F(0), F(0)),  # a code: exact
        (F(1, 8), F(1, 8), F(-1, 8), F(-1, 8)),  # a tie goes to the even code 0
        (F(3, 8), F(3, 8), F(1, 8), F(1, 8)),  # a tie goes to the even code 2
        (F(1, 32), F(1, 16), F(-1, 16), F(-1, 32)),  # rounds to 0 throughout
        (F(1), F(3), F(-5, 4), F(1, 8)),  # beyond 7/4 the code stays
        (F(2), F(3), F(-5, 4), F(-1, 4)),
        (F(-3), F(-5, 2), F(1, 2), F(1)),  # below -2 too
        (F(-3), F(3), F(-5, 4), F(1)),
    ],
)
def test_a_real_input_differs_from_its_code_by_half_a_unit_or_by_saturation(
    low: Fraction, high: Fraction, least: Fraction, greatest: Fraction
) -> None:
    found = continuous(low, high)
    assert (found.lower[0], found.upper[0]) == (least, greatest)


def test_the_input_quantizer_reads_the_scaled_input() -> None:
    """The real input is 2 x, so that x in [0, 1/32] rounds to zero throughout."""
    found = continuous(F(0), F(1, 32), scale=2)
    assert (found.lower[0], found.upper[0]) == (F(-1, 16), F(0))


# --- what overflows, or may -----------------------------------------------------------------------------------


def wrapping(bits: int, region: tuple[int, int], *, overflow: AccumulatorOverflow) -> Problem:
    """acc = 4 x with an accumulator of so many bits, then out = acc / 4; the reference passes x on."""
    kind, scale = Fixed(True, 8, 0), F(1)
    x = Value("x", TensorType((1,), kind))
    acc = Value("a", TensorType((1,), Accumulator(bits, scale, overflow)))
    one = TensorType((1, 1), kind)
    affine = Affine(
        acc, x, Const("w", one, np.array([[4]])), Const("b", TensorType((1,), kind), np.array([0]))
    )
    out = Value("y", TensorType((1,), Fixed(True, 8, -2)))
    ops = (affine, Requantize(out, acc, Shift(2, Rounding.FLOOR), Overflow.SATURATE))
    return Problem(
        real_network([["4"]]),
        verify(Network("q", "ideal", x, ops)),
        Region(InputModel.GRID, (F(region[0]),), (F(region[1]),)),
        F(1),
        ErrorBound((0,), (F(1),)),
    )


def test_an_accumulator_that_may_wrap_takes_its_full_range() -> None:
    facts = analyze_region(wrapping(8, (0, 40), overflow=AccumulatorOverflow.WRAP)).layers[0]
    assert (facts.quantized_pre.lower[0], facts.quantized_pre.upper[0]) == (-128, 127)
    assert (facts.difference_pre.lower[0], facts.difference_pre.upper[0]) == pytest.approx((-128 - 160, 127))


def test_an_accumulator_that_cannot_wrap_is_as_good_as_a_wide_one() -> None:
    narrow = analyze_region(wrapping(8, (0, 31), overflow=AccumulatorOverflow.WRAP)).layers[0]
    wide = analyze_region(wrapping(12, (0, 31), overflow=AccumulatorOverflow.EXACT)).layers[0]
    assert narrow.quantized_pre.upper[0] == 124
    for name in ("difference_pre", "difference_post"):
        assert getattr(narrow, name).upper[0] == getattr(wide, name).upper[0]
        assert abs(getattr(narrow, name).upper[0]) < 1e-10


@pytest.mark.parametrize("exponent", [60, 200, 300, 1000])
def test_overflow_gives_infinite_bounds_and_never_a_nan(exponent: int) -> None:
    """Five layers whose weights are 2**exponent: the products leave the doubles sooner or later."""
    big = f"{2**exponent}"
    deep = real_network([[big, "1"]] * 2, [[big, f"-{big}"]] * 2, [[big, big]] * 2, [[big, "-3"]])
    box = Region(InputModel.CONTINUOUS, (F(-1), F(1, 3)), (F(1), F(2)))
    problem = Problem(
        deep, real_network(*[[["1", "1"]] * 2] * 3, [["1", "1"]]), box, F(1), ErrorBound((0,), (F(1),))
    )
    ranges = executed(problem, points_of(problem, 1, 20))
    for mode in Mode:
        facts = analyze_region(problem, mode, effort=QUICK)
        assert violations(ranges, facts) == []
        for layer in facts.layers:
            for name in type(layer).__slots__:
                bound: Interval = getattr(layer, name)
                assert (bound.lower < np.inf).all() and (bound.upper > -np.inf).all()


# --- stability --------------------------------------------------------------------------------------------------


def phases(problem: Problem, facts: Facts) -> list[tuple[list[Stability], list[Stability]]]:
    return [(s.reference.tolist(), s.quantized.tolist()) for s in stability(problem, facts)]


def test_stability_is_read_off_both_sides() -> None:
    """x in [1, 2]; the reference's neurons: 2x, -x, x - 3/2; the codes saturate at 15/4 = 3.75."""
    recipe = Recipe(
        sizes=(1, 3, 1), input=Fixed(True, 4, 0), weights=Fixed(True, 5, 1), hidden=Fixed(False, 4, 2)
    )
    codes = [
        (np.array([[8], [-2], [2]]), np.array([0, 0, -3])),
        (np.array([[1, 1, 1]]), np.array([0])),
    ]
    problem = Problem(
        real_network([["2"], ["-1"], ["1"]], [["1", "1", "1"]], biases=[["0", "0", "-1.5"], ["0"]]),
        quantized_network(codes, recipe),
        Region(InputModel.GRID, (F(1),), (F(2),)),
        F(1),
        ErrorBound((0,), (F(1),)),
    )
    active, inactive, saturated, unstable = Stability
    assert phases(problem, analyze_region(problem)) == [
        ([active, inactive, unstable], [saturated, inactive, unstable])
    ]
    assert stability(problem, analyze_region(problem))[0].counts[0][active] == 1


@pytest.mark.parametrize("seed", range(25))
def test_a_stable_neuron_is_stable_at_every_input(seed: int) -> None:
    style = Style(
        (2, 6, 4, 1), overflow=list(Overflow)[seed % 4], rounding=list(Rounding)[seed % 9], radius=1
    )
    for problem in (wild_problem(seed, style), wild_pair(seed, replace(style, radius=1))):
        facts, points = analyze_region(problem), points_of(problem, seed, 30)
        ranges = executed(problem, points)
        for i, (ours, theirs) in enumerate(phases(problem, facts)):
            for side, kinds in (("reference", ours), ("quantized", theirs)):
                post = ranges[i][f"{side}_post"]
                constant = [low == high for low, high in zip(post.lower, post.upper, strict=True)]
                for kind, same in zip(kinds, constant, strict=True):
                    assert same or kind in (Stability.ACTIVE, Stability.UNSTABLE)


def test_a_batch_has_the_stability_of_each_box() -> None:
    problem = wild_problem(7, Style((2, 6, 4, 1)))
    facts = analyze(problem, Boxes(np.zeros((3, 2)), np.ones((3, 2))))
    (layer, _) = stability(problem, facts)
    assert layer.reference.shape == layer.quantized.shape == (3, 6)


def test_nothing_is_said_of_a_network_of_zeros_but_zero() -> None:
    """A property of one network has silence beside it: exact, and without work."""
    problem = any_problem(5, model=InputModel.GRID, wild=False)
    quiet = silent(problem.quantized)
    assert quiet.is_silent and not problem.reference.is_silent and not problem.quantized.is_silent
    facts = analyze(replace(problem, reference=quiet), Boxes.of_region(problem.region), Mode.SYMBOLIC)
    for layer in facts.layers:
        for part in (layer.reference_pre, layer.reference_post):
            assert not part.lower.any() and not part.upper.any()
