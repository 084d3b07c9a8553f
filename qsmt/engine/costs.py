"""What the search's steps cost here: measured once, before it starts, in well under a second.

Two numbers decide everything, both rounded to powers of two so that a little noise does not change the
course of a search. Neither has any influence on what is true, only on how soon it is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import log2

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.dra.analysis import analyze
from qsmt.dra.domain import Boxes, Mode
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import Problem

SEARCH_MODE = Mode.INTERVAL
"""The analysis of every box of a search: the one place that says which."""

STEP_SECONDS = 0.25
"""About how long one step of the search takes: time limits and ^C are noticed between steps."""

CALIBRATION_SECONDS = 0.1
"""Each measurement is repeated on larger batches until it takes this long."""

MAX_BATCH = 1024
MAX_CHUNK = 2**16

BATCH_BYTES = 2**28
"""All bounds of all layers of one batch stay below this."""


@dataclass(frozen=True, slots=True)
class Costs:
    """`ratio`: points enumerated in the time that analysing one box takes; `batch`: boxes per step."""

    ratio: int
    batch: int


def measure(problem: Problem, interpreter: BatchInterpreter, *, jobs: int) -> Costs:
    """Time the analysis and the enumeration on the whole region."""
    root = Boxes.of_region(problem.region)
    box = _seconds_each(
        lambda n: analyze(problem, Boxes(_copies(root.lower, n), _copies(root.upper, n)), SEARCH_MODE),
        most=64,
    )
    point = _seconds_each(lambda n: interpreter.run(_copies(root.lower, n)), most=MAX_CHUNK)
    values = sum(op.out.size for op in problem.reference.ops)
    memory = BATCH_BYTES // (8 * 16 * values)
    batch = min(_power_of_two(jobs * STEP_SECONDS / box), MAX_BATCH, max(memory, 1))
    return Costs(ratio=_power_of_two(box / point), batch=batch)


def _copies(row: FloatArray, count: int) -> FloatArray:
    return np.repeat(row, count, axis=0)


def _seconds_each(work: Callable[[int], object], *, most: int) -> float:
    """Seconds per item, from the largest batch that was tried; the first run also warms caches up."""
    work(1)
    size = 1
    while True:
        begun = time.perf_counter()
        work(size)
        spent = max(time.perf_counter() - begun, 1e-7)
        if size >= most or spent > CALIBRATION_SECONDS / 4:
            return spent / size
        size = min(4 * size, most)


def _power_of_two(value: float) -> int:
    return 1 << max(0, round(log2(max(value, 1.0))))
