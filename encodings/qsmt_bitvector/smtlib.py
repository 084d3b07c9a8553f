"""The text of a query in SMT-LIB 2, logic QF_BV: what every backend reads, and what `write` exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import StringIO
from typing import Any

from qsmt_bitvector.widths import Circuit, Definition, bits_for


@dataclass(frozen=True, slots=True)
class Input:
    """One code of x: `low` plus the unsigned value of the variable `name`, if it is free."""

    index: int
    low: int
    high: int

    @property
    def name(self) -> str:
        return f"u{self.index}"

    @property
    def is_free(self) -> bool:
        return self.low < self.high


@dataclass(frozen=True, slots=True)
class Script:
    """A satisfiability problem as text; plain strings, so that it travels to any process."""

    inputs: tuple[Input, ...]
    body: str  # declarations, definitions, assertions
    slack: Fraction = Fraction(0)  # by which the bound was lowered

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that an assignment gives values to."""
        return tuple(i.name for i in self.inputs if i.is_free)

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        """The codes of x; a variable that the solver left open may take any value."""
        return decode(self.inputs, assignment)

    def file(self, title: Sequence[str]) -> str:
        """A complete script under a comment: any QF_BV solver decides it and prints the input it found."""
        lines = [f"; {' '.join(line.split())}" for line in title]
        lines += ["(set-option :produce-models true)", "(set-logic QF_BV)", self.body.rstrip()]
        lines += [_code(entry) for entry in self.inputs]
        codes = " ".join(f"x{entry.index}" for entry in self.inputs)
        return "\n".join([*lines, "(check-sat)", f"(get-value ({codes}))", ""])


def decode(inputs: Sequence[Input], assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
    """The codes of x that an assignment describes."""
    return tuple(entry.low + assignment.get(entry.name, Fraction(0)) for entry in inputs)


def _code(entry: Input) -> str:
    """The input in two's complement, for the reader of a model."""
    width = bits_for(min(entry.low, -1), entry.high)
    low = f"(_ bv{entry.low % (1 << width)} {width})"
    if not entry.is_free:
        return f"(define-fun x{entry.index} () (_ BitVec {width}) {low})"
    missing = width - bits_for(0, entry.high - entry.low)
    distance = f"((_ zero_extend {missing}) {entry.name})"
    return f"(define-fun x{entry.index} () (_ BitVec {width}) (bvadd {low} {distance}))"


def body(circuit: Circuit, goal: Any) -> str:
    """Declarations, the definitions that matter, assertions: one a line."""
    asserted = [*circuit.assertions, goal]
    lines = [f"(declare-fun {name} () (_ BitVec {width}))" for name, width in circuit.variables]
    lines += [
        f"(define-fun {d.name} () (_ BitVec {d.width}) {_print(d.bits)})" for d in _cone(circuit, asserted)
    ]
    return "\n".join([*lines, *(f"(assert {_print(condition)})" for condition in asserted), ""])


def _cone(circuit: Circuit, asserted: list[Any]) -> list[Definition]:
    """The definitions that the assertions depend on, in order; a definition reads only earlier ones."""
    needed = {name for condition in asserted for name in _reads(condition)}
    kept: list[Definition] = []
    for definition in reversed(circuit.definitions):
        if definition.name in needed:
            kept.append(definition)
            needed |= _reads(definition.bits)
    return kept[::-1]


def _reads(formula: Any) -> set[str]:
    return {symbol.symbol_name() for symbol in formula.get_free_variables()}


def _print(formula: Any) -> str:
    from pysmt.smtlib.printers import SmtPrinter

    stream = StringIO()
    SmtPrinter(stream).printer(formula)
    return stream.getvalue()
