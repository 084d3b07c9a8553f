"""What the user may choose, and the default policy: every number a named constant beside its reason."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

FALSIFIER_SECONDS = 2.0
"""The falsifier's share at most: it finds what it finds within a fraction of a second."""

FALSIFIER_SHARE = 0.1
"""... and never more than this share of the time limit."""

SEARCH_SHARE = 0.7
"""Of the time that is left, what the search gets where encodings may follow."""

SEARCHED_COORDINATES = 12
"""With more free inputs than this, cutting the region does not help, and the encodings come first."""

OPTIMIZED_SHARE = 0.8
"""Of the time that `bound` has left, what relaxations of the whole region get where there are too many inputs
to cut it; the search then looks for larger differences."""

HUNT_SHARE = 0.3
"""Of the time that relaxations get, what the hunt for violations gets where one process does both."""

MAX_PARTS = 16
"""More open boxes than this are put to the encodings as one, their hull."""

CHECKPOINT_SECONDS = 10.0
"""Between two checkpoints: what a kill costs at most."""

FIRST_SHARE = 0.6
"""Of a query's time, what the preferred encoding gets before the other one is tried, where jobs = 1."""

HEAD_START_S = 2.0
"""With more jobs, the other one joins after this long: most queries are decided before (see
benchmarks/results/levers.md), and then no solver has to be stopped, which costs a new process."""

HEAD_START_SHARE = 0.2
"""... and never later than after this share of the query's time, so that it has most of it too."""

SAMPLED_SHARE = 4
"""Under `--cross-check sample`, one residual query in this many is put to a second encoding."""

SAMPLED_SECONDS = 10.0
"""... which may take this long at most."""

AUTO = "auto"
NONE = "none"


class CrossCheck(StrEnum):
    """Which residual queries are put to a second encoding as well."""

    OFF = "off"
    SAMPLE = "sample"
    ALL = "all"


class Trust(StrEnum):
    """What a verdict may rest on."""

    ANY = "any"
    EXACT = "exact"  # no numerical solver's word for it that there is no violation


@dataclass(frozen=True, slots=True)
class Options:
    """How to decide a problem. `encoding` is "auto", "none", or a name; naming one skips the search.

    `executor` is who does pieces of the search if not this process or, once it takes long, its children.
    """

    timeout_s: float = 300.0
    jobs: int = 2
    seed: int = 0
    encoding: str = AUTO
    backend: str | None = None
    cross_check: CrossCheck = CrossCheck.SAMPLE
    trust: Trust = Trust.ANY
    memory_mib: int = 4096
    falsifies: bool = True
    checkpoint: Path | None = None
    resumes: bool = False
    executor: Executor | None = None

    @property
    def searches(self) -> bool:
        """Is the region to be searched? Naming an encoding asks for that encoding instead."""
        return self.encoding in (AUTO, NONE)
