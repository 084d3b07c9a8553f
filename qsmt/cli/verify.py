"""`qsmt verify`: the command of the VNN-LIB standard (chapter 5): a query in, `sat` or `unsat` out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qsmt.cli.output import make_folder, show, write_whole
from qsmt.errors import InputError

NO_LIMIT_S = 30 * 86400.0
"""The time of a query for which no limit is given."""


def command(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="A VNN-LIB file, version 1.0 or 2.0.")],
    *,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="The model of a network of the query; once for each."),
    ] = None,
    timeout: Annotated[
        int | None, typer.Option(min=0, metavar="SECONDS", help="Answer timed-out after this long.")
    ] = None,
    serialise_assignments: Annotated[
        Path | None,
        typer.Option(
            "--serialise-assignments",
            "--assignments",
            metavar="FOLDER",
            help="After sat, write each variable to FOLDER/NAME.pb, an ONNX tensor, instead of printing it.",
        ),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="Ask about the network quantized to this many bits, not the float one.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Work on this many things at once.")] = 2,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the random search.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each stage to stderr.")] = False,
) -> None:
    """Answer a VNN-LIB query about one or two networks.

    Prints sat, unsat, unknown or timed-out; after sat, the values of all variables.

    Exit codes: 0 answered, 2 bad input, 4 soundness alarm.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.declared_floats import remark
    from qsmt.engine.plan import Options
    from qsmt.engine.vnnlib import answer, load_question
    from qsmt.report.vnnlib import render, serialised

    question = load_question(query, _files(network or []), bits=bits)
    if serialise_assignments is not None:
        make_folder(serialise_assignments)
    seconds = NO_LIMIT_S if timeout is None else max(float(timeout), 0.001)
    with watcher(quiet=quiet, verbose=verbose) as watch:
        found = answer(question, Options(timeout_s=seconds, jobs=jobs, seed=seed), watch)
    if serialise_assignments is not None:
        for name, content in serialised(question.file, found).items():
            write_whole(serialise_assignments / name, content)
    show(render(question.file, found, assignment=serialise_assignments is None))
    for said in (found.reason, remark(question, found)):
        if said is not None:
            sys.stderr.write(f"qsmt: {said}\n")


def _files(given: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in given:
        name, mark, path = text.partition("=")
        if not mark or not name or not path:
            raise InputError(f"is {text!r}, not NAME=FILE", where="--network")
        if name in files:
            raise InputError(f"names {name} twice", where="--network")
        files[name] = Path(path)
    return files
