"""Stage: the best relaxation of the whole region, where there are too many inputs to cut it.

The analysis of the whole region is done once more, with multipliers and cases that are searched for
(qsmt.dra.optimized). A bound that implies the claim is not tightened any further.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qsmt.arith.outward import float_down
from qsmt.claim import ErrorBound
from qsmt.dra.analysis import analyze_region
from qsmt.dra.domain import Effort, Mode
from qsmt.dra.stability import unstable
from qsmt.engine.hunt import Hunt
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import HUNT_SHARE


def optimize(
    run: Investigation, *, share: float, stop: Callable[[], bool] = lambda: False
) -> tuple[str, dict[str, Any]]:
    """Stage: tighten the analysis, for a share of the time that is left at most, beside a hunt for violations."""
    seconds = share * run.remaining_s
    with Hunt(run, time.monotonic() + seconds) as hunt:
        alone = 1.0 if hunt.is_beside or not hunt.possible else 1.0 - HUNT_SHARE
        figures = _relaxed(run, alone * seconds, lambda: hunt.look() or stop())
        if run.verdict is None and not stop():
            hunt.follow()
    unsure = f"{figures['unstable_reference']} + {figures['unstable_quantized']} hidden neurons are unstable"
    walks = f"; {hunt.walks} walks for violations" * bool(hunt.walks)
    return f"searched for relaxations; {unsure}{walks}", figures | {"walks": hunt.walks}


def _relaxed(run: Investigation, seconds: float, stop: Callable[[], bool]) -> dict[str, Any]:
    begun, claim = time.monotonic(), run.problem.claim

    def watched() -> bool:
        run.watch.progress(time.monotonic() - begun, seconds, "s")
        return stop()

    goal = min(map(float_down, claim.bounds)) if run.decides and isinstance(claim, ErrorBound) else None
    effort = Effort(
        nodes=float("inf"), seconds=seconds, stop=watched, **({} if goal is None else {"goal": goal})
    )
    facts = analyze_region(run.problem, Mode.OPTIMIZED, outputs=claim.rows, effort=effort)
    run.conclude(facts)
    ours, theirs = unstable(run.problem, facts)
    return {"mode": Mode.OPTIMIZED.value, "unstable_reference": ours, "unstable_quantized": theirs}
