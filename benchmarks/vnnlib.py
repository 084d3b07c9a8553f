"""VNN-LIB files of others: ACAS Xu's properties 1 to 10, cart pole and lunar lander, in floats and in 8 to 16 bits.

python -m benchmarks.vnnlib [--smoke] [--seconds S]

Prints a row per query: the answer, what is published of the float network, the seconds, and whether onnxruntime, in
floats, does at a witness of a float network what exact arithmetic does there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from qsmt.engine.plan import Options
from qsmt.engine.vnnlib import Found, answer, load_question

PUBLIC = Path(__file__).parents[2] / "shared" / "data"
NETWORKS = ("1_1", "1_5", "2_2", "3_3", "4_5", "5_9")
BITS = (None, 8, 12, 16)
SECONDS = 116
"""The competition's limit for ACAS Xu."""

CLOSE = 1e-3
"""How far float32 may be from exact arithmetic at a witness, relative to the largest output or 1."""

KNOWN = {
    **{(network, n): "unsat" for network in NETWORKS for n in (1, 3, 4)},
    ("1_1", 5): "unsat",
    ("1_1", 6): "unsat",
    ("3_3", 9): "unsat",
    ("4_5", 10): "unsat",
    **{(network, 2): "sat" for network in ("2_2", "4_5", "5_9")} | {("3_3", 2): "unsat"},
}
"""Katz et al. (CAV 2017), tables 2 and 3, and the competition's results: float networks only."""

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
        for bits in (None, 8):
            yield Task(name, folder / f"{name.split('_')[0]}.onnx", query, bits, None)


def row(task: Task, seconds: float) -> str:
    """One line of the table."""
    begun = time.monotonic()
    question = load_question(task.query, {"network": task.network}, bits=task.bits)
    found = answer(question, Options(timeout_s=seconds))
    took = time.monotonic() - begun
    float_side = by_onnxruntime(task.network, found) if task.bits is None else "-"
    return f"{task.title:<44} {found.answer.value:<10} {task.known or '-':<8} {took:8.2f}  {float_side}"


def by_onnxruntime(network: Path, found: Found) -> str:
    """How the float runtime's outputs compare with the exact ones, at the witness."""
    if found.inputs is None:
        return "-"
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    shape = [extent if isinstance(extent, int) else 1 for extent in source.shape]
    x = np.array([float(v) for v in found.inputs], dtype=np.float32).reshape(shape)
    outputs = [Fraction(float(v)) for v in np.ravel(session.run(None, {source.name: x})[0])]
    exact = found.outputs[0]
    off = max(float(abs(a - b)) for a, b in zip(outputs, exact, strict=True))
    largest = max(1.0, *(abs(float(v)) for v in exact))
    return f"{'agrees' if off <= CLOSE * largest else 'DIFFERS'}, within {off:.1e}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="a few queries")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="per query")
    given = parser.parse_args()
    if not PUBLIC.is_dir():
        print(f"the public networks are not at {PUBLIC}")
        return
    print(f"{'query':<44} {'answer':<10} {'known':<8} {'seconds':>8}  onnxruntime at the witness")
    for task in (*acas_tasks(smoke=given.smoke), *controller_tasks(smoke=given.smoke)):
        print(row(task, given.seconds), flush=True)


if __name__ == "__main__":
    main()
