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
from math import ceil, floor, isfinite
from typing import Any

from qsmt.claim import Inequality
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


def missing(query: Query, x: tuple[Fraction, ...]) -> Fraction | None:
    """By how much this input of the region is no solution, None if it is one: the formula, on constants, says it."""
    from pysmt.environment import Environment
    from pysmt.typing import BVType

    with Environment() as environment:
        circuit = Circuit(environment.formula_manager, BVType)
        values = _Values.of(circuit, query, [constant(v) for v in x], None)
    found = {i: values.difference(i).least for i in values.rows}
    if query.is_solution(lambda i: (found[i], found[i])):
        return None
    return -min(part.side * found[part.output] - part.bound for part in query.inequalities)


def inputs(query: Query) -> tuple[Input, ...]:
    region = query.problem.region
    ends = zip(region.lower, region.upper, strict=True)
    return tuple(Input(i, int(low), int(high)) for i, (low, high) in enumerate(ends))


def _variable(circuit: Circuit, entry: Input) -> Linear:
    if not entry.is_free:
        return constant(entry.low)
    return of_term(circuit.variable(entry.name, entry.high - entry.low)).plus(entry.low)


def _goal(circuit: Circuit, query: Query, x: list[Linear], bits: int | None) -> tuple[Any, Fraction]:
    """All inequalities of the query, each lowered by its slack, and the largest slack."""
    values = _Values.of(circuit, query, x, bits)
    found = [_comparison(circuit, values, part) for part in query.inequalities]
    return circuit.all_of([holds for holds, _ in found]), max(slack for _, slack in found)


def _comparison(circuit: Circuit, values: _Values, part: Inequality) -> tuple[Any, Fraction]:
    """`side * (quantized - reference) > bound - slack` (or `>=`), as one comparison of an integer with a constant."""
    slack = values.slack(part)
    above = values.difference(part.output).scaled(Fraction(part.side)).plus(slack - part.bound).tightened()
    if part.strict:
        never, always = above.high <= 0, above.low > 0
    else:
        never, always = above.high < 0, above.low >= 0
    if never or always:
        return circuit.truth(always), slack
    threshold = -above.constant  # what the terms' sum must exceed, or reach
    sums, by = Linear(above.parts, 0, above.low + threshold, above.high + threshold).reduced()
    least = least_above(Fraction(threshold, by)) if part.strict else ceil(Fraction(threshold, by))
    return circuit.at_least(numerator(circuit, sums), least), slack


def least_above(threshold: Fraction) -> int:
    """The least integer that is strictly greater."""
    return floor(threshold) + 1


@dataclass(frozen=True, slots=True)
class _Values:
    """Both networks' outputs, of which a query reads the `rows`: the reference's may be off by a little."""

    query: Query
    quantized: list[Linear]
    reference: list[Approximate]

    @staticmethod
    def of(circuit: Circuit, query: Query, x: list[Linear], bits: int | None) -> _Values:
        """The values at x, with the reference exact, or in so many fractional bits."""
        problem, side = query.problem, _reference(query)
        theirs = _outputs(circuit, _quantized(query), _quantized_input(problem, x))
        read = [v.scaled(problem.input_scale) for v in x]
        if bits is None:
            return _Values(query, theirs, [Approximate(v) for v in _outputs(circuit, side, read)])
        return _Values(query, theirs, outputs(circuit, side.layers, side.known, read, bits=bits))

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(part.output for part in self.query.inequalities))

    def difference(self, i: int) -> Linear:
        """Quantized minus reference, at one output."""
        last, known = self.query.problem.quantized.output.type.element, self.query.facts.difference
        scale = Fraction(1) if isinstance(last, Real) else last.scale
        low, high = _exact(float(known.lower[i])), _exact(float(known.upper[i]))
        least = None if low is None else low + self.reference[i].below
        greatest = None if high is None else high + self.reference[i].above
        apart = minus(self.quantized[i].scaled(scale), self.reference[i].form)
        return apart.within(least, greatest, what=f"difference {i}")

    def slack(self, part: Inequality) -> Fraction:
        """How far `side * difference` may be below its true value."""
        off = self.reference[part.output]
        return -off.below if part.side > 0 else off.above


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
