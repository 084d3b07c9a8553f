"""Is an answer to a query right? Held against what is known, and against exact execution of its witness.

An answer is wrong

* if it says that there is no violation, and there is one;
* if it shows an input that is no violation, and the model that was solved claims to be exact: then the
  model, its decoding or the solver is wrong, even though replay would have caught it. A numerical solver is
  given the benefit of its tolerances where its model is not exact: there such an answer is "unknown".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from qsmt.encoding import Fidelity, Query, QueryAnswer
from qsmt.engine.trial import Trial
from qsmt.interp.replay import replay
from qsmt.solver.base import Status


class Mark(StrEnum):
    """What became of one query at one configuration."""

    RIGHT = "right"
    UNKNOWN = "unknown"  # it does not know, and says so
    REFUSED = "refused"  # it does not take queries of this kind, and says so
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Judged:
    """A mark with its reason, in words; none is needed for a right answer."""

    mark: Mark
    seconds: float = 0.0
    reason: str = ""
    answer: QueryAnswer | None = None


def is_violation(query: Query, x: tuple[Fraction, ...]) -> bool:
    """Does exact execution confirm it?"""
    if not query.problem.region.contains(x):
        return False
    return replay(query.problem, [x])[0].reached(query.output, query.side) > query.bound


def judge(trial: Trial, found: QueryAnswer, *, violated: bool | None) -> Judged:
    """The mark of one answer; `violated` is the truth, if it is known."""
    if found.status is Status.UNKNOWN:
        return Judged(Mark.UNKNOWN, found.seconds, found.reason or "no reason given", found)
    if found.status is Status.UNSAT:
        mark = Mark.WRONG if violated else Mark.RIGHT
        reason = f"answers that there is no violation of {trial.query}, but there is one" if violated else ""
        return Judged(mark, found.seconds, reason, found)
    if found.witness is None:
        return Judged(Mark.WRONG, found.seconds, "claims a violation and shows no input", found)
    if is_violation(trial.query, found.witness):
        return Judged(Mark.RIGHT, found.seconds, "", found)
    shown = f"[{', '.join(map(str, found.witness))}]"
    reason = f"claims {trial.query} at {shown}, which exact execution does not confirm"
    exact = found.fidelity is Fidelity.EXACT
    return Judged(Mark.WRONG if exact else Mark.UNKNOWN, found.seconds, reason, found)
