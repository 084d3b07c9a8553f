"""The pairs of ACAS Xu networks over property 1's whole region, twice: as problem files, and as VNN-LIB 2.0 queries.

python -m benchmarks.vnnlib_pairs [--only TEXT] [--seconds S] [--write FILE]

`qsmt check` on the problem file that `make bench-pairs` uses, and `qsmt verify` on a query of two networks that says
the same. Verified is unsat and falsified is sat, or the line says so.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from benchmarks.published import PAIRS, pair_tasks
from benchmarks.registry import PUBLIC
from qsmt.engine.load import load_problem
from qsmt.problem import Problem

SECONDS = 100
SAME = {"verified": "unsat", "falsified": "sat", "unknown": "timed-out"}
CODES = {0: "verified", 1: "falsified", 3: "unknown"}


@dataclass(frozen=True, slots=True)
class Run:
    """What a command said, and the seconds of wall and CPU time it took."""

    said: str
    seconds: float
    cpu: float


def query(problem: Problem) -> str:
    """All outputs of the two networks within their bounds of each other, as a VNN-LIB 2.0 query."""
    lines = [
        "(vnnlib-version <2.0>)",
        "(declare-network f (declare-input X float32 [1,1,1,5]) (declare-output Y float32 [1,5]))",
        "(declare-network g (isomorphic-to f)",
        "  (declare-input V float32 [1,1,1,5]) (declare-output W float32 [1,5]))",
    ]
    for i, (low, high) in enumerate(zip(problem.region.lower, problem.region.upper, strict=True)):
        x, v = f"X[0,0,0,{i}]", f"V[0,0,0,{i}]"
        lines.append(f"(assert (and (>= {x} {decimal(low)}) (<= {x} {decimal(high)}) (== {x} {v})))")
    apart = [
        f"({sign} (- Y[0,{i}] W[0,{i}]) {mark}{decimal(problem.claim.of(i))})"
        for i in problem.claim.outputs
        for sign, mark in ((">", ""), ("<", "-"))
    ]
    return "\n".join([*lines, f"(assert (or {' '.join(apart)}))", ""])


def decimal(value: Fraction) -> str:
    """A number of the problem file as the decimal that it is."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    assert Fraction(text) == value, f"{value} is no decimal"
    return text if "." in text else f"{text}.0"


def run(arguments: Sequence[str]) -> tuple[int, str, float, float]:
    """A command in a fresh process: exit code, first word of its output, wall and CPU seconds."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "qsmt.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, (done.stdout.split() or [done.stderr])[0], time.monotonic() - begun, cpu


def both(text: str, networks: tuple[Path, Path], seconds: float) -> tuple[Run, Run]:
    """`check`, then `verify`."""
    with tempfile.TemporaryDirectory() as folder:
        file, asked = Path(folder) / "problem.toml", Path(folder) / "query.vnnlib"
        file.write_text(text)
        asked.write_text(query(load_problem(file).problem))
        limits = ("--timeout", str(int(seconds)), "--jobs", "1")
        code, _, wall, cpu = run(("check", str(file), *limits))
        checked = Run(CODES.get(code, f"exit code {code}"), wall, cpu)
        files = [f"{name}={path}" for name, path in zip("fg", networks, strict=True)]
        _, said, wall, cpu = run(
            ("verify", str(asked), "--network", files[0], "--network", files[1], *limits)
        )
    return checked, Run(said, wall, cpu)


def rows(only: str, seconds: float) -> Iterator[str]:
    """A line of the table per pair."""
    folder = PUBLIC / "acasxu_pairs"
    for task, (name, percent) in zip(pair_tasks(PUBLIC), PAIRS.items(), strict=True):
        if only not in task.name:
            continue
        stem = f"ACASXU_run2a_{name}_batch_2000"
        checked, asked = both(
            task.problem, (folder / f"{stem}.onnx", folder / f"{stem}_pruned{percent}.onnx"), seconds
        )
        agree = "yes" if SAME.get(checked.said) == asked.said else "NO"
        yield (
            f"| {task.name} | {checked.said} | {checked.seconds:.1f} | {checked.cpu:.1f} | {asked.said} "
            f"| {asked.seconds:.1f} | {asked.cpu:.1f} | {agree} |"
        )


HEADER = """\
# Pairs of ACAS Xu networks, as problem files and as VNN-LIB 2.0 queries

`make bench-vnnlib`: all five outputs within 0.05 of each other over property 1's whole region, the network and its
pruned copy; one process each, on two cores shared with other work.

| pair | check | s | CPU s | verify | s | CPU s | agree |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Print the lines, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="pairs whose name contains this")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="per command")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    given = parser.parse_args()
    if not PUBLIC.is_dir():
        print(f"the public networks are not at {PUBLIC}")
        return
    print(HEADER, end="")
    found = []
    for line in rows(given.only, given.seconds):
        print(line, flush=True)
        found.append(line)
    if given.write:
        given.write.write_text(HEADER + "\n".join([*found, ""]))


if __name__ == "__main__":
    main()
