"""Both networks as rows, op by op.

An activation is collected in `Neuron`s and put into rows when the next layer reads it. A neuron that the
bounds show to be constant, or never clamped, costs no binary; in a real network it then costs no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from qsmt.arith.real import ExactArray
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Clamp, LeakyRelu, Relu, Requantize, Value
from qsmt.ir.rules import Rules
from qsmt.ir.types import Real
from qsmt_milp.bigm import Bounds, confine
from qsmt_milp.model import Builder, Linear, combination
from qsmt_milp.neuron import Neuron
from qsmt_milp.ranges import Ranges
from qsmt_milp.steps import fits_rows, stairs, window

Neurons: TypeAlias = list[Neuron]
Rule: TypeAlias = Callable[..., Neurons]
RULES: Rules[Rule] = Rules("the MILP encoding")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the rows of one network go, what its variables are called, and what is known of its values."""

    builder: Builder
    labels: dict[str, str]
    ranges: Ranges

    def bounds(self, value: Value) -> list[Bounds]:
        known = self.ranges.of[value.name]
        return list(zip(known.lower.tolist(), known.upper.tolist(), strict=True))

    def neurons(self, value: Value, forms: list[Linear]) -> Neurons:
        """Expressions of a value's elements, with the bounds that are known of them."""
        return [Neuron(f, low, high) for f, (low, high) in zip(forms, self.bounds(value), strict=True)]

    def settle(self, value: Value, neurons: Neurons) -> list[Linear]:
        """The neurons of `value` as expressions, with the rows that define them."""
        return [self.settle_one(value, i, neuron=neuron) for i, neuron in enumerate(neurons)]

    def settle_one(self, value: Value, i: int, *, neuron: Neuron) -> Linear:
        known = self.ranges.of[value.name]
        bounds = known.lower[i], known.upper[i]
        return settled(self.builder, f"{self.labels[value.name]}.{i}", neuron=neuron, bounds=bounds)


def put_output(
    builder: Builder, network: Network, *, prefix: str, inputs: list[Linear], known: Ranges, output: int
) -> Linear:
    """One output of the network as an expression of `inputs`, with the rows that define it."""
    scope = Scope(builder, labels(network, prefix), known)
    neurons = scope.neurons(network.input, inputs)
    for op in network.ops:
        neurons = RULES[type(op)](scope, op, neurons)
    return scope.settle_one(network.output, output, neuron=neurons[output])


def labels(network: Network, prefix: str) -> dict[str, str]:
    """What the variables of each value are called: `q.h1` after the second activation, `q.h1_0` within it."""
    found = {network.input.name: f"{prefix}.x"}
    for i, layer in enumerate(layers(network)):
        found |= {op.out.name: f"{prefix}.h{i}_{k}" for k, op in enumerate(layer.activation)}
        found |= {layer.post.name: f"{prefix}.h{i}", layer.pre.name: f"{prefix}.z{i}"}
    return found


def settled(builder: Builder, name: str, *, neuron: Neuron, bounds: Bounds) -> Linear:
    """The neuron, which lies within `bounds`, as an expression."""
    low, high = bounds
    if low == high:
        return Linear(low)
    crossed = crosses(neuron, bounds)
    if neuron.rule is None and not any(crossed):
        return neuron.form
    ends = neuron.low, neuron.high
    source = replace(neuron, form=named(builder, f"{name}.pre", form=neuron.form, bounds=ends))
    if neuron.rule is not None and not fits_rows(neuron):
        return stairs(builder, name, source)
    integer = neuron.rule is not None
    value = builder.variable(name, low, high, integer=integer)
    rows = window(builder, name, neuron=source, value=value)
    confine(builder, name, value=value, window=rows, bounds=bounds, crossed=crossed, integer=integer)
    return value


def crosses(neuron: Neuron, bounds: Bounds) -> tuple[bool, bool]:
    """May the neuron before its clamp be below its floor, above its ceiling?

    Only a limit that the clamped neuron attains, which is then the end of its bounds, can be crossed.
    """
    low, high = bounds
    below = neuron.floor == low and neuron.unclamped(neuron.low) < low
    above = neuron.ceiling == high and neuron.unclamped(neuron.high) > high
    return below, above


def named(builder: Builder, name: str, *, form: Linear, bounds: Bounds) -> Linear:
    """`form` by a variable of its own, if it is a sum: several rows will read it."""
    if len(form.terms) <= 1:
        return form
    variable = builder.variable(name, *bounds, integer=False)
    builder.equal(f"{name}.def", form - variable)
    return variable


# --- one rule per op -----------------------------------------------------------------------------------


@RULES.register(Affine)
def _affine(scope: Scope, op: Affine, neurons: Neurons) -> Neurons:
    label, bounds = scope.labels[op.x.name], scope.bounds(op.x)
    inputs = [
        named(scope.builder, f"{label}.{i}", form=form, bounds=bounds[i])
        for i, form in enumerate(scope.settle(op.x, neurons))
    ]
    weight, bias = parameters(op)
    rows = zip(weight.tolist(), bias.tolist(), strict=True)
    return scope.neurons(op.out, [combination(row, inputs, constant) for row, constant in rows])


def parameters(op: Affine) -> tuple[ExactArray, ExactArray]:
    """The exact weight and bias, in units of the result."""
    if isinstance(op.out.type.element, Real):
        return op.weight.reals.fractions, op.bias.reals.fractions
    return op.integers


@RULES.register(Relu)
def _relu(_scope: Scope, _op: Relu, neurons: Neurons) -> Neurons:
    return [neuron.clamped(0, None) for neuron in neurons]


@RULES.register(Clamp)
def _clamp(_scope: Scope, op: Clamp, neurons: Neurons) -> Neurons:
    return [neuron.clamped(op.lower, op.upper) for neuron in neurons]


@RULES.register(LeakyRelu)
def _leaky_relu(scope: Scope, op: LeakyRelu, neurons: Neurons) -> Neurons:
    """slope x + (1 - slope) relu(x): the binary of a ReLU, and none where the sign is known."""
    label = scope.labels[op.out.name]
    forms = [_leaky(scope.builder, f"{label}.{i}", op, neuron) for i, neuron in enumerate(neurons)]
    return scope.neurons(op.out, forms)


def _leaky(builder: Builder, name: str, op: LeakyRelu, neuron: Neuron) -> Linear:
    low, high = neuron.low, neuron.high
    form = named(builder, f"{name}.pre", form=neuron.form, bounds=(low, high))
    clamped = replace(neuron, form=form).clamped(0, None)
    relu = settled(builder, f"{name}.relu", neuron=clamped, bounds=(max(low, 0), max(high, 0)))
    return form * op.slope + relu * (1 - op.slope)


@RULES.register(Requantize)
def _requantize(scope: Scope, op: Requantize, neurons: Neurons) -> Neurons:
    if any(neuron.rule is not None for neuron in neurons):
        neurons = scope.neurons(op.x, scope.settle(op.x, neurons))
    return [neuron.requantized(rule) for neuron, rule in zip(neurons, op.rules, strict=True)]
