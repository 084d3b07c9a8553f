"""What `qsmt tune` found: for people, and as JSON with the certificate of every choice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsmt.engine.tune import KNOBS, Choice, TuneResult, Widths
from qsmt.report.decimal import upper
from qsmt.report.model import versions
from qsmt.verdict import Verified, name

SCHEMA = "qsmt.tune/1"


def text(result: TuneResult, *, written: Path | None = None) -> str:
    """The verdict first, then the widths and what they rest on."""
    return "\n".join([*_lines(result, written), ""])


def _lines(result: TuneResult, written: Path | None) -> Iterator[str]:
    best, uniform = result.best, result.uniform
    if best is None or uniform is None:
        yield f"NOT TUNED  {result.reason}; {result.tried} choices tried, {result.seconds:.2f} s"
        return
    bits, saved = uniform.widths[0].weights, 1 - best.cost / uniform.cost
    yield f"TUNED  {best.cost:,} bits are proved to be enough, {saved:.0%} less than with {bits} bits throughout"
    yield ""
    yield from _table(best.widths)
    yield ""
    yield f"  certified   no output differs by more than {upper(best.certified)}"
    yield f"  rests on    {', '.join(_trust(best))}"
    yield f"  choices     {result.tried} tried; {len(result.accepted)} proved on the way here"
    yield f"  neighbours  with one bit less: {_refusals(result)}"
    if result.reason is not None:
        yield f"  {result.reason}: fewer bits may do"
    if written is not None:
        yield f"  written to  {written}"
    yield f"  problem sha256 {best.problem.sha256[:16]}, {result.seconds:.2f} s"


def _table(widths: Widths) -> Iterator[str]:
    yield f"  {'layer':<8}{'weights':>8}{'biases':>8}{'activations':>13}"
    for i, own in enumerate(widths):
        shown = "exact" if own.activation is None else str(own.activation)
        yield f"  {i:<8}{own.weights:>8}{own.bias:>8}{shown:>13}"


def _refusals(result: TuneResult) -> str:
    counts = Counter(name(choice.verdict) for choice in result.refused)
    parts = [f"{counts[word]} {said}" for word, said in REFUSALS.items() if counts[word]]
    return ", ".join(parts) or "not tried"


REFUSALS = {"falsified": "break the claim", "unknown": "are not proved in time"}


def as_json(result: TuneResult, *, source: Mapping[str, Any]) -> str:
    """One JSON object, ended by a newline: `accepted` are the proved choices in order, the last the result."""
    best, uniform = result.best, result.uniform
    found = {
        "schema": SCHEMA,
        "command": "tune",
        "verdict": "unknown" if best is None else "verified",
        "problem_sha256": None if best is None else best.problem.sha256,
        "bits": None if best is None else best.cost,
        "widths": None if best is None else _widths(best.widths),
        "uniform": None if uniform is None else _choice(uniform),
        "accepted": [_choice(choice) for choice in result.accepted],
        "refused": [_choice(choice) for choice in result.refused],
        "tried": result.tried,
        "seconds": round(result.seconds, 6),
        "reason": result.reason,
        "versions": dict(versions()),
        "source": dict(source),
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "bits": choice.cost,
        "widths": _widths(choice.widths),
        "verdict": name(choice.verdict),
        "trust": _trust(choice),
        "certified": choice.certified if choice.certified < float("inf") else None,
        "problem_sha256": choice.problem.sha256,
        "seconds": round(choice.seconds, 6),
    }


def _trust(choice: Choice) -> Sequence[str]:
    return list(choice.verdict.trust) if isinstance(choice.verdict, Verified) else []


def _widths(widths: Widths) -> list[dict[str, int | None]]:
    return [{knob: getattr(own, knob) for knob in KNOBS} for own in widths]
