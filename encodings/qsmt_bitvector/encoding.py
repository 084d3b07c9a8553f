"""The bit-vector encoding of an error query, equisatisfiable with it.

Both networks read one vector of integers. A layer's values are exact linear forms over integer terms
(see `linear`); each nonlinear operation makes a new term at the least width that its range allows, the
range being what interval propagation and the analysis' facts prove. The last forms are subtracted, and
the comparison with the bound is cleared of denominators: one inequality between integers.

The formula has a model if and only if some grid point of the region violates the bound: every operation
is a function of the inputs, exact for all inputs of the region, and the region is asserted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, isfinite
from pathlib import Path
from typing import Any

from qsmt.encoding import Fidelity, Query
from qsmt.errors import BackendError
from qsmt.facts import Interval
from qsmt.ir.network import Layer, layers
from qsmt.ir.ops import Affine, Op
from qsmt.ir.rules import Rules
from qsmt.ir.types import Real
from qsmt.problem import InputModel, Problem
from qsmt.solver.base import Backend
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from qsmt_bitvector.backends.z3 import Z3
from qsmt_bitvector.linear import Linear, constant, minus, numerator, of_term, over_one_denominator, refined
from qsmt_bitvector.rules import INTEGER, REAL, Rule
from qsmt_bitvector.smtlib import Input, Script, body
from qsmt_bitvector.widths import Circuit


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two networks: the letter its definitions begin with, and what is known of its layers."""

    letter: str
    rules: Rules[Rule]
    layers: tuple[Layer, ...]
    known: tuple[tuple[Interval, Interval], ...]  # before and after each layer's activation


@dataclass(frozen=True, slots=True)
class BitVectorModel:
    """A query as a QF_BV script."""

    query: Query
    model: Script

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        """The codes of x; a variable that the solver left open may take any value."""
        return tuple(i.low + assignment.get(i.name, Fraction(0)) for i in self.model.inputs)

    def write(self, path: Path) -> None:
        """The query as an SMT-LIB 2 file."""
        path.write_text(self.model.file(_title(self.query)), encoding="utf-8")


class BitVectorEncoding:
    """Exact integers in QF_BV; grid regions only."""

    name = "bitvector"
    fidelity = Fidelity.EXACT
    suffix = ".smt2"

    def supported(self) -> frozenset[type[Op]]:
        """The ops it has rules for, in one kind of network or the other."""
        return REAL.supported | INTEGER.supported

    def refuses(self, query: Query) -> str | None:
        """Bit-vectors hold integers: a continuous region has inputs that are not."""
        if query.problem.region.model is InputModel.CONTINUOUS:
            return "the region is continuous; bit-vectors encode grids only"
        ops = {type(op) for op in query.problem.quantized.ops + query.problem.reference.ops}
        missing = sorted(op.__name__ for op in ops - self.supported())
        return f"there is no bit-vector rule for {', '.join(missing)}" if missing else None

    def encode(self, query: Query) -> BitVectorModel:
        """The query as text; pysmt's formulas are dropped once they are printed.

        Raises:
            BackendError: when `refuses` gives a reason.
        """
        if (reason := self.refuses(query)) is not None:
            raise BackendError(f"the bit-vector encoding cannot take this query: {reason}")
        from pysmt.environment import Environment
        from pysmt.typing import BVType

        with Environment() as environment:
            manager = environment.formula_manager
            circuit = Circuit(manager, BVType)
            inputs = _inputs(query)
            goal = _goal(circuit, query, [_variable(circuit, i) for i in inputs])
            return BitVectorModel(query, Script(inputs, body(circuit, goal)))

    def backends(self) -> Sequence[Backend[Any]]:
        """bitwuzla first: on these formulas it is usually the faster, up to three times."""
        return (Bitwuzla(), Z3())


def _inputs(query: Query) -> tuple[Input, ...]:
    region = query.problem.region
    ends = zip(region.lower, region.upper, strict=True)
    return tuple(Input(i, int(low), int(high)) for i, (low, high) in enumerate(ends))


def _variable(circuit: Circuit, entry: Input) -> Linear:
    if not entry.is_free:
        return constant(entry.low)
    return of_term(circuit.variable(entry.name, entry.high - entry.low)).plus(entry.low)


def _goal(circuit: Circuit, query: Query, x: list[Linear]) -> Any:
    """`side * (quantized - reference) > bound`, as one comparison of an integer with a constant."""
    difference = _difference(circuit, query, x)
    excess = difference.scaled(Fraction(query.side)).plus(-query.bound).tightened()
    if excess.high <= 0 or excess.low > 0:
        return circuit.truth(excess.high > 0)
    threshold = -excess.constant  # the terms' sum must exceed it
    sums, by = Linear(excess.parts, 0, excess.low + threshold, excess.high + threshold).reduced()
    return circuit.at_least(numerator(circuit, sums), least_above(Fraction(threshold, by)))


def least_above(threshold: Fraction) -> int:
    """The least integer that is strictly greater."""
    return floor(threshold) + 1


def _difference(circuit: Circuit, query: Query, x: list[Linear]) -> Linear:
    problem, bounds, i = query.problem, query.facts.difference, query.output
    reference = _outputs(circuit, _reference(query), [v.scaled(problem.input_scale) for v in x])
    quantized = _outputs(circuit, _quantized(query), _quantized_input(problem, x))
    last = problem.quantized.output.type.element
    scale = Fraction(1) if isinstance(last, Real) else last.scale
    difference = minus(quantized[i].scaled(scale), reference[i])
    low, high = _exact(float(bounds.lower[i])), _exact(float(bounds.upper[i]))
    return difference.within(low, high, what=f"difference {i}")


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


def _title(query: Query) -> tuple[str, ...]:
    problem = query.problem
    return (
        f"Is there an input x with {query}, where difference = quantized - reference?",
        f"reference @{problem.reference.name}, quantized @{problem.quantized.name}, sha256 {problem.sha256}",
        "x<i> is code i of the input, u<i> its distance from the low end; r<l>.<i>... are neuron i of layer l",
        "of the reference, q<l>.<i>... of the quantized network, each an integer in a unit of its own",
    )
