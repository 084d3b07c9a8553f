"""Reports for people: the verdict first, then what is known, how, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from io import StringIO
from math import isfinite
from typing import Any, assert_never

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from qsmt.arith.fixed import Format
from qsmt.arith.outward import float_down, float_up
from qsmt.claim import OutputConstraint
from qsmt.dra.attribution import Attribution, Cause
from qsmt.engine.investigation import OutputRange
from qsmt.problem import Problem
from qsmt.report.decimal import DIGITS, exact, limit, lower, near, upper
from qsmt.report.model import Report
from qsmt.verdict import Falsified, Unknown, Verdict, Verified, Witness

SHOWN = 12
"""Rows of a table, or numbers of a vector, that are shown before "..."."""

WORDS = {
    Verified: ("VERIFIED", "bold green"),
    Falsified: ("FALSIFIED", "bold red"),
    Unknown: ("UNKNOWN", "bold yellow"),
    type(None): ("BOUND", "bold green"),
}
"""Verdicts in a table, and how they are coloured."""

END = {1: "upper end", -1: "lower end"}

TRUST = {
    "dra": "the difference analysis, rounded outward throughout",
    "enumeration": "both networks run on every point of the grid that analysis left",
    "milp-certified": "a branch-and-bound tree whose every leaf was checked in exact arithmetic",
    "smt": "the bit-vector solver's word that an exact formula has no solution",
    "milp": "a numerical solver's word that a model has no solution (tolerances apply)",
}


def render(report: Report, *, color: bool = False, width: int = 100) -> str:
    """The report as text; `color` adds terminal colours."""
    return _printed(Group(*_blocks(report)), color=color, width=width)


def _printed(block: RenderableType, *, color: bool, width: int) -> str:
    printed = StringIO()
    console = Console(
        file=printed,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
    )
    console.print(block)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


def render_all(reports: Sequence[Report], *, color: bool = False, width: int = 100) -> str:
    """One report as it is; several as a table, and then what was found about those that are not proved."""
    if len(reports) == 1:
        return render(reports[0], color=color, width=width)
    unproved = [report for report in reports if not isinstance(report.verdict, Verified)]
    found = [f"{report.label}\n{render(report, color=color, width=width)}" for report in unproved]
    return "\n".join([_printed(_summary(reports), color=color, width=width), *found])


def _summary(reports: Sequence[Report]) -> Table:
    """One row per problem."""
    table = _table("problem", "verdict", "certified", "witnessed", "seconds", "rests on")
    for report in reports:
        certified, reached = magnitudes(report)
        word, style = WORDS[type(report.verdict)]
        table.add_row(
            report.label,
            Text(word, style),
            certified,
            reached,
            f"{report.seconds:.2f}",
            _basis(report.verdict),
        )
    return table


def _basis(verdict: Verdict | None) -> str:
    """What a verdict rests on, in a table."""
    match verdict:
        case Verified():
            return ", ".join(verdict.trust)
        case Falsified():
            return "replay"
        case _:
            return "-"


def magnitudes(report: Report) -> tuple[str, str]:
    """The largest difference of any output that is possible, and that is reached ("" if none was tried)."""
    both = -1 in report.problem.claim.sides
    certified = max(max(-low, high) if both else high for low, high in (o.certified for o in report.outputs))
    reached = max(max(-low, high) if both else high for low, high in (o.reached for o in report.outputs))
    return upper(certified), near(reached) if isfinite(reached) else ""


def _blocks(report: Report) -> Iterator[RenderableType]:
    if report.verdict is not None:
        yield from _headline(report.verdict, report)
    if report.command == "bound":
        yield _bounded(report)
        if report.trust:
            yield _indented(_trust(("dra", *report.trust)))
    if isinstance(report.verdict, Falsified):
        yield _indented(_witness(report.verdict.witness, report))
    yield _indented(_outputs(report))
    if report.layers:
        yield _indented(_layers(report.layers))
    if report.attributions:
        yield _indented(_attribution(max(report.attributions, key=lambda found: found.certified)))
    if report.stages:
        yield _indented(_stages(report))
    yield from (Padding(Text(note, style="dim"), (0, 0, 0, 2)) for note in report.notes)
    yield Text(f"  problem sha256 {report.problem.sha256[:16]}, {report.seconds:.2f} s", style="dim")


def _headline(verdict: Verdict, report: Report) -> Iterator[RenderableType]:
    match verdict:
        case Verified():
            yield Text.assemble(
                ("VERIFIED", "bold green"), f"  {_claim(report)}, for every {_inputs(report.problem)}"
            )
            yield _indented(_trust(verdict.trust))
        case Falsified():
            said = f"  {_broken(verdict, report)}"
            yield Text.assemble(("FALSIFIED", "bold red"), said)
        case Unknown():
            yield Text.assemble(("UNKNOWN", "bold yellow"), f"  whether {_claim(report)}: {verdict.reason}")
        case _:
            assert_never(verdict)


def _bounded(report: Report) -> Text:
    """The largest difference of any output: what is proved, and how close to it execution has come."""
    certified = max(max(-found.certified[0], found.certified[1]) for found in report.outputs)
    witnessed = max(max(-found.reached[0], found.reached[1]) for found in report.outputs)
    said = f"  {upper(certified)} for every {_inputs(report.problem)}; {near(witnessed)} is reached"
    return Text.assemble(("BOUND", "bold green"), said, f" ({report.reason})\n" if report.reason else "\n")


def _broken(verdict: Falsified, report: Report) -> str:
    if report.statement is not None:
        return f"it is not so that {report.statement}"
    difference = near(abs(verdict.witness.difference))
    return f"output {verdict.witness.output} differs by {difference}, the bound is {limit(verdict.bound)}"


def _claim(report: Report) -> str:
    if report.statement is not None:
        return report.statement
    bounds = set(report.problem.claim.bounds)
    allowed = limit(bounds.pop()) if len(bounds) == 1 else "its bound"
    return f"|quantized − reference| ≤ {allowed}"


def _inputs(problem: Problem) -> str:
    points = problem.region.points
    if points is None:
        return "input of the box"
    if points == 1:
        return "input of the region, which is one"
    return (
        f"one of the {points:,} inputs"
        if points < 10**12
        else f"one of about 10^{len(str(points)) - 1} inputs"
    )


def _trust(labels: Iterable[str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for number, label in enumerate(labels):
        table.add_row(
            "rests on" if number == 0 else "", label, TRUST.get(label, TRUST.get(label.split(":")[0], ""))
        )
    return table


def _witness(witness: Witness, report: Report) -> Table:
    table, problem = Table.grid(padding=(0, 2)), report.problem
    reference, quantized = report.outputs_at(witness)
    kind = problem.quantized.input.type.element
    codes = problem.quantized_input(witness.input)
    table.add_row("input", _vector(witness.input))
    if isinstance(kind, Format):
        stored = tuple(code + kind.zero_point for code in codes)
        table.add_row("as codes", _vector(stored), str(kind)) if stored != witness.input else None
    table.add_row("reads as", _vector(problem.reference_input(witness.input)))
    for side, outputs in (("reference", reference), ("quantized", quantized)):
        if outputs:
            table.add_row(side, _vector(outputs))
    how = "exact arithmetic"
    if witness.radius:
        how = f"rational intervals, to within {near(witness.radius)}"
    if witness.constraint is None:
        table.add_row(
            "difference", f"{near(witness.difference)} at output {witness.output}, replayed in {how}"
        )
    else:
        table.add_row(
            "case", f"{witness.output} holds with {near(witness.difference)} to spare, replayed in {how}"
        )
    return table


def _vector(values: Iterable[Fraction]) -> str:
    numbers = list(values)
    shown = ", ".join(exact(v) for v in numbers[:SHOWN])
    return f"[{shown}{', … ' + str(len(numbers)) + ' in all' if len(numbers) > SHOWN else ''}]"


_DIFFERENCES = ("output", "certified difference", "witnessed difference", "bound")


def _outputs(report: Report) -> Table:
    """One row per output; the last column is the claim's bound, or for `bound` how far the ends are apart."""
    asked = report.command != "bound"
    case = isinstance(report.problem.claim, OutputConstraint)
    what = ("case", "certified to spare", "witnessed", "allowed") if case else _DIFFERENCES
    table = _table(*what[:3], what[3] if asked else "gap")
    for found in report.outputs[:SHOWN]:
        reached = "" if found.witnessed is None else f"[{', '.join(map(near, found.reached))}]"
        claim, bound = report.problem.claim, report.problem.claim.of(found.index)
        sign = "<" if isinstance(claim, OutputConstraint) and not claim.is_strict(found.index) else "≤"
        table.add_row(
            report.name_of(found.index),
            _certified(found, bound if asked else None),
            reached,
            (f"{sign} {limit(bound)}" if case else limit(bound)) if asked else _gap(found),
        )
    if len(report.outputs) > SHOWN:
        table.add_row("…", f"{len(report.outputs)} {'cases' if case else 'outputs'} in all", "", "")
    return table


def _gap(found: OutputRange) -> str:
    """How far certified ends are from witnessed ones; nothing, if no double is between them."""
    if found.extremes is None:
        return ""
    (low, high), (least, greatest) = found.certified, found.extremes
    if (low, high) == (float_down(least), float_up(greatest)):
        return "0"
    return upper(max(float(least) - low, high - float(greatest)))


def _certified(found: OutputRange, bound: Fraction | None) -> str:
    """The certified interval; an end that was proved as the bound itself is written like the bound."""
    low, high = found.certified
    if bound is None:
        return f"[{lower(low)}, {upper(high)}]"
    below = f"-{limit(bound)}" if bound and low == -float_up(bound) else lower(low)
    return f"[{below}, {limit(bound) if high == float_up(bound) else upper(high)}]"


def _layers(layers: tuple[Mapping[str, Any], ...]) -> Table:
    """One row per layer and network: the mean width of its bounds, and its stable neurons."""
    kinds = list(layers[0]["reference_stable"])
    table = _table("layer", "neurons", "network", "mean width", *kinds)
    for layer in layers:
        first = (str(layer["layer"]), str(layer["neurons"]))
        for side in ("reference", "quantized"):
            counts = (str(count) for count in layer[f"{side}_stable"].values())
            table.add_row(*first, side, near(layer[f"{side}_width"]), *counts)
            first = ("", "")
        table.add_row("", "", "difference", near(layer["difference_width"]))
    return table


def _attribution(found: Attribution) -> Table:
    """What the certified end consists of: a row per layer, a column per cause; then what belongs to no layer.

    What would not show in any digit of the sum has no row.
    """
    least = abs(found.certified) / 10**DIGITS
    of_layers = [part for part in found.parts if part.layer is not None and part.amount]
    causes = [cause for cause in Cause if any(part.cause is cause for part in of_layers)]
    table = _table(f"output {found.output}, {END[found.side]}", *causes, "sum")
    for layer in sorted({part.layer for part in of_layers if part.layer is not None}):
        amounts = [found.amount(cause, layer) for cause in causes]
        table.add_row(f"layer {layer}", *_amounts(amounts), f"{sum(amounts):.4g}")
    for part in found.parts:
        if part.layer is None and abs(part.amount) > least:
            table.add_row(part.cause, *("" for _ in causes), f"{part.amount:.4g}")
    sums = [sum(part.amount for part in of_layers if part.cause is cause) for cause in causes]
    table.add_row("sum", *_amounts(sums), upper(float_up(found.total)))
    return table


def _amounts(values: Iterable[float]) -> list[str]:
    """Four digits, and nothing where there is nothing."""
    return [f"{value:.4g}" if value else "" for value in values]


def _stages(report: Report) -> Table:
    table = _table("stage", "seconds", "what it did")
    for stage in report.stages:
        table.add_row(stage.name, f"{stage.seconds:.2f}", stage.summary)
    return table


def _table(*columns: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="dim"
    )
    for column in columns:
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    return table


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 1, 2))
