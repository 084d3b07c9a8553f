"""What the order of solvers rests on: how their seconds grow with a query's size, fitted to measurements.

python -m benchmarks.dispatch [--write FILE] [--model grid|continuous]     measure, then fit (half an hour)
python -m benchmarks.dispatch --fit FILE                                   fit the rows of a file again

The error queries of `benchmarks.scaling`, and others that differ in nothing but the width of weights and hidden values,
are put to each solver alone. The logarithms of its seconds are fitted by least squares to what `qsmt.engine.cost.Size`
says of a query; a solver without an answer is taken to need twice the limit. What is left is the spread. The constants
that come out are those of `qsmt/engine/cost.py`, and a test holds them against the rows.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from pathlib import Path

import numpy as np

from benchmarks import scaling
from benchmarks.scaling import INSTANCES, ROOT, Instance
from benchmarks.scaling_table import timed
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query, load
from qsmt.engine.cost import Growth, Size, size
from qsmt.problem import InputModel
from qsmt.solver.base import Limits, Status
from qsmt.solver.process import CallFailed, Worker

LIMIT_S = 3.0
SEEDS = 2
LEAST_S = 0.004
"""Less is not told apart."""
SOLVERS = {
    "smt:bitwuzla": ("bitvector", "bitwuzla"),
    "smt:z3": ("bitvector", "z3"),
    "smt:cvc5": ("bitvector", "cvc5"),
    "milp-certified": ("milp", "certified"),
    "milp:highs": ("milp", "highs"),
    "milp:scip": ("milp", "scip"),
    "milp:gurobi": ("milp", "gurobi"),
}
"""By the label of what an answer of theirs rests on: encoding and solver."""

BASES = (
    ((2, 8, 1), 6, 2),
    ((2, 8, 1), 6, 8),
    ((2, 8, 8, 1), 6, 4),
    ((4, 8, 1), 4, 2),
    ((2, 16, 16, 1), 4, 2),
    ((2, 16, 16, 1), 6, 3),
    ((4, 16, 16, 1), 6, 2),
    ((4, 32, 32, 1), 6, 1),
)
WIDTHS = (3, 4, 6, 8, 10, 12, 16)
"""Of weights and hidden values, in bits; the input and its box stay as they are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One query: how large it is, and the seconds of each solver that can be asked, infinite if it gave no answer."""

    name: str
    size: Size
    seconds: dict[str, float]

    def __str__(self) -> str:
        s, cells = self.size, (_cell(self.seconds.get(label)) for label in SOLVERS)
        return f"| {self.name} | {s.input_bits:.2f} | {s.unstable} | {s.width:.1f} | {' | '.join(cells)} |"


def _cell(seconds: float | None) -> str:
    return "" if seconds is None else "-" if seconds == inf else f"{seconds:.4f}"


def instances() -> Iterator[Instance]:
    """Those of the scaling table; and the same networks, boxes and inputs with narrower and wider weights."""
    yield from INSTANCES
    for (sizes, bits, radius), inner in product(BASES, WIDTHS):
        yield Instance(sizes, bits, radius, inner=inner)


def measured(models: Iterable[InputModel]) -> Iterator[Row]:
    """Every instance and seed, in turn."""
    with Worker(4096) as worker:
        for model, instance, seed in product(models, instances(), range(SEEDS)):
            made = scaling.problem(instance, seed)
            problem = replace(made, region=replace(made.region, model=model))
            query = Query(problem, 0, 1, analyze_region(problem))
            seconds = {
                label: _seconds(worker, query, encoding, backend)
                for label, (encoding, backend) in SOLVERS.items()
                if load(encoding).refuses(query) is None
            }
            yield Row(f"{instance}, seed {seed}, {model}", size(query), seconds)


def _seconds(worker: Worker, query: Query, encoding: str, backend: str) -> float:
    arguments = (query, encoding, backend, Limits(LIMIT_S))
    try:
        spent, found = worker.call(timed, arguments, timeout_s=LIMIT_S + 2)
    except CallFailed:
        return inf
    return inf if found.status is Status.UNKNOWN else spent


def read(table: str) -> list[Row]:
    """The rows of a table that was written here."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    head = next(cells for cells in lines if cells[0] == "query")
    return [
        Row(
            name,
            Size(InputModel(name.rpartition(" ")[2]), float(bits), int(unstable), float(width)),
            {label: inf if t == "-" else float(t) for label, t in zip(head[4:], times, strict=True) if t},
        )
        for name, bits, unstable, width, *times in (
            cells for cells in lines if len(cells) == len(head) and "seed" in cells[0]
        )
    ]


def fit(rows: Sequence[Row], label: str) -> Growth:
    """The growth of one solver's seconds over rows of one kind of region."""
    asked = [row for row in rows if label in row.seconds]
    seconds = np.array([min(row.seconds[label], 2 * LIMIT_S) for row in asked])
    features = np.array([(1.0, *row.size.features) for row in asked])
    doublings = np.log2(np.maximum(seconds, LEAST_S))
    found, *_ = np.linalg.lstsq(features, doublings, rcond=None)
    spread = np.sqrt(np.mean((features @ found - doublings) ** 2))
    start, bit, neuron, width = map(float, found)
    return Growth(2.0**start, bit, neuron, width, float(spread))


def fitted(rows: Sequence[Row]) -> dict[InputModel, dict[str, Growth]]:
    """All constants."""
    return {
        model: {label: fit(some, label) for label in SOLVERS if any(label in row.seconds for row in some)}
        for model in InputModel
        if (some := [row for row in rows if row.size.model is model])
    }


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """The constants as a table."""
    yield "| region | solver | seconds | per input bit | per unstable neuron | per doubling of the width | spread |"
    yield "|---" * 7 + "|"
    for model, growths in fitted(rows).items():
        for label, growth in growths.items():
            rates = (
                growth.per_input_bit,
                growth.per_unstable_neuron,
                growth.per_width_doubling,
                growth.spread,
            )
            yield f"| {model} | {label} | {growth.seconds:.2g} | {' | '.join(f'{r:.2f}' for r in rates)} |"


def main() -> None:
    """Measure or read, fit, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fit", type=Path, help="do not measure; fit the rows of this file")
    parser.add_argument("--model", type=InputModel, action="append", help="measure this kind of region only")
    parser.add_argument("--write", type=Path, help="also write everything to this file")
    given = parser.parse_args()
    if given.fit:
        print("\n".join(summary(read(given.fit.read_text()))))
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    lines = [f"| query | input bits | unstable | width | {' | '.join(SOLVERS)} |"]
    lines += ["|---" * (4 + len(SOLVERS)) + "|"]
    print("\n".join(lines))
    rows = []
    for row in measured(given.model or InputModel):
        print(row, flush=True)
        rows.append(row)
    constants = list(summary(rows))
    print("\n".join(["", *constants]))
    if given.write:
        given.write.write_text("\n".join([*constants, "", *lines, *map(str, rows)]) + "\n")


if __name__ == "__main__":
    from benchmarks import dispatch  # workers import functions by the name of their module

    dispatch.main()
