"""A problem's numbers in the form that analysis wants, computed once for thousands of boxes.

Everything here depends on the two networks and on the input relation, not on the region or the claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from qsmt.arith.fixed import Format
from qsmt.arith.units import Unit
from qsmt.dra.activation import Activation, compiled, formula, one_unit, unit
from qsmt.dra.affine import AffineMap, affine_map, difference_of, of_const
from qsmt.dra.interval import AffineStep, Ranged, Step, affine_step, linear_part, rounding_of, step
from qsmt.dra.rounding import IntervalRounding
from qsmt.dra.shape import Shape, shape_of
from qsmt.dra.tabulated import Tabulated, tabulated
from qsmt.facts import Interval
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.ops import Curve, LeakyRelu, Requantize
from qsmt.ir.types import Real
from qsmt.problem import InputModel, Problem


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One layer of one network."""

    linear: AffineMap  # in units of the types: codes to accumulator, or reals to reals
    affine: AffineStep
    steps: tuple[Step, ...]  # its activation
    activation: Activation  # the same as one formula, in real units; without limits if it is a shape
    shape: Shape | None  # the same, where it is no clamp
    table: Tabulated | None  # the same, where it stands for the other network's shape
    roundings: tuple[IntervalRounding, ...]  # the activation without its limits, in units of the types
    pre_unit: Unit
    post_unit: Fraction  # one for all: accumulators per channel are requantized
    is_integer: bool

    def activated(self, pre: Ranged) -> Ranged:
        """Through the activation, in units of the types."""
        for transfer in self.steps:
            pre = transfer(pre)
        return pre

    def image(self, pre: Interval) -> Interval:
        """The activation's values on real numbers, without its noise."""
        return self.activation.limits.of(pre) if self.shape is None else self.shape.image(pre)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledLayer:
    """An aligned layer: both networks, and what maps their differences."""

    reference: Side
    quantized: Side
    weight: AffineMap  # of the quantized network, in real units; linear
    gap: AffineMap  # quantized minus reference, weight and bias, in real units
    real: AffineMap  # of the quantized network, in real units
    is_active: bool  # does either network do anything after its affine map?

    @property
    def is_curved(self) -> bool:
        """Is the activation of either network no clamp?"""
        return self.reference.shape is not None or self.quantized.shape is not None


@dataclass(frozen=True, slots=True, eq=False)
class InputRelation:
    """What both networks read of x."""

    model: InputModel
    scale: Fraction
    format: Format | None  # of the quantized network's input; None if it reads reals

    @property
    def unit(self) -> Fraction:
        """What one unit of the quantized network's input stands for."""
        return self.format.scale if self.format else Fraction(1)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledProblem:
    """Two networks and their input relation."""

    inputs: InputRelation
    layers: tuple[CompiledLayer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Itself:
    """A network as a key: networks are compared by identity, which costs nothing."""

    network: Network

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.network is self.network

    def __hash__(self) -> int:
        return id(self.network)


def compile_problem(problem: Problem) -> CompiledProblem:
    """The numeric form of a problem; problems that differ in region or claim share it."""
    networks = _Itself(problem.reference), _Itself(problem.quantized)
    return _compile(*networks, problem.input_scale, problem.region.model)


@lru_cache(maxsize=16)
def _compile(
    reference: _Itself, quantized: _Itself, input_scale: Fraction, model: InputModel
) -> CompiledProblem:
    kind = quantized.network.input.type.element
    pairs = zip(layers(reference.network), layers(quantized.network), strict=True)
    return CompiledProblem(
        inputs=InputRelation(model, input_scale, kind if isinstance(kind, Format) else None),
        layers=tuple(_compile_layer(ours, theirs) for ours, theirs in pairs),
    )


def compile_network(network: Network) -> tuple[Side, ...]:
    """The numeric form of one network."""
    return tuple(map(_compile_side, layers(network)))


def _compile_layer(reference: Layer, quantized: Layer) -> CompiledLayer:
    ours, theirs, one = reference.affine, quantized.affine, _compile_side(reference)
    return CompiledLayer(
        reference=one,
        quantized=_compile_side(quantized, one.shape),
        weight=affine_map(of_const(theirs.weight)),
        real=affine_map(of_const(theirs.weight), of_const(theirs.bias)),
        gap=affine_map(difference_of(theirs.weight, ours.weight), difference_of(theirs.bias, ours.bias)),
        is_active=bool(reference.activation or quantized.activation),
    )


def _compile_side(layer: Layer, other: Shape | None = None) -> Side:
    """A layer of one network; `other` is the shape of the layer that it is compared with."""
    linear = linear_part(layer.affine)
    shapes = [shape_of(op) for op in layer.activation if isinstance(op, LeakyRelu | Curve)]
    return Side(
        linear=linear,
        affine=affine_step(layer.affine, linear),
        steps=tuple(map(step, layer.activation)),
        activation=compiled(formula(() if shapes else layer.activation)),
        shape=shapes[0] if shapes else None,
        table=tabulated(other, layer.activation),
        roundings=tuple(rounding_of(op) for op in layer.activation if isinstance(op, Requantize)),
        pre_unit=unit(layer.pre),
        post_unit=one_unit(layer.post),
        is_integer=not isinstance(layer.pre.type.element, Real),
    )
