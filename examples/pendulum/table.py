"""The smallest error bound that `qsmt check` proves for the pendulum, per bit width.

    python table.py [BITS ...]        needs `qsmt` on the path

Each width is checked twice. A bound that nothing can exceed is proved by analysis alone and certifies an
interval of the difference; a bound just below that interval's ends makes the later stages do the work.
What is certified for a bound that was proved is rounded up here, what a witness has reached is rounded down.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WIDTHS = (4, 6, 8, 10, 12)
NEWTONS = Decimal(20)
"""What an output of 1 stands for."""

UNBOUNDED = Decimal(10**6)
BELOW = Decimal("0.99")


def problem(bits: int, bound: Decimal) -> str:
    """pendulum-q8.toml with other widths and another bound."""
    text = (HERE / "pendulum-q8.toml").read_text(encoding="utf-8")
    network = json.dumps(str(HERE / "pendulum.onnx")).replace("\\", "\\\\")  # as a replacement of re.sub
    changes = {
        r'network = "pendulum.onnx"': f"network = {network}",
        r"weights = {.*?}": f"weights = {{ bits = {bits}, frac = {bits - 2} }}",
        r"bias = {.*?}": f"bias = {{ bits = {2 * bits}, frac = {2 * bits - 3} }}",
        r"hidden = {.*?}": f"hidden = {{ bits = {bits}, frac = {bits - 1}, signed = false }}",
        r'bound = ".*?"': f'bound = "{bound}"',
    }
    for pattern, line in changes.items():
        text, count = re.subn(f"(?m)^{pattern}", line, text)
        assert count, pattern
    return text


def check(bits: int, bound: Decimal) -> dict[str, Any]:
    """The report on one output: the verdict, and what is certified and witnessed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"pendulum-q{bits}.toml"
        path.write_text(problem(bits, bound), encoding="utf-8")
        done = subprocess.run(["qsmt", "check", str(path), "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"table: qsmt check ended with exit code {done.returncode}")
    report = json.loads(done.stdout)
    return {"verdict": report["verdict"], **report["outputs"][0]}


def largest(interval: Sequence[float] | None) -> Decimal:
    """The greatest magnitude in an interval, exactly."""
    return max(abs(Decimal(end)) for end in interval) if interval else Decimal(0)


def row(bits: int) -> str:
    analysis = check(bits, UNBOUNDED)
    alone = proved = largest(analysis["certified"])
    closer = check(bits, _ceiling(alone * BELOW))
    if closer["verdict"] == "verified":
        proved = largest(closer["certified"])
    reached = max(largest(analysis["witnessed"]), largest(closer["witnessed"]))
    force = _ceiling(proved * NEWTONS, "0.01")
    return f"{bits:4}  {_ceiling(alone):>14}  {_ceiling(proved):>12}  {_floor(reached):>17}  {force:>9} N"


def _ceiling(value: Decimal, unit: str = "0.00001") -> Decimal:
    return value.quantize(Decimal(unit), ROUND_CEILING)


def _floor(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.00001"), ROUND_FLOOR)


def main(widths: Sequence[int]) -> None:
    print("bits  analysis alone  proved bound  reached by input  as a force")
    for bits in widths:
        print(row(bits), flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or WIDTHS)
