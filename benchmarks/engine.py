"""What the search makes of the machine: two processes against one, enumeration against bare matrix products, kills.

python -m benchmarks.engine [speedup] [products] [plain] [kills]
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.dra import _seconds, loaded
from benchmarks.published import acas_tasks, mnist_tasks, pair_tasks
from benchmarks.registry import EXAMPLES, PUBLIC, exact
from qsmt.arith.real import FloatArray
from qsmt.dra.domain import Boxes
from qsmt.engine.leaves import chunk_size
from qsmt.interp.batch import BatchInterpreter
from qsmt.interp.replay import replay
from qsmt.ir.network import layers
from qsmt.problem import Problem

PAIRS = 3
"""Runs of each kind, one after the other."""

KILLS = 50
KILLS_OF_ONE = 3
"""A search that was killed this often is resumed in peace."""

LONGEST_WAIT = 4.0
"""Seconds after which a process is killed at the latest."""

BY_ITSELF = (0, 1)
"""Exit codes of a search that has come to its end."""


def long_problems() -> Iterator[tuple[str, str, str]]:
    """Problems of some seconds: (name, command, problem file)."""
    instance = next(exact())
    assert instance.problem is not None
    yield instance.name, "bound", instance.problem
    if PUBLIC.is_dir():
        chosen = ("point 1, radius 0.05, 6 bits, bound 0.1", "1_4, 5 % pruned")
        for task in (*acas_tasks(PUBLIC), *pair_tasks(PUBLIC)):
            if task.name in chosen:
                yield task.name, "check", task.problem


# --- two processes against one ----------------------------------------------------------------------


def speedup() -> Iterator[str]:
    """Wall time with one process over that with two, pair by pair."""
    for name, command, text in long_problems():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "problem.toml"
            path.write_text(text)
            pairs = [[_report(command, path, jobs)["seconds"] for jobs in (1, 2)] for _ in range(PAIRS)]
        ratios = [one / two for one, two in pairs]
        one, two = (median(column) for column in zip(*pairs, strict=True))
        yield f"{name:<48} {one:7.2f} s alone, {two:7.2f} s with two, {median(ratios):.2f} times as fast"


def _report(command: str, path: Path, jobs: int, *flags: str) -> dict[str, Any]:
    arguments = [sys.executable, "-m", "qsmt.cli.main", command, str(path), "--json"]
    limits = ["--jobs", str(jobs), "--timeout", "600"]
    done = subprocess.run([*arguments, *limits, *flags], capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- enumeration against bare matrix products ---------------------------------------------------------


def products() -> Iterator[str]:
    """Points a second, and how long the matrix products of both networks alone take."""
    yield from map(_enumeration, ("pendulum", "ACAS Xu 1_1", "MNIST P1"), _enumerated())


def _enumerated() -> Iterator[Problem]:
    folder = EXAMPLES / "pendulum"
    text = (folder / "pendulum-q8.toml").read_text()
    yield loaded(text.replace('"pendulum.onnx"', f'"{folder / "pendulum.onnx"}"'))
    if PUBLIC.is_dir():
        yield loaded(next(acas_tasks(PUBLIC)).problem)
        yield loaded(next(mnist_tasks(PUBLIC)).problem)


def _enumeration(name: str, problem: Problem) -> str:
    points = _random_points(problem, chunk_size(problem))
    interpreter = BatchInterpreter(problem)
    whole = _seconds(lambda: interpreter.run(points), repeat=25)
    shapes = list(_product_operands(problem, len(points)))
    bare = _seconds(lambda: [np.matmul(x, weight, out=out) for x, weight, out in shapes], repeat=25)
    pace = f"{len(points) / whole:>10,.0f} points a second and core in chunks of {len(points):,}"
    return f"{name:<14} {pace}; bare products {len(points) / bare:>10,.0f}, {bare / whole:.0%} of the time"


def _random_points(problem: Problem, count: int) -> FloatArray:
    box = Boxes.of_region(problem.region)
    share = np.random.default_rng(0).random((count, box.lower.shape[1]))
    points: FloatArray = np.floor(box.lower + share * (box.upper - box.lower + 1.0))
    return points


def _product_operands(problem: Problem, count: int) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """(points, weight, result) of every layer: doubles for the reference, single precision for the codes."""
    for network, kind in ((problem.reference, np.float64), (problem.quantized, np.float32)):
        for layer in layers(network):
            rows, columns = layer.affine.weight.type.shape
            x, weight = np.ones((count, columns), kind), np.ones((columns, rows), kind)
            yield x, weight, np.empty((count, rows), kind)


# --- the search against plain enumeration --------------------------------------------------------------

PLAIN_POINTS = 2 * 10**7


def plain() -> Iterator[str]:
    """The exact maxima that `bound` finds on large grids, beside those of running every point."""
    for instance in exact():
        assert instance.problem is not None
        problem = loaded(instance.problem)
        if (problem.region.points or 0) > PLAIN_POINTS:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "problem.toml"
            path.write_text(instance.problem)
            (found,) = _report("bound", path, 2)["outputs"]
        ends = [float(end) for end in _every_point(problem)]
        same = "same" if found["certified"] == found["witnessed"] == ends else f"DIFFERENT: {found}"
        yield f"{instance.name:<32} every point run: [{ends[0]!r}, {ends[1]!r}]; by search: {same}"


def _every_point(problem: Problem) -> tuple[Fraction, Fraction]:
    """The exact extremes of the only output's difference; nothing of the search is in this."""
    interpreter = BatchInterpreter(problem)
    lower, upper = (np.array([int(v) for v in end]) for end in (problem.region.lower, problem.region.upper))
    axes = [np.arange(low, high + 1, dtype=np.float64) for low, high in zip(lower, upper, strict=True)]
    slab = np.stack(np.meshgrid(*axes[1:], indexing="ij"), axis=-1).reshape(-1, len(axes) - 1)
    lowest, highest = list[FloatArray](), list[FloatArray]()
    least, greatest = np.inf, -np.inf
    for first in axes[0]:
        points = np.column_stack([np.full(len(slab), first), slab])
        found = interpreter.run(points)
        difference, slack = found.difference[:, 0], 2 * found.radius[0]
        least, greatest = min(least, difference.min()), max(greatest, difference.max())
        lowest.append(points[difference <= least + slack])
        highest.append(points[difference >= greatest - slack])
    return (
        min(_exactly(problem, np.concatenate(lowest))),
        max(_exactly(problem, np.concatenate(highest))),
    )


def _exactly(problem: Problem, points: FloatArray) -> list[Fraction]:
    executions = replay(problem, [tuple(map(Fraction, point)) for point in points.tolist()])
    return [execution.value(0) for execution in executions]


# --- kills ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Killed:
    """How often a search or one of its workers was killed before it came to an end, and to which."""

    searches: int
    workers: int
    end: str


def kills() -> Iterator[str]:
    """Kill the search, or one of its workers, at random moments, and resume: the same end every time."""
    rng, problems = random.Random(0), list(long_problems())
    for name, command, text in problems:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "problem.toml"
            path.write_text(text)
            expected, runs = _end(command, path), list[Killed]()
            while sum(run.searches + run.workers for run in runs) < KILLS / len(problems):
                runs.append(_killed(command, path, Path(folder) / f"kept-{len(runs)}", rng))
        others = sum(run.end != expected for run in runs)
        searches, workers = sum(run.searches for run in runs), sum(run.workers for run in runs)
        killed = f"{searches} kills of the search, {workers} of a worker"
        yield f"{name:<48} {killed}, {len(runs)} ends, {others} of them another end"


def _end(command: str, path: Path, *flags: str) -> str:
    """What must not depend on kills: the verdict; of `bound`, what is certified and witnessed."""
    report = _report(command, path, 2, *flags)
    return str(report["verdict"] if command == "check" else report["outputs"])


def _killed(command: str, path: Path, kept: Path, rng: random.Random) -> Killed:
    """One search until it ends by itself or has been killed often enough; then once more, to its end."""
    searches = workers = 0
    child = _started(command, path, kept)
    while searches < KILLS_OF_ONE:
        try:
            ended = child.wait(timeout=0.5 + LONGEST_WAIT * rng.random())
            if ended not in BY_ITSELF:  # it broke with its worker: resuming it would hide that
                return Killed(searches, workers, f"exit code {ended}")
            break
        except subprocess.TimeoutExpired:
            hired = _children(child.pid)
            if hired and rng.random() < 0.5:
                os.kill(rng.choice(hired), signal.SIGKILL)
                workers += 1
                continue
            child.kill()
            child.wait()
            searches += 1
            child = _started(command, path, kept)
    child.kill()
    child.wait()
    return Killed(searches, workers, _end(command, path, *_resuming(kept)))


def _started(command: str, path: Path, kept: Path) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-m", "qsmt.cli.main", command, str(path), "--timeout", "600"]
    return subprocess.Popen(
        [*arguments, *_resuming(kept)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _resuming(kept: Path) -> list[str]:
    return ["--checkpoint", str(kept), *(["--resume"] if kept.exists() else [])]


def _children(pid: int) -> list[int]:
    """The workers; they are children of whichever thread hired them."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(v) for task in tasks for v in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return []


def main(names: Sequence[str]) -> None:
    """Print the chosen parts, or all."""
    for part in (speedup, products, plain, kills):
        if part.__name__ in names or not names:
            for text in part():
                print(text, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
