"""Published problems on public networks, as problem files: ACAS Xu and MNIST in fixed point, and float pairs.

The fixed-point scheme is QEBVerif's (Zhang, Song, Sun; CAV 2023): power-of-two scales, hidden activations
unsigned and saturating, the accumulator as output; one integer vector x drives both networks, of which the
quantized one reads x/256 and the reference x/255.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import floor
from pathlib import Path

ACAS_CENTERS = {
    1: ("0", "0", "0", "0", "0"),
    2: ("0.2", "-0.1", "0", "-0.3", "0.4"),
    3: ("0.45", "-0.23", "-0.4", "0.12", "0.33"),
    4: ("-0.2", "-0.25", "-0.5", "-0.3", "-0.44"),
    5: ("0.61", "0.36", "0", "0", "-0.24"),
}
ACAS_RADII = ("0.01", "0.025", "0.05")
ACAS_BOUNDS = ("0.05", "0.1", "0.2", "0.3", "0.4")
BITS = (4, 6, 8, 10)

MNIST_BOUNDS = ("1", "2", "4", "6", "8")

PAIRS = {"1_1": 5, "1_4": 5, "2_6": 5, "2_3": 5, "2_2": 10, "3_3": 30}
"""Original ACAS Xu networks, and how many percent of their weights the other one lacks."""

FIXED_POINT = """\
schema = "qsmt.problem/1"
[reference]
network = "{network}"
input_scale = "1/255"
[quantized]
network = "{network}"
scheme = "fixed-point"
input = {{ bits = 8, frac = 8, signed = {signed} }}
weights = {{ bits = {bits}, frac = {weights} }}
bias = {{ bits = {bits}, frac = {frac} }}
hidden = {{ bits = {bits}, frac = {frac}, signed = false }}
output = "exact"
rounding = "half_up"
[region]
model = "grid"
{region}
[property]
kind = "error-bound"
bound = "{bound}"
outputs = [{output}]
"""

PAIR = """\
schema = "qsmt.problem/1"
[reference]
network = "{reference}"
[quantized]
network = "{other}"
scheme = "float"
[region]
model = "continuous"
lower = ["0.6", "-0.5", "-0.5", "0.45", "-0.45"]
upper = ["0.679857769", "0.5", "0.5", "0.5", "-0.45"]
[property]
kind = "error-bound"
bound = "0.05"
"""


@dataclass(frozen=True, slots=True)
class Task:
    """One published problem: its name, its problem file, and the verdict that is known from elsewhere, if any."""

    name: str
    problem: str
    known: str | None = None


def acas_tasks(data: Path) -> Iterator[Task]:
    """All 300 tasks of network 1_1; known is what full enumeration of the smaller boxes has found."""
    maxima = {
        (row["fixpoint"], row["eps"], row["Q"]): Fraction(row["max_abs_err"])
        for row in _rows(data / "acasxu" / "qebverif_fp_exact.csv")
    }
    network = data / "acasxu" / "onnx" / "ACASXU_run2a_1_1_batch_2000.onnx"
    ranges = _input_ranges(data / "acasxu" / "normalization.json")
    for (point, center), radius, bits, bound in product(ACAS_CENTERS.items(), ACAS_RADII, BITS, ACAS_BOUNDS):
        lower, upper = acas_box(center, radius, ranges)
        problem = _acas_problem(network, bits, f"lower = {lower}\nupper = {upper}", bound)
        greatest = maxima.get((str(point), radius, str(bits)))
        known = None if greatest is None else "verified" if greatest <= Fraction(bound) else "falsified"
        yield Task(f"point {point}, radius {radius}, {bits} bits, bound {bound}", problem, known)


def acas_analysis_tasks(data: Path, network: str) -> Iterator[tuple[str, int, str]]:
    """The published boxes for one ACAS Xu network: (radius, bits, problem file), five points each."""
    ranges = _input_ranges(data / "acasxu" / "normalization.json")
    path = data / "acasxu" / "onnx" / f"ACASXU_run2a_{network}_batch_2000.onnx"
    for radius, bits, center in product(ACAS_RADII, BITS, ACAS_CENTERS.values()):
        lower, upper = acas_box(center, radius, ranges)
        yield radius, bits, _acas_problem(path, bits, f"lower = {lower}\nupper = {upper}", "1")


def acas_property_tasks(data: Path) -> Iterator[Task]:
    """The boxes of ACAS Xu properties 3 and 4, by network 1_1 in 8 and 10 bits."""
    folder = data / "acasxu"
    network = folder / "onnx" / "ACASXU_run2a_1_1_batch_2000.onnx"
    for number, bits, bound in product((3, 4), (8, 10), ACAS_BOUNDS):
        ends = _vnnlib_box(folder / "vnnlib" / f"prop_{number}.vnnlib")
        lower, upper = ([_code(pair[side]) for pair in ends] for side in (0, 1))
        region = f"lower = {lower}\nupper = {upper}"
        problem = _acas_problem(network, bits, region, bound)
        yield Task(f"property {number}, {bits} bits, bound {bound}", problem)


def _acas_problem(network: Path, bits: int, region: str, bound: str) -> str:
    return FIXED_POINT.format(
        network=network,
        signed="true",
        bits=bits,
        weights=bits - 2,
        frac=bits - 2,
        region=region,
        bound=bound,
        output=0,
    )


def _vnnlib_box(file: Path) -> list[tuple[Fraction, Fraction]]:
    """The input ends of a property."""
    found = re.findall(r"\(assert \((<=|>=) X_(\d+) (\S+)\)\)", file.read_text())
    ends = {(int(index), kind): Fraction(value) for kind, index, value in found}
    return [(ends[i, ">="], ends[i, "<="]) for i in range(len(ends) // 2)]


def _code(value: Fraction) -> int:
    """The 8-bit input code of a normalised input, rounded half away from zero."""
    rounded = floor(abs(256 * value) + Fraction(1, 2)) * (1 if value >= 0 else -1)
    return min(max(rounded, -128), 127)


def acas_box(
    center: Sequence[str], radius: str, ranges: Sequence[tuple[Fraction, Fraction]]
) -> tuple[list[int], list[int]]:
    """The codes of the clipped box around a point, rounded half away from zero."""
    pairs, r = list(zip(map(Fraction, center), ranges, strict=True)), Fraction(radius)
    lower, upper = ([_code(min(max(x + d, low), high)) for x, (low, high) in pairs] for d in (-r, r))
    return lower, upper


def _input_ranges(file: Path) -> list[tuple[Fraction, Fraction]]:
    """The input ranges of the network, normalised."""
    found = json.loads(file.read_text(), parse_float=Fraction)
    columns = zip(found["mins"], found["maxes"], found["means"], found["ranges"], strict=True)
    return [((Fraction(a) - mean) / width, (Fraction(b) - mean) / width) for a, b, mean, width in columns]


def mnist_tasks(data: Path) -> Iterator[Task]:
    """P1 and P2 on the 30 published images, around each by 3, the predicted class.

    Known is the verdict of QEBVerif with all it has: 3600 s on 24 threads of Gurobi.
    """
    known = {
        (row["network"], row["mnist_test_id"], row["bits"], row["error_bound"]): row["verdict"]
        for row in _rows(data / "qebverif" / "published_verdicts.csv")
        if row["method"] == "dra+milp+diff"
    }
    for name, image, bits, bound in product(("P1", "P2"), mnist_images(data), BITS, MNIST_BOUNDS):
        problem = mnist_problem(data, name, image, bits=bits, bound=bound)
        verdict = known.get((name, image[0], str(bits), bound))
        yield Task(f"{name}, image {image[0]}, {bits} bits, bound {bound}", problem, verdict)


def mnist_images(data: Path) -> list[list[str]]:
    """The published test images: id, label, pixels."""
    lines = (data / "mnist" / "qebverif30.csv").read_text().splitlines()
    return list(csv.reader(line for line in lines if not line.startswith("#")))


def mnist_problem(data: Path, network: str, image: Sequence[str], *, bits: int, bound: str) -> str:
    """The problem file of one task: around the image by 3, the predicted class."""
    return FIXED_POINT.format(
        network=next((data / "qebverif").glob(f"{network}_*.onnx")),
        signed="false",
        bits=bits,
        weights=bits - 1,
        frac=bits - 2,
        region=f"center = [{', '.join(image[2:])}]\nradius = 3\nclip = [0, 255]",
        bound=bound,
        output=image[1],
    )


def pair_tasks(data: Path) -> Iterator[Task]:
    """The six pairs of float networks."""
    folder = data / "acasxu_pairs"
    for name, percent in PAIRS.items():
        stem = f"ACASXU_run2a_{name}_batch_2000"
        text = PAIR.format(reference=folder / f"{stem}.onnx", other=folder / f"{stem}_pruned{percent}.onnx")
        yield Task(f"{name}, {percent} % pruned", text)


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))
