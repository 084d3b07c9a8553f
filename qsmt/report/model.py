"""A report: one value with everything a command found, which every renderer reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from typing import Any

from qsmt.dra.attribution import Attribution
from qsmt.engine.bound import BoundResult
from qsmt.engine.check import CheckResult
from qsmt.engine.investigation import OutputRange, Stage
from qsmt.engine.parts import Part
from qsmt.facts import Facts
from qsmt.frontend.inequalities import written
from qsmt.problem import Problem
from qsmt.verdict import Falsified, Unknown, Verdict, Verified, Witness, name

SCHEMA = "qsmt.report/1"

PACKAGES = (
    *("qsmt", "numpy", "onnx", "pysmt", "z3-solver", "bitwuzla", "cvc5"),
    *("highspy", "gurobipy", "pyscipopt"),
)
"""Whose versions a report names."""

LONGEST_NAME = 60
"""Characters of the name of a case."""


@cache
def versions() -> Mapping[str, str]:
    """The versions of qsmt and of what it relies on; absent packages are left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of one command found about one problem; `title` is what people call the problem."""

    command: str
    problem: Problem
    source: Mapping[str, Any]
    outputs: tuple[OutputRange, ...]
    seconds: float
    verdict: Verdict | None = None
    stages: tuple[Stage, ...] = ()
    layers: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    reason: str | None = None
    title: str = ""
    facts: Facts | None = None
    attributions: tuple[Attribution, ...] = ()
    trust: tuple[str, ...] = ()  # what bounds rest on besides the analysis and the execution of points
    versions: Mapping[str, str] = field(default_factory=versions)
    part: Part | None = None

    @staticmethod
    def of_check(
        result: CheckResult, *, source: Mapping[str, Any], notes: tuple[str, ...], part: Part | None = None
    ) -> Report:
        """The report of `qsmt check`; `part` says what is claimed, and of which networks of the user's."""
        return Report(
            command="check",
            problem=result.problem,
            source=source,
            outputs=result.outputs,
            seconds=result.seconds,
            verdict=result.verdict,
            stages=result.stages,
            notes=notes,
            reason=result.verdict.reason if isinstance(result.verdict, Unknown) else None,
            part=part,
            facts=result.facts,
        )

    @staticmethod
    def of_bound(result: BoundResult, *, source: Mapping[str, Any], notes: tuple[str, ...]) -> Report:
        """The report of `qsmt bound`."""
        return Report(
            command="bound",
            problem=result.problem,
            source=source,
            outputs=result.outputs,
            seconds=result.seconds,
            stages=result.stages,
            notes=notes,
            reason=result.reason,
            trust=result.trust,
        )

    @property
    def statement(self) -> str | None:
        """What is claimed, in words; None for an error bound."""
        return None if self.part is None else self.part.statement

    def name_of(self, output: int) -> str:
        """Its number; of a constraint, the case that may not happen, as it could be written in a problem file."""
        if self.part is None or not self.part.cases:
            return str(output)
        text = written(self.part.cases[output])
        return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"

    def outputs_at(self, witness: Witness) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
        """What the user's reference and quantized network compute there; nothing for one that is not compared."""
        if self.statement is None or self.part is None:
            return witness.reference, witness.quantized
        return self.part.executed(witness.input)

    @property
    def label(self) -> str:
        """The title; or else the digest of the problem."""
        return self.title or f"problem {self.problem.sha256[:16]}"

    def as_json(self) -> dict[str, Any]:
        """The fixed JSON form (docs/cli.md), plus what there is of `source`, `notes`, `layers`, `attribution`."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "command": self.command,
            "verdict": name(self.verdict) if self.verdict is not None else None,
            "problem_sha256": self.problem.sha256,
            "outputs": [_output(o) for o in self.outputs],
            "witness": _witness(self),
            "trust": list(self.verdict.trust)
            if isinstance(self.verdict, Verified)
            else [*_replayed(self.verdict), *self.trust],
            "stages": [
                {"name": s.name, "seconds": round(s.seconds, 6), "summary": s.summary, **s.figures}
                for s in self.stages
            ],
            "seconds": round(self.seconds, 6),
            "reason": self.reason,
            "versions": dict(self.versions),
            "source": dict(self.source),
            "notes": list(self.notes),
        }
        if self.layers:
            found["layers"] = [dict(layer) for layer in self.layers]
        if self.attributions:
            found["attribution"] = [_attribution(a) for a in self.attributions]
        return found


def number(value: Fraction) -> int | float | str:
    """An exact rational as JSON: an integer, a double that equals it, or the string "p/q"."""
    if value.denominator == 1:
        return value.numerator
    try:
        nearest = float(value)
    except OverflowError:
        return str(value)
    return nearest if isfinite(nearest) and Fraction(nearest) == value else str(value)


def _output(found: OutputRange) -> dict[str, Any]:
    pair = found.extremes
    reached = None if pair is None else list(map(float, pair))
    certified = [end if isfinite(end) else None for end in found.certified]
    return {"index": found.index, "certified": certified, "witnessed": reached}


def _attribution(found: Attribution) -> dict[str, Any]:
    parts = [{"layer": p.layer, "cause": p.cause.value, "amount": p.amount} for p in found.parts]
    end = "upper" if found.side > 0 else "lower"
    return {"output": found.output, "end": end, "certified": found.certified, "parts": parts}


def _witness(report: Report) -> dict[str, Any] | None:
    if not isinstance(report.verdict, Falsified):
        return None
    witness = report.verdict.witness
    reference, quantized = report.outputs_at(witness)
    inexact = {"radius": str(witness.radius)} if witness.radius else {}
    return inexact | {
        "input": [number(v) for v in witness.input],
        "output": witness.output,
        "difference": float(witness.difference),
        "exact": str(witness.difference),
        "reference": [number(v) for v in reference],
        "quantized": [number(v) for v in quantized],
    }


def _replayed(verdict: Verdict | None) -> list[str]:
    return ["replay"] if isinstance(verdict, Falsified) else []
