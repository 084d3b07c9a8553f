"""`qsmt check`: decide a problem."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from qsmt.cli import arguments as given
from qsmt.cli.output import check_checkpoint, check_writable, chosen_format, chosen_model, emit_all, one_of
from qsmt.errors import InputError

if TYPE_CHECKING:
    from qsmt.engine.plan import Options
    from qsmt.engine.source import Source
    from qsmt.report.model import Report


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
    form: given.Form = None,
    json: given.Json = False,
    output: given.Output = None,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Decide a problem: prove the claim, or break it.

    Are the two networks within the bound of each other on every input of the region? Does the property hold? Several
    problem files are decided one after the other; the time limit is that of each, and the exit code is the worst.

    Exit codes: 0 verified, 1 falsified, 2 bad input, 3 unknown, 4 soundness alarm.
    """
    from qsmt.engine.plan import CrossCheck, Options, Trust
    from qsmt.engine.source import Source, one_each
    from qsmt.verdict import exit_code, worst

    check_writable(output, read=files)
    check_checkpoint(checkpoint, resume=resume, read=files)
    chosen, model = chosen_format(form, as_json=json), chosen_model(input_model)
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
    sources = one_each(Source(tuple(files), bits, box, bound, model, runtime))
    if checkpoint is not None and len(sources) > 1:
        raise InputError("is that of one problem, and several are given", where="--checkpoint")
    reports = _decided(sources, options, quiet=quiet, verbose=verbose)
    emit_all(reports, form=chosen, as_json=json, file=output)
    if len(reports) < len(sources):
        sys.stderr.write(f"qsmt: {len(reports)} of {len(sources)} problems are decided\n")
        raise KeyboardInterrupt
    raise typer.Exit(exit_code(worst(r.verdict for r in reports if r.verdict is not None)))


def _decided(sources: Sequence[Source], options: Options, *, quiet: bool, verbose: bool) -> list[Report]:
    """One report per problem; all problems are read before any is worked on. ^C ends it with those that are finished.

    Raises:
        KeyboardInterrupt: none is finished.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.check import check_all
    from qsmt.engine.source import notes
    from qsmt.report.model import Report

    loaded = [source.load() for source in sources]
    reports = []
    with watcher(quiet=quiet, verbose=verbose) as watch:
        try:
            for source, found in zip(sources, loaded, strict=True):
                index, result = check_all([part.problem for part in found.parts], options, watch)
                origin, part = source.as_json(), found.decided(index, result.verdict)
                origin |= {"part": index} if index else {}
                report = Report.of_check(result, source=origin, notes=notes(found), part=part)
                reports.append(replace(report, title=str(source.files[0])))
        except KeyboardInterrupt:
            if not reports:
                raise
    return reports
