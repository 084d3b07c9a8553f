"""`qsmt replay`: execute the witness of a report again, exactly, and compare."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from qsmt.engine.parts import Part
from qsmt.engine.source import Source
from qsmt.errors import MalformedProblem
from qsmt.interp.replay import Execution, breaks, replay
from qsmt.problem import Problem

MAX_BYTES = 2**28

RATIO = re.compile(r"-?[0-9]+(/[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Reexecution:
    """A witness executed again: `confirmed` if it lies in the region and exceeds the bound as reported.

    `output` is that of an error bound, or the case of a constraint.
    """

    part: Part
    execution: Execution
    output: int
    reported: Fraction

    @property
    def problem(self) -> Problem:
        return self.part.problem

    @property
    def difference(self) -> Fraction:
        return self.execution.value(self.output)

    @property
    def confirmed(self) -> bool:
        return self.difference == self.reported and breaks(self.problem, self.execution, self.output)


def reexecute(path: Path) -> Reexecution:
    """Replay the witness in a JSON report.

    Raises:
        MalformedProblem: the file is no report, has no witness, or its problem has changed since.
    """
    report = _read(path)
    if report.get("witness") is None:
        said = report.get("verdict") or f"that of `qsmt {report.get('command')}`, which gives none"
        raise MalformedProblem(f"has no witness: its verdict is {said}", where=path)
    try:
        source = Source.of_json(report["source"]).beside(path)
        witness = report["witness"]
        part = int(report["source"].get("part", 0))
        x = tuple(_number(v) for v in witness["input"])
        output, reported = int(witness["output"]), _number(witness["exact"])
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise MalformedProblem(
            f"is not a complete report ({type(error).__name__}: {error})", where=path
        ) from None
    parts = source.load().parts
    if not 0 <= part < len(parts):
        raise MalformedProblem("its witness does not fit its problem", where=path)
    problem = parts[part].problem
    if problem.sha256 != report.get("problem_sha256"):
        raise MalformedProblem(
            "the problem has changed since this report was written", where=path, hint="check it again"
        )
    if len(x) != problem.input_size or output not in problem.claim.outputs:
        raise MalformedProblem("its witness does not fit its problem", where=path)
    return Reexecution(parts[part], replay(problem, [x])[0], output, reported)


def _number(value: object) -> Fraction:
    """A number of a report: a JSON number, or the text "p/q"."""
    if isinstance(value, str) and not RATIO.fullmatch(value):
        raise ValueError("not a ratio of integers")
    if not isinstance(value, int | float | str):
        raise TypeError("not a number")
    return Fraction(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MalformedProblem("is too large for a report", where=path)
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "is not JSON"
        raise MalformedProblem(said, where=path) from None
    if not isinstance(found, dict) or found.get("schema") != "qsmt.report/1":
        raise MalformedProblem('is not a report: its schema is not "qsmt.report/1"', where=path)
    return found
