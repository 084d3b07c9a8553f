"""The fewest bits per layer of the shipped controller and of public ReLU controllers, each result proved again.

python -m benchmarks.tune [--only TEXT] [--seconds S] [--each S] [--write FILE]

`qsmt tune -o DIR` in one process; then `qsmt check DIR/problem.toml` in another, which knows nothing but the files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.registry import Instance, tune
from benchmarks.vnnlib import cpu_seconds

HEADER = """\
# Bits that are proved to be enough, layer by layer

`make bench-tune`: at most {seconds:g} s of wall time each, {each:g} s for one choice, one process, on two cores shared
with other work. *Uniform* are the bits of all weights, biases and activations at the least width n (biases 2n) that is
proved to keep the bound; *tuned* those that are left after what could be taken away. *Local minimum*: no bit can be
taken anywhere, all neighbours being falsified or undecided. *Again* is the verdict of a fresh process that reads the
files of the result.

| controller | bound | uniform | tuned | saved | weights/bias/activation | rests on | end | CPU s | again |
|---|---|---|---|---|---|---|---|---|---|
"""


def run(arguments: Sequence[str]) -> tuple[dict[str, Any], float]:
    """A command in a fresh process: its JSON report, and CPU seconds.

    Raises:
        RuntimeError: it printed none.
    """
    before = cpu_seconds()
    command = [sys.executable, "-m", "qsmt.cli.main", *arguments, "--json", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout), cpu_seconds() - before


def row(instance: Instance, seconds: float, each: float) -> str:
    """One line of the table."""
    name, _, bound = instance.name.rpartition(", bound ")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tuned"
        limits = ("--timeout", str(seconds), "--each", str(each), "-o", str(folder))
        asked = instance.arguments[: instance.arguments.index("--timeout")]
        report, cpu = run(("tune", *asked, *limits))
        if report["verdict"] != "verified":
            return f"| {name} | {bound} | | | | | | {report['reason']} | {cpu:.0f} | |"
        again, _ = run(("check", str(folder / "problem.toml"), "--timeout", str(seconds)))
    best, uniform = report["accepted"][-1], report["uniform"]
    widths = " ".join("/".join(str(v or "-") for v in layer.values()) for layer in report["widths"])
    refused = Counter(c["verdict"] for c in report["refused"])
    left = ", ".join(f"{n} {kind}" for kind, n in sorted(refused.items()))
    end = report["reason"] or f"local minimum: {left}"
    saved = 1 - best["bits"] / uniform["bits"]
    bits = f"{uniform['bits']:,} | {best['bits']:,} | {saved:.0%}"
    trust = "+".join(best["trust"])
    return f"| {name} | {bound} | {bits} | {widths} | {trust} | {end} | {cpu:.0f} | {again['verdict']} |"


def rows(only: str, seconds: float, each: float) -> Iterator[str]:
    """A line per controller."""
    for instance in tune():
        if only in instance.name:
            yield row(instance, seconds, each)


def main() -> None:
    """Print the lines, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="controllers whose name contains this")
    parser.add_argument("--seconds", type=float, default=240.0, help="per controller")
    parser.add_argument("--each", type=float, default=5.0, help="per choice")
    parser.add_argument("--write", type=Path, help="write the table to this file, after every line")
    given = parser.parse_args()
    text = HEADER.format(seconds=given.seconds, each=given.each)
    print(text, end="")
    for line in rows(given.only, given.seconds, given.each):
        print(line, flush=True)
        text += f"{line}\n"
        if given.write:
            given.write.write_text(text)


if __name__ == "__main__":
    main()
