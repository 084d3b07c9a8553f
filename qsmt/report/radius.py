"""What `qsmt radius` found: for people, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from qsmt.engine.parts import Part
from qsmt.engine.radius import RadiusResult, Step
from qsmt.problem import Problem
from qsmt.report.decimal import at_least, at_most, exact, near
from qsmt.report.model import number, versions


def render(found: RadiusResult, part: Part) -> str:
    """A few lines of text."""
    claim = part.statement or "every difference is within its bound"
    if found.verified is None:
        lines = [f"RADIUS  none: not verified at the centre that {claim}"]
    else:
        size = f"{at_most(found.verified)} verified, of {exact(found.most)} at most"
        lines = [f"RADIUS  {size}{_in_codes(found, part.problem)}: {claim}"]
        lines.append(f"  rests on    {', '.join(found.trust)}")
    if found.broken is not None and found.witness is not None:
        shown = ", ".join(near(v) for v in found.witness.input[:12])
        more = ", …" if len(found.witness.input) > 12 else ""
        lines.append(
            f"  broken at   {at_least(found.broken)}, by the input [{shown}{more}], replayed exactly"
        )
    if found.reason is not None:
        lines.append(f"  {found.reason}: a larger radius may hold")
    lines += ["", "  radius        verdict    seconds"]
    lines += [f"  {_tried(s):<13} {s.verdict:<10} {s.seconds:.2f}" for s in found.steps]
    return "\n".join(lines) + "\n"


def _tried(step: Step) -> str:
    """A radius, rounded to the side of which the verdict says something."""
    return (at_most if step.verdict == "verified" else at_least)(step.radius)


def _in_codes(found: RadiusResult, problem: Problem) -> str:
    """Of a radius that counts codes, what these stand for in what the reference reads."""
    if not found.counts_codes or found.verified is None:
        return ""
    unit = problem.input_scale
    return f" (codes of {exact(unit)}, which is {exact(found.verified * unit)})"


def as_json(found: RadiusResult, *, sha256: str) -> str:
    """The same for programs."""
    report: dict[str, Any] = {
        "schema": "qsmt.report/1",
        "command": "radius",
        "problem_sha256": sha256,
        "radius": None if found.verified is None else number(found.verified),
        "broken": None if found.broken is None else number(found.broken),
        "witness": None if found.witness is None else {"input": [number(v) for v in found.witness.input]},
        "trust": list(found.trust),
        "reason": found.reason,
        "steps": [
            {"radius": number(s.radius), "verdict": s.verdict, "seconds": round(s.seconds, 6)}
            for s in found.steps
        ],
        "seconds": round(found.seconds, 6),
        "versions": dict(versions()),
    }
    return json.dumps(report, indent=2) + "\n"
