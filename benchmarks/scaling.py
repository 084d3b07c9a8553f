"""How far each encoding and solver gets: CPU seconds on random networks of growing size, as a table.

python -m benchmarks.scaling [--repeat N] [--limit S] [--only TEXT] [--configurations NAME,...]

An instance is a random float network, its quantization to Q bits, and a box of a given radius around a
random point. The error query asks for 1.15 times the largest difference that a random search finds: there is
no violation, and a proof is needed. Seconds are those of the solver's process, medians over `--repeat` seeds;
"-" says that the limit was reached. The table comes as Markdown, and goes to benchmarks/results with `--write`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from qsmt.arith.real import RealTensor
from qsmt.dra.analysis import analyze_region
from qsmt.dra.stability import unstable
from qsmt.encoding import Query, QueryAnswer, answers
from qsmt.engine.campaign import Configuration, configurations
from qsmt.engine.trial import unpruned
from qsmt.frontend.base import load_network
from qsmt.frontend.fixed_point import ActivationRanges, quantize
from qsmt.frontend.flags import scheme_of_bits
from qsmt.frontend.formats import FormatSpec
from qsmt.interp.batch import BatchInterpreter
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, Relu, Value
from qsmt.ir.types import Real, TensorType
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.solver.base import Limits, Status
from qsmt.solver.process import CallFailed, Worker

ROOT = Path(__file__).parents[1]
MARGIN = Fraction(115, 100)
SAMPLES = 4000
EXECUTED = 100_000
"""Of grids of at most this many points, all are run; of others, this many random ones: SAMPLES."""


CONTROLLER = ROOT / "examples" / "pendulum" / "pendulum.onnx"


@dataclass(frozen=True, slots=True)
class Instance:
    """Sizes of the layers, bits, and radius of the box in codes; of a random network, or of this one."""

    sizes: tuple[int, ...]
    bits: int
    radius: int
    network: Path | None = None

    def __str__(self) -> str:
        if self.network is not None:
            return f"{self.network.stem} {'-'.join(map(str, self.sizes))}, Q{self.bits}, r={self.radius}"
        return f"{'-'.join(map(str, self.sizes))}, Q{self.bits}, r={self.radius}"


INSTANCES = [
    *(Instance((2, 8, 1), bits, radius) for bits in (4, 6, 8) for radius in (2, 8)),
    *(Instance((2, 8, 8, 1), bits, radius) for bits in (4, 6, 8) for radius in (2, 8)),
    *(Instance((4, 16, 16, 1), bits, radius) for bits in (6, 8, 10) for radius in (2, 6)),
    *(Instance((4, 16, 16, 1), bits, 6, CONTROLLER) for bits in (6, 8)),
    *(Instance((4, 32, 32, 32, 1), bits, radius) for bits in (6, 8) for radius in (2, 6)),
]


def problem(instance: Instance, seed: int) -> Problem:
    """The instance's problem, which claims the bound of the error query."""
    rng = np.random.default_rng([seed, *instance.sizes, instance.bits])
    network = _network(rng, instance.sizes) if instance.network is None else load_network(instance.network)
    scheme = scheme_of_bits(instance.bits)
    spec = FormatSpec(instance.bits, instance.bits - 1)
    made = quantize(
        network, type(scheme)(spec, scheme.weights, scheme.bias, scheme.hidden), ranges=_ranges(network)
    )
    top = 2 ** (instance.bits - 1) - 1 - instance.radius
    center = rng.integers(-max(top, 0), max(top, 0), instance.sizes[0], endpoint=True)
    ends = (
        np.clip(center + s * instance.radius, -(2 ** (instance.bits - 1)), 2 ** (instance.bits - 1) - 1)
        for s in (-1, 1)
    )
    lower, upper = (tuple(map(Fraction, end.tolist())) for end in ends)
    region = Region(InputModel.GRID, lower, upper)
    scale = Fraction(1, 2 ** (instance.bits - 1))
    blank = Problem(network, made.network, region, scale, ErrorBound((0,), (Fraction(0),)))
    bound = MARGIN * Fraction(_largest_found(blank, rng)).limit_denominator(1 << 20)
    return Problem(network, made.network, region, scale, ErrorBound((0,), (bound,)))


def _network(rng: np.random.Generator, sizes: Sequence[int]) -> Network:
    x = source = Value("x", TensorType((sizes[0],), Real()))
    ops: list[Op] = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        kind = TensorType((m,), Real())
        weight = (rng.uniform(-1, 1, (m, n)) * 1.5 / np.sqrt(n)).astype(np.float32)
        bias = rng.uniform(-0.3, 0.3, m).astype(np.float32)
        weights = Const(f"w{i}", TensorType((m, n), Real()), RealTensor.of_floats(weight))
        biases = Const(f"b{i}", kind, RealTensor.of_floats(bias))
        ops.append(Affine(Value(f"z{i}", kind), x, weights, biases))
        x = ops[-1].out
        if i < len(sizes) - 2:
            ops.append(Relu(Value(f"h{i}", kind), x))
            x = ops[-1].out
    return Network("scaling", "real", source, tuple(ops))


def _ranges(network: Network) -> ActivationRanges:
    from qsmt.dra.analysis import reference_ranges
    from qsmt.dra.domain import Boxes

    size = network.input.size
    whole = Region(InputModel.CONTINUOUS, (Fraction(-1),) * size, (Fraction(1),) * size)
    found = reference_ranges(network, Boxes.of_region(whole), Fraction(1))
    return ActivationRanges(tuple((float(r.lower.min()), float(r.upper.max())) for r in found), None)


def _largest_found(problem: Problem, rng: np.random.Generator) -> float:
    lower, upper = (np.array([int(v) for v in end]) for end in (problem.region.lower, problem.region.upper))
    if (problem.region.points or 0) <= EXECUTED:
        axes = (np.arange(low, high + 1) for low, high in zip(lower, upper, strict=True))
        points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(lower)).astype(np.float64)
    else:
        points = rng.integers(lower, upper, (SAMPLES, len(lower)), endpoint=True).astype(np.float64)
    return float(np.abs(BatchInterpreter(problem).run(points).difference[:, 0]).max())


# --- measuring ---------------------------------------------------------------------------------------------


def timed(query: Query, encoding: str, backend: str, limits: Limits) -> tuple[float, QueryAnswer]:
    """CPU seconds and the answer. Runs in a worker process."""
    begun = time.process_time()
    (found,) = answers(query, encoding, (backend,), limits)
    return time.process_time() - begun, found


def measure(worker: Worker, query: Query, choice: Configuration, limit: float) -> float | None:
    """CPU seconds to a proof; None if there was none within the limit.

    Raises:
        AssertionError: a solver claims a violation where the margin leaves none.
    """
    asked = query if choice.pruned else unpruned(query)
    try:
        seconds, found = worker.call(
            timed, (asked, choice.encoding, choice.backend, Limits(limit)), timeout_s=limit + 2
        )
    except CallFailed:
        return None
    return seconds if found.status is not Status.UNKNOWN else None


def rows(
    instances: Sequence[Instance], choices: Sequence[Configuration], *, repeat: int, limit: float
) -> Iterator[tuple[str, list[float | None]]]:
    """For each instance its description and the medians of every configuration."""
    with Worker(4096) as worker:
        for instance in instances:
            made = [problem(instance, seed) for seed in range(repeat)]
            queries = [Query(p, 0, 1, analyze_region(p)) for p in made]
            counts = [sum(unstable(p, q.facts)) for p, q in zip(made, queries, strict=True)]
            points = made[0].region.points or 0
            name = f"{instance} | {points:,} | {median(counts):.0f}"
            yield name, [_median([measure(worker, q, c, limit) for q in queries]) for c in choices]


def _median(seconds: Sequence[float | None]) -> float | None:
    found = median([float("inf") if s is None else s for s in seconds])
    return None if found == float("inf") else found


def table(
    instances: Sequence[Instance], choices: Sequence[Configuration], *, repeat: int, limit: float
) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    yield f"| instance | points | unstable | {' | '.join(map(str, choices))} |"
    yield "|---" * (len(choices) + 3) + "|"
    for name, medians in rows(instances, choices, repeat=repeat, limit=limit):
        cells = ("-" if m is None else f"{m:.2f}" for m in medians)
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, and print the table line by line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--limit", type=float, default=12.0)
    parser.add_argument("--only", default="", help="instances whose description contains this")
    parser.add_argument("--configurations", help="comma-separated, such as milp:highs; default: all")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    wanted = given.configurations.split(",") if given.configurations else None
    choices = [c for c in configurations() if wanted is None or str(c) in wanted]
    instances = [i for i in INSTANCES if given.only in str(i)]
    lines = []
    for line in table(instances, choices, repeat=given.repeat, limit=given.limit):
        print(line, flush=True)
        lines.append(line)
    if given.write:
        given.write.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    from benchmarks import scaling  # workers import functions by the name of their module

    scaling.main()
