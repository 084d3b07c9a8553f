"""Quantizes a real network to fixed point: every value an integer over a power of two.

    weights, biases  rounded half away from zero, saturated to their format
    accumulator      exact: its unit is the finer of the products' and the bias's, its width the least
    hidden           the accumulator shifted and rounded to the hidden format, saturated; a clip's limits
                     are rounded half away to codes of that format
    output           the accumulator itself, or a format as for hidden layers

An unsigned format needs no ReLU op, its saturation at zero is the ReLU. This is the scheme of QEBVerif
(Zhang et al., CAV 2023) and of Henzinger et al. (AAAI 2021), with the formats free. The result is a
network in its own right, defined by its integers: rounding here is part of the question that qsmt
decides, never an error of the answer. All of it is computed on integers and `Fraction`s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from sys import float_info

import numpy as np

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.real import RealTensor, frozen
from qsmt.arith.requantize import Shift
from qsmt.arith.rounding import Rounding, round_fraction, round_ratio
from qsmt.errors import MalformedProblem
from qsmt.frontend.formats import FixedPointScheme, FormatSpec, choose_format, input_format, leaves, refuse
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Affine, Clamp, Const, Curve, LeakyRelu, Op, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, TensorType
from qsmt.ir.verify import accumulator_range, verify
from qsmt.problem import INPUT_ROUNDING

PARAMETER_ROUNDING = Rounding.HALF_AWAY


@dataclass(frozen=True, slots=True)
class ActivationRanges:
    """What a real network's values can be over a region.

    `layers`: bounds of each layer's activations, doubles rounded outward. `input`: the ends of the reals
    that the input quantizer reads, None if the network reads codes.
    """

    layers: tuple[tuple[float, float], ...]
    input: tuple[Fraction, Fraction] | None = None


@dataclass(frozen=True, slots=True)
class LayerFormats:
    """What became of a layer. `may_saturate`: over the region the reference's activations can leave the
    format that holds them here; None if their range is not known.
    """

    weights: Fixed
    bias: Fixed
    activation: Fixed | Accumulator
    saturated_weights: int
    saturated_biases: int
    may_saturate: bool | None


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """The formats that were chosen, and what they could not hold."""

    input: Fixed
    input_may_saturate: bool | None
    layers: tuple[LayerFormats, ...]

    @property
    def saturated_weights(self) -> int:
        return sum(layer.saturated_weights for layer in self.layers)

    @property
    def saturated_biases(self) -> int:
        return sum(layer.saturated_biases for layer in self.layers)

    @property
    def saturating_layers(self) -> tuple[int, ...]:
        """The layers whose activations can saturate over the region."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.may_saturate)


@dataclass(frozen=True, slots=True)
class Quantized:
    """An integer network, and how it came about."""

    network: Network
    report: QuantizationReport


def quantize(
    reference: Network,
    scheme: FixedPointScheme,
    *,
    ranges: ActivationRanges | None = None,
    layerwise: Sequence[FixedPointScheme] | None = None,
) -> Quantized:
    """The integer network that `scheme` makes of a real network; `layerwise`, each layer by a scheme of its own.

    Raises:
        MalformedProblem: when a format cannot do what is asked of it; `where` names the format.
    """
    if not reference.is_real:
        raise MalformedProblem(
            f"network @{reference.name} computes on integers already", hint="quantize a float network"
        )
    kind = input_format(scheme.input, ranges.input if ranges else None)
    source = x = Value("x", TensorType(reference.input.type.shape, kind))
    ops: list[Op] = []
    formats: list[LayerFormats] = []
    schemes = layerwise or (scheme,) * len(layers(reference))
    for step, own in zip(_steps(reference, schemes, ranges), schemes, strict=True):
        made, chosen = _quantize_layer(step, own, x=x)
        ops += made
        formats.append(chosen)
        x = ops[-1].out
    network = verify(Network(f"{reference.name}_fixed_point", "ideal", source, tuple(ops)))
    real = ranges.input if ranges else None
    saturates = leaves(kind, real, rounding=INPUT_ROUNDING) if real else None
    return Quantized(network, QuantizationReport(kind, saturates, tuple(formats)))


# --- one layer ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Limits:
    """A layer's activations, folded into one: clamp to [lower, upper]; None is no limit."""

    lower: Fraction | None = None
    upper: Fraction | None = None

    def __call__(self, value: Fraction) -> Fraction:
        above = value if self.lower is None else max(value, self.lower)
        return above if self.upper is None else min(above, self.upper)

    @property
    def is_relu(self) -> bool:
        return self.lower == 0 and self.upper is None

    @property
    def is_nonnegative(self) -> bool:
        return self.lower is not None and self.lower >= 0

    def then(self, later: _Limits) -> _Limits:
        """A clamp of a clamp is a clamp: the later one is applied to the earlier one's ends."""
        return _Limits(
            later.lower if self.lower is None else later(self.lower),
            later.upper if self.upper is None else later(self.upper),
        )

    def in_units(self, unit: Fraction) -> _Limits:
        """The limits as integers, rounded half away."""
        return _Limits(_code(self.lower, unit), _code(self.upper, unit))

    def within(self, kind: Fixed) -> _Limits:
        """Code limits saturated to a format."""
        ends = _Limits(Fraction(kind.min), Fraction(kind.max))
        return _Limits(
            None if self.lower is None else ends(self.lower), None if self.upper is None else ends(self.upper)
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """One layer of the reference, and what is known and wanted of its activations."""

    index: int
    layer: Layer
    limits: _Limits
    spec: FormatSpec | None  # None: the exact accumulator
    format_name: str
    range: tuple[float, float] | None

    @property
    def reach(self) -> tuple[Fraction, Fraction] | None:
        """The range as rationals; None where it is not known or not finite.

        What outward rounding makes of a zero is one: no format of a neuron that never fires has to hold it.
        """
        if self.range is None or not all(map(isfinite, self.range)):
            return None
        low, high = (Fraction(v) if abs(v) >= float_info.min else Fraction(0) for v in self.range)
        return self.limits(low), self.limits(high)


def _steps(
    reference: Network, schemes: Sequence[FixedPointScheme], ranges: ActivationRanges | None
) -> Sequence[_Step]:
    parts = layers(reference)
    last = len(parts) - 1
    known = ranges.layers if ranges else (None,) * len(parts)
    return [
        _Step(
            index=i,
            layer=layer,
            limits=_fold(layer.activation, i),
            spec=own.output if i == last else own.hidden,
            format_name="output" if i == last else "hidden",
            range=bounds,
        )
        for i, (layer, bounds, own) in enumerate(zip(parts, known, schemes, strict=True))
    ]


def _fold(activation: Sequence[Op], index: int) -> _Limits:
    folded = _Limits()
    for op in activation:
        match op:
            case Relu():
                folded = folded.then(_Limits(lower=Fraction(0)))
            case Clamp():
                folded = folded.then(_Limits(op.lower, op.upper))
            case LeakyRelu() | Curve():
                name = "leaky ReLU" if isinstance(op, LeakyRelu) else op.function
                what = f"layer {index} applies a {name}, and fixed point is made of ReLU and Clip only"
                raise MalformedProblem(
                    what, hint="compare it with its quantized ONNX file, or with a second float network"
                )
            case _:
                raise AssertionError(f"{type(op).__name__} is not an activation of a real network")
    return folded


def _quantize_layer(step: _Step, scheme: FixedPointScheme, *, x: Value) -> tuple[list[Op], LayerFormats]:
    affine, lost_weights, lost_biases = _affine(step, scheme, x=x)
    ops: list[Op] = [affine, *_activation(step, affine, rounding=scheme.rounding)]
    kind = ops[-1].out.type.element
    assert isinstance(kind, Fixed | Accumulator)
    formats = LayerFormats(
        weights=_format_of(affine.weight),
        bias=_format_of(affine.bias),
        activation=kind,
        saturated_weights=lost_weights,
        saturated_biases=lost_biases,
        may_saturate=_may_saturate(step, kind, rounding=scheme.rounding),
    )
    return ops, formats


def _may_saturate(step: _Step, kind: Fixed | Accumulator, *, rounding: Rounding) -> bool | None:
    if isinstance(kind, Accumulator):
        return False
    if step.range is None:
        return None
    return step.reach is None or leaves(kind, step.reach, rounding=rounding)


def _affine(step: _Step, scheme: FixedPointScheme, *, x: Value) -> tuple[Affine, int, int]:
    """The affine op on codes, and how many of its weights and biases saturated."""
    source, i = x.type.element, step.index
    assert isinstance(source, Fixed)
    weight, lost_weights = _parameter(
        f"w{i}", step.layer.affine.weight.reals, spec=scheme.weights, of="weights"
    )
    # A bias of zeros takes the products' unit: a finer one would widen the accumulator for nothing.
    products = _format_of(weight).frac + source.frac
    bias, lost_biases = _parameter(
        f"b{i}", step.layer.affine.bias.reals, spec=scheme.bias, of="bias", idle_frac=products
    )
    unit = Fraction(2) ** -max(products, _format_of(bias).frac)
    out = Value(f"a{i}", TensorType(bias.type.shape, Accumulator(1, unit)))
    return _fit(Affine(out, x, weight, bias), step), lost_weights, lost_biases


def _fit(draft: Affine, step: _Step) -> Affine:
    """The op with the narrowest accumulator that holds every sum, and a clip's limits where they act."""
    kind = draft.out.type.element
    assert isinstance(kind, Accumulator)
    held = list(_sums(draft))
    if step.spec is None:
        held += [int(step.limits.in_units(kind.scale)(Fraction(v))) for v in held]
    bits = max((v if v >= 0 else ~v).bit_length() for v in held) + 1
    fitting = TensorType(draft.out.type.shape, replace(kind, bits=bits))
    return replace(draft, out=Value(draft.out.name, fitting))


def _sums(op: Affine) -> tuple[int, int]:
    """The least and greatest sum that codes of the operand's format can give."""
    kind = op.x.type.element
    assert isinstance(kind, Fixed)
    return accumulator_range(op, kind.min, kind.max)


def _activation(step: _Step, affine: Affine, *, rounding: Rounding) -> list[Op]:
    """The ops between the accumulator and the next layer."""
    if step.spec is None:
        return _on_accumulator(step, affine)
    i, acc = step.index, affine.out.type.element
    target = _activation_format(step, step.spec, rounding=rounding)
    assert isinstance(acc, Accumulator)
    ops: list[Op] = []
    x = affine.out
    if step.limits.is_relu and target.signed:
        x = Value(f"r{i}", x.type)
        ops.append(Relu(x, affine.out))
    out = Value(f"h{i}", TensorType(x.type.shape, target))
    ops.append(Requantize(out, x, Shift(_shift(acc.scale / target.scale), rounding), Overflow.SATURATE))
    if step.limits.is_relu:
        return ops
    limits = step.limits.in_units(target.scale).within(target)
    return ops + _clamp(out, limits, name=f"c{i}", reach=(target.min, target.max))


def _on_accumulator(step: _Step, affine: Affine) -> list[Op]:
    """The activation of an exact output.

    A limit that is no multiple of the accumulator's unit is rounded to one, half away: no integer stands
    for the limit itself, and the nearest is at most half a unit off, no more than any rounding here.
    """
    x, acc = affine.out, affine.out.type.element
    assert isinstance(acc, Accumulator)
    if step.limits.is_relu:
        return [Relu(Value(f"r{step.index}", x.type), x)]
    return _clamp(x, step.limits.in_units(acc.scale), name=f"c{step.index}", reach=_sums(affine))


def _clamp(x: Value, limits: _Limits, *, name: str, reach: tuple[int, int]) -> list[Op]:
    """A clamp to code limits, without those that no code within `reach` meets."""
    low, high = reach
    lower = limits.lower if limits.lower is not None and limits.lower > low else None
    upper = limits.upper if limits.upper is not None and limits.upper < high else None
    if lower is None and upper is None:
        return []
    return [Clamp(Value(name, x.type), x, lower, upper)]


def _code(limit: Fraction | None, unit: Fraction) -> Fraction | None:
    return None if limit is None else Fraction(round_fraction(limit / unit, PARAMETER_ROUNDING))


def _shift(ratio: Fraction) -> int:
    """`s` such that a power of two is 2**-s."""
    return ratio.denominator.bit_length() - ratio.numerator.bit_length()


# --- formats --------------------------------------------------------------------------------------------


def _activation_format(step: _Step, spec: FormatSpec, *, rounding: Rounding) -> Fixed:
    nonnegative = step.limits.is_nonnegative
    if spec.signed is False and not nonnegative:
        what = f"layer {step.index} has no ReLU and no Clip from 0 up, so an unsigned format would add one"
        refuse(step.format_name, what, hint="leave signed out or make it true")
    signed = not nonnegative if spec.signed is None else spec.signed
    return choose_format(spec, step.reach, signed=signed, rounding=rounding, of=step.format_name)


def _parameter(
    name: str, tensor: RealTensor, *, spec: FormatSpec, of: str, idle_frac: int | None = None
) -> tuple[Const, int]:
    """A tensor as codes, and how many of them its format could not hold."""
    numerators, denominator = tensor.scaled
    ends = Fraction(int(numerators.min()), denominator), Fraction(int(numerators.max()), denominator)
    signed = spec.signed is not False
    if spec.bits - signed > 63:
        refuse(of, "an unsigned parameter has at most 63 bits", hint="leave signed out")
    kind = choose_format(spec, ends, signed=signed, rounding=PARAMETER_ROUNDING, of=of, idle_frac=idle_frac)
    unit = kind.scale
    rounded = round_ratio(numerators * unit.denominator, denominator * unit.numerator, PARAMETER_ROUNDING)
    codes = np.minimum(np.maximum(rounded, kind.min), kind.max)
    const = Const(name, TensorType(tensor.shape, kind), frozen(codes.astype(np.int64)))
    return const, int((codes != rounded).sum())


def _format_of(const: Const) -> Fixed:
    kind = const.type.element
    assert isinstance(kind, Fixed)
    return kind
