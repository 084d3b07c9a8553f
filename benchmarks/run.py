"""Run benchmark families and print one row per instance: verdict, what decided it, bounds, seconds.

python -m benchmarks.run [FAMILY ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.dra import loaded, noise_floor
from benchmarks.registry import FAMILIES, Instance

HEADER = (
    f"{'instance':<62} {'verdict':<10} {'known':<10} {'decided by':<26} {'certified':>11} {'witnessed':>11} "
    f"{'ratio':>7} {'seconds':>8}"
)


def run(instance: Instance) -> dict[str, Any] | str:
    """The JSON report of one instance, in a fresh process as a user would run it; or why it was refused."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = instance.arguments
        if instance.problem is not None:
            path = Path(folder) / "problem.toml"
            path.write_text(instance.problem)
            arguments = (str(path), *arguments)
        command = [sys.executable, "-m", "qsmt.cli.main", instance.command, *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        return done.stderr.strip()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def row(instance: Instance, report: dict[str, Any] | str) -> str:
    """One line of the table; the widest output counts."""
    if isinstance(report, str):
        return f"{instance.name:<62} refused    {report}"
    if report["command"] == "tune":
        return f"{instance.name:<62} {tuned(report)}"
    certified = max(_magnitude(output["certified"]) for output in report["outputs"])
    witnessed = max(_magnitude(output["witnessed"] or [0, 0]) for output in report["outputs"])
    ratio = certified / witnessed if witnessed else float("inf")
    return (
        f"{instance.name:<62} {verdict(report):<10} {instance.known or '-':<10} {decided_by(report):<26} "
        f"{certified:11.5g} {witnessed:11.5g} {ratio:7.2f} {report['seconds']:8.2f}"
    )


def tuned(report: dict[str, Any]) -> str:
    """The bits that were found to be enough, beside those of the least uniform width."""
    if report["verdict"] != "verified":
        return f"not tuned  {report['reason']} ({report['seconds']:.1f} s)"
    best, uniform = report["accepted"][-1], report["uniform"]
    widths = " ".join("/".join(str(v or "-") for v in layer.values()) for layer in report["widths"])
    saved = f"{best['bits']:,} of {uniform['bits']:,} bits ({best['bits'] / uniform['bits']:.0%})"
    left = ", ".join(
        f"{n} {kind}" for kind, n in sorted(Counter(c["verdict"] for c in report["refused"]).items())
    )
    why = f", {report['reason']}" if report["reason"] else ""
    return f"{saved}; {widths}; {'+'.join(best['trust'])}; neighbours: {left}; {report['seconds']:.1f} s{why}"


def remaining(instance: Instance, report: dict[str, Any] | str) -> str | None:
    """Of `bound`, what dominates the gap that is left: what rounding does by itself, or boxes still open."""
    if instance.problem is None or isinstance(report, str) or verdict(report) != "open":
        return None
    output = max(report["outputs"], key=lambda o: _magnitude(o["certified"]))
    witnessed = output["witnessed"] or [0, 0]
    gap = max(witnessed[0] - output["certified"][0], output["certified"][1] - witnessed[1])
    noise = noise_floor(loaded(instance.problem), output["index"])
    part = f"{noise / 2 / gap:.0%}" if noise / 2 < gap else "more than all"
    opened = next(stage["open"] for stage in report["stages"] if stage["name"] == "search")
    return (
        f"    left: {gap:.3g} of output {output['index']}, {opened:,} boxes open; the rounding of the neurons that "
        f"can be active makes {noise / 2:.3g} to either side by itself, {part} of it"
    )


def verdict(report: dict[str, Any]) -> str:
    """Of `bound`, whether the ends met."""
    if report["command"] == "bound":
        return "open" if report["reason"] else "exact"
    return str(report["verdict"])


def decided_by(report: dict[str, Any]) -> str:
    """The last stage, and what the proof rests on."""
    if verdict(report) in ("unknown", "open"):
        return "-"
    rests_on = "" if report["trust"] == ["replay"] else "+".join(report["trust"])
    return f"{report['stages'][-1]['name']} {rests_on}".strip()


def _magnitude(ends: Sequence[float | None]) -> float:
    return max(float("inf") if end is None else abs(end) for end in ends)


def compared(instance: Instance, report: dict[str, Any] | str) -> str | None:
    """What was known beforehand of an instance, and what is found."""
    if instance.known is None or isinstance(report, str):
        return None
    return f"known as {instance.known}: {verdict(report)}"


def summary(reports: Sequence[dict[str, Any] | str]) -> str:
    """How many of each verdict, and the seconds they took."""
    found = [report for report in reports if not isinstance(report, str)]
    seconds = sorted(report["seconds"] for report in found) or [0.0]
    counts = Counter(map(verdict, found)) + Counter(refused=len(reports) - len(found))
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"{said}; median {median(seconds):.2f} s, longest {seconds[-1]:.2f} s, all {sum(seconds):.0f} s"


def main(names: Sequence[str]) -> None:
    """Run the named families, or all."""
    for name in names or FAMILIES:
        instances = list(FAMILIES[name]())
        print(f"{name}\n{HEADER}" if instances else f"{name}: skipped, its networks are not here")
        reports = []
        for instance in instances:
            reports.append(run(instance))
            print(row(instance, reports[-1]), flush=True)
            if left := remaining(instance, reports[-1]):
                print(left, flush=True)
        if reports:
            pairs = Counter(map(compared, instances, reports))
            print(f"{name}: {summary(reports)}", flush=True)
            print(*(f"  {count} {pair}" for pair, count in pairs.items() if pair), "", sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
