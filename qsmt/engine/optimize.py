"""Stage: the best relaxation of the whole region, where there are too many inputs to cut it.

The analysis of the whole region is done once more, with multipliers and cases that are searched for
(qsmt.dra.optimized). A bound that implies the claim is not tightened any further.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qsmt.arith.outward import float_down
from qsmt.dra.analysis import analyze_region
from qsmt.dra.domain import Effort, Mode
from qsmt.dra.stability import unstable
from qsmt.engine.investigation import Investigation


def optimize(
    run: Investigation, *, share: float, stop: Callable[[], bool] = lambda: False
) -> tuple[str, dict[str, Any]]:
    """Stage: tighten the analysis, for a share of the time that is left at most."""
    begun, seconds = time.monotonic(), share * run.remaining_s

    def watched() -> bool:
        run.watch.progress(time.monotonic() - begun, seconds, "s")
        return stop()

    enough = {"goal": min(map(float_down, run.problem.claim.bounds))} if run.decides else {}
    effort = Effort(nodes=float("inf"), seconds=seconds, stop=watched, **enough)
    outputs = run.problem.claim.outputs
    run.facts = analyze_region(run.problem, Mode.OPTIMIZED, outputs=outputs, effort=effort)
    run.certify(run.facts.difference.lower, run.facts.difference.upper)
    run.residual = [(run.problem, run.facts)]
    if run.decides and run.within_bounds():
        run.verify(["dra"])
    ours, theirs = unstable(run.problem, run.facts)
    figures = {"mode": Mode.OPTIMIZED.value, "unstable_reference": ours, "unstable_quantized": theirs}
    return f"searched for relaxations; {ours} + {theirs} hidden neurons are unstable", figures
