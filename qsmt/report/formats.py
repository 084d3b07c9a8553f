"""The formats of a report: one renderer each, and the same report behind all of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from qsmt.engine.bound import BoundResult
from qsmt.engine.check import CheckResult
from qsmt.errors import InputError
from qsmt.report.model import Report


class Format(StrEnum):
    """For whom a report is written."""

    TEXT = "text"  # people at a terminal
    JSON = "json"  # programs, and `qsmt replay`
    JUNIT = "junit"  # continuous integration
    HTML = "html"  # people in a browser: one file that needs no other


def render(result: CheckResult | BoundResult | Report, form: str = Format.TEXT) -> str:
    """A result as "text", "json", "junit" or "html".

    Raises:
        InputError: there is no such format.
    """
    try:
        chosen = Format(form)
    except ValueError:
        raise InputError(f"is {form!r}, not one of {', '.join(Format)}", where="form") from None
    return render_all([_report(result)], chosen)


def render_all(reports: Sequence[Report], form: Format, *, color: bool = False, width: int = 100) -> str:
    """One report by itself; or several, at least one, as one document that begins with a table of them."""
    match form:
        case Format.TEXT:
            from qsmt.report import text

            return text.render_all(reports, color=color, width=width)
        case Format.JSON:
            from qsmt.report import json

            return json.render_all(reports)
        case Format.JUNIT:
            from qsmt.report import junit

            return junit.render(reports)
        case Format.HTML:
            from qsmt.report import html

            return html.render(reports)
    assert_never(form)


def _report(result: CheckResult | BoundResult | Report) -> Report:
    match result:
        case CheckResult():
            return Report.of_check(result, source={"files": []}, notes=())
        case BoundResult():
            return Report.of_bound(result, source={"files": []}, notes=())
        case Report():
            return result
    assert_never(result)
