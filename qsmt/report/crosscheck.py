"""What `qsmt crosscheck` found: for people, as JSON, and as JUnit for continuous integration."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as Xml

from qsmt.engine.campaign import Results, Tally
from qsmt.engine.judge import Mark
from qsmt.engine.shrink import Case
from qsmt.report.model import SCHEMA, versions

REASONS = 3
"""The most frequent reasons of an encoding for not answering, in the report for people."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A campaign: on what, with which planted fault if any, what it found, and the cases it left."""

    subject: str
    results: Results
    cases: tuple[Case, ...]
    planted: str | None = None

    @property
    def noticed(self) -> bool:
        """Has a wrong answer of every configuration been noticed?"""
        return len(self.results.noticed) == len(self.results.tallies)


# --- for people ---------------------------------------------------------------------------------------------


def text(summary: Summary) -> str:
    """The verdict first, then a table with a row for each configuration."""
    results = summary.results
    parts = [_headline(summary), "", *_table(results), ""]
    parts += _cases(summary.cases) + _reasons(results)
    parts.append(f"  {results.queries:,} queries, {results.answers:,} answers, {results.seconds:.1f} s")
    return "\n".join(parts) + "\n"


def _headline(summary: Summary) -> str:
    results = summary.results
    wrong = len(results.disagreements)
    if summary.planted is not None:
        who = f"{len(results.noticed)} of {len(results.tallies)} configurations"
        word = "NOTICED" if summary.noticed else "NOT NOTICED"
        where = f"after {results.queries} queries on {summary.subject}"
        return f"{word}  planted fault {summary.planted}: by {who}, {where}"
    if wrong:
        return f"DISAGREEMENT  {wrong:,} wrong answers on {summary.subject}"
    return f"AGREEMENT  no wrong answer on {summary.subject}"


def _table(results: Results) -> list[str]:
    width = max(map(len, [*results.tallies, "configuration"]))
    columns = [mark.value for mark in Mark]
    header = f"  {'configuration':<{width}}" + "".join(f"{c:>10}" for c in (*columns, "seconds"))
    return [header, "  " + "─" * (len(header) - 2), *(_row(n, t, width) for n, t in results.tallies.items())]


def _row(name: str, tally: Tally, width: int) -> str:
    marks = "".join(f"{tally.marks[mark]:>10,}" for mark in Mark)
    return f"  {name:<{width}}{marks}{tally.seconds:>10.1f}"


def _cases(cases: tuple[Case, ...]) -> list[str]:
    lines = []
    for case in cases:
        found = case.found
        seed = "" if found.seed is None else f", seed {found.seed}"
        lines += [
            f"  {found.configuration}{seed}: {found.judged.reason}",
            f"    {case.folder}/problem.toml",
            "",
        ]
    return lines


def _reasons(results: Results) -> list[str]:
    every: Counter[str] = sum((tally.reasons for tally in results.tallies.values()), Counter())
    lines = [f"  no answer, {count:,} times: {reason[:100]}" for reason, count in every.most_common(REASONS)]
    return [*lines, ""] if lines else []


# --- for programs -------------------------------------------------------------------------------------------


def as_json(summary: Summary) -> str:
    """One JSON object, ended by a newline."""
    results = summary.results
    found = {
        "schema": SCHEMA,
        "command": "crosscheck",
        "verdict": None,
        "subject": summary.subject,
        "planted": summary.planted,
        "noticed": summary.noticed if summary.planted is not None else None,
        "problems": results.problems,
        "queries": results.queries,
        "answers": results.answers,
        "wrong": len(results.disagreements),
        "configurations": {name: _figures(tally) for name, tally in results.tallies.items()},
        "cases": [_case(case) for case in summary.cases],
        "seconds": round(results.seconds, 6),
        "versions": dict(versions()),
    }
    return json.dumps(found, indent=2, allow_nan=False) + "\n"


def _figures(tally: Tally) -> dict[str, Any]:
    return {
        **{mark.value: tally.marks[mark] for mark in Mark},
        "seconds": round(tally.seconds, 6),
        "first_wrong": tally.first,
        "reasons": dict(tally.reasons.most_common()),
    }


def _case(case: Case) -> dict[str, Any]:
    return {
        "configuration": str(case.found.configuration),
        "seed": case.found.seed,
        "reason": case.found.judged.reason,
        "folder": str(case.folder.absolute()),
    }


def junit(summary: Summary) -> str:
    """JUnit XML: one test case per configuration, which fails if one of its answers is wrong."""
    results = summary.results
    wrong = {str(found.configuration): found for found in reversed(results.disagreements)}
    suite = Xml.Element(
        "testsuite",
        name="qsmt crosscheck",
        tests=str(len(results.tallies)),
        failures=str(len(wrong)),
        errors="0",
        skipped="0",
        time=f"{results.seconds:.3f}",
    )
    for name, tally in results.tallies.items():
        case = Xml.SubElement(
            suite, "testcase", classname="qsmt.crosscheck", name=name, time=f"{tally.seconds:.3f}"
        )
        if name in wrong:
            first, count = wrong[name], tally.marks[Mark.WRONG]
            message = f"{count} wrong answers, the first on seed {first.seed}: {first.judged.reason}"
            Xml.SubElement(case, "failure", message=message)
    Xml.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suite, encoding="unicode") + "\n"
