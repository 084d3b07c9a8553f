"""A problem as files that stand on their own: both networks as IR text, and a problem file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from qsmt.ir.text import print_network
from qsmt.problem import Problem

TEMPLATE = """\
schema = "qsmt.problem/1"

[reference]
network = "reference.qir"
input_scale = "{scale}"

[quantized]
network = "quantized.qir"

[region]
model = "{model}"
lower = [{lower}]
upper = [{upper}]

[property]
kind = "error-bound"
bound = [{bounds}]
outputs = [{outputs}]
"""


def write_problem(problem: Problem, folder: Path) -> Path:
    """Write `problem.toml` and what it names into `folder`; the path of the problem file."""
    (folder / "reference.qir").write_text(print_network(problem.reference))
    (folder / "quantized.qir").write_text(print_network(problem.quantized))
    path = folder / "problem.toml"
    path.write_text(
        TEMPLATE.format(
            scale=problem.input_scale,
            model=problem.region.model,
            lower=_list(problem.region.lower),
            upper=_list(problem.region.upper),
            bounds=_list(problem.claim.bounds),
            outputs=", ".join(map(str, problem.claim.outputs)),
        )
    )
    return path


def _list(values: tuple[Fraction, ...]) -> str:
    return ", ".join(f'"{v}"' for v in values)
