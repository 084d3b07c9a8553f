"""What a soundness alarm leaves behind: a folder from which anybody can reproduce it.

It holds the problem as files that stand on their own: both networks as IR text, and a problem file; and where an
input shows what is wrong, a report with it for `qsmt replay`.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from qsmt.arith.fixed import Format
from qsmt.claim import Claim, ErrorBound, Inequality
from qsmt.interp.replay import Execution, breaks
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
{claim}
"""


def alarm_folder(problem: Problem, label: str) -> Path:
    """A folder `qsmt-alarm-*` in the current directory with the problem in it."""
    folder = Path(f"qsmt-alarm-{problem.sha256[:12]}-{label}")
    folder.mkdir(exist_ok=True)
    write_problem(problem, folder)
    return folder


def write_witness(problem: Problem, execution: Execution, output: int, folder: Path, *, command: str) -> None:
    """Write `report.json` beside the problem: `qsmt replay` confirms it if the execution breaks the claim there."""
    value = execution.value(output)
    report = {
        "schema": "qsmt.report/1",
        "command": command,
        "verdict": "falsified" if breaks(problem, execution, output) else None,
        "problem_sha256": problem.sha256,
        "witness": {
            "input": [str(v) for v in execution.input],
            "output": output,
            "difference": _double(value),
            "exact": str(value),
        },
        "source": {"files": ["problem.toml"]},
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")


def _double(value: Fraction) -> float | None:
    """The nearest double; None beyond them, which JSON has no number for."""
    try:
        return float(value)
    except OverflowError:
        return None


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
            claim=_claim(problem.claim),
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


def _claim(claim: Claim) -> str:
    """The table [property], without its head."""
    if isinstance(claim, ErrorBound):
        outputs = ", ".join(map(str, claim.outputs))
        return f'kind = "error-bound"\nbound = [{_list(claim.bounds)}]\noutputs = [{outputs}]'
    cases = (" and ".join(map(_inequality, case)) for case in claim.cases)
    return 'kind = "output-constraint"\nforbid = [\n' + "".join(f'  "{case}",\n' for case in cases) + "]"


def _inequality(part: Inequality) -> str:
    sign = (">" if part.side > 0 else "<") + ("" if part.strict else "=")
    return f"q[{part.output}] - r[{part.output}] {sign} {part.side * part.bound}"
