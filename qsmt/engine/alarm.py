"""What a soundness alarm leaves behind: a folder from which anybody can reproduce it.

It holds the problem as files that stand on their own: both networks as IR text, and a problem file.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from qsmt.arith.fixed import Format
from qsmt.ir.text import print_network
from qsmt.problem import InputModel, Problem, Region

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


def alarm_folder(problem: Problem, label: str) -> Path:
    """A folder `qsmt-alarm-*` in the current directory with the problem in it."""
    folder = Path(f"qsmt-alarm-{problem.sha256[:12]}-{label}")
    folder.mkdir(exist_ok=True)
    write_problem(problem, folder)
    return folder


def write_problem(problem: Problem, folder: Path) -> Path:
    """Write `problem.toml` and what it names into `folder`; the path of the problem file."""
    (folder / "reference.qir").write_text(print_network(problem.reference))
    (folder / "quantized.qir").write_text(print_network(problem.quantized))
    path, region = folder / "problem.toml", _stored(problem)
    path.write_text(
        TEMPLATE.format(
            scale=problem.input_scale,
            model=problem.region.model,
            lower=_list(region.lower),
            upper=_list(region.upper),
            bounds=_list(problem.claim.bounds),
            outputs=", ".join(map(str, problem.claim.outputs)),
        )
    )
    return path


def _stored(problem: Problem) -> Region:
    """The region as a problem file gives it: a grid in codes as they are stored."""
    kind = problem.quantized.input.type.element
    if problem.region.model is InputModel.CONTINUOUS or not isinstance(kind, Format):
        return problem.region
    return problem.region.moved(kind.zero_point)


def _list(values: tuple[Fraction, ...]) -> str:
    return ", ".join(f'"{v}"' for v in values)
