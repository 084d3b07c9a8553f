"""The benchmark instances: where each problem comes from, and what is measured on it.

Families that need the public networks look for them beside the repository and are skipped, by name,
where they are absent; what the project ships is always there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.published import Task, acas_property_tasks, acas_tasks, mnist_tasks, pair_tasks
from qsmt.frontend.flags import Box, parse_box
from qsmt.frontend.formats import AUTO, FormatSpec, input_format
from qsmt.problem import InputModel

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PUBLIC = ROOT.parent / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Instance:
    """One run of a command: its family, a name, its arguments, and the problem file it needs, if any.

    `known` is the verdict that is known from elsewhere.
    """

    family: str
    name: str
    arguments: tuple[str, ...]
    command: str = "check"
    problem: str | None = None
    known: str | None = None

    @staticmethod
    def of_task(family: str, task: Task, *, seconds: int) -> Instance:
        """The check of a published problem, within so many seconds."""
        flags = ("--timeout", str(seconds))
        return Instance(family, task.name, flags, problem=task.problem, known=task.known)


def pendulum() -> Iterator[Instance]:
    """The shipped controller, by every way of deciding it."""
    network = str(EXAMPLES / "pendulum" / "pendulum.onnx")
    for bits, bound in ((4, "0.2"), (6, "0.1"), (8, "0.02")):
        for box in ("[-0.03,0.03]^4", "[-0.25,0.25]^4"):
            for encoding in ("none", "bitvector", "milp"):
                flags = ("--bits", str(bits), "--box", box, "--bound", bound, "--encoding", encoding)
                timed = ("--timeout", "30", "--cross-check", "off")
                yield Instance("pendulum", f"{bits} bits, {box}, {encoding}", (network, *flags, *timed))


LARGE_RADII = {"q8": (28, 32, 40, 48, 56, 64), "q4": (28, 40, 52, 64)}
"""Boxes of 10^7 to 3 * 10^8 points for the shipped controller."""


def exact() -> Iterator[Instance]:
    """The exact extremes of the shipped controller's error on grids of many points."""
    folder = EXAMPLES / "pendulum"
    for form, radii in LARGE_RADII.items():
        text = (folder / f"pendulum-{form}.toml").read_text()
        text = text.replace('"pendulum.onnx"', f'"{folder / "pendulum.onnx"}"')
        for radius in radii:
            lower, upper = f"lower = {[-radius] * 4}", f"upper = {[radius] * 4}"
            problem = re.sub(r"upper = .*", upper, re.sub(r"lower = .*", lower, text))
            name = f"pendulum-{form}, {(2 * radius + 1) ** 4:,} points"
            yield Instance("exact", name, ("--timeout", "600"), command="bound", problem=problem)


ARCH_BOXES = {
    "ACC_controller_relu": "[30,30],[1.4,1.4],[30,30.2],[79,100],[1.8,2.2]",
    "InvertedPendulum_controller": "[1,1.175],[0,0.2]",
    "InvertedTwoLinkPendulum_controller_less_robust": "[1,1.3]^4",
    "TORA_ReLU_controller": "[0.6,0.7],[-0.7,-0.6],[-0.4,-0.3],[0.5,0.6]",
    "Unicycle_controller": "[9.5,9.55],[-4.5,-4.45],[2.1,2.11],[1.5,1.51]",
    "CartPole_controller": "[-0.1,0.1],[-0.05,0.05],[-0.1,0.1],[-0.05,0.05]",
    "VerticalCAS_controller_1": "[-0.01,0.01],[-0.342,-0.234],[0.125,0.125]",
    "VerticalCAS_controller_5": "[-0.01,0.01],[-0.342,-0.234],[0.125,0.125]",
}
"""ARCH-COMP AINNCS controllers (MIT, via JuliaReach) and the boxes of their initial sets. Of the last three none is at
hand: the pole is near upright; the intruder is within 160 feet and 25 seconds, the own ship sinks at 1170 to 1710
feet a minute."""

ARCH = """\
schema = "qsmt.problem/1"
[reference]
network = "{network}"
[quantized]
network = "{network}"
scheme = "fixed-point"
input = {{ bits = {bits}, frac = {frac}, signed = {signed} }}
weights = {{ bits = {bits}, frac = "auto" }}
bias = {{ bits = {bias}, frac = "auto" }}
hidden = {{ bits = {bits}, frac = "auto" }}
[region]
model = "{model}"
lower = {lower}
upper = {upper}
[property]
kind = "error-bound"
bound = "1"
"""


def arch() -> Iterator[Instance]:
    """How far apart the public ReLU controllers and their 8- and 16-bit forms are on their initial sets."""
    folder = PUBLIC / "arch_controllers"
    for stem, box in ARCH_BOXES.items() if folder.is_dir() else ():
        for bits, model in product((8, 16), InputModel):
            problem = _arch_problem(folder / f"{stem}.onnx", parse_box(box), bits, model)
            name = f"{stem}, {bits} bits, {model}"
            yield Instance("arch", name, ("--timeout", "60"), command="bound", problem=problem)


def _arch_problem(path: Path, box: Box, bits: int, model: InputModel) -> str:
    """The problem on a box, or on the grid of the codes that it is rounded to."""
    kind = input_format(FormatSpec(bits, AUTO), box.hull)
    unit = kind.scale
    grid = [[str(round(v / unit)) for v in end] for end in (box.lower, box.upper)]
    reals = [[f'"{v}"' for v in end] for end in (box.lower, box.upper)]
    lower, upper = (f"[{', '.join(end)}]" for end in (grid if model is InputModel.GRID else reals))
    return ARCH.format(
        network=path,
        bits=bits,
        bias=2 * bits,
        frac=kind.frac,
        signed=str(kind.signed).lower(),
        model=model,
        lower=lower,
        upper=upper,
    )


def acas() -> Iterator[Instance]:
    """The 300 published fixed-point tasks of ACAS Xu network 1_1."""
    for task in acas_tasks(PUBLIC) if (PUBLIC / "acasxu").is_dir() else ():
        yield Instance.of_task("acas", task, seconds=60)


def acas_properties() -> Iterator[Instance]:
    """The boxes of ACAS Xu properties 3 and 4."""
    for task in acas_property_tasks(PUBLIC) if (PUBLIC / "acasxu").is_dir() else ():
        yield Instance.of_task("properties", task, seconds=60)


def pairs() -> Iterator[Instance]:
    """Original and pruned ACAS Xu networks, all outputs within 0.05 of each other."""
    for task in pair_tasks(PUBLIC) if (PUBLIC / "acasxu_pairs").is_dir() else ():
        yield Instance.of_task("pairs", task, seconds=60)


def mnist() -> Iterator[Instance]:
    """The published tasks on P1 and P2."""
    there = (PUBLIC / "mnist").is_dir() and (PUBLIC / "qebverif").is_dir()
    for task in mnist_tasks(PUBLIC) if there else ():
        yield Instance.of_task("mnist", task, seconds=20)


TUNED_BOUNDS = {
    "ACC_controller_relu": "0.1",
    "InvertedPendulum_controller": "0.02",
    "InvertedTwoLinkPendulum_controller_less_robust": "0.1",
    "TORA_ReLU_controller": "0.1",
    "Unicycle_controller": "0.5",
    "CartPole_controller": "1",
    "VerticalCAS_controller_1": "0.005",
    "VerticalCAS_controller_5": "0.002",
}
"""Differences that the controllers are allowed, in units of their outputs: 1 to 20 % of what these vary by, or are."""


def tune() -> Iterator[Instance]:
    """The bits that the shipped controller and the public ReLU controllers need, layer by layer."""
    problem = str(EXAMPLES / "pendulum" / "pendulum-q8.toml")
    limits = ("--timeout", "120", "--each", "5")
    yield Instance("tune", "pendulum, bound 0.05", (problem, *limits), command="tune")
    folder = PUBLIC / "arch_controllers"
    for stem, bound in TUNED_BOUNDS.items() if folder.is_dir() else ():
        flags = ("--bits", "12", "--box", ARCH_BOXES[stem], "--input-model", "continuous", "--bound", bound)
        arguments = (str(folder / f"{stem}.onnx"), *flags, *limits)
        yield Instance("tune", f"{stem}, bound {bound}", arguments, command="tune")


FAMILIES = {
    "pendulum": pendulum,
    "exact": exact,
    "arch": arch,
    "acas": acas,
    "properties": acas_properties,
    "pairs": pairs,
    "mnist": mnist,
    "tune": tune,
}
