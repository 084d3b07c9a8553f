"""The text of a query in SMT-LIB 2, logic QF_BV: what every backend reads, and what `write` exports."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import Any

from qsmt_bitvector.widths import Circuit, bits_for


@dataclass(frozen=True, slots=True)
class Input:
    """One component of x: the integer `low` plus the unsigned value of the variable `name`."""

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

    title: tuple[str, ...]
    inputs: tuple[Input, ...]
    body: str  # declarations, definitions, assertions

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that an assignment gives values to."""
        return tuple(i.name for i in self.inputs if i.is_free)

    @property
    def file(self) -> str:
        """A complete script: any QF_BV solver decides it and prints the input it found."""
        lines = [f"; {' '.join(line.split())}" for line in self.title]
        lines += ["(set-option :produce-models true)", "(set-logic QF_BV)", self.body.rstrip()]
        lines += [_code(i) for i in self.inputs]
        codes = " ".join(f"x{i.index}" for i in self.inputs)
        return "\n".join([*lines, "(check-sat)", f"(get-value ({codes}))", ""])


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
    """Declarations, definitions and assertions of a circuit, one a line."""
    lines = [f"(declare-fun {name} () (_ BitVec {width}))" for name, width in circuit.variables]
    lines += [f"(define-fun {d.name} () (_ BitVec {d.width}) {_print(d.bits)})" for d in circuit.definitions]
    lines += [f"(assert {_print(condition)})" for condition in (*circuit.assertions, goal)]
    return "\n".join([*lines, ""])


def _print(formula: Any) -> str:
    from pysmt.smtlib.printers import SmtPrinter

    stream = StringIO()
    SmtPrinter(stream).printer(formula)
    return stream.getvalue()
