"""A re-executed witness, for people: every number exact."""

from __future__ import annotations

from fractions import Fraction

from qsmt.claim import OutputConstraint
from qsmt.engine.reexecute import Reexecution
from qsmt.frontend.inequalities import written
from qsmt.report.decimal import limit, near


def render(found: Reexecution) -> str:
    """A few lines of text."""
    said, rows = (_case if isinstance(found.problem.claim, OutputConstraint) else _difference)(found)
    verdict = "CONFIRMED" if found.confirmed else "NOT CONFIRMED"
    lines = [("input", _vector(found.execution.input)), *rows, ("reported", str(found.reported))]
    listed = "".join(f"  {name:<11} {value}\n" for name, value in lines)
    return f"{verdict}  {said}\n\n{listed}{_radius(found)}"


def _difference(found: Reexecution) -> tuple[str, list[tuple[str, str]]]:
    output, bound = found.output, found.problem.claim.of(found.output)
    said = f"|difference| at output {output} is {near(abs(found.difference))}, the bound {limit(bound)}"
    execution = found.execution
    reference, quantized = str(execution.reference[output]), str(execution.quantized[output])
    return said, [
        ("reference", reference),
        ("quantized", quantized),
        ("difference", str(found.difference)),
    ]


def _case(found: Reexecution) -> tuple[str, list[tuple[str, str]]]:
    """Of a constraint: the user's networks' outputs, and what the case has to spare there."""
    case, part = found.output, found.part
    name = written(part.cases[case]) if part.cases else str(case)
    both = zip(("reference", "quantized"), part.executed(found.execution.input), strict=True)
    rows = [(side, _vector(outputs)) for side, outputs in both if outputs]
    return f"case {name} has {near(found.difference)} to spare", [*rows, ("to spare", str(found.difference))]


def _vector(values: tuple[Fraction, ...]) -> str:
    return f"[{', '.join(map(str, values))}]"


def _radius(found: Reexecution) -> str:
    """What the difference is off by at most, where it is no rational."""
    low, high = found.execution.range_of(found.output)
    return f"  off by at most {near((high - low) / 2)}\n" if low < high else ""
