"""The quantizer against a second one, written from the scheme's definition on rational numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.requantize import Shift
from qsmt.arith.rounding import Rounding
from qsmt.errors import MalformedModel, MalformedProblem
from qsmt.frontend import fixed_point
from qsmt.frontend.fixed_point import ActivationRanges, Quantized, quantize
from qsmt.frontend.formats import AUTO, FixedPointScheme, FormatSpec, choose_format
from qsmt.interp import quantized as interpreter
from qsmt.ir.network import layers
from qsmt.ir.ops import Clamp, Op, Relu, Requantize
from qsmt.ir.text import print_network
from qsmt.ir.types import Accumulator
from qsmt.ir.verify import accumulator_range
from tests.support.second_quantizer import (
    RELU,
    ROUND,
    Clip,
    Second,
    Spec,
    certified,
    clip_all,
    random_scheme,
    random_spec,
    second_quantizer,
)

F = Fraction


def case(seed: int) -> tuple[Spec, FixedPointScheme, ActivationRanges]:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    return spec, random_scheme(rng), certified(spec, F(-1), F(1))


def disagreement(seed: int) -> str | None:
    """None, or where the two quantizers differ."""
    spec, scheme, ranges = case(seed)
    expected = second_quantizer(spec, scheme, ranges)
    try:
        made = quantize(spec.network(), scheme, ranges=ranges)
    except (MalformedModel, OverflowError) as error:
        return f"the network is refused: {error}"
    return first_difference(made, expected, np.random.default_rng(seed))


def first_difference(made: Quantized, expected: Second, rng: np.random.Generator) -> str | None:
    for i, layer in enumerate(layers(made.network)):
        w, b = layer.affine.weight, layer.affine.bias
        weight_kind, bias_kind, act = expected.formats[i]
        acc, post = layer.pre.type.element, layer.post.type.element
        report = made.report.layers[i]
        assert isinstance(acc, Accumulator)
        checks = {
            "weight format": (w.type.element, weight_kind),
            "bias format": (b.type.element, bias_kind),
            "weights": (w.codes.tolist(), expected.codes[i][0]),
            "biases": (b.codes.tolist(), expected.codes[i][1]),
            "accumulator's unit": (acc.scale, expected.units[i]),
            "activation format": (post, act or acc),
            "reported formats": (
                (report.weights, report.bias, report.activation),
                (weight_kind, bias_kind, post),
            ),
            "reported losses": ((report.saturated_weights, report.saturated_biases), expected.lost[i]),
        }
        for what, (ours, theirs) in checks.items():
            if ours != theirs:
                return f"layer {i}, {what}: {ours} != {theirs}"
    codes = rng.integers(expected.input.min, expected.input.max, (8, made.network.input.size), endpoint=True)
    got = interpreter.run(made.network, [[F(int(v)) for v in point] for point in codes])
    for point, outputs in zip(codes.tolist(), got, strict=True):
        if list(outputs) != expected.run(point):
            return f"at {point}: {outputs} != {expected.run(point)}"
    return None


SEEDS = range(150)


def test_two_independent_quantizers_agree() -> None:
    assert {seed: d for seed in SEEDS if (d := disagreement(seed))} == {}


# --- planted faults: each must be seen by the comparison above ------------------------------------------


def _bias_frac_off_by_one(*args: Any, of: str, **kwargs: Any) -> Fixed:
    kind = choose_format(*args, of=of, **kwargs)
    return replace(kind, frac=kind.frac - 1) if of == "bias" else kind


def _wide_arrays() -> SimpleNamespace:
    return SimpleNamespace(minimum=lambda a, _: a, maximum=lambda a, _: a, int64=np.int64)


def _wrapping_codes() -> SimpleNamespace:
    def wrap(values: Any, high: int) -> Any:
        return (values + high + 1) % (2 * high + 2) - high - 1

    return SimpleNamespace(minimum=wrap, maximum=lambda a, _: a, int64=np.int64)


def _without_relu(*args: Any, **kwargs: Any) -> list[Op]:
    ops = _activation(*args, **kwargs)
    return [Clamp(op.out, op.x, None, None) if isinstance(op, Relu) else op for op in ops]


_activation, _clamp, _fold = fixed_point._activation, fixed_point._clamp, fixed_point._fold

FAULTS: dict[str, tuple[str, Any]] = {
    "parameters rounded half to even": ("PARAMETER_ROUNDING", Rounding.HALF_EVEN),
    "parameters rounded down": ("PARAMETER_ROUNDING", Rounding.FLOOR),
    "parameters rounded half up": ("PARAMETER_ROUNDING", Rounding.HALF_UP),
    "parameters not saturated": ("np", _wide_arrays()),
    "parameters wrapped": ("np", _wrapping_codes()),
    "bias has one fractional bit too few": ("choose_format", _bias_frac_off_by_one),
    "activations wrap": ("Overflow", SimpleNamespace(SATURATE=Overflow.WRAP)),
    "activations saturate symmetrically": ("Overflow", SimpleNamespace(SATURATE=Overflow.SATURATE_SYMMETRIC)),
    "activations truncated": ("Shift", lambda shift, _: Shift(shift, Rounding.FLOOR)),
    "shift off by one": ("Shift", lambda shift, rounding: Shift(shift + 1, rounding)),
    "a ReLU before a signed format is dropped": ("_activation", _without_relu),
    "an upper limit is dropped": (
        "_clamp",
        lambda x, limits, **at: _clamp(x, replace(limits, upper=None), **at),
    ),
    "a lower limit is dropped": (
        "_clamp",
        lambda x, limits, **at: _clamp(x, replace(limits, lower=None), **at),
    ),
    "limits are rounded down": ("_code", lambda v, unit: None if v is None else F(floor(v / unit))),
    "the last of several activations is dropped": ("_fold", lambda ops, i: _fold(ops[:1], i)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(fixed_point, name, wrong)
    assert any(disagreement(seed) for seed in SEEDS)


# --- rules, one by one ----------------------------------------------------------------------------------

BYTE = FormatSpec(8, 4)
SCHEME = FixedPointScheme(FormatSpec(8, 4), BYTE, BYTE, BYTE)


def one_input(weights: list[float], biases: list[float], *clips: list[Clip]) -> Spec:
    """A chain of layers of one neuron."""
    return Spec([[[F(w)]] for w in weights], [[F(b)] for b in biases], [*clips])


def op_names(made: Quantized) -> list[str]:
    return [type(op).__name__ for op in made.network.ops]


@pytest.mark.parametrize("seed", range(40))
def test_accumulators_are_as_narrow_as_their_values_allow(seed: int) -> None:
    spec, scheme, ranges = case(seed)
    for layer in layers(quantize(spec.network(), scheme, ranges=ranges).network):
        acc, x = layer.pre.type.element, layer.affine.x.type.element
        assert isinstance(acc, Accumulator) and isinstance(x, Fixed)
        low, high = accumulator_range(layer.affine, x.min, x.max)
        limits = [v for op in layer.activation if isinstance(op, Clamp) for v in (op.lower, op.upper) if v]
        held = [low, high, *(int(v) for v in limits if op_is_exact(layer.activation))]
        assert min(held) < acc.min // 2 or max(held) > acc.max // 2 or acc.bits == 1
        assert acc.min <= low and high <= acc.max


def op_is_exact(activation: Sequence[Op]) -> bool:
    return not any(isinstance(op, Requantize) for op in activation)


def test_an_unsigned_format_is_its_own_relu_and_a_signed_one_is_not() -> None:
    spec = one_input([1, 1], [0, 0], [RELU], [])
    assert op_names(quantize(spec.network(), SCHEME)) == ["Affine", "Requantize", "Affine"]
    signed = replace(SCHEME, hidden=replace(BYTE, signed=True))
    assert op_names(quantize(spec.network(), signed)) == ["Affine", "Relu", "Requantize", "Affine"]


def test_a_layer_without_activation_is_signed_and_has_no_relu() -> None:
    made = quantize(one_input([1, 1], [0, 0], [], []).network(), SCHEME)
    assert op_names(made) == ["Affine", "Requantize", "Affine"]
    assert made.report.layers[0].activation == Fixed(True, 8, 4)


def test_an_unsigned_format_without_a_relu_is_refused() -> None:
    unsigned = replace(SCHEME, hidden=replace(BYTE, signed=False))
    symmetric: Clip = (F(-1), F(1))
    for clips in ([], [symmetric]):
        with pytest.raises(MalformedProblem, match=r"hidden: layer 0 has no ReLU .*; leave signed out"):
            quantize(one_input([1, 1], [0, 0], clips, []).network(), unsigned)
    output = replace(SCHEME, output=replace(BYTE, signed=False))
    with pytest.raises(MalformedProblem, match=r"output: layer 1 has no ReLU"):
        quantize(one_input([1, 1], [0, 0], [RELU], []).network(), output)


def test_relu6_is_a_requantization_with_a_limit() -> None:
    made = quantize(one_input([1, 1], [0, 0], [(F(0), F(6))], []).network(), SCHEME)
    clamp = made.network.ops[2]
    assert isinstance(clamp, Clamp) and clamp.lower is None and clamp.upper == 96
    assert made.report.layers[0].activation == Fixed(False, 8, 4)


def test_limits_that_never_act_leave_no_op() -> None:
    made = quantize(one_input([1, 1], [0, 0], [(F(0), F(100))], []).network(), SCHEME)
    assert op_names(made) == ["Affine", "Requantize", "Affine"]


def test_an_exact_output_keeps_its_activation_on_the_accumulator() -> None:
    assert op_names(quantize(one_input([1], [0], [RELU]).network(), SCHEME)) == ["Affine", "Relu"]
    made = quantize(one_input([1], [0], [(F(0), F(1, 3))]).network(), SCHEME)
    clamp = made.network.output
    assert made.network.ops[-1] == Clamp(clamp, made.network.ops[0].out, F(0), F(85))  # 256 / 3 = 85.33


def test_an_accumulator_holds_a_limit_that_no_sum_reaches() -> None:
    made = quantize(one_input([1], [0], [(F(1000), F(2000))]).network(), SCHEME)
    assert interpreter.run(made.network, [[F(3)]]) == [(F(1000),)]
    acc = made.network.output.type.element
    assert isinstance(acc, Accumulator) and acc.min <= 1000 * 256 <= acc.max


def test_a_fine_bias_makes_the_accumulator_finer() -> None:
    made = quantize(one_input([1], [0.001], []).network(), replace(SCHEME, bias=FormatSpec(8, 12)))
    acc = made.network.output.type.element
    assert isinstance(acc, Accumulator) and acc.scale == F(2) ** -12
    assert interpreter.run(made.network, [[F(16)]]) == [(1 + F(4, 4096),)]


def test_a_hidden_format_finer_than_the_accumulator_shifts_left() -> None:
    spec = one_input([1, 1], [0, 0], [RELU], [])
    made = quantize(spec.network(), replace(SCHEME, hidden=FormatSpec(16, 11)))
    requantize = made.network.ops[1]
    assert isinstance(requantize, Requantize) and requantize.kind == Shift(-3, Rounding.HALF_UP)
    assert interpreter.run(made.network, [[F(16)]]) == [(F(1),)]


def test_an_integer_network_is_not_quantized_again() -> None:
    made = quantize(one_input([1], [0], []).network(), SCHEME)
    with pytest.raises(MalformedProblem, match="computes on integers already"):
        quantize(made.network, SCHEME)


def test_unsigned_parameters_of_64_bits_are_refused() -> None:
    with pytest.raises(MalformedProblem, match="weights: an unsigned parameter has at most 63 bits"):
        quantize(one_input([1], [0], []).network(), replace(SCHEME, weights=FormatSpec(64, 4, signed=False)))


@pytest.mark.parametrize(("bits", "frac"), [(0, 0), (65, 0), (-1, 0), (8, 1025), (8, -1025), (10**9, AUTO)])
def test_formats_that_do_not_exist_are_refused(bits: int, frac: Any) -> None:
    with pytest.raises(MalformedProblem, match="a format has"):
        FormatSpec(bits, frac)


# --- auto -----------------------------------------------------------------------------------------------


def auto(bits: int, *, signed: bool | None = None) -> FormatSpec:
    return FormatSpec(bits, AUTO, signed)


@pytest.mark.parametrize(
    ("bits", "weights", "frac"),
    [
        (8, [1.0], 6),  # 128 does not fit, 64 does
        (8, [-1.0], 7),  # -128 does
        (8, [127 / 128], 7),
        (8, [127.4 / 128], 7),  # rounds to 127
        (8, [127.5 / 128], 6),  # rounds to 128
        (8, [0.001], 16),
        (8, [1e30], -93),
        (1, [1.0], -2),  # one signed bit holds -1 and 0 only: 1/4 rounds to 0, 1/2 to 1
        (8, [0.0], 7),
        (64, [1.0], 62),
    ],
)
def test_auto_is_the_finest_format_without_saturation(bits: int, weights: list[float], frac: int) -> None:
    made = quantize(one_input(weights, [0], []).network(), replace(SCHEME, weights=auto(bits)))
    assert made.report.layers[0].weights == Fixed(True, bits, frac)
    assert made.report.saturated_weights == 0


def test_a_bias_of_zeros_does_not_widen_the_accumulator() -> None:
    made = quantize(one_input([1], [0], []).network(), replace(SCHEME, bias=auto(16)))
    acc = made.network.output.type.element
    assert isinstance(acc, Accumulator) and acc.scale == F(2) ** -8


def test_what_outward_rounding_makes_of_zero_is_held_as_zeros_are() -> None:
    """Of a layer that never fires, analysis certifies the smallest double."""
    network = one_input([1, 1], [0, 0], [RELU], []).network()
    kinds = {
        quantize(network, replace(SCHEME, hidden=auto(8)), ranges=ActivationRanges(((0.0, high), (0.0, 1.0))))
        .report.layers[0]
        .activation
        for high in (0.0, 5e-324, 1e-310)
    }
    assert kinds == {Fixed(False, 8, 8)}


def test_auto_needs_to_know_the_values() -> None:
    network = one_input([1, 1], [0, 0], [RELU], []).network()
    unbounded = ActivationRanges(((0.0, float("inf")), (0.0, 1.0)))
    undefined = ActivationRanges(((float("nan"), 1.0), (0.0, 1.0)))
    for ranges in (None, unbounded, undefined):
        with pytest.raises(
            MalformedProblem, match=r'hidden: frac = "auto" needs a bounded range.*; give frac'
        ):
            quantize(network, replace(SCHEME, hidden=auto(8)), ranges=ranges)
    with pytest.raises(MalformedProblem, match="input: "):
        quantize(network, replace(SCHEME, input=auto(8)))


def test_auto_refuses_an_unsigned_format_for_negative_values() -> None:
    network = one_input([-1], [0], []).network()
    with pytest.raises(MalformedProblem, match="weights: the format is unsigned, but values reach -1"):
        quantize(network, replace(SCHEME, weights=auto(8, signed=False)))
    reals = ActivationRanges(((-1.0, 1.0),), (F(-1), F(1)))
    with pytest.raises(MalformedProblem, match="input: the format is unsigned"):
        quantize(network, replace(SCHEME, input=auto(8, signed=False)), ranges=reals)


def test_auto_input_takes_both_real_ends() -> None:
    network = one_input([1], [0], []).network()
    for ends_, frac in (((-1, 1), 6), ((-1, F(127, 128)), 7), ((0, 100), 0), ((0, 0), 7), ((-300, 0), -2)):
        reals = ActivationRanges(((0.0, 0.0),), (F(ends_[0]), F(ends_[1])))
        made = quantize(network, replace(SCHEME, input=auto(8)), ranges=reals)
        assert made.report.input == Fixed(True, 8, frac)
        assert made.report.input_may_saturate is False


@pytest.mark.parametrize("seed", range(30))
def test_auto_formats_hold_every_sampled_execution_of_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    ranges = certified(spec, F(-1), F(1))
    bits = int(rng.integers(2, 12))
    scheme = FixedPointScheme(auto(bits), auto(bits), auto(2 * bits), auto(bits), auto(bits))
    report = quantize(spec.network(), scheme, ranges=replace(ranges, input=(F(-1), F(1)))).report
    assert (report.saturated_weights, report.saturated_biases, report.saturating_layers) == (0, 0, ())
    assert report.input_may_saturate is False
    for point in rng.integers(-64, 64, (20, len(spec.weights[0][0])), endpoint=True).tolist():
        values = [F(v, 64) for v in point]
        for rows, bias, clips, chosen in zip(
            spec.weights, spec.biases, spec.clips, report.layers, strict=True
        ):
            sums = [
                b + sum(map(Fraction.__mul__, row, values), F(0)) for row, b in zip(rows, bias, strict=True)
            ]
            values = [clip_all(z, clips) for z in sums]
            kind = chosen.activation
            assert isinstance(kind, Fixed)
            assert all(kind.fits(ROUND[Rounding.HALF_UP](v / kind.scale)) for v in values)


# --- the report -----------------------------------------------------------------------------------------


def test_the_report_counts_what_saturates() -> None:
    network = Spec([[[F(9), F(-9)], [F(1), F(-8)]], [[F(1), F(1)]]], [[F(8), F(0)], [F(0)]], [[RELU], []])
    ranges = ActivationRanges(((0.0, 15.9), (0.0, 99.0)), (F(-8), F(8)))
    made = quantize(network.network(), SCHEME, ranges=ranges)
    first = made.report.layers[0]
    assert (first.saturated_weights, first.saturated_biases) == (
        2,
        1,
    )  # -8 is representable, 9, -9 and 8 are not
    assert (made.report.saturated_weights, made.report.saturated_biases) == (2, 1)
    assert made.report.input_may_saturate is True
    assert made.report.saturating_layers == ()


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ((0.0, 15.9375), False),
        ((0.0, 15.96), False),  # rounds down to the last code
        ((0.0, 15.97), True),
        ((0.0, float("inf")), True),
        ((-1e-300, 1.0), False),  # outward rounding of a ReLU's lower end
    ],
)
def test_the_report_says_which_layers_can_saturate(known: tuple[float, float], expected: bool) -> None:
    network = one_input([1, 1], [0, 0], [RELU], []).network()
    report = quantize(network, SCHEME, ranges=ActivationRanges((known, (0.0, 1e9)))).report
    assert report.saturating_layers == ((0,) if expected else ())
    assert [layer.may_saturate for layer in report.layers] == [expected, False]


def test_without_ranges_the_report_does_not_guess() -> None:
    report = quantize(one_input([1, 1], [0, 0], [RELU], []).network(), SCHEME).report
    assert [layer.may_saturate for layer in report.layers] == [None, False]
    assert report.input_may_saturate is None


@pytest.mark.parametrize("seed", range(10))
def test_layers_by_schemes_of_their_own(seed: int) -> None:
    """The same scheme for every layer is that scheme; another one for one layer changes that layer's formats."""
    spec, scheme, ranges = case(seed)
    network = spec.network()
    count = len(layers(network))
    same = quantize(network, scheme, ranges=ranges, layerwise=[scheme] * count)
    assert print_network(same.network) == print_network(quantize(network, scheme, ranges=ranges).network)
    wider = replace(scheme, weights=FormatSpec(9, AUTO))
    made = quantize(network, scheme, ranges=ranges, layerwise=[scheme] * (count - 1) + [wider])
    assert [layer.weights.bits for layer in made.report.layers] == [scheme.weights.bits] * (count - 1) + [9]
