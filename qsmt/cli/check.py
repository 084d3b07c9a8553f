"""`qsmt check`: decide a problem."""

from __future__ import annotations

from typing import Annotated

import typer

from qsmt.cli.arguments import Bits, Bound, Box, Files, Json, Model, Output, Runtime
from qsmt.cli.output import check_writable, emit, one_of


def command(
    files: Files,
    *,
    bits: Bits = None,
    box: Box = None,
    bound: Bound = None,
    input_model: Model = None,
    runtime: Runtime = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="Give up after this long.")
    ] = 300.0,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Work on this many things at once.")] = 2,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Of the random search and of the solvers.")
    ] = 0,
    encoding: Annotated[
        str,
        typer.Option(
            metavar="auto|bitvector|milp|none", help="Who decides residual queries; a name skips enumeration."
        ),
    ] = "auto",
    backend: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use this solver only; see `qsmt doctor`.")
    ] = None,
    cross_check: Annotated[
        str,
        typer.Option(metavar="off|sample|all", help="Which residual queries a second encoding answers too."),
    ] = "sample",
    trust: Annotated[
        str,
        typer.Option(metavar="any|exact", help="What a proof may rest on; exact refuses numerical solvers."),
    ] = "any",
    json: Json = False,
    output: Output = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each stage to stderr.")] = False,
) -> None:
    """Decide a problem: prove the bound, or break it.

    Are the two networks within the bound of each other on every input of the region?

    Exit codes: 0 verified, 1 falsified, 2 bad input, 3 unknown, 4 soundness alarm.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.check import check
    from qsmt.engine.plan import CrossCheck, Options, Trust
    from qsmt.engine.source import Source, notes
    from qsmt.problem import InputModel
    from qsmt.report.model import Report
    from qsmt.verdict import exit_code

    check_writable(output)
    model = (
        None
        if input_model is None
        else one_of(InputModel, input_model, flag="--input-model", known=InputModel)
    )
    options = Options(
        timeout_s=timeout,
        jobs=jobs,
        seed=seed,
        encoding=encoding,
        backend=backend,
        cross_check=one_of(CrossCheck, cross_check, flag="--cross-check", known=CrossCheck),
        trust=one_of(Trust, trust, flag="--trust", known=Trust),
    )
    source = Source(tuple(files), bits, box, bound, model, runtime)
    loaded = source.load()
    with watcher(quiet=quiet, verbose=verbose) as watch:
        result = check(loaded.problem, options, watch)
    report = Report.of_check(result, source=source.as_json(), notes=notes(loaded.quantization))
    emit(report, as_json=json, file=output)
    raise typer.Exit(exit_code(result.verdict))
