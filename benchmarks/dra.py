"""How wide each mode of the difference analysis is, beside what was published and what is reached; and how fast.

python -m benchmarks.dra [acas] [mnist] [speed]

One row per network, width and region size: the mean over its published regions of the output's interval.
`published` is the symbolic mode of QEBVerif (CAV 2023). `floor` is what the rounding of the hidden neurons that can be
active does by itself, straight through to the output. `witnessed` is what a short search has reached in exact
arithmetic. Times are CPU time of one query, the problem being compiled.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np

from benchmarks.published import BITS, acas_analysis_tasks, mnist_images, mnist_problem
from benchmarks.registry import PUBLIC
from qsmt.arith.real import FloatArray
from qsmt.dra.analysis import analyze, analyze_region
from qsmt.dra.compiled import compile_problem
from qsmt.dra.domain import Boxes, Mode
from qsmt.dra.stability import stability
from qsmt.engine.falsify import falsify
from qsmt.engine.investigation import Investigation
from qsmt.engine.load import load_problem
from qsmt.engine.plan import Options
from qsmt.facts import Stability
from qsmt.problem import Problem

ACAS_NETWORKS = ("1_1", "1_5", "3_3", "5_9")
WITNESS_OPTIONS = Options(timeout_s=5.0)
"""The falsifier takes a tenth of it."""

BATCH = 512


@dataclass(frozen=True, slots=True)
class Query:
    """One region, and the width of the published symbolic interval, if there is one."""

    problem: Problem
    published: float | None = None

    @property
    def output(self) -> int:
        return self.problem.claim.outputs[0]


@dataclass(frozen=True, slots=True)
class Row:
    """The means over the regions of one network, width and radius."""

    name: str
    widths: dict[Mode, float]
    seconds: dict[Mode, float]
    published: float | None
    floor: float
    witnessed: float


def measured(name: str, queries: Sequence[Query]) -> Row:
    """Run every mode on every query."""
    widths: dict[Mode, list[float]] = {mode: [] for mode in Mode}
    seconds: dict[Mode, list[float]] = {mode: [] for mode in Mode}
    for query in queries:
        analyze_region(query.problem, Mode.NAIVE)  # compiles the problem
        for mode in Mode:
            begun = time.process_time()
            difference = analyze_region(query.problem, mode, outputs=[query.output]).difference
            seconds[mode].append(time.process_time() - begun)
            widths[mode].append(float(difference.width[query.output]))
    published = [q.published for q in queries if q.published is not None]
    return Row(
        name,
        {mode: fmean(values) for mode, values in widths.items()},
        {mode: median(values) for mode, values in seconds.items()},
        fmean(published) if published else None,
        fmean(noise_floor(q.problem, q.output) for q in queries),
        fmean(witnessed(q) for q in queries),
    )


def witnessed(query: Query) -> float:
    """How far apart the differences are that exact execution has reached."""
    run = Investigation(query.problem, WITNESS_OPTIONS)
    run.facts = analyze_region(query.problem, Mode.DIFFERENCE)
    falsify(run)
    pair = run.outputs[0].witnessed
    assert pair is not None
    least, greatest = (execution.difference[query.output] for execution in pair)
    return float(greatest - least)


def noise_floor(problem: Problem, output: int) -> float:
    """The width at an output that the rounding noise of the neurons that can be active makes by itself."""
    layers, states = compile_problem(problem).layers, stability(problem, analyze_region(problem, Mode.NAIVE))
    row, total = layers[-1].weight.weight[output], 0.0
    for layer, state in zip(reversed(layers[:-1]), reversed(states), strict=True):
        row = row * ((state.quantized == Stability.ACTIVE) | (state.quantized == Stability.UNSTABLE))
        low, high = layer.quantized.activation.noise
        total += float(np.abs(row).sum()) * (high - low)
        row = row @ layer.weight.weight
    return total


# --- the tables ---------------------------------------------------------------------------------------


def header() -> str:
    modes = "".join(f"{mode.value:>12}" for mode in Mode)
    shares = "".join(f"{mode.value[:5] + '/pub':>11}" for mode in _SHARED)
    return f"{'':<24}{modes}{'published':>11}{shares}{'floor':>9}{'witnessed':>11}   CPU ms of each mode"


_SHARED = tuple(Mode)[-2:]
"""The modes that are also printed as a share of the published width."""


def line(row: Row) -> str:
    widths = "".join(f"{row.widths[mode]:>12.4g}" for mode in Mode)
    published = f"{row.published:>11.4g}" if row.published else f"{'-':>11}"
    shares = "".join(
        f"{row.widths[mode] / row.published:>11.3f}" if row.published else f"{'-':>11}" for mode in _SHARED
    )
    times = " ".join(f"{1000 * row.seconds[mode]:.1f}" for mode in Mode)
    return f"{row.name:<24}{widths}{published}{shares}{row.floor:>9.3g}{row.witnessed:>11.4g}   {times}"


def acas_rows(networks: Sequence[str] = ACAS_NETWORKS) -> Iterator[Row]:
    """The published fixed-point regions on four networks."""
    for network in networks:
        groups: dict[str, list[Query]] = {}
        for radius, bits, text in acas_analysis_tasks(PUBLIC, network):
            groups.setdefault(f"{network}, radius {radius}, Q = {bits}", []).append(Query(loaded(text)))
        for name, queries in groups.items():
            yield measured(name, queries)


def mnist_rows(networks: Sequence[str] = ("P1", "P2")) -> Iterator[Row]:
    """The 30 published images on two networks."""
    file = PUBLIC / "qebverif" / "published_widths.csv"
    published = {
        (r["network"], r["bits"], r["mnist_test_id"]): float(r["output_width"])
        for r in csv.DictReader(file.read_text().splitlines())
        if r["mode"] == "symbolic"
    }
    for network in networks:
        for bits in BITS:
            yield measured(
                f"{network}, Q = {bits}",
                [
                    Query(
                        loaded(mnist_problem(PUBLIC, network, image, bits=bits, bound="1")),
                        published[network, str(bits), image[0]],
                    )
                    for image in mnist_images(PUBLIC)
                ],
            )


def loaded(text: str) -> Problem:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.toml"
        path.write_text(text)
        return load_problem(path).problem


# --- speed --------------------------------------------------------------------------------------------


def speed() -> Iterator[str]:
    """Single queries, and batches of boxes against the bare matrix products of the same shapes."""
    acas = [loaded(text) for _, bits, text in acas_analysis_tasks(PUBLIC, "1_1") if bits == 8][:5]
    image = mnist_images(PUBLIC)[0]
    singles = {"ACAS Xu 1_1": acas[1]}
    for name in ("P1", "P2"):
        singles[name] = loaded(mnist_problem(PUBLIC, name, image, bits=6, bound="1"))
    for name, problem in singles.items():
        for mode in (Mode.DIFFERENCE, Mode.BEST):
            spent = _seconds(lambda p=problem, m=mode: analyze_region(p, m), repeat=25)  # type: ignore[misc]
            yield f"{name:<14}{mode.value:<12}{1000 * spent:8.2f} ms a query"
    boxes = _halved(acas[1], BATCH)
    for mode in (Mode.INTERVAL, Mode.DIFFERENCE, Mode.BEST):
        spent = _seconds(lambda m=mode: analyze(acas[1], boxes, m), repeat=3)  # type: ignore[misc]
        yield f"{'ACAS Xu 1_1':<14}{mode.value:<12}{BATCH / spent:8.0f} boxes a second, in batches of {BATCH}"
    products = _bare_products(acas[1], BATCH)
    bare = _seconds(lambda: [np.matmul(form, weight, out=out) for form, weight, out in products], repeat=3)
    whole = _seconds(lambda: analyze(acas[1], boxes, Mode.DIFFERENCE), repeat=3)
    yield f"the matrix products of `difference` alone take {bare / whole:.0%} of its time"


def _seconds(work: Callable[[], object], *, repeat: int) -> float:
    """The median CPU time of a call, after one to warm up."""
    work()
    spent = []
    for _ in range(repeat):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    return median(spent)


def _halved(problem: Problem, count: int) -> Boxes:
    """The region halved along one coordinate after the other until there are so many boxes."""
    whole = Boxes.of_region(problem.region)
    lower, upper = whole.lower, whole.upper
    axis = 0
    while len(lower) < count:
        middle = np.floor(0.5 * (lower[:, axis] + upper[:, axis]))
        left, right = upper.copy(), lower.copy()
        left[:, axis], right[:, axis] = middle, np.minimum(middle + 1, upper[:, axis])
        lower, upper = np.concatenate([lower, right]), np.concatenate([left, upper])
        axis = (axis + 1) % lower.shape[1]
    return Boxes(lower, upper)


def _bare_products(problem: Problem, boxes: int) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """(form, weight, result) of every product that joint back-substitution and DeepPoly make of a batch."""
    layers = compile_problem(problem).layers
    found = []
    for i, layer in enumerate(layers):
        rows = 2 * len(layer.gap.bias)
        for below in reversed(layers[:i]):
            m, n = below.weight.weight.shape
            form, out = np.ones((boxes * rows, m)), np.empty((boxes * rows, n))
            reference = below.reference.linear.weight
            weights = (below.weight.weight, below.gap.weight, reference, reference)
            found += [(form, weight, out) for weight in weights]
    return found


def main(names: Sequence[str]) -> None:
    """Print the chosen tables, or all."""
    for name, rows in {"acas": acas_rows, "mnist": mnist_rows}.items():
        if name in names or not names:
            print(f"{name}\n{header()}", flush=True)
            for row in rows():
                print(line(row), flush=True)
    if "speed" in names or not names:
        for text in speed():
            print(text, flush=True)


if __name__ == "__main__":
    if PUBLIC.is_dir():
        main(sys.argv[1:])
    else:
        print(f"skipped: the public networks are not at {PUBLIC}")
