"""Reports as JSON, for programs."""

from __future__ import annotations

import json

from qsmt.report.model import Report


def render(report: Report) -> str:
    """One JSON object, ended by a newline."""
    return json.dumps(report.as_json(), indent=2, allow_nan=False) + "\n"
