"""Faults to plant: each makes a quantized network, or a query, subtly wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qsmt.arith.fixed import Fixed
from qsmt.arith.real import IntArray, frozen
from qsmt.arith.rounding import Rounding
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Encoding, Query
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, Requantize, Value
from qsmt.ir.types import Accumulator
from qsmt.problem import ErrorBound

Fault = Callable[[Query], Query]


def _with_ops(query: Query, change: Callable[[Op], Op]) -> Query:
    quantized = query.problem.quantized
    ops = tuple(change(op) for op in quantized.ops)
    faulty = Network(quantized.name, quantized.runtime, quantized.input, ops)
    problem = replace(query.problem, quantized=faulty)
    return replace(query, problem=problem, facts=analyze_region(problem))


def wrong_rounding(query: Query) -> Query:
    """Floors where it should round half up."""

    def change(op: Op) -> Op:
        return (
            replace(op, kind=replace(op.kind, rounding=Rounding.FLOOR)) if isinstance(op, Requantize) else op
        )

    return _with_ops(query, change)


def missing_saturation(query: Query) -> Query:
    """Hidden codes grow beyond their format."""
    return _with_ops(query, lambda op: _rebuilt(op, {op.x: _widened(op.x), op.out: _widened(op.out)}))


def _widened(value: Value) -> Value:
    """The same value in a type with room to spare; input codes stay as they are."""
    match value.type.element:
        case Fixed(signed, bits, frac) if value.name != "x":
            return Value(value.name, replace(value.type, element=Fixed(signed, bits + 6, frac)))
        case Accumulator() as acc:
            return Value(value.name, replace(value.type, element=replace(acc, bits=acc.bits + 6)))
    return value


def _rebuilt(op: Op, renamed: dict[Value, Value]) -> Op:
    return replace(op, x=renamed[op.x], out=renamed[op.out])


def _recoded(const: Const, change: Callable[[IntArray], IntArray]) -> Const:
    kind = const.type.element
    assert isinstance(kind, Fixed)
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


def off_by_one_threshold(query: Query) -> Query:
    """Every rounding threshold one accumulator unit too high: exact halves go down, not up."""

    def change(op: Op) -> Op:
        return (
            replace(op, kind=replace(op.kind, rounding=Rounding.HALF_DOWN))
            if isinstance(op, Requantize)
            else op
        )

    return _with_ops(query, change)


def lenient_bound(query: Query) -> Query:
    """Asks for a little more than the bound."""
    claim = query.problem.claim
    slack = query.problem.quantized.output.type.element.scale / 64  # type: ignore[union-attr]
    raised = ErrorBound(claim.outputs, tuple(b + slack for b in claim.bounds))
    return replace(query, problem=replace(query.problem, claim=raised))


FAULTS: dict[str, Fault] = {
    "wrong rounding": wrong_rounding,
    "missing saturation": missing_saturation,
    "shifted bias": shifted_bias,
    "weight sign": weight_sign,
    "off-by-one threshold": off_by_one_threshold,
    "lenient bound": lenient_bound,
}


@dataclass(frozen=True)
class Faulty:
    """An encoding that encodes a subtly different query."""

    inner: Encoding
    fault: Fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def refuses(self, query: Query) -> str | None:
        return self.inner.refuses(self.fault(query))

    def encode(self, query: Query) -> Any:
        return self.inner.encode(self.fault(query))

    def backends(self) -> Sequence[Any]:
        return self.inner.backends()
