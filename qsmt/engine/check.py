"""`qsmt check`, top to bottom: for every input of the region, does the bound hold?

Each stage is cheaper than the next and decides what it can:

1. analysis bounds the difference and finds the stable neurons; it may prove the claim outright;
2. falsification looks for an input that breaks it;
3. search cuts the region into boxes, analyses each, and runs every point of a grid box that is small enough;
   a region of too many inputs is analysed as a whole, with relaxations that are searched for;
4. what is left goes to the encodings, query by query, cross-checked.

Whatever claims a violation is executed exactly before it becomes a verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from qsmt.dra.analysis import analyze_region
from qsmt.dra.domain import Mode
from qsmt.dra.stability import unstable
from qsmt.engine.choice import validate
from qsmt.engine.dispatch import solve_residual
from qsmt.engine.falsify import falsify
from qsmt.engine.investigation import Investigation, OutputRange, Silence, Stage, Watch
from qsmt.engine.optimize import optimize
from qsmt.engine.plan import NONE, SEARCH_SHARE, Options
from qsmt.engine.search import refusal, search
from qsmt.facts import Facts
from qsmt.problem import Problem
from qsmt.verdict import Falsified, Verdict, Verified

LEAST_S = 0.001
"""Each of several problems gets this much time."""

FIRST_LOOK = 0.05
"""Of its share of the time, each of several problems gets this much before any gets the rest."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A verdict with everything a report says about it; `facts` bound each layer on the whole region."""

    problem: Problem
    verdict: Verdict
    outputs: tuple[OutputRange, ...]
    stages: tuple[Stage, ...]
    seconds: float
    facts: Facts | None = None


def check(problem: Problem, options: Options | None = None, watch: Watch | None = None) -> CheckResult:
    """Decide a problem.

    Raises:
        BackendError: the options name an encoding or a solver that cannot be used here.
        SoundnessError: two answers contradict each other.
    """
    run = Investigation(problem, options or Options(), watch or Silence())
    validate(run.options)
    run.perform(analyse, "analysis")
    if run.verdict is None and run.options.falsifies:
        run.perform(falsify, "falsification")
    if run.verdict is None and run.options.searches:
        run.perform(*_region_stage(run))
    if run.verdict is None and run.options.encoding != NONE and run.remaining_s > 0:
        run.perform(solve_residual, "encodings")
    seconds = time.monotonic() - run.started
    return CheckResult(problem, run.outcome, run.outputs, tuple(run.stages), seconds, run.facts)


def check_all(
    problems: Sequence[Problem], options: Options | None = None, watch: Watch | None = None
) -> tuple[int, CheckResult]:
    """Decide whether the claims of all problems hold: which problem decides that, and its result.

    That is the first that is found falsified, or else the first that stays unknown, or else the last. The time is
    for all of them, and what a proof rests on is named for all of them. They are looked at quickly before any
    is given its whole share, so that a hard one does not keep an easy violation of another waiting.

    Raises:
        BackendError, SoundnessError: as `check`.
    """
    options, begun = options or Options(), time.monotonic()
    found, undecided = dict[int, CheckResult](), list(range(len(problems)))
    once = len(problems) == 1 or options.checkpoint is not None  # a file holds one search, which goes on
    for look in (1.0,) if once else (FIRST_LOOK, 1.0):
        for number, index in enumerate(undecided):
            left = options.timeout_s - (time.monotonic() - begun)
            share = max(look * left / (len(undecided) - number), LEAST_S)
            limits = replace(options, timeout_s=share, checkpoint=_own_file(options, index))
            found[index] = check(problems[index], limits, watch)
            if isinstance(found[index].verdict, Falsified):
                return index, replace(found[index], seconds=time.monotonic() - begun)
        undecided = [index for index in undecided if not isinstance(found[index].verdict, Verified)]
    seconds = time.monotonic() - begun
    if undecided:
        return undecided[0], replace(found[undecided[0]], seconds=seconds)
    last = len(problems) - 1
    return last, replace(found[last], verdict=_together(found.values()), seconds=seconds)


def _together(found: Iterable[CheckResult]) -> Verified:
    """All are proved: what that rests on, each once."""
    verdicts = [result.verdict for result in found if isinstance(result.verdict, Verified)]
    return Verified(tuple(dict.fromkeys(part for verdict in verdicts for part in verdict.trust)))


def _own_file(options: Options, index: int) -> Path | None:
    """Of several problems, each keeps its search in a file of its own: FILE, FILE.1, FILE.2 and so on."""
    file = options.checkpoint
    return file.with_name(f"{file.name}.{index}") if file and index else file


def analyse(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: bound the difference layer by layer."""
    facts = analyze_region(run.problem)
    run.conclude(facts)
    ours, theirs = unstable(run.problem, facts)
    figures = {"mode": Mode.BEST.value, "unstable_reference": ours, "unstable_quantized": theirs}
    return f"bounded the difference; {ours} + {theirs} hidden neurons are unstable", figures


def _region_stage(run: Investigation) -> tuple[Callable[[Investigation], tuple[str, dict[str, Any]]], str]:
    """Cut the region, or make the best of it as a whole."""
    refused = refusal(run)
    if refused is None:
        return search, "search"
    run.reasons.append(refused)
    share = 1.0 if run.options.encoding == NONE else SEARCH_SHARE
    return partial(optimize, share=share), "relaxation"
