"""A re-executed witness, for people: every number exact."""

from __future__ import annotations

from qsmt.engine.reexecute import Reexecution
from qsmt.report.decimal import limit, near


def render(found: Reexecution) -> str:
    """A few lines of text."""
    output, bound = found.output, found.problem.claim.of(found.output)
    reference, quantized = found.execution.reference[output], found.execution.quantized[output]
    verdict = "CONFIRMED" if found.confirmed else "NOT CONFIRMED"
    return (
        f"{verdict}  |difference| at output {output} is {near(abs(found.difference))}, the bound {limit(bound)}\n\n"
        f"  input       [{', '.join(map(str, found.execution.input))}]\n"
        f"  reference   {reference}\n"
        f"  quantized   {quantized}\n"
        f"  difference  {found.difference}\n"
        f"  reported    {found.reported}\n" + _radius(found)
    )


def _radius(found: Reexecution) -> str:
    """What the numbers are off by at most, where they are no rationals."""
    radius = found.execution.radius
    return f"  off by at most {near(radius[found.output])}\n" if radius else ""
