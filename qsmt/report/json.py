"""Reports as JSON, for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qsmt.report.model import Report
from qsmt.verdict import name, worst

SEVERAL = "qsmt.reports/1"
"""The schema of several reports in one object: `reports`, and the worst of their verdicts."""


def render(report: Report) -> str:
    """One JSON object, ended by a newline."""
    return _dumped(report.as_json())


def render_all(reports: Sequence[Report]) -> str:
    """The object of one report; or one with the objects of all of them."""
    if len(reports) == 1:
        return render(reports[0])
    verdicts = [report.verdict for report in reports if report.verdict is not None]
    return _dumped(
        {
            "schema": SEVERAL,
            "command": reports[0].command,
            "verdict": name(worst(verdicts)) if verdicts else None,
            "seconds": round(sum(report.seconds for report in reports), 6),
            "reports": [report.as_json() for report in reports],
        }
    )


def _dumped(found: object) -> str:
    return json.dumps(found, indent=2, allow_nan=False) + "\n"
