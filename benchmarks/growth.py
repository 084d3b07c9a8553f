"""How the cost of the difference analysis grows with the width and the depth of a network, and with the batch.

python -m benchmarks.growth [PLOT.svg]

Random ReLU networks with 8 inputs and 4 outputs, in 8-bit fixed point, over a box of 16 codes a side. Times are the
median CPU time of one query on one thread; memory is the peak of what an analysis allocates. The plot needs matplotlib
(`pip install matplotlib`).
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from qsmt.arith.real import RealTensor
from qsmt.dra.analysis import analyze, analyze_region
from qsmt.dra.domain import Boxes, Mode
from qsmt.frontend.fixed_point import quantize
from qsmt.frontend.formats import FixedPointScheme, FormatSpec
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, Relu, Value
from qsmt.ir.types import Real, TensorType
from qsmt.ir.verify import verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region

INPUTS, OUTPUTS = 8, 4
WIDTHS, DEPTHS, BATCHES = (16, 32, 64, 128, 256, 512, 1024), range(1, 13), (64, 512, 4096)
DEPTH, WIDTH = 3, 64
"""What is held while the other one grows: hidden layers, and neurons in each."""

MODES = tuple(mode for mode in (Mode.NAIVE, Mode.INTERVAL, Mode.SYMBOLIC, Mode.DIFFERENCE, Mode.BEST))


def random_problem(width: int, depth: int) -> Problem:
    """Weights of the usual size (He et al., ICCV 2015), in single precision as a trained network's are."""
    rng = np.random.default_rng(width * 100 + depth)
    sizes = (INPUTS, *[width] * depth, OUTPUTS)
    value = source = Value("x", TensorType((INPUTS,), Real()))
    ops: list[Op] = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        kind = TensorType((m,), Real())
        weight = RealTensor.of_floats(rng.normal(0, (2 / n) ** 0.5, (m, n)).astype(np.float32))
        bias = RealTensor.of_floats(rng.normal(0, 0.1, m).astype(np.float32))
        made = Value(f"z{i}", kind)
        ops.append(
            Affine(
                made, value, Const(f"w{i}", TensorType((m, n), Real()), weight), Const(f"b{i}", kind, bias)
            )
        )
        value = made
        if i < depth:
            value = Value(f"h{i}", kind)
            ops.append(Relu(value, made))
    reference = verify(Network("random", "real", source, tuple(ops)))
    scheme = FixedPointScheme(
        FormatSpec(8, 7), FormatSpec(8, 5), FormatSpec(16, 10), FormatSpec(8, 4, signed=False)
    )
    region = Region(InputModel.GRID, (Fraction(-8),) * INPUTS, (Fraction(7),) * INPUTS)
    claim = ErrorBound(tuple(range(OUTPUTS)), (Fraction(1),) * OUTPUTS)
    return Problem(reference, quantize(reference, scheme).network, region, Fraction(1, 128), claim)


def seconds(problem: Problem, mode: Mode) -> float:
    """The median CPU time of a query, the problem being compiled."""
    spent = []
    for _ in range(4):
        begun = time.process_time()
        analyze_region(problem, mode)
        spent.append(time.process_time() - begun)
    return median(spent[1:])


def peak_mib(problem: Problem, boxes: int) -> float:
    """What `difference` allocates at most for so many boxes, its results included."""
    lower = np.repeat(np.arange(boxes)[:, None] % 8 - 8.0, INPUTS, axis=1)
    tracemalloc.start()
    analyze(problem, Boxes(lower, lower + 8), Mode.DIFFERENCE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def table(axis: str, problems: dict[int, Problem]) -> dict[Mode, list[float]]:
    """Print milliseconds, one row per problem, and return them by mode."""
    print(f"{axis:<10}" + "".join(f"{mode.value:>12}" for mode in MODES) + "   ms a query")
    found: dict[Mode, list[float]] = {mode: [] for mode in MODES}
    for size, problem in problems.items():
        for mode in MODES:
            found[mode].append(1000 * seconds(problem, mode))
        print(f"{size:<10}" + "".join(f"{found[mode][-1]:>12.2f}" for mode in MODES), flush=True)
    return found


def plot(file: Path, panels: Sequence[tuple[str, Sequence[int], dict[Mode, list[float]]]]) -> None:
    """Milliseconds over width and over depth."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "qsmt"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(9, 3.6), sharey=True)
    for axis, (label, sizes, times) in zip(axes, panels, strict=True):
        for mode, values in times.items():
            axis.plot(sizes, values, marker="o", markersize=3, label=mode.value)
        axis.set(xlabel=label, yscale="log", xscale="log" if len(sizes) == len(WIDTHS) else "linear")
        axis.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel("CPU ms a query")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main(arguments: Sequence[str]) -> None:
    """Print the tables; draw them if a file is named."""
    widths, depths = (
        {w: random_problem(w, DEPTH) for w in WIDTHS},
        {d: random_problem(WIDTH, d) for d in DEPTHS},
    )
    by_width = table("width", widths)
    by_depth = table("depth", depths)
    for boxes in BATCHES:
        print(
            f"{boxes} boxes of a {DEPTH} x {WIDTH} network: {peak_mib(widths[WIDTH], boxes):.0f} MiB at most"
        )
    for name in arguments:
        panels = [
            (f"neurons in each of {DEPTH} hidden layers", list(WIDTHS), by_width),
            (f"hidden layers of {WIDTH} neurons", list(DEPTHS), by_depth),
        ]
        plot(Path(name), panels)


if __name__ == "__main__":
    main(sys.argv[1:])
