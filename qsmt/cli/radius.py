"""`qsmt radius`: how far from its centre does the claim hold?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qsmt.cli import arguments as given
from qsmt.cli.output import check_writable, exact_gap, show, write_whole


def command(
    file: Annotated[
        Path, typer.Argument(metavar="PROBLEM.toml", help="Its region has a center and a radius.")
    ],
    *,
    gap: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Stop when what is left is smaller. Default: a thousandth."),
    ] = None,
    timeout: given.Timeout = 300.0,
    jobs: given.Jobs = 2,
    seed: given.Seed = 0,
    json: given.Json = False,
    output: given.Output = None,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Find the largest radius at which the claim is verified.

    Bisects between the centre and the radius of the file.

    Exit codes: 0 a radius is verified, 1 the centre breaks the claim, 2 bad input, 3 unknown, 4 soundness alarm.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.load import load_problem
    from qsmt.engine.plan import Options
    from qsmt.engine.radius import radius
    from qsmt.report.radius import as_json, render

    check_writable(output)
    allowed = None if gap is None else exact_gap(gap)
    loaded = load_problem(file)
    options = Options(timeout_s=timeout, jobs=jobs, seed=seed)
    with watcher(quiet=quiet, verbose=verbose) as watch:
        found = radius(loaded, options, watch, gap=allowed)
    said = as_json(found, sha256=loaded.parts[0].problem.sha256)
    show(said if json else render(found, loaded.parts[0]))
    if output is not None:
        write_whole(output, said)
    if found.verified is None:
        raise typer.Exit(1 if found.broken == 0 else 3)
