"""How wide codes may be for what solvers in doubles claim: their maxima, and "no violation", against every point.

python -m benchmarks.claims [--seeds N] [--unlimited] [--only TEXT] [--write FILE]

Random networks with grids that are small enough to be run, weights and hidden values of 8 to 16 bits. Of both sides of
the output a solver is asked how far the difference goes, and whether it exceeds 99 % of its largest value, which it
does. A maximum that is too low, or a violation that is said to be impossible, is wrong. They are counted by the largest
term of a program's rows. A solver is not asked about programs that are too wide for it; unless `--unlimited`, which is
what the limits in qsmt_milp/backends were read from.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import scaling
from benchmarks.scaling import ROOT, Instance
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Objective, Query
from qsmt.engine.trial import SIDES
from qsmt.facts import Facts
from qsmt.interp.batch import BatchInterpreter
from qsmt.problem import ErrorBound, Problem
from qsmt.solver.base import Limits, Status
from qsmt.solver.process import CallFailed, Worker
from qsmt_milp.backends.gurobi import GurobiBackend
from qsmt_milp.backends.highs import HighsBackend
from qsmt_milp.backends.scip import ScipBackend
from qsmt_milp.encoding import MilpEncoding
from qsmt_milp.floats import too_wide
from qsmt_milp.model import Model

SOLVERS: Mapping[str, HighsBackend | ScipBackend | GurobiBackend] = {
    "highs": HighsBackend(),
    "scip": ScipBackend(),
    "gurobi": GurobiBackend(),
}
BASES = (
    ((2, 8, 1), 12, 24),
    ((2, 8, 8, 1), 10, 16),
    ((2, 16, 16, 1), 12, 8),
    ((1, 16, 16, 1), 14, 128),
    ((1, 24, 24, 1), 16, 256),
)
INNER = (8, 10, 12, 14, 16)
LIMIT_S = 3.0
MOST = 99
STEP = 4
"""Powers of two in one row of the table."""
NEARLY = 1 - Fraction(1, 2**40)
"""The largest value is a double, and so off by that much at most."""


@dataclass(frozen=True, slots=True)
class Side:
    """A problem, one side of its output, and the largest value there."""

    problem: Problem
    facts: Facts
    side: Literal[1, -1]
    largest: Fraction

    def query(self, bound: Fraction) -> Query:
        """Is this bound exceeded?"""
        return Query(replace(self.problem, claim=ErrorBound((0,), (bound,))), 0, self.side, self.facts)

    @property
    def objective(self) -> Objective:
        """How far does it go?"""
        return Objective(self.query(self.largest), Fraction(0), None)

    @property
    def model(self) -> Model:
        """The program of the objective."""
        return MilpEncoding().encode_objective(self.objective).model


def sides(seeds: int) -> Iterator[Side]:
    """All instances, of all seeds."""
    for seed, (sizes, bits, radius), inner in product(range(seeds), BASES, INNER):
        yield from sides_of(Instance(sizes, bits, radius, inner=inner), seed)


def sides_of(instance: Instance, seed: int) -> Iterator[Side]:
    """The sides on which there is a difference."""
    problem = scaling.problem(instance, seed)
    ends = zip(problem.region.lower, problem.region.upper, strict=True)
    axes = (np.arange(int(low), int(high) + 1) for low, high in ends)
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, problem.input_size).astype(np.float64)
    difference = BatchInterpreter(problem).run(points).difference[:, 0]
    facts = analyze_region(problem)
    for side in SIDES:
        largest = Fraction(float((side * difference).max()))
        if largest > 0:
            yield Side(problem, facts, side, largest)


def width(model: Model) -> int:
    """The power of two that no term of a row exceeds, a multiple of STEP."""
    return next(w for w in range(0, MOST, STEP) if too_wide(model, w) is None)


def judged(worker: Worker, side: Side, solver: str) -> Iterator[str]:
    """What the solver says to both questions: right, wrong, or nothing."""
    limits, wait = Limits(LIMIT_S), LIMIT_S + 2
    try:
        upper = worker.call(maximum, (side.objective, solver, limits), timeout_s=wait)
    except CallFailed:
        upper = None
    yield "no maximum" if upper is None else "maximum" if upper >= side.largest * NEARLY else "maximum WRONG"
    try:
        query = side.query(side.largest * Fraction(99, 100))
        status = worker.call(violation, (query, solver, limits), timeout_s=wait)
    except CallFailed:
        status = Status.UNKNOWN
    yield {Status.SAT: "violation", Status.UNSAT: "violation WRONG"}.get(status, "no answer")


def maximum(objective: Objective, solver: str, limits: Limits) -> Fraction | None:
    """What nothing exceeds, says the solver. Runs in a worker."""
    return SOLVERS[solver].maximize(MilpEncoding().encode_objective(objective).model, limits).upper


def violation(query: Query, solver: str, limits: Limits) -> Status:
    """Is there one? Runs in a worker."""
    return SOLVERS[solver].solve(MilpEncoding().encode(query).model, limits).status


def table(counts: Counter[tuple[int, str, str]]) -> Iterator[str]:
    """A row for each width: of each solver, wrong maxima of all, and wrong "no violation" of all."""
    yield f"| terms up to | {' | '.join(f'{s}: maxima, violations' for s in SOLVERS)} |"
    yield "|---" * (1 + len(SOLVERS)) + "|"
    for power in sorted({power for power, *_ in counts}):
        cells = []
        for solver in SOLVERS:
            pairs = []
            for what in ("maximum", "violation"):
                wrong = counts[power, solver, f"{what} WRONG"]
                pairs.append(f"{wrong} of {wrong + counts[power, solver, what]}")
            cells.append(", ".join(pairs))
        yield f"| 2^{power} | {' | '.join(cells)} |"


def main() -> None:
    """Ask, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--unlimited", action="store_true", help="solvers take programs of any width")
    parser.add_argument("--only", default="", help="solvers whose name contains this")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    counts = Counter[tuple[int, str, str]]()
    with Worker(4096) as worker:
        for side, (name, backend) in product(sides(given.seeds), SOLVERS.items()):
            model = side.model
            if given.only in name and (given.unlimited or backend.too_large(model) is None):
                said = judged(worker, side, name)
                counts.update((width(model), name, one) for one in said)
    lines = list(table(counts))
    print("\n".join(lines))
    if given.write:
        given.write.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    from benchmarks import claims  # workers import functions by the name of their module

    claims.main()
