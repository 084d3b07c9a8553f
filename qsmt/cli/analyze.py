"""`qsmt analyze`: the difference analysis alone."""

from __future__ import annotations

from typing import Annotated

import typer

from qsmt.cli.arguments import DEFAULT_BUDGET, Bits, Box, Budget, Files, Json, Model, Output, Runtime
from qsmt.cli.output import check_writable, chosen_model, emit, one_of
from qsmt.errors import InputError


def command(
    files: Files,
    *,
    mode: Annotated[
        str,
        typer.Option(
            metavar="naive|interval|symbolic|difference|best|optimized", help="How the difference is bounded."
        ),
    ] = "best",
    budget: Budget = DEFAULT_BUDGET,
    attribute: Annotated[
        bool,
        typer.Option(
            "--attribute", help="Split the certified error by layer and cause (of the mode `best`)."
        ),
    ] = False,
    bits: Bits = None,
    box: Box = None,
    input_model: Model = None,
    runtime: Runtime = None,
    json: Json = False,
    output: Output = None,
) -> None:
    """Bound the difference, layer by layer.

    Also counts the stable neurons of both networks.
    """
    from qsmt.dra.domain import Mode
    from qsmt.engine.analyze import analyze, attributed
    from qsmt.engine.source import Source, notes
    from qsmt.report.model import Report

    check_writable(output, read=files)
    chosen = one_of(Mode, mode, flag="--mode")
    if attribute and chosen is not Mode.BEST:
        raise InputError(f"splits what the mode best certifies, not {chosen}", where="--attribute")
    model = chosen_model(input_model)
    bound = None if files[0].suffix.lower() == ".toml" else "0"  # analysis does not depend on the claim
    source = Source(tuple(files), bits, box, bound, model, runtime)
    loaded = source.load()
    result = analyze(loaded.problem, chosen, seconds=budget)
    result = attributed(result) if attribute else result
    report = Report(
        command="analyze",
        problem=result.problem,
        source=source.as_json(),
        outputs=result.outputs,
        seconds=result.seconds,
        stages=result.stages,
        layers=result.layers,
        notes=notes(loaded),
        attributions=result.attributions,
    )
    emit(report, as_json=json, file=output)
