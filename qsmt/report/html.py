"""Reports for people in a browser: one file, which needs no other and runs nothing.

What it says is what the text report says, word for word; beside it stand what the analysis knows of every
layer, and figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from qsmt.arith.fixed import Format
from qsmt.claim import OutputConstraint
from qsmt.engine.analyze import layer_rows
from qsmt.report import figures, text
from qsmt.report.decimal import exact, limit, lower, near, upper
from qsmt.report.junit import headline
from qsmt.report.model import Report
from qsmt.verdict import Falsified, Verified

SHOWN = 200
"""Rows of a table, or numbers of a vector, that are shown."""


MEASURED: Mapping[bool, Mapping[str, Any]] = {
    False: {
        "title": "Outputs",
        "columns": ("output", "certified difference", "witnessed difference", "claimed bound"),
        "figure": "certified and witnessed difference per output",
    },
    True: {
        "title": "Cases that may not happen",
        "columns": ("case", "certified to spare", "witnessed", "allowed"),
        "figure": "by how much each case can hold, and is seen to hold",
    },
}
"""What the table and the figure of an error bound are called, and of a constraint."""


def render(reports: Sequence[Report]) -> str:
    """The page: a table if there are several reports, then a section for each."""
    environment = Environment(
        loader=PackageLoader("qsmt.report", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    title = reports[0].label if len(reports) == 1 else f"{len(reports)} problems"
    sections = [_section(i, report) for i, report in enumerate(reports)]
    return environment.get_template("report.html").render(title=f"qsmt: {title}", sections=sections) + "\n"


def _section(number: int, report: Report) -> dict[str, Any]:
    """What the template shows of one report: texts, tables of texts, and figures."""
    word, said = headline(report).split("  ", 1)
    certified, witnessed = text.magnitudes(report)
    layers = report.layers or (layer_rows(report.problem, report.facts) if report.facts is not None else ())
    return {
        "id": f"problem-{number}",
        "label": report.label,
        "verdict": word.lower(),
        "said": said,
        "certified": certified,
        "witnessed": witnessed,
        "seconds": f"{report.seconds:.2f}",
        "trust": _trust(report),
        "witness": _witness(report),
        "measured": MEASURED[isinstance(report.problem.claim, OutputConstraint)],
        "outputs": [_output(report, i) for i in range(min(len(report.outputs), SHOWN))],
        "hidden_outputs": max(len(report.outputs) - SHOWN, 0),
        "layers": [_layer(layer) for layer in layers],
        "stages": [(stage.name, f"{stage.seconds:.2f}", stage.summary) for stage in report.stages],
        "notes": report.notes,
        "versions": ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        "sha256": report.problem.sha256,
        "figures": _figures(report, layers),
    }


def _figures(report: Report, layers: Sequence[Mapping[str, Any]]) -> dict[str, Markup]:
    """SVG elements, made here of numbers and our own texts: nothing in them is as a user wrote it."""
    problem, facts = report.problem, report.facts
    found = {
        "outputs": figures.outputs(problem, report.outputs, report.name_of),
        "differences": figures.differences(problem, facts) if facts is not None else "",
        "stability": figures.stability(problem, layers),
        "stages": figures.stages(problem, report.stages) if report.stages else "",
    }
    return {name: Markup(element) for name, element in found.items()}


def _trust(report: Report) -> list[tuple[str, str]]:
    """What the verdict rests on, each label with its meaning."""
    if isinstance(report.verdict, Falsified):
        return [("replay", "both networks executed at the input below, in exact arithmetic")]
    labels = report.verdict.trust if isinstance(report.verdict, Verified) else report.trust
    return [(label, text.TRUST.get(label, text.TRUST.get(label.split(":")[0], ""))) for label in labels]


def _witness(report: Report) -> list[tuple[str, list[str]]]:
    """The input, and what both networks make of it; nothing if there is no violation."""
    if not isinstance(report.verdict, Falsified):
        return []
    problem, witness = report.problem, report.verdict.witness
    rows = [("input", witness.input)]
    codes = problem.quantized_input(witness.input)
    if isinstance(problem.quantized.input.type.element, Format) and codes != witness.input:
        rows.append(("as codes", codes))
    reference, quantized = report.outputs_at(witness)
    rows += [("reads as", problem.reference_input(witness.input))]
    rows += [(side, found) for side, found in (("reference", reference), ("quantized", quantized)) if found]
    if witness.constraint is None:
        rows.append(("difference", tuple(q - r for q, r in zip(quantized, reference, strict=True))))
    return [(name, _numbers(values)) for name, values in rows]


def _numbers(values: Sequence[Fraction]) -> list[str]:
    """The numbers of a vector, and how many there are if these are not all."""
    shown = [exact(v) for v in values[:SHOWN]]
    return shown if len(values) <= SHOWN else [*shown, f"… {len(values)} in all"]


def _output(report: Report, number: int) -> tuple[str, str, str, str]:
    """One row: index, certified, witnessed, claimed."""
    found = report.outputs[number]
    certified = f"[{lower(found.certified[0])}, {upper(found.certified[1])}]"
    reached = "" if found.witnessed is None else f"[{', '.join(map(near, found.reached))}]"
    claim, bound = report.problem.claim, limit(report.problem.claim.of(found.index))
    if isinstance(claim, OutputConstraint):
        bound = f"{'≤' if claim.is_strict(found.index) else '<'} {bound}"
    return report.name_of(found.index), certified, reached, bound


def _layer(layer: Mapping[str, Any]) -> list[str]:
    """One row: layer, neurons, mean widths of both networks and of their difference, unstable neurons."""
    widths = [near(layer[f"{side}_width"]) for side in ("reference", "quantized", "difference")]
    unstable = [str(layer[f"{side}_stable"].get("unstable", "")) for side in ("reference", "quantized")]
    return [str(layer["layer"]), str(layer["neurons"]), *widths, *unstable]
