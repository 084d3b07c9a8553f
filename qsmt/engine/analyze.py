"""`qsmt analyze`: the difference analysis alone, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qsmt.claim import error_bound
from qsmt.dra.analysis import analyze_region
from qsmt.dra.attribution import Attribution, attribute
from qsmt.dra.domain import DEFAULT_EFFORT, Mode
from qsmt.dra.stability import LayerStability, stability
from qsmt.engine.investigation import OutputRange, Stage
from qsmt.engine.measures import measured
from qsmt.facts import Facts, Interval, Stability
from qsmt.ir.ops import Value
from qsmt.ir.types import Real
from qsmt.problem import Problem


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """What one mode proves: the outputs' difference, and every layer's widths and stable neurons."""

    problem: Problem
    outputs: tuple[OutputRange, ...]
    layers: tuple[Mapping[str, Any], ...]
    stages: tuple[Stage, ...]
    seconds: float
    attributions: tuple[Attribution, ...] = ()


def analyze(problem: Problem, mode: Mode, *, seconds: float = DEFAULT_EFFORT.seconds) -> AnalysisResult:
    """Run one mode on the whole region; `seconds` is what `optimized` may take."""
    begun = time.monotonic()
    effort = replace(DEFAULT_EFFORT, seconds=seconds)
    facts = analyze_region(problem, mode, outputs=problem.claim.rows, effort=effort)
    elapsed = time.monotonic() - begun
    difference = measured(problem.claim, facts.difference)
    outputs = tuple(
        OutputRange(i, (float(difference.lower[i]), float(difference.upper[i])), None)
        for i in problem.claim.outputs
    )
    stage = Stage(
        "analysis", elapsed, f"bounded the difference layer by layer ({mode})", {"mode": mode.value}
    )
    return AnalysisResult(problem, outputs, tuple(layer_rows(problem, facts)), (stage,), elapsed)


def attributed(result: AnalysisResult) -> AnalysisResult:
    """The same, with the ends of every output's difference split by layer and cause.

    Splitting runs one mode more, on what is known already, and may so tighten the ends.

    Raises:
        MalformedProblem: the claim is no error bound.
    """
    error_bound(result.problem.claim)
    begun = time.monotonic()
    found = attribute(result.problem)
    elapsed = time.monotonic() - begun
    certified = {(a.output, a.side): a.certified for a in found}

    def tightened(known: OutputRange) -> OutputRange:
        low, high = known.certified
        above, below = (certified.get((known.index, side), np.inf) for side in (1, -1))
        return OutputRange(known.index, (max(low, -below), min(high, above)), None)

    stage = Stage("attribution", elapsed, f"split {len(found)} ends by layer and cause", {})
    return replace(
        result,
        outputs=tuple(map(tightened, result.outputs)),
        stages=(*result.stages, stage),
        seconds=result.seconds + elapsed,
        attributions=found,
    )


def layer_rows(problem: Problem, facts: Facts) -> list[dict[str, Any]]:
    """One row per layer: its neurons, mean widths after the activation, and how many neurons are stable."""
    rows = []
    states = stability(problem, facts)
    for index, (found, (reference, quantized)) in enumerate(zip(facts.layers, problem.layers, strict=True)):
        rows.append(
            {
                "layer": index,
                "neurons": reference.pre.size,
                "reference_width": _mean_width(found.reference_post, reference.post),
                "quantized_width": _mean_width(found.quantized_post, quantized.post),
                "difference_width": _mean_width(found.difference_post, reference.post),
                "reference_stable": _stable(states, index, side="reference"),
                "quantized_stable": _stable(states, index, side="quantized"),
            }
        )
    return rows


def _stable(states: Sequence[LayerStability], index: int, *, side: str) -> dict[str, int]:
    """How many neurons of a hidden layer are of each kind; the output layer has none to count."""
    if index >= len(states):
        return {}
    kinds = getattr(states[index], side).ravel().tolist()
    return {kind.value: kinds.count(kind) for kind in Stability}


def _mean_width(bounds: Interval, value: Value) -> float:
    kind = value.type.element
    unit = 1.0 if isinstance(kind, Real) else float(kind.scale)
    return float(bounds.width.mean()) * unit
