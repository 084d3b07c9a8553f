"""Faults to plant: a differential test that cannot fail proves nothing, so it is made to.

A fault changes what an encoding is asked, or what a solver answers, the way a real defect would: it is subtle,
and a true answer to the changed question is a wrong answer to the question that was asked. Nothing here is
used unless a user, or a test, plants a fault on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from qsmt.arith.fixed import Fixed
from qsmt.arith.real import FloatArray, IntArray, frozen
from qsmt.arith.requantize import ExactKind
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query, QueryAnswer
from qsmt.facts import Interval, LayerFacts
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, Requantize, Value
from qsmt.ir.types import Accumulator, Real
from qsmt.problem import ErrorBound
from qsmt.solver.base import Status


def _question(query: Query) -> Query:
    return query


def _answer(found: QueryAnswer) -> QueryAnswer:
    return found


@dataclass(frozen=True, slots=True)
class Fault:
    """A defect: in words, and what it does to a question or to its answer.

    One that is `in_facts` shows only where facts are used.
    """

    says: str
    asked: Callable[[Query], Query] = _question
    answered: Callable[[QueryAnswer], QueryAnswer] = _answer
    in_facts: bool = False


# --- in the quantized network ------------------------------------------------------------------------------


def _with_ops(query: Query, change: Callable[[Op], Op]) -> Query:
    quantized = query.problem.quantized
    ops = tuple(change(op) for op in quantized.ops)
    faulty = Network(quantized.name, quantized.runtime, quantized.input, ops)
    problem = replace(query.problem, quantized=faulty)
    return replace(query, problem=problem, facts=analyze_region(problem))


def _rounds(query: Query, rounding: Rounding) -> Query:
    def change(op: Op) -> Op:
        if not (isinstance(op, Requantize) and isinstance(op.kind, ExactKind)):
            return op
        return replace(op, kind=replace(op.kind, rounding=rounding))

    return _with_ops(query, change)


def wrong_rounding(query: Query) -> Query:
    """Floors, whatever the rule says; or rounds up where the rule is to floor."""
    rules = {
        op.kind.rounding
        for op in query.problem.quantized.ops
        if isinstance(op, Requantize) and isinstance(op.kind, ExactKind)
    }
    return _rounds(query, Rounding.CEIL if rules == {Rounding.FLOOR} else Rounding.FLOOR)


def off_by_one_threshold(query: Query) -> Query:
    """Every rounding threshold one accumulator unit too high: exact halves go down, not up."""
    return _rounds(query, Rounding.HALF_DOWN)


def missing_saturation(query: Query) -> Query:
    """Hidden codes grow beyond their format."""
    return _with_ops(query, lambda op: replace(op, x=_widened(op.x), out=_widened(op.out)))


def _widened(value: Value) -> Value:
    """The same value in a type with room to spare; input codes stay as they are."""
    match value.type.element:
        case Fixed(signed, bits, frac) if value.name != "x":
            return Value(value.name, replace(value.type, element=Fixed(signed, bits + 6, frac)))
        case Accumulator() as acc:
            return Value(value.name, replace(value.type, element=replace(acc, bits=acc.bits + 6)))
    return value


def _recoded(const: Const, change: Callable[[IntArray], IntArray]) -> Const:
    kind = const.type.element
    assert not isinstance(kind, Real)
    return Const(const.name, const.type, frozen(change(const.codes).clip(kind.min, kind.max)))


def shifted_bias(query: Query) -> Query:
    """Every bias one unit too large."""

    def change(op: Op) -> Op:
        return replace(op, bias=_recoded(op.bias, lambda b: b + 1)) if isinstance(op, Affine) else op

    return _with_ops(query, change)


def weight_sign(query: Query) -> Query:
    """The first weight of every layer has the wrong sign."""

    def flip(weight: IntArray) -> IntArray:
        flipped = weight.copy()
        flipped[0, 0] = -flipped[0, 0]
        return flipped

    def change(op: Op) -> Op:
        return replace(op, weight=_recoded(op.weight, flip)) if isinstance(op, Affine) else op

    return _with_ops(query, change)


# --- in the question ---------------------------------------------------------------------------------------


def lenient_bound(query: Query) -> Query:
    """Asks for a little more than the bound."""
    slack = query.problem.quantized.output.type.element.scale / 64  # type: ignore[union-attr]
    return _bounded(query, slack)


def closed_bound(query: Query) -> Query:
    """Takes a difference that equals the bound for a violation."""
    return _bounded(query, -min(query.bound, Fraction(1, 2**20)))


def _bounded(query: Query, more: Fraction) -> Query:
    claim = query.problem.claim
    raised = ErrorBound(claim.outputs, tuple(b + more for b in claim.bounds))
    return replace(query, problem=replace(query.problem, claim=raised))


def wrong_side(query: Query) -> Query:
    """Looks for a difference that is too small where one that is too large was asked for."""
    side: Literal[-1, 1] = -1 if query.side > 0 else 1
    return replace(query, side=side)


def input_scale(query: Query) -> Query:
    """The reference network reads inputs that are off by one part in sixteen."""
    problem = replace(query.problem, input_scale=query.problem.input_scale * Fraction(17, 16))
    return replace(query, problem=problem, facts=analyze_region(problem))


def narrow_facts(query: Query) -> Query:
    """The bounds of the neurons of both networks leave out the upper quarter of what they reach."""
    layers = tuple(map(_narrowed, query.facts.layers))
    return replace(query, facts=replace(query.facts, layers=layers))


def _narrowed(layer: LayerFacts) -> LayerFacts:
    return replace(
        layer,
        reference_pre=_lower_part(layer.reference_pre),
        quantized_pre=_lower_part(layer.quantized_pre),
    )


def _lower_part(bounds: Interval) -> Interval:
    with np.errstate(invalid="ignore"):
        upper: FloatArray = np.where(np.isfinite(bounds.width), bounds.upper - bounds.width / 4, bounds.upper)
    return Interval(bounds.lower, upper)


# --- in the answer -----------------------------------------------------------------------------------------


def blind_solver(found: QueryAnswer) -> QueryAnswer:
    """Says that there is no violation, of any query that it decides."""
    decided = found.status is Status.SAT
    return replace(found, status=Status.UNSAT, witness=None) if decided else found


def wrong_witness(found: QueryAnswer) -> QueryAnswer:
    """The violating input is read off one unit beside the right one."""
    if found.witness is None:
        return found
    return replace(found, witness=tuple(v + 1 for v in found.witness))


FAULTS: dict[str, Fault] = {
    "wrong-rounding": Fault("activations are floored, whatever their rounding", wrong_rounding),
    "off-by-one-threshold": Fault("exact halves round down", off_by_one_threshold),
    "missing-saturation": Fault("hidden codes grow beyond their format", missing_saturation),
    "shifted-bias": Fault("every bias is one unit too large", shifted_bias),
    "weight-sign": Fault("the first weight of every layer has the wrong sign", weight_sign),
    "lenient-bound": Fault("a little more than the bound is asked for", lenient_bound),
    "closed-bound": Fault("a difference that equals the bound counts as a violation", closed_bound),
    "wrong-side": Fault("the other side of the bound is asked for", wrong_side),
    "input-scale": Fault("the reference reads inputs that are too large", input_scale),
    "narrow-facts": Fault("bounds of neurons leave out values that they take", narrow_facts, in_facts=True),
    "blind-solver": Fault("a solver overlooks every violation", answered=blind_solver),
    "wrong-witness": Fault("violating inputs are read off one unit beside", answered=wrong_witness),
}
"""What can be planted, by name."""
