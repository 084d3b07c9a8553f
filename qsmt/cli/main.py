"""The command line: parses, calls one function, prints its report, and exits with the promised code.

Exit codes: 0 verified (or done), 1 falsified, 2 bad input or usage, 3 unknown, 4 soundness alarm,
70 internal error, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from io import FileIO, TextIOWrapper
from typing import Annotated

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the parallelism is --jobs; must precede numpy

import typer

from qsmt.cli import (
    analyze,
    bound,
    check,
    crosscheck,
    doctor,
    export,
    quantize,
    radius,
    replay,
    supports,
    tune,
    verify,
)
from qsmt.cli.output import mute
from qsmt.errors import BackendError, InputError, SoundnessError

BAD_INPUT, ALARM, INTERNAL, INTERRUPTED = 2, 4, 70, 130

CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The base of all usage errors, which typer does not export."""

app = typer.Typer(
    name="qsmt",
    help="Proves how far a quantized network can be from its float original, or finds the input that breaks the bound.",
    epilog="Exit codes: 0 verified or done, 1 falsified, 2 bad input or usage, 3 unknown, 4 soundness alarm, "
    "70 internal error, 130 interrupted.",
    add_completion=False,
    rich_markup_mode=None,  # plain help: it must come up at once
    pretty_exceptions_enable=False,
)
app.command("check")(check.command)
app.command("bound")(bound.command)
app.command("analyze")(analyze.command)
app.command("tune")(tune.command)
app.command("replay")(replay.command)
app.command("export")(export.command)
app.command("crosscheck", epilog=crosscheck.EPILOG)(crosscheck.command)
app.command("quantize")(quantize.command)
app.command("doctor")(doctor.command)
app.command("radius")(radius.command)
app.command("verify")(verify.command)
app.command("supports")(supports.command)
app.command("capabilities", hidden=True)(supports.command)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    name: Annotated[bool, typer.Option("--name", help="Show the name and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        sys.stdout.write(f"{version_of('qsmt')}\n")
        raise typer.Exit
    if name:
        sys.stdout.write("qsmt\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


def main() -> None:
    """Entry point of the `qsmt` command."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may hold any character
    sys.exit(run(sys.argv[1:]))


def _open_what_is_closed() -> None:
    """Where the caller closed stdout or stderr, what is said goes nowhere; and no other file gets its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, TextIOWrapper(FileIO(os.devnull, "w"), encoding="utf-8"))


def run(arguments: list[str]) -> int:
    """Run one command line; its exit code."""
    try:
        code: int = app(arguments, prog_name="qsmt", standalone_mode=False) or 0
        if code == INTERRUPTED:  # what typer makes of an interrupt
            raise KeyboardInterrupt
        return code
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", INTERRUPTED)
    except (InputError, BackendError) as error:
        return _complain(str(error), BAD_INPUT)
    except SoundnessError as error:
        return _complain(f"SOUNDNESS ALARM: {error}", ALARM)
    except BrokenPipeError:
        mute()  # the reader of a help text left; not our error
        return 0
    except CLICK_ERROR as error:
        return _complain(error.format_message(), BAD_INPUT)  # type: ignore[attr-defined]
    except Exception:  # the last resort: say so, and where to look
        return _internal_error()


def _complain(message: str, code: int) -> int:
    """Say it if anybody listens; the exit code is the same if nobody does, since 1 would be a verdict."""
    try:
        sys.stderr.write(f"qsmt: {' '.join(message.split())}\n")
        sys.stderr.flush()
    except OSError:
        mute(sys.stderr)
    return code


def _internal_error() -> int:
    if os.environ.get("QSMT_TRACEBACK"):
        from traceback import print_exc

        print_exc()
    kind, error, _ = sys.exc_info()
    said = f"{kind.__name__ if kind else 'error'}: {error}"
    return _complain(
        f"internal error ({said}); set QSMT_TRACEBACK=1 for the traceback and please report it", INTERNAL
    )


if __name__ == "__main__":
    main()
