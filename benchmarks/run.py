"""Run benchmark families and print one row per instance: verdict, what decided it, bounds, seconds.

python -m benchmarks.run [FAMILY ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.registry import FAMILIES, Instance

HEADER = (
    f"{'instance':<70} {'verdict':<10} {'decided by':<14} {'certified':>11} {'witnessed':>11} {'seconds':>8}"
)


def run(instance: Instance) -> dict[str, Any] | str:
    """The JSON report of one instance, in a fresh process as a user would run it; or why it was refused."""
    command = [sys.executable, "-m", "qsmt.cli.main", "check", *instance.arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        return done.stderr.strip()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def row(instance: Instance, report: dict[str, Any] | str) -> str:
    """One line of the table; the widest output counts."""
    if isinstance(report, str):
        return f"{instance.name:<70} refused    {report}"
    certified = max(_magnitude(output["certified"]) for output in report["outputs"])
    witnessed = max(_magnitude(output["witnessed"] or [0, 0]) for output in report["outputs"])
    decided = "-" if report["verdict"] == "unknown" else report["stages"][-1]["name"]
    return (
        f"{instance.name:<70} {report['verdict']:<10} {decided:<14} {certified:11.5g} {witnessed:11.5g} "
        f"{report['seconds']:8.2f}"
    )


def _magnitude(ends: Sequence[float | None]) -> float:
    return max(float("inf") if end is None else abs(end) for end in ends)


def main(names: Sequence[str]) -> None:
    """Run the named families, or all."""
    for name in names or FAMILIES:
        instances = list(FAMILIES[name]())
        print(f"{name}\n{HEADER}" if instances else f"{name}: skipped, its networks are not here")
        for instance in instances:
            print(row(instance, run(instance)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
