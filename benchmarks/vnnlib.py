"""VNN-LIB files of others: ACAS Xu's properties 1 to 10, cart pole and lunar lander, in floats and in 8 to 16 bits.

python -m benchmarks.vnnlib [--smoke] [--only TEXT] [--seconds S] [--jobs N] [--log FILE] [--write FILE]

Prints a line per query: the answer, what is published of the float network, wall and CPU seconds, and of a violation
whether it is one when it is executed again: exactly, by the networks that were asked about, and for a float network in
single precision, by onnxruntime. `--log` keeps the answers, and does not ask again what is in it already; `--write`
makes a table of all of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from qsmt.engine.plan import Options
from qsmt.engine.vnnlib import Answer, Found, Question, answer, load_question
from qsmt.frontend.combined import OutputInequality

PUBLIC = Path(__file__).parents[2] / "shared" / "data"
NETWORKS = ("1_1", "1_5", "2_2", "3_3", "4_5", "5_9")
BITS = (None, 8, 12, 16)
SECONDS = 116
"""The competition's limit for ACAS Xu."""

KNOWN = {
    **{(network, n): "unsat" for network in NETWORKS for n in (1, 3, 4)},
    **{(network, 2): "sat" for network in ("1_5", "2_2", "4_5", "5_9")},
    **{(network, 2): "unsat" for network in ("1_1", "3_3")},
    ("1_1", 5): "unsat",
    ("1_1", 6): "unsat",
    ("3_3", 9): "unsat",
    ("4_5", 10): "unsat",
}
"""VNN-COMP 2022, acasxu, the results of nnenum, which decided every instance; of float networks."""

LANDS_UNSAFELY = {0, 1, 10, 11, 13, 14, 15, 18}
"""VNN-COMP 2022, rl_benchmarks, the results of alpha-beta-CROWN: of the lunar lander's queries at hand these are sat;
the others are unsat, and so are all of the cart pole's."""

SMOKE = {("1_1", 3), ("1_1", 4), ("2_2", 2), ("3_3", 1), ("4_5", 2), ("5_9", 4)}


@dataclass(frozen=True, slots=True)
class Task:
    """One query about one network."""

    name: str
    network: Path
    query: Path
    bits: int | None
    known: str | None

    @property
    def title(self) -> str:
        return f"{self.name}, {'float' if self.bits is None else f'{self.bits} bits'}"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a task: wall and CPU seconds; of a violation, what executing it again shows."""

    task: Task
    answer: Answer
    seconds: float
    cpu: float
    replay: str

    def __str__(self) -> str:
        return (
            f"{self.task.title:<44} {self.answer.value:<10} {self.task.known or '-':<8} {self.seconds:8.2f} "
            f"{self.cpu:8.2f}  {self.replay}"
        )

    @property
    def cell(self) -> str:
        marks = {"": "", "broken": "", "broken, and by onnxruntime": " *"}
        return f"{self.answer.value}{marks.get(self.replay, ' (REPLAY DIFFERS)')}, {self.cpu:.1f}"


def acas_tasks(*, smoke: bool) -> Iterator[Task]:
    """All ten properties on all six networks, whether or not they were meant for them."""
    folder = PUBLIC / "acasxu"
    for network in NETWORKS:
        path = folder / "onnx" / f"ACASXU_run2a_{network}_batch_2000.onnx"
        for number in range(1, 11):
            if smoke and (network, number) not in SMOKE:
                continue
            for bits in BITS:
                known = KNOWN.get((network, number)) if bits is None else None
                query = folder / "vnnlib" / f"prop_{number}.vnnlib"
                yield Task(f"ACAS Xu {network}, property {number}", path, query, bits, known)


def controller_tasks(*, smoke: bool) -> Iterator[Task]:
    """Cart pole and lunar lander."""
    folder = PUBLIC / "vnncomp_rl"
    queries = sorted((folder / "vnnlib").glob("*.vnnlib.gz"))
    for query in queries[:: 10 if smoke else 1]:
        name = query.name.removesuffix(".vnnlib.gz")
        controller, number = name.split("_")[0], int(name.split("_")[-1])
        breaks = controller == "lunarlander" and number in LANDS_UNSAFELY
        for bits in (None, 8):
            known = ("sat" if breaks else "unsat") if bits is None else None
            yield Task(name, folder / f"{controller}.onnx", query, bits, known)


def run(task: Task, options: Options) -> Row:
    """Decide one query, and execute its violation again."""
    begun, cpu = time.monotonic(), cpu_seconds()
    question = load_question(task.query, {"network": task.network}, bits=task.bits)
    found = answer(question, options)
    seconds, cpu = time.monotonic() - begun, cpu_seconds() - cpu
    return Row(task, found.answer, seconds, cpu, replayed(task, question, found))


def replayed(task: Task, question: Question, found: Found) -> str:
    """Does a case of the query hold at the witness, by the exact outputs and, of a float network, by onnxruntime's?"""
    if found.inputs is None:
        return ""
    inside = any(
        all(low <= x <= high for low, x, high in zip(box.lower, found.inputs, box.upper, strict=True))
        and any(all(_holds(part, found.outputs[0]) for part in case) for case in box.cases)
        for box in question.boxes
    )
    if not inside:
        return "NOT broken"
    if task.bits is not None:
        return "broken"
    outputs = by_onnxruntime(task.network, found.inputs)
    cases = [case for box in question.boxes for case in box.cases]
    broken = any(all(_holds(part, outputs) for part in case) for case in cases)
    return f"broken, {'and' if broken else 'NOT'} by onnxruntime"


def _holds(part: OutputInequality, outputs: Sequence[Fraction]) -> bool:
    value = sum((c * outputs[i] for i, c in (*part.reference, *part.quantized)), Fraction(0))
    return value > part.bound or (value == part.bound and not part.strict)


def by_onnxruntime(network: Path, x: Sequence[Fraction]) -> list[Fraction]:
    """The outputs in single precision, of the input rounded to it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    shape = [extent if isinstance(extent, int) else 1 for extent in source.shape]
    values = np.array([float(v) for v in x], dtype=np.float32).reshape(shape)
    return [Fraction(float(v)) for v in np.ravel(session.run(None, {source.name: values})[0])]


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(s.ru_utime + s.ru_stime for s in spent)


def logged(file: Path | None) -> dict[str, dict[str, Any]]:
    """The answers that are in a log already, by title."""
    if file is None or not file.is_file():
        return {}
    return {entry["query"]: entry for entry in map(json.loads, file.read_text().splitlines())}


def entry(row: Row) -> dict[str, Any]:
    """A row, for a log."""
    said = {"query": row.task.title, "answer": row.answer.value, "replay": row.replay}
    return said | {"seconds": round(row.seconds, 2), "cpu": round(row.cpu, 2)}


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line per query, a column per precision: the answer and the CPU seconds."""
    by_name: dict[str, dict[int | None, Row]] = {}
    for row in rows:
        by_name.setdefault(row.task.name, {})[row.task.bits] = row
    yield "| query | published | float | 8 bits | 12 bits | 16 bits |"
    yield "|---|---|---|---|---|---|"
    for name, found in by_name.items():
        known = found[None].task.known if None in found else None
        cells = (found[bits].cell if bits in found else "" for bits in BITS)
        yield f"| {name} | {known or ''} | {' | '.join(cells)} |"


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """How many of each answer, how they compare with published ones, and what violations are when run again."""
    for bits in BITS:
        some = [row for row in rows if row.task.bits == bits]
        counts = Counter(row.answer.value for row in some)
        said = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
        yield f"* {'float' if bits is None else f'{bits} bits'}: {said}; {sum(r.cpu for r in some):.0f} CPU s"
    pairs = Counter((row.task.known, row.answer.value) for row in rows if row.task.known)
    yield "* published, found: " + "; ".join(
        f"{known}, {found}: {n}" for (known, found), n in sorted(pairs.items(), key=str)
    )
    replays = Counter(row.replay for row in rows if row.replay)
    yield "* violations executed again: " + "; ".join(f"{what}: {n}" for what, n in sorted(replays.items()))


def document(rows: Sequence[Row], options: Options, *, asked: int) -> str:
    """The results as a page."""
    return "\n".join(
        [
            "# VNN-LIB queries of others, in floats and quantized",
            "",
            f"`make bench-vnnlib`: at most {options.timeout_s:g} s of wall time a query, {options.jobs} process(es),",
            "on two cores shared with other work. A cell is the answer and the CPU seconds it took. A violation (sat)",
            "was executed again exactly; with * also by onnxruntime in single precision. *Published* are results of",
            "VNN-COMP 2022 (nnenum on acasxu, alpha-beta-CROWN on rl_benchmarks), which are about float networks.",
            "",
            f"{len(rows)} queries of {asked}; an empty cell was not asked, or not to an end.",
            "",
            *summary(rows),
            "",
            *table(rows),
            "",
        ]
    )


def main() -> None:
    """Print the lines, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a few queries")
    parser.add_argument("--only", default="", help="queries whose title contains this")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="per query")
    parser.add_argument("--jobs", type=int, default=1, help="processes per query")
    parser.add_argument("--log", type=Path, help="keep every answer in this file, and go on from it")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    given = parser.parse_args()
    if not PUBLIC.is_dir():
        print(f"the public networks are not at {PUBLIC}")
        return
    options, known = Options(timeout_s=given.seconds, jobs=given.jobs), logged(given.log)
    print(f"{'query':<44} {'answer':<10} {'known':<8} {'seconds':>8} {'CPU':>8}  executed again")
    rows, tasks = list[Row](), [*acas_tasks(smoke=given.smoke), *controller_tasks(smoke=given.smoke)]
    for task in tasks:
        if task.title in known:
            old = known[task.title]
            rows.append(Row(task, Answer(old["answer"]), old["seconds"], old["cpu"], old["replay"]))
        elif given.only in task.title:
            rows.append(run(task, options))
            print(rows[-1], flush=True)
            if given.log:
                with given.log.open("a") as log:
                    log.write(json.dumps(entry(rows[-1])) + "\n")
    if given.write:
        given.write.write_text(document(rows, options, asked=len(tasks)))
    print(*summary(rows), sep="\n")


if __name__ == "__main__":
    main()
