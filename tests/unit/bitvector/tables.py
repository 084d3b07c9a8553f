"""An operation of the encoding as a table over one integer x: where does it differ from what it should be?

The solver is asked, so that an operation's bits, its bounds and the text they are printed as are all held
against the table at once.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from pysmt.environment import Environment
from pysmt.typing import BVType

from qsmt.solver.base import Limits
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from qsmt_bitvector.linear import Linear, numerator, of_term
from qsmt_bitvector.smtlib import Input, Script, body
from qsmt_bitvector.widths import Circuit, Term

Operation = Callable[[Circuit, Linear], Linear]


def mismatch(operation: Operation, domain: range, expected: Callable[[int], Fraction | int]) -> int | None:
    """An x of the domain at which the operation is not as expected, or leaves its own bounds."""
    with Environment() as environment:
        circuit = Circuit(environment.formula_manager, BVType)
        x = of_term(circuit.variable("u0", len(domain) - 1)).plus(domain[0])
        found = operation(circuit, x)
        wanted = {k: expected(k) * found.denominator for k in domain}
        outside = [k for k, v in wanted.items() if not found.low <= v <= found.high or v % 1]
        if outside or found.is_constant:
            return next(iter([*outside, *(k for k, v in wanted.items() if v != found.constant)]), None)
        goal = _differs(circuit, numerator(circuit, x.plus(-domain[0])), numerator(circuit, found), wanted)
        script = Script((Input(0, domain[0], domain[-1]),), body(circuit, goal))
        assignment = Bitwuzla().solve(script, Limits(60)).assignment
        return None if assignment is None else domain[0] + int(assignment["u0"])


def _differs(circuit: Circuit, x: Term, y: Term, wanted: dict[int, Fraction | int]) -> object:
    """Some x where y is not what the table says."""
    manager = circuit._manager
    first = min(wanted)
    rows = [
        manager.And(
            manager.Equals(x.bits, circuit.constant(k - first, x.width)),
            manager.Not(manager.Equals(y.bits, circuit.constant(int(v), y.width))),
        )
        for k, v in wanted.items()
    ]
    return manager.Or(rows)
