"""`qsmt tune`: how many bits does each layer need?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from qsmt.cli import arguments as given
from qsmt.cli.output import chosen_model, one_of, show
from qsmt.errors import InputError

TUNED, NOT_TUNED = 0, 3


def command(
    files: given.Files,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Write the result to a new folder, as a problem to check."
        ),
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of the input, without a problem file.")] = None,
    box: given.Box = None,
    bound: given.Bound = None,
    input_model: given.Model = None,
    each: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="What one choice may take to be proved.")
    ] = 10.0,
    timeout: given.Timeout = 300.0,
    jobs: given.Jobs = 2,
    seed: given.Seed = 0,
    trust: given.Trusted = "any",
    json: given.Json = False,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Find the fewest bits per layer that are proved to meet the bound.

    Takes bits away from weights, biases and activations, layer by layer, as long as the claim is proved. The formats of
    the input and the rounding stay as they are. What is written can be checked again with `qsmt check`. ^C ends it with
    what is proved by then.

    Exit codes: 0 found, 2 bad input, 3 no uniform width was proved, 4 soundness alarm.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.alarm import write_problem
    from qsmt.engine.export import whole_folder
    from qsmt.engine.plan import Options, Trust
    from qsmt.engine.source import Source
    from qsmt.engine.tune import Tunable, tune
    from qsmt.report import tune as report

    _check_new(output)
    trusted = one_of(Trust, trust, flag="--trust")
    source = Source(tuple(files), bits, box, bound, chosen_model(input_model))
    tunable = Tunable.of(source)
    options = Options(timeout_s=timeout, jobs=jobs, seed=seed, trust=trusted)
    with watcher(quiet=quiet, verbose=verbose) as watch:
        result = tune(tunable, options, watch, each_s=each)
    certificates = report.as_json(result, source=source.as_json())
    written = None if output is None or result.best is None else output / "problem.toml"
    if output is not None and result.best is not None:
        with whole_folder(output) as folder:
            write_problem(result.best.problem, folder)
            (folder / "tune.json").write_text(certificates, encoding="utf-8")
    show(certificates if json else report.text(result, written=written))
    raise typer.Exit(NOT_TUNED if result.best is None else TUNED)


def _check_new(folder: Path | None) -> None:
    """Say before the work, not after it, that its result could not be kept."""
    if folder is None:
        return
    if folder.exists():
        raise InputError("is there already", where=folder, hint="name a new folder")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        hint = "name a new folder where you can write"
        raise InputError(f"cannot be made in {above}", where=folder, hint=hint)
