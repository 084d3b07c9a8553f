"""`qsmt crosscheck`: hold the encodings and their solvers against each other, and against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qsmt.cli import arguments as given
from qsmt.cli.output import check_writable, one_of, show, write_whole
from qsmt.errors import InputError

if TYPE_CHECKING:
    from qsmt.engine.campaign import Cases, Panel
    from qsmt.engine.faults import Fault
    from qsmt.report.crosscheck import Summary

AGREE, UNNOTICED, UNDECIDED, DISAGREE = 0, 1, 3, 4

EPILOG = """\b
Faults that --plant plants:
  wrong-rounding        activations are floored, whatever their rounding
  off-by-one-threshold  exact halves round down
  missing-saturation    hidden codes grow beyond their format
  shifted-bias          every bias is one unit too large
  weight-sign           the first weight of every layer has the wrong sign
  lenient-bound         a little more than the bound is asked for
  closed-bound          a difference that equals the bound counts as a violation
  wrong-side            the other side of the bound is asked for
  input-scale           the reference reads inputs that are too large
  narrow-facts          bounds of neurons leave out values that they take
  blind-solver          a solver overlooks every violation
  wrong-witness         violating inputs are read off one unit beside
"""
"""The end of the help; written out so that help imports nothing. A test holds it against the engine's list."""


def command(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A problem file (.toml).", show_default=False)
    ] = None,
    *,
    random: Annotated[int | None, typer.Option(min=1, metavar="N", help="N random problems instead.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the first random problem.")] = 0,
    size: Annotated[str, typer.Option(metavar="small|medium", help="Of random problems.")] = "small",
    plant: Annotated[
        str | None, typer.Option(metavar="FAULT", help="Plant a fault, to see it noticed; see below.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this encoding: such as milp, or milp+OPTION.")
    ] = None,
    backend: given.Backend = None,
    timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="Of a single answer.")] = 10.0,
    jobs: given.Jobs = 2,
    json: given.Json = False,
    output: given.Output = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML to FILE.")] = None,
    quiet: given.Quiet = False,
) -> None:
    """Test the encodings against each other.

    Every encoding, with every option and solver, with the facts of the analysis and without, answers queries
    around the exact maximum of the difference, which exact execution of all inputs has found. What is wrong is
    shrunk, and left in a folder qsmt-alarm-* with a problem file, and a report for `qsmt replay`.

    Exit codes: 0 no wrong answer, 2 bad input, 3 nothing was decided, 4 a wrong answer. With --plant: 4 the fault
    was noticed at every solver, 1 it was not.
    """
    from qsmt.engine.campaign import Panel, configurations
    from qsmt.solver.base import Limits

    check_writable(output)
    check_writable(junit)
    fault = _fault(plant)
    panel = Panel(configurations(encoding, backend, fault=fault), Limits(timeout), fault)
    subject, cases = _cases(file, random, seed=seed, size=size)
    summary = _conducted(panel, subject, cases, planted=plant, jobs=jobs, quiet=quiet)
    _emit(summary, as_json=json, output=output, junit=junit)
    raise typer.Exit(_exit_code(summary))


def _fault(name: str | None) -> Fault | None:
    from qsmt.engine import faults

    if name is not None and name not in faults.FAULTS:
        raise InputError(f"is {name!r}, not one of {', '.join(faults.FAULTS)}", where="--plant")
    return None if name is None else faults.FAULTS[name]


def _cases(file: Path | None, count: int | None, *, seed: int, size: str) -> tuple[str, Cases]:
    """What is tested, in words, and its cases."""
    from qsmt.claim import error_bound
    from qsmt.engine.campaign import given_cases, random_cases
    from qsmt.engine.load import load_problem
    from qsmt.engine.random_problem import Size

    if (file is None) == (count is None):
        raise InputError("give a problem file, or --random N", where="qsmt crosscheck")
    if file is not None:
        problem = load_problem(file).problem
        error_bound(problem.claim)
        return str(file), given_cases(problem)
    assert count is not None
    chosen, last = one_of(Size, size, flag="--size"), seed + count - 1
    return f"{count:,} {chosen} random problems, seeds {seed} to {last}", random_cases(count, seed, chosen)


def _conducted(
    panel: Panel, subject: str, cases: Cases, *, planted: str | None, jobs: int, quiet: bool
) -> Summary:
    from qsmt.cli.progress import watcher
    from qsmt.engine.campaign import conduct
    from qsmt.engine.shrink import shrunk_cases
    from qsmt.report.crosscheck import Summary

    with watcher(quiet=quiet, verbose=False) as watch:
        watch.stage("crosscheck")
        results = conduct(panel, cases, jobs=jobs, watch=watch)
        watch.stage("shrinking")
        return Summary(subject, results, shrunk_cases(results, panel), planted)


def _emit(summary: Summary, *, as_json: bool, output: Path | None, junit: Path | None) -> None:
    from qsmt.report import crosscheck as report

    show(report.as_json(summary) if as_json else report.text(summary))
    if output is not None:
        write_whole(output, report.as_json(summary))
    if junit is not None:
        write_whole(junit, report.junit(summary))


def _exit_code(summary: Summary) -> int:
    if summary.planted is not None:
        return DISAGREE if summary.noticed else UNNOTICED
    if summary.results.disagreements:
        return DISAGREE
    return AGREE if summary.results.decided else UNDECIDED
