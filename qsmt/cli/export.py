"""`qsmt export`: residual queries as solver files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qsmt.cli.arguments import Bits, Bound, Box, Files, Model, Runtime
from qsmt.cli.output import chosen_model, show


def command(
    files: Files,
    *,
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="A folder that does not exist yet.")
    ],
    bits: Bits = None,
    box: Box = None,
    bound: Bound = None,
    input_model: Model = None,
    runtime: Runtime = None,
) -> None:
    """Write residual queries as .smt2 and .mps.

    The residual queries are those that analysis leaves open: at most two per output.
    """
    from qsmt.engine.export import export
    from qsmt.engine.source import Source
    from qsmt.errors import InputError

    if folder.exists():
        raise InputError("exists already", where=folder, hint="name a new folder")
    model = chosen_model(input_model)
    problem = Source(tuple(files), bits, box, bound, model, runtime).load().problem
    exported = export(problem, folder)
    show("".join(f"{path}\n" for path in exported.files))
    sys.stderr.write("".join(f"qsmt: {remark}\n" for remark in exported.remarks))
