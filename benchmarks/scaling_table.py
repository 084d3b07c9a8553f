"""The scaling table: who takes how long on the instances of `benchmarks.scaling`, and how good `auto` is."""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import exp, inf, log
from pathlib import Path
from statistics import median

from benchmarks import scaling
from benchmarks.scaling import INSTANCES, MORE, ROOT, Instance
from qsmt.dra.analysis import analyze_region
from qsmt.dra.stability import unstable
from qsmt.encoding import Query, QueryAnswer, answers
from qsmt.engine.campaign import Configuration, configurations
from qsmt.engine.choice import choices
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import Options
from qsmt.engine.portfolio import AT_ONCE, Solvers, decide
from qsmt.engine.trial import unpruned
from qsmt.solver.base import Limits, Status
from qsmt.solver.process import CallFailed, Worker
from qsmt_milp.backends.gurobi import has_full_licence

LEAST = 0.01
"""Seconds below this are not told apart in geometric means."""

WARM_UP_S = 10.0

KINDS = ("error", "range")


def timed(query: Query, encoding: str, backend: str, limits: Limits) -> tuple[float, QueryAnswer]:
    """CPU seconds and the answer. Runs in a worker process."""
    begun = time.process_time()
    (found,) = answers(query, encoding, (backend,), limits)
    return time.process_time() - begun, found


def children_seconds() -> float:
    """CPU seconds of all processes that this one has started, dead or alive (Linux)."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = (pid for task in Path("/proc/self/task").iterdir() for pid in _read(task / "children").split())
    return ended.ru_utime + ended.ru_stime + sum(map(_process_seconds, alive))


def _process_seconds(pid: str) -> float:
    ticks = _read(Path("/proc") / pid / "stat").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""


@dataclass(slots=True)
class Meter:
    """Measures queries, each within `limit` seconds: of one solver in a worker, or of all as `qsmt check` asks them."""

    worker: Worker
    solvers: Solvers
    limit: float

    def single(self, query: Query, choice: Configuration) -> float:
        """CPU seconds to a proof; infinite if there was none within the limit.

        Raises:
            RuntimeError: the solver says there is a violation, where all points were run.
        """
        asked = query if choice.pruned else unpruned(query)
        arguments = (asked, choice.encoding, choice.backend, Limits(self.limit))
        try:
            seconds, found = self.worker.call(timed, arguments, timeout_s=self.limit + 2)
        except CallFailed:
            return inf
        if found.status is Status.SAT and (query.problem.region.points or 0) <= scaling.EXECUTED:
            raise RuntimeError(f"{choice} finds a violation that is none: {query}")
        return inf if found.status is Status.UNKNOWN else seconds

    def auto(self, query: Query) -> float:
        """The same of dispatch on two cores: CPU seconds of all solvers together."""
        options = Options(self.limit)
        for choice in choices(query, options)[0][:AT_ONCE]:  # who was stopped last time has to start again
            self.solvers.ask(choice, self._trifle(), WARM_UP_S)
        begun = children_seconds()
        found = decide(Investigation(query.problem, options), self.solvers, query, self.limit)
        spent = children_seconds() - begun
        return inf if found.status is Status.UNKNOWN else spent

    def _trifle(self) -> Query:
        problem = scaling.problem(INSTANCES[0], 0)
        return Query(problem, 0, 1, analyze_region(problem))


@dataclass(slots=True)
class Table:
    """What is measured: for every instance and kind of query, the medians of all configurations and of `auto`."""

    configurations: tuple[Configuration, ...]
    repeat: int
    limit: float
    budget: float
    cells: dict[str, dict[str, float]] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def lines(self, instances: Sequence[Instance]) -> Iterator[str]:
        """The rows as they are measured, then what they say of `auto`."""
        names = ["auto", *map(str, self.configurations)]
        yield f"| instance | query | points | unstable | {' | '.join(names)} |"
        yield "|---" * (len(names) + 4) + "|"
        with Worker(4096) as worker, Solvers(Options()) as solvers:
            meter = Meter(worker, solvers, self.limit)
            for instance, kind in product(instances, KINDS):
                yield self._row(meter, instance, kind, names)
        yield ""
        yield from self.summary()

    def _row(self, meter: Meter, instance: Instance, kind: str, names: Sequence[str]) -> str:
        made = [scaling.problem(instance, seed, of_range=kind == "range") for seed in range(self.repeat)]
        queries = [Query(p, 0, 1, analyze_region(p)) for p in made]
        unsure = median(sum(unstable(p, q.facts)) for p, q in zip(made, queries, strict=True))
        found = self.cells.setdefault(f"{instance}, {kind}", {})
        for name, choice in zip(names, (None, *self.configurations), strict=True):
            if time.monotonic() - self._begun < self.budget:
                found[name] = self._median(meter, queries, choice)
        cells = ("" if n not in found else "-" if found[n] == inf else f"{found[n]:.2f}" for n in names)
        return (
            f"| {instance} | {kind} | {made[0].region.points or 0:,} | {unsure:.0f} | {' | '.join(cells)} |"
        )

    def _median(self, meter: Meter, queries: Sequence[Query], choice: Configuration | None) -> float:
        """Of all queries; once half of them are beyond the limit, the others do not matter."""
        seconds: list[float] = []
        for query in queries:
            seconds.append(meter.auto(query) if choice is None else meter.single(query, choice))
            if sum(s == inf for s in seconds) > len(queries) // 2:
                return inf
        return median(seconds)

    def summary(self) -> Iterator[str]:
        """`auto` beside the best single configuration, on the geometric mean of what anybody decides."""
        rows = {name: row for name, row in self.cells.items() if len(row) == len(self.configurations) + 1}
        decided = {name: row for name, row in rows.items() if min(row.values()) < inf}
        if not decided:
            yield "Nobody decided anything."
            return
        means = {
            name: exp(sum(self._log(row[name]) for row in decided.values()) / len(decided))
            for name in ("auto", *map(str, self.configurations))
        }
        ours = [n for n in means if n != "auto" and ("gurobi" not in n or has_full_licence())]
        best = min(ours, key=lambda n: means[n])
        each = exp(sum(self._log(min(row.values())) for row in decided.values()) / len(decided))
        lost = [n for n, row in decided.items() if row["auto"] == inf > min(row[o] for o in ours)]
        yield f"Geometric means over the {len(decided)} rows of {len(rows)} that anybody decides; a row that one does"
        yield f"not decide counts as {self.limit:g} s, and less than {LEAST:g} s as {LEAST:g} s:"
        yield f"auto {means['auto']:.3f} s, the best single configuration, {best}, {means[best]:.3f} s, the best of"
        yield f"each row {each:.3f} s: auto is {means['auto'] / means[best]:.2f} times as slow as the best single one."
        if not has_full_licence():
            yield "(Gurobi is not counted as one: auto does not use it under the size-limited licence.)"
        yield ""
        yield f"Rows that one of them decides and auto does not: {'; '.join(lost) or 'none'}."
        yield ""
        yield "| configuration | geometric mean | rows decided |"
        yield "|---|---|---|"
        for name in sorted(means, key=lambda n: means[n]):
            yield f"| {name} | {means[name]:.3f} | {sum(row[name] < inf for row in decided.values())} |"

    def _log(self, seconds: float) -> float:
        return log(min(max(seconds, LEAST), self.limit))


def main() -> None:
    """Measure, and print the table line by line."""
    parser = argparse.ArgumentParser(
        description=scaling.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.5, help="seconds of one answer")
    parser.add_argument("--budget", type=float, default=3600.0, help="seconds of the whole table")
    parser.add_argument("--only", default="", help="instances whose description contains this")
    parser.add_argument("--more", action="store_true", help="more instances")
    parser.add_argument("--configurations", help="comma-separated, such as milp:highs; default: all")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    wanted = given.configurations.split(",") if given.configurations else None
    chosen = tuple(c for c in configurations() if wanted is None or str(c) in wanted)
    instances = [i for i in INSTANCES + (MORE if given.more else []) if given.only in str(i)]
    measured = Table(chosen, given.repeat, given.limit, given.budget)
    title = f"CPU seconds to a proof, medians of {given.repeat} seeds, at most {given.limit:g} s each"
    lines = [f"# {title}", ""]
    print("\n".join(lines))
    for line in measured.lines(instances):
        print(line, flush=True)
        lines.append(line)
    if given.write:
        given.write.write_text("\n".join(lines) + "\n")
