"""Shrinks a problem on which an answer is wrong to one that cannot be made smaller, and writes it down.

Greedy: the first smaller problem on which the same configuration is still wrong, at the same distance from
that problem's own exact maximum, takes the place of the problem. What is left is a folder with a problem file
that `qsmt check` reads, the queries as solvers read them, all answers, and a report with the input that shows
who is wrong, for `qsmt replay`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from qsmt.encoding import load
from qsmt.engine.alarm import alarm_folder, write_witness
from qsmt.engine.campaign import Disagreement, Panel, Results
from qsmt.engine.judge import Judged, Mark
from qsmt.engine.smaller import smaller
from qsmt.engine.trial import Trial, trial
from qsmt.errors import QsmtError
from qsmt.interp.replay import Execution, replay
from qsmt.solver.process import Worker

LONGEST_S = 60.0
"""Shrinking one case ends after this long with the smallest problem so far."""

CASES = 3
"""Of so many configurations at most is a case shrunk: the first of each."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case as small as it was made, and the folder it is in."""

    found: Disagreement
    folder: Path


def shrunk_cases(results: Results, panel: Panel) -> tuple[Case, ...]:
    """The disagreements, the first of each configuration, shrunk and written down."""
    firsts = {found.configuration: found for found in reversed(results.disagreements)}
    chosen = list(reversed(firsts.values()))[: 1 if panel.fault is not None else CASES]
    with Worker(panel.limits.memory_mib) as worker:
        small = [shrunk(found, panel, worker) for found in chosen]
    return tuple(Case(found, write_case(found)) for found in small)


def shrunk(found: Disagreement, panel: Panel, worker: Worker) -> Disagreement:
    """The smallest problem that is found within a minute on which the same configuration is wrong."""
    if found.trial.offset is None:
        return found
    ours, end = replace(panel, configurations=(found.configuration,)), time.monotonic() + LONGEST_S
    while time.monotonic() < end:
        better = next(_still_wrong(found, ours, worker, end), None)
        if better is None:
            break
        found = better
    return found


def _still_wrong(found: Disagreement, panel: Panel, worker: Worker, end: float) -> Iterator[Disagreement]:
    query, offset = found.trial.query, found.trial.offset or Fraction(0)
    for problem, output in smaller(query.problem, query.output):
        if time.monotonic() > end:
            return
        try:
            candidate = trial(problem, output, query.side, offset=offset)
        except QsmtError:  # then it is another defect that shows there
            continue
        judged = None if candidate is None else _judged(candidate, panel, worker)
        if candidate is not None and judged is not None and judged.mark is Mark.WRONG:
            yield replace(found, trial=candidate, judged=judged)


def _judged(candidate: Trial, panel: Panel, worker: Worker) -> Judged:
    try:
        (outcome,) = panel.try_one(worker, candidate)
    except QsmtError as error:
        return Judged(Mark.UNKNOWN, reason=str(error))
    return outcome.judged


# --- what is left -------------------------------------------------------------------------------------------


def write_case(found: Disagreement) -> Path:
    """Write the case into a folder `qsmt-alarm-*` in the current directory; the folder."""
    query = found.trial.query
    folder = alarm_folder(query.problem, f"{found.configuration.encoding}-{found.configuration.backend}")
    encoding = load(found.configuration.encoding)
    try:
        encoding.encode(query).write(folder / f"{encoding.name}{encoding.suffix}")
    except QsmtError as error:  # it may be the encoding that contradicts itself
        (folder / f"{encoding.name}.error").write_text(f"{error}\n")
    (folder / "answers.json").write_text(json.dumps(_record(found), indent=2) + "\n")
    witness = _witness(found)
    if witness is not None:
        write_witness(query.problem, witness, query.output, folder, command="crosscheck")
    return folder


def _record(found: Disagreement) -> dict[str, Any]:
    answer = found.judged.answer
    return {
        "query": str(found.trial.query),
        "configuration": str(found.configuration),
        "seed": found.seed,
        "violated": found.trial.violated,
        "answer": answer.status.value if answer is not None else None,
        "claimed": [str(v) for v in answer.witness] if answer is not None and answer.witness else None,
        "wrong": found.judged.reason,
    }


def _witness(found: Disagreement) -> Execution | None:
    """The input that convicts: where the violation is that was overlooked, or what was claimed to be one."""
    if found.trial.violated:
        return found.trial.witness
    answer = found.judged.answer
    if answer is None or answer.witness is None:
        return None
    return replay(found.trial.problem, [answer.witness])[0]
