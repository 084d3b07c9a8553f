"""Reports for continuous integration, as JUnit XML: a test case per problem.

A violation is a failure. What is not decided is an error: nobody's build should be green because a proof was
given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from qsmt.report import text
from qsmt.report.model import Report
from qsmt.verdict import Falsified, Unknown

WIDE = 10_000
"""Columns of a text whose first line is not to be broken."""

NOT_XML = {i: "\N{REPLACEMENT CHARACTER}" for i in range(32) if chr(i) not in "\t\n\r"}
"""Characters that a file name may hold and an XML document may not."""


def render(reports: Sequence[Report]) -> str:
    """One test suite, ended by a newline."""
    suite = Xml.Element(
        "testsuite",
        name=f"qsmt {reports[0].command}",
        tests=str(len(reports)),
        failures=str(sum(isinstance(report.verdict, Falsified) for report in reports)),
        errors=str(sum(isinstance(report.verdict, Unknown) for report in reports)),
        skipped="0",
        time=f"{sum(report.seconds for report in reports):.3f}",
    )
    for report in reports:
        _case(suite, report)
    Xml.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(suite, encoding="unicode") + "\n"


def _case(suite: Xml.Element, report: Report) -> None:
    case = Xml.SubElement(
        suite,
        "testcase",
        classname=f"qsmt.{report.command}",
        name=report.label.translate(NOT_XML),
        time=f"{report.seconds:.3f}",
    )
    tag = {Falsified: "failure", Unknown: "error"}.get(type(report.verdict))
    if tag is not None:
        found = Xml.SubElement(case, tag, message=headline(report).translate(NOT_XML))
        found.text = text.render(report).translate(NOT_XML)


def headline(report: Report) -> str:
    """The verdict in one line."""
    return text.render(report, width=WIDE).splitlines()[0]
