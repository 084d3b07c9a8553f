"""Stage: search the region until the claim is settled, or hand on what resists.

On a grid, and on any region of few inputs, the search ends by itself; elsewhere it may stall, and what is
open when its share of the time is spent becomes the residual, which goes to the encodings box by box.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from qsmt.arith.outward import float_down, float_up
from qsmt.engine.boxes import counted, searchable
from qsmt.engine.branch import Search
from qsmt.engine.checkpoint import Checkpoint
from qsmt.engine.costs import seconds_per_point
from qsmt.engine.crew import Crew
from qsmt.engine.investigation import Investigation
from qsmt.engine.measures import limits
from qsmt.engine.plan import MAX_PARTS, NONE, SEARCH_SHARE, SEARCHED_COORDINATES
from qsmt.engine.policy import Policy
from qsmt.errors import SoundnessError

DIVE_SHARE = 0.5
"""Half of the boxes of each step are the worst of the newest, which reaches violations early; the other half
are the worst of all, which lowers the certified bound."""


def search(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: cut, analyse and run boxes; what is left open is the residual."""
    if run.problem.region.points == 1:
        return run_one_point(run)
    alone = run.options.encoding == NONE or ends_in_time(run)
    share = 1.0 if alone else SEARCH_SHARE
    deadline, allowed = time.monotonic() + share * run.remaining_s, limits(run.problem.claim)
    policy = Policy(
        limits=lambda: allowed,
        finished=lambda: run.verdict is not None or time.monotonic() > deadline,
        dive_share=DIVE_SHARE,
    )
    with crew_of(run) as crew:
        found = pursue(run, policy, crew, purpose="check")
        if run.verdict is None:
            conclude(run, found)
    return said(found), figures(found)


def ends_in_time(run: Investigation) -> bool:
    """Can all points be run in the time that is left?"""
    points = run.problem.region.points
    return points is not None and points < run.remaining_s * run.options.jobs / seconds_per_point(run.problem)


def pursue(run: Investigation, policy: Policy, crew: Crew, *, purpose: str) -> Search:
    """Search until done, with checkpoints if they are asked for; nothing is lost on the way.

    Raises:
        InputError: the checkpoint cannot be written, or is none of this search.
        SoundnessError: open and closed boxes do not make up the region.
    """
    found = Search.begin(run, policy, crew)
    checkpoint = Checkpoint(run.options.checkpoint, purpose) if run.options.checkpoint else None
    if checkpoint is not None and run.options.resumes:
        checkpoint.restore(found)
    begun = time.monotonic()
    while not found.done:
        found.step()
        _tell(run, found, time.monotonic() - begun)
        if checkpoint is not None:
            checkpoint.save_now_and_then(found)
    found.finish()
    if checkpoint is not None:
        checkpoint.save(found)
    return found


def crew_of(run: Investigation) -> Crew:
    """Whoever the options let work on this problem."""
    options = run.options
    return Crew(run.problem, jobs=options.jobs, memory_mib=options.memory_mib, executor=options.executor)


def conclude(run: Investigation, found: Search) -> None:
    """Verified if every box is closed within the claim; else the open boxes are what is left.

    Raises:
        SoundnessError: no box is open, and yet what is certified exceeds the claim.
    """
    run.trust += trust(found)
    if found.settled or (found.open_boxes == 0 and run.is_undecided):
        run.verify(run.trust)
    elif found.open_boxes == 0:
        raise SoundnessError(
            f"every box is closed, but the difference is certified only in {found.certified}"
        )
    else:
        run.reasons.append(f"the search left {counted(found.open_boxes)} open")
        run.residual = found.residual(MAX_PARTS)


def trust(found: Search) -> list[str]:
    """What the closed boxes rest on."""
    return ["dra"] * bool(found.tally.settled) + ["enumeration"] * bool(found.tally.enumerated)


def refusal(run: Investigation) -> str | None:
    """Why the region is not searched; None if it is."""
    region = run.problem.region
    if region.points == 1:
        return None
    if not searchable(region):
        return "the region has ends beyond 2**52, which a search in doubles would miss"
    free = sum(low < high for low, high in zip(region.lower, region.upper, strict=True))
    few = region.points is not None and region.points <= 10**6
    if free > SEARCHED_COORDINATES and not few:
        return f"{free} inputs vary, too many to cut the region"
    return None


def run_one_point(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: a region of a single input is decided by executing it."""
    execution = run.observe([run.problem.region.lower])[0]
    ranges = [execution.range_of(i) for i in range(max(run.problem.claim.outputs) + 1)]
    run.certify(np.array([float_down(v) for v, _ in ranges]), np.array([float_up(v) for _, v in ranges]))
    if run.decides and run.verdict is None:
        run.verify(["enumeration"])
    return "ran the only point", {"boxes": 0, "points": 1, "open": 0}


def said(found: Search) -> str:
    """What the search did, for people."""
    tally = found.tally
    parts = [f"analysed {counted(tally.analysed)}"] * bool(tally.analysed)
    parts += [f"ran {tally.enumerated:,} grid points"] * bool(tally.enumerated)
    parts += [f"left {counted(found.open_boxes)} open"] * bool(found.open_boxes)
    return ", ".join(parts) or "looked at nothing"


def figures(found: Search) -> dict[str, Any]:
    """The same, for programs."""
    tally = found.tally
    return {"boxes": tally.analysed, "points": tally.enumerated, "open": found.open_boxes}


def _tell(run: Investigation, found: Search, seconds: float) -> None:
    pace = found.tally.analysed / max(seconds, 1e-9)
    certified = max(_furthest(run, o.certified) for o in run.outputs)
    witnessed = max((_furthest(run, o.reached) for o in run.outputs), default=0.0)
    reached = f"certified {certified:.6g}, witnessed {witnessed:.6g}, {pace:,.0f} boxes/s"
    note = f"% of the region closed, {counted(found.open_boxes)} open, {reached}"
    run.watch.progress(100 * found.closed_share, 100, note)


def _furthest(run: Investigation, ends: tuple[float, float]) -> float:
    return max(ends[1], -ends[0]) if -1 in run.problem.claim.sides else ends[1]
