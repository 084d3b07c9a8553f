"""`qsmt replay`: execute a report's witness again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qsmt.cli.output import show


def command(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report written by --json or -o.")],
) -> None:
    """Execute a witness again, in exact arithmetic.

    Exit codes: 0 the violation is real, 1 it is not, 2 bad input.
    """
    from qsmt.engine.reexecute import reexecute
    from qsmt.report.replay import render

    found = reexecute(report)
    show(render(found))
    raise typer.Exit(0 if found.confirmed else 1)
