"""`qsmt check`: decide a problem."""

from __future__ import annotations

import typer

from qsmt.cli import arguments as given
from qsmt.cli.output import check_checkpoint, check_writable, chosen_model, emit, one_of


def command(
    files: given.Files,
    *,
    bits: given.Bits = None,
    box: given.Box = None,
    bound: given.Bound = None,
    input_model: given.Model = None,
    runtime: given.Runtime = None,
    timeout: given.Timeout = 300.0,
    jobs: given.Jobs = 2,
    seed: given.Seed = 0,
    encoding: given.Encoding = "auto",
    backend: given.Backend = None,
    cross_check: given.CrossChecked = "sample",
    trust: given.Trusted = "any",
    checkpoint: given.Checkpointed = None,
    resume: given.Resumed = False,
    json: given.Json = False,
    output: given.Output = None,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Decide a problem: prove the bound, or break it.

    Are the two networks within the bound of each other on every input of the region?

    Exit codes: 0 verified, 1 falsified, 2 bad input, 3 unknown, 4 soundness alarm.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.check import check
    from qsmt.engine.plan import CrossCheck, Options, Trust
    from qsmt.engine.source import Source, notes
    from qsmt.report.model import Report
    from qsmt.verdict import exit_code

    check_writable(output)
    check_checkpoint(checkpoint, resume=resume)
    model = chosen_model(input_model)
    options = Options(
        timeout_s=timeout,
        jobs=jobs,
        seed=seed,
        encoding=encoding,
        backend=backend,
        cross_check=one_of(CrossCheck, cross_check, flag="--cross-check"),
        trust=one_of(Trust, trust, flag="--trust"),
        checkpoint=checkpoint,
        resumes=resume,
    )
    source = Source(tuple(files), bits, box, bound, model, runtime)
    loaded = source.load()
    with watcher(quiet=quiet, verbose=verbose) as watch:
        result = check(loaded.problem, options, watch)
    report = Report.of_check(result, source=source.as_json(), notes=notes(loaded))
    emit(report, as_json=json, file=output)
    raise typer.Exit(exit_code(result.verdict))
