"""`qsmt bound`: how far apart can the two networks be?"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

from qsmt.cli import arguments as given
from qsmt.cli.output import check_checkpoint, check_writable, chosen_model, emit, exact_gap, one_of

if TYPE_CHECKING:
    from types import FrameType


def command(
    files: given.Files,
    *,
    bits: given.Bits = None,
    box: given.Box = None,
    input_model: given.Model = None,
    runtime: given.Runtime = None,
    gap: given.Gap = "0",
    timeout: given.Timeout = 300.0,
    jobs: given.Jobs = 2,
    seed: given.Seed = 0,
    encoding: given.Encoding = "auto",
    backend: given.Backend = None,
    trust: given.Trusted = "any",
    checkpoint: given.Checkpointed = None,
    resume: given.Resumed = False,
    json: given.Json = False,
    output: given.Output = None,
    quiet: given.Quiet = False,
    verbose: given.Verbose = False,
) -> None:
    """Find the smallest bound that can be proved.

    Certifies an interval per output and witnesses its ends, both improving until they meet. On a grid
    that is the exact maximum. Ends at the time limit, or at ^C, with what is known by then. What a search
    leaves open goes to the encodings, which maximise it.
    """
    from qsmt.cli.progress import watcher
    from qsmt.engine.bound import bound
    from qsmt.engine.plan import Options, Trust
    from qsmt.engine.source import Source, notes
    from qsmt.report.model import Report

    check_writable(output, read=files)
    check_checkpoint(checkpoint, resume=resume, read=files)
    model, allowed = chosen_model(input_model), exact_gap(gap)
    claimed = None if files[0].suffix.lower() == ".toml" else "0"  # what is claimed does not matter
    source = Source(tuple(files), bits, box, claimed, model, runtime)
    loaded = source.load()
    options = Options(
        timeout_s=timeout,
        jobs=jobs,
        seed=seed,
        encoding=encoding,
        backend=backend,
        trust=one_of(Trust, trust, flag="--trust"),
        checkpoint=checkpoint,
        resumes=resume,
    )
    with watcher(quiet=quiet, verbose=verbose) as watch, stopped_by_interrupt() as stop:
        result = bound(loaded.problem, options, watch, gap=allowed, stop=stop)
    report = Report.of_bound(result, source=source.as_json(), notes=notes(loaded))
    emit(report, as_json=json, file=output)


@contextmanager
def stopped_by_interrupt() -> Iterator[Event]:
    """The first ^C sets the event, so that what is known is told; the second one interrupts as usual."""
    stop = Event()

    def interrupt(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
