"""The formula of an error query, equisatisfiable with it; or, with a surrogate, one that it implies.

Both networks read one vector of integers. A layer's values are exact linear forms over integer terms
(see `linear`); each nonlinear operation makes a new term at the least width that its range allows, the
range being what interval propagation and the analysis' facts prove. The last forms are subtracted, and
the comparison with the bound is cleared of denominators: one inequality between integers.

The formula has a model if and only if some grid point of the region violates the bound: every operation
is a function of the inputs, exact for all inputs of the region, and the region is asserted. With a surrogate
of the reference (see `surrogate`) the bound is lowered by its error, so that the "if" is lost, not the "only if".
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor, isfinite
from typing import Any

from qsmt.encoding import Query
from qsmt.facts import Interval
from qsmt.ir.network import Layer, layers
from qsmt.ir.ops import Affine
from qsmt.ir.rules import Rules
from qsmt.ir.types import Real
from qsmt.problem import Problem
from qsmt_bitvector.linear import Linear, constant, minus, numerator, of_term, over_one_denominator, refined
from qsmt_bitvector.rules import INTEGER, REAL, Rule
from qsmt_bitvector.smtlib import Input, Script, body
from qsmt_bitvector.surrogate import Approximate, outputs
from qsmt_bitvector.widths import Circuit


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two networks: the letter its definitions begin with, and what is known of its layers."""

    letter: str
    rules: Rules[Rule]
    layers: tuple[Layer, ...]
    known: tuple[tuple[Interval, Interval], ...]  # before and after each layer's activation


def script(query: Query, bits: int | None = None) -> Script:
    """The query in SMT-LIB: exactly, or with the reference in so many fractional bits."""
    from pysmt.environment import Environment
    from pysmt.typing import BVType

    with Environment() as environment:
        circuit = Circuit(environment.formula_manager, BVType)
        codes = inputs(query)
        goal, slack = _goal(circuit, query, [_variable(circuit, i) for i in codes], bits)
        return Script(codes, body(circuit, goal), slack)


def excess(query: Query, x: tuple[Fraction, ...]) -> Fraction:
    """By how much this input of the region exceeds the bound: the formula itself, on constants, says it."""
    from pysmt.environment import Environment
    from pysmt.typing import BVType

    with Environment() as environment:
        circuit = Circuit(environment.formula_manager, BVType)
        difference, _ = _difference(circuit, query, [constant(v) for v in x], None)
    assert difference.is_constant, "constants went in"
    return query.side * difference.least - query.bound


def inputs(query: Query) -> tuple[Input, ...]:
    region = query.problem.region
    ends = zip(region.lower, region.upper, strict=True)
    return tuple(Input(i, int(low), int(high)) for i, (low, high) in enumerate(ends))


def _variable(circuit: Circuit, entry: Input) -> Linear:
    if not entry.is_free:
        return constant(entry.low)
    return of_term(circuit.variable(entry.name, entry.high - entry.low)).plus(entry.low)


def _goal(circuit: Circuit, query: Query, x: list[Linear], bits: int | None) -> tuple[Any, Fraction]:
    """`side * (quantized - reference) > bound - slack`, as one comparison of an integer with a constant."""
    difference, slack = _difference(circuit, query, x, bits)
    above = difference.scaled(Fraction(query.side)).plus(slack - query.bound).tightened()
    if above.high <= 0 or above.low > 0:
        return circuit.truth(above.high > 0), slack
    threshold = -above.constant  # the terms' sum must exceed it
    sums, by = Linear(above.parts, 0, above.low + threshold, above.high + threshold).reduced()
    return circuit.at_least(numerator(circuit, sums), least_above(Fraction(threshold, by))), slack


def least_above(threshold: Fraction) -> int:
    """The least integer that is strictly greater."""
    return floor(threshold) + 1


def _difference(circuit: Circuit, query: Query, x: list[Linear], bits: int | None) -> tuple[Linear, Fraction]:
    """The difference, and how far `side * difference` may be below its true value."""
    problem, known, i = query.problem, query.facts.difference, query.output
    found = _quantized_output(circuit, query, x)
    read = [v.scaled(problem.input_scale) for v in x]
    low, high = _exact(float(known.lower[i])), _exact(float(known.upper[i]))
    if bits is None:
        reference = Approximate(_outputs(circuit, _reference(query), read)[i])
    else:
        side = _reference(query)
        reference = outputs(circuit, side.layers, side.known, read, bits=bits)[i]
    least = None if low is None else low + reference.below
    greatest = None if high is None else high + reference.above
    difference = minus(found, reference.form).within(least, greatest, what=f"difference {i}")
    return difference, -reference.below if query.side > 0 else reference.above


def _quantized_output(circuit: Circuit, query: Query, x: list[Linear]) -> Linear:
    problem = query.problem
    last = problem.quantized.output.type.element
    scale = Fraction(1) if isinstance(last, Real) else last.scale
    forms = _outputs(circuit, _quantized(query), _quantized_input(problem, x))
    return forms[query.output].scaled(scale)


def _quantized_input(problem: Problem, x: list[Linear]) -> list[Linear]:
    if problem.quantized.is_real:
        return [v.scaled(problem.input_scale) for v in x]
    return x


def _reference(query: Query) -> _Side:
    known = tuple((f.reference_pre, f.reference_post) for f in query.facts.layers)
    return _Side("r", REAL, layers(query.problem.reference), known)


def _quantized(query: Query) -> _Side:
    known = tuple((f.quantized_pre, f.quantized_post) for f in query.facts.layers)
    network = query.problem.quantized
    return _Side("q", REAL if network.is_real else INTEGER, layers(network), known)


def _outputs(circuit: Circuit, side: _Side, x: list[Linear]) -> list[Linear]:
    """The forms of a network's outputs, layer by layer."""
    for i, (layer, (before, after)) in enumerate(zip(side.layers, side.known, strict=True)):
        name = f"{side.letter}{i}"
        x = _bounded(circuit, side.rules[Affine](circuit, layer.affine, x, name), before, name)
        for op in layer.activation:
            x = side.rules[type(op)](circuit, op, x, name)
        x = over_one_denominator(_bounded(circuit, x, after, name))
    return x


def _bounded(circuit: Circuit, forms: list[Linear], facts: Interval, name: str) -> list[Linear]:
    """The forms with what the analysis proved of them."""
    ends = zip(map(_exact, facts.lower.tolist()), map(_exact, facts.upper.tolist()), strict=True)
    return [
        refined(circuit, form.within(low, high, what=f"{name}.{i}"))
        for i, (form, (low, high)) in enumerate(zip(forms, ends, strict=True))
    ]


def _exact(bound: float) -> Fraction | None:
    """The number itself; None if it bounds nothing."""
    return Fraction(bound) if isfinite(bound) else None
