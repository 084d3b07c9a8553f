"""Two encodings, one query: they agree, one does not know, or one of them is wrong.

A disagreement between two decided answers is never settled by a vote. It stops the program, and leaves
a folder from which anybody can reproduce it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmt.encoding import Query, QueryAnswer, load
from qsmt.engine.alarm import alarm_folder, write_witness
from qsmt.errors import SoundnessError
from qsmt.interp.replay import replay
from qsmt.solver.base import Status


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one query that do not contradict each other."""

    first: QueryAnswer
    second: QueryAnswer

    @property
    def agrees(self) -> bool:
        """Did both decide?"""
        return self.second.status is self.first.status

    @property
    def figures(self) -> dict[str, Any]:
        return {
            "first": f"{self.first.encoding}:{self.first.backend}",
            "second": f"{self.second.encoding}:{self.second.backend}",
            "answers": [self.first.status.value, self.second.status.value],
            "agrees": self.agrees,
        }


def compare(query: Query, first: QueryAnswer, second: QueryAnswer) -> Comparison:
    """The comparison of two replayed answers.

    Raises:
        SoundnessError: when one says there is a violation and the other that there is none; a folder
            `qsmt-alarm-*` in the current directory holds everything needed to look into it.
    """
    decided = {first.status, second.status} - {Status.UNKNOWN}
    if len(decided) == 2:
        folder = write_alarm(query, (first, second))
        raise SoundnessError(
            f"{first.encoding}:{first.backend} answers {first.status}, {second.encoding}:{second.backend} "
            f"answers {second.status} to {query}; one of them is wrong, see {folder}/"
        )
    return Comparison(first, second)


def write_alarm(query: Query, answers: tuple[QueryAnswer, ...]) -> Path:
    """A self-contained folder: the problem, the query in every encoding, the answers, and the input in question."""
    folder = alarm_folder(query.problem, f"output-{query.output}-{'upper' if query.side > 0 else 'lower'}")
    for found in answers:
        encoding = load(found.encoding)
        encoding.encode(query).write(folder / f"{found.encoding}{encoding.suffix}")
    (folder / "answers.json").write_text(json.dumps([_record(query, a) for a in answers], indent=2) + "\n")
    for x in (found.witness for found in answers if found.witness is not None):
        execution = replay(query.problem, [x])[0]
        write_witness(query.problem, execution, query.output, folder, command="check")
    return folder


def _record(query: Query, found: QueryAnswer) -> dict[str, Any]:
    return {
        "query": str(query),
        "encoding": found.encoding,
        "backend": found.backend,
        "status": found.status.value,
        "witness": [str(v) for v in found.witness] if found.witness is not None else None,
        "reason": found.reason,
    }
