"""`qsmt radius`: how far from its centre does the claim hold?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsmt.cli import arguments as given
from qsmt.cli.output import check_writable, chosen_model, exact_gap, show, write_whole
from qsmt.errors import InputError

if TYPE_CHECKING:
    from qsmt.engine.load import Loaded
    from qsmt.problem import InputModel


def command(
    files: given.Files,
    *,
    bits: given.Bits = None,
    center: Annotated[
        str | None, typer.Option(metavar="POINT", help='Of the inputs, such as "0^4" or "0,0.5".')
    ] = None,
    most: Annotated[
        str | None, typer.Option("--radius", metavar="NUMBER", help="The largest radius that is tried.")
    ] = None,
    bound: given.Bound = None,
    input_model: given.Model = None,
    runtime: given.Runtime = None,
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

    Bisects between the centre and the radius of the problem file; or of the flags, for a network with --bits, or two
    networks. On a grid, a radius counts codes. ^C ends it with what is known by then.

    Exit codes: 0 a radius is verified, 1 the centre breaks the claim, 2 bad input, 3 unknown, 4 soundness alarm.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.plan import Options
    from qsmt.engine.radius import radius
    from qsmt.report.radius import as_json, render

    check_writable(output, read=files)
    allowed = None if gap is None else exact_gap(gap)
    loaded = _load(files, bits, center, most, bound, chosen_model(input_model), runtime)
    options = Options(timeout_s=timeout, jobs=jobs, seed=seed)
    with watcher(quiet=quiet, verbose=verbose) as watch:
        found = radius(loaded, options, watch, gap=allowed)
    said = as_json(found, sha256=loaded.parts[0].problem.sha256)
    show(said if json else render(found, loaded.parts[0]))
    if output is not None:
        write_whole(output, said)
    if found.verified is None:
        raise typer.Exit(1 if found.broken == 0 else 3)


def _load(
    files: list[Path],
    bits: int | None,
    center: str | None,
    radius: str | None,
    bound: str | None,
    model: InputModel | None,
    runtime: str | None,
) -> Loaded:
    from qsmt.engine.load import ball_from_flags, load_problem

    flags = {"--center": center, "--radius": radius, "--bound": bound}
    if files[0].suffix.lower() == ".toml":
        all_flags = flags | {"--bits": bits, "--input-model": model, "--runtime": runtime}
        given_too = [flag for flag, value in all_flags.items() if value is not None]
        if given_too or len(files) > 1:
            what = f"a problem file says it all; it cannot be combined with {', '.join(given_too) or 'another file'}"
            raise InputError(what, where=files[0])
        return load_problem(files[0])
    for flag, value in flags.items():
        if value is None:
            hint = f"give {flag}, or a problem file that ends in .toml"
            raise InputError("is needed with a network file", where=flag, hint=hint)
    if len(files) > 2:
        raise InputError(f"{len(files)} files were given", hint="give a network, or two to compare")
    return ball_from_flags(
        files[0],
        files[1] if len(files) > 1 else None,
        center=center or "",
        radius=radius or "",
        bound=bound or "",
        bits=bits,
        model=model,
        runtime=runtime,
    )
