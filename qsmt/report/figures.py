"""The figures of the HTML report: inline SVG, the same bytes for the same report.

Text stays text, in the reader's own fonts; nothing is fetched from anywhere.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from qsmt.claim import OutputConstraint
from qsmt.engine.investigation import OutputRange, Stage
from qsmt.facts import Facts, Stability
from qsmt.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 40
"""Outputs in a figure; more would not be told apart."""

INK, PALE, CERTIFIED, REACHED, LIMIT = "#23303b", "#c9d2da", "#6f9fc8", "#23303b", "#c0392b"
STATES = {
    Stability.ACTIVE: "#6f9fc8",
    Stability.INACTIVE: PALE,
    Stability.SATURATED: "#8d7bb8",
    Stability.UNSTABLE: "#e0a458",
}
"""Light and dark enough to be told apart without colours."""

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "svg.fonttype": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "axes.unicode_minus": False,
}

FAR = 20.0
"""A claimed bound that is so many times what is certified would leave nothing else to be seen."""

WIDTH, ROW, FRAME = 9.5, 0.3, 0.75
"""Inches: of a figure, of one of its rows, and of what is around the rows."""


def outputs(problem: Problem, found: Sequence[OutputRange], name_of: Callable[[int], str]) -> str:
    """Certified and witnessed difference of every output, and the bounds that are claimed; of a constraint, by how
    much each case holds.
    """
    shown, is_constraint = found[:SHOWN], isinstance(problem.claim, OutputConstraint)

    def draw(axes: Axes) -> None:
        for row, output in enumerate(shown):
            _span(axes, row, output.certified, color=CERTIFIED, label="certified")
            if output.witnessed is not None:
                axes.plot(output.reached, (row, row), "d-", color=REACHED, lw=1.6, ms=4.0, label="witnessed")
            bound = float(problem.claim.of(output.index))
            if bound <= FAR * max(map(abs, output.certified)):
                below = -bound if -1 in problem.claim.sides else np.nan
                ends = (below, below, np.nan, bound, bound)
                axes.plot(
                    ends,
                    (row - 0.4, row + 0.4, np.nan, row - 0.4, row + 0.4),
                    color=LIMIT,
                    lw=1.4,
                    label="allowed" if is_constraint else "claimed bound",
                )
        names = [name_of(output.index) for output in shown]
        _rows(axes, names if is_constraint else [f"output {name}" for name in names])
        axes.set_xlabel("what the case has to spare" if is_constraint else "quantized − reference")

    return _svg(draw, rows=len(shown), salt=f"outputs {problem.sha256}")


def differences(problem: Problem, facts: Facts) -> str:
    """Per layer, the difference after its activation: over all neurons, and for half of them."""

    def draw(axes: Axes) -> None:
        for row, layer in enumerate(facts.layers):
            lower, upper = layer.difference_post.lower, layer.difference_post.upper
            _span(axes, row, (float(lower.min()), float(upper.max())), color=PALE, label="all neurons")
            median = float(np.median(lower)), float(np.median(upper))
            _span(axes, row, median, color=CERTIFIED, label="the median neuron")
        axes.axvline(0.0, color=INK, lw=0.8)
        _rows(axes, [f"layer {i}" for i in range(len(facts.layers))])
        axes.set_xlabel("certified difference, quantized − reference")

    return _svg(draw, rows=len(facts.layers), salt=f"differences {problem.sha256}")


def stability(problem: Problem, layers: Sequence[Mapping[str, Any]]) -> str:
    """Per hidden layer and network, how many neurons do what."""
    counted = [
        (f"layer {layer['layer']}, {side}", layer[f"{side}_stable"])
        for layer in layers
        for side in ("reference", "quantized")
        if layer[f"{side}_stable"]
    ]

    def draw(axes: Axes) -> None:
        for row, (_, counts) in enumerate(counted):
            left = 0
            for state, color in STATES.items():
                count = counts[state.value]
                axes.barh(row, count, left=left, height=0.6, color=color, label=state.value)
                if count:
                    axes.text(left + count / 2, row, str(count), ha="center", va="center", fontsize=8)
                left += count
        _rows(axes, [name for name, _ in counted])
        axes.set_xlabel("hidden neurons")

    return _svg(draw, rows=len(counted), salt=f"stability {problem.sha256}") if counted else ""


def stages(problem: Problem, done: Sequence[Stage]) -> str:
    """The seconds of every stage."""

    def draw(axes: Axes) -> None:
        axes.barh(range(len(done)), [stage.seconds for stage in done], height=0.5, color=CERTIFIED)
        for row, stage in enumerate(done):
            axes.annotate(
                f"{stage.seconds:.2f} s",
                (stage.seconds, row),
                (4, 0),
                textcoords="offset points",
                va="center",
            )
        _rows(axes, [stage.name for stage in done], legend=False)
        axes.set_xlabel("seconds")
        axes.margins(x=0.12)
        axes.set_xlim(left=0.0)

    return _svg(draw, rows=len(done), salt=f"stages {problem.sha256}")


def _rows(axes: Axes, names: Sequence[str], *, legend: bool = True) -> None:
    """The first row on top, every row named, and what the colours mean beside them."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if legend and known:
        axes.legend(
            known.values(), known.keys(), loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0
        )


def _svg(draw: Callable[[Axes], None], *, rows: int, salt: str) -> str:
    """A figure as an `<svg>` element that scales with the page."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=(WIDTH, FRAME + ROW * max(rows, 3)), layout="constrained")
        draw(figure.subplots())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    element = stream.getvalue()
    element = element[element.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"|height="[\d.]+pt" |width="[\d.]+pt" ', "", element)


def _span(axes: Axes, row: int, ends: tuple[float, float], *, color: str, label: str) -> None:
    """A bar from end to end, if it has two."""
    low, high = ends
    if isfinite(low) and isfinite(high):
        axes.barh(row, high - low, left=low, height=0.5, color=color, label=label)
