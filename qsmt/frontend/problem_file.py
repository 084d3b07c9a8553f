"""The problem file: TOML, every number exact, every key known.

    schema = "qsmt.problem/1"

    [reference]
    network = "P1.onnx"            # .onnx or .qir, relative to this file
    input_scale = "1/255"          # optional

    [quantized]                    # one of three forms
    network = "P1.onnx"            # 1. a float network, quantized here
    scheme = "fixed-point"
    input = { bits = 8, frac = 8, signed = false }       # signed unless it says otherwise
    weights = { bits = 8, frac = 7 }
    bias = { bits = 8, frac = "auto" }                   # the finest that does not saturate, per layer
    hidden = { bits = 8, frac = 6 }                      # unsigned behind a ReLU, signed elsewhere
    output = "exact"               # or a format; default "exact"
    rounding = "half_up"           # of hidden activations; default "half_up"
                                   # 2. network, scheme = "float": a second float network
                                   # 3. network, runtime = "onnxruntime": quantized already (.qir: no runtime)
    [region]
    model = "grid"                 # or "continuous"
    lower = [0, 3]
    upper = [9, 9]                 # or: center = [...], radius = 3, clip = [0, 255]

    [property]
    kind = "error-bound"
    bound = "0.05"                 # one, or one per output
    outputs = [0]                  # default: all

Without `input_scale` both networks read the same real numbers: under `grid` the reference reads what
the codes stand for (the scale is the quantized input's own unit, 1 for a real network), under
`continuous` the scale is 1. The published fixed-point tasks feed x/255 to one network and x/256 to the
other and count the mismatch as error; a user's own network is never compared like that by default, so
it must be asked for.

What needs the networks (sizes, formats that are `auto`) is checked when they are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

from qsmt.arith.rounding import Rounding
from qsmt.errors import MalformedProblem
from qsmt.frontend.formats import AUTO, Auto, FixedPointScheme, FormatSpec
from qsmt.frontend.runtimes import Runtime
from qsmt.frontend.toml_table import Table, read_toml, shown
from qsmt.problem import InputModel, Region

SCHEMA = "qsmt.problem/1"
FORMATS = ("input", "weights", "bias", "hidden", "output")


class Scheme(StrEnum):
    """What is done to the network of `[quantized]`."""

    FIXED_POINT = "fixed-point"
    FLOAT = "float"


class PropertyKind(StrEnum):
    """What is claimed."""

    ERROR_BOUND = "error-bound"


@dataclass(frozen=True, slots=True)
class QuantizeHere:
    """A float network, and the scheme that quantizes it."""

    network: Path
    scheme: FixedPointScheme


@dataclass(frozen=True, slots=True)
class SecondFloat:
    """A second float network, compared as it is."""

    network: Path


@dataclass(frozen=True, slots=True)
class Deployed:
    """A network that is quantized already; a `.qir` file spells its arithmetic out (`runtime` None)."""

    network: Path
    runtime: Runtime | None


QuantizedSide: TypeAlias = QuantizeHere | SecondFloat | Deployed


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """What a problem file says, before any network is read."""

    path: Path
    reference: Path
    input_scale: Fraction | None
    quantized: QuantizedSide
    region: Region
    outputs: tuple[int, ...] | None  # None: all
    bound: Fraction | tuple[Fraction, ...]  # one for all outputs, or one each


def read_problem_file(path: Path) -> ProblemFile:
    """The problem that a file states.

    Raises:
        MalformedProblem: one line with the file and the key.
    """
    root = read_toml(path)
    if root.text("schema") != SCHEMA:
        root.fail("schema", f"is {shown(root['schema'])}, not {SCHEMA!r}")
    root.only("schema", "reference", "quantized", "region", "property")
    reference = root.table("reference").only("network", "input_scale")
    claim = root.table("property").only("kind", "bound", "outputs")
    outputs = _outputs(claim)
    return ProblemFile(
        path=path,
        reference=_network(reference, path.parent),
        input_scale=_input_scale(reference),
        quantized=_quantized(root.table("quantized"), path.parent),
        region=_region(root.table("region")),
        outputs=outputs,
        bound=_bound(claim, outputs),
    )


def _network(table: Table, folder: Path) -> Path:
    name = table.text("network")
    if not name.strip() or "\0" in name:
        table.fail("network", f"is {shown(name)}, not the name of a file")
    return folder / name


def _input_scale(reference: Table) -> Fraction | None:
    if "input_scale" not in reference:
        return None
    scale = reference.number("input_scale")
    if scale <= 0:
        reference.fail("input_scale", "is not a positive number")
    return scale


# --- [quantized] ----------------------------------------------------------------------------------------


def _quantized(table: Table, folder: Path) -> QuantizedSide:
    if "scheme" not in table:
        if any(key in table for key in FORMATS):
            table.fail("scheme", "is missing", hint='give scheme = "fixed-point"')
        return _deployed(table.only("network", "runtime", "scheme"), folder)
    match table.choice("scheme", Scheme):
        case Scheme.FLOAT:
            return SecondFloat(_network(table.only("network", "scheme"), folder))
        case Scheme.FIXED_POINT:
            table.only("network", "scheme", *FORMATS, "rounding")
            return QuantizeHere(_network(table, folder), _fixed_point(table))


def _deployed(table: Table, folder: Path) -> Deployed:
    network = _network(table, folder)
    if network.suffix.lower() == ".qir":
        if "runtime" in table:
            table.fail("runtime", "a .qir file names its own runtime", hint="leave it out")
        return Deployed(network, None)
    if "runtime" not in table:
        hint = 'give scheme = "fixed-point" to quantize a float network, or runtime = "onnxruntime"'
        table.fail("scheme", "is missing, and so is runtime", hint=hint)
    return Deployed(network, table.choice("runtime", Runtime))


def _fixed_point(table: Table) -> FixedPointScheme:
    exact = "output" not in table or table["output"] == "exact"
    return FixedPointScheme(
        input=_format(table, "input"),
        weights=_format(table, "weights"),
        bias=_format(table, "bias"),
        hidden=_format(table, "hidden"),
        output=None if exact else _format(table, "output"),
        rounding=table.choice("rounding", Rounding) if "rounding" in table else Rounding.HALF_UP,
    )


def _format(scheme: Table, key: str) -> FormatSpec:
    if isinstance(scheme[key], str):
        scheme.fail(key, f"is {shown(scheme[key])}, not a format", hint="write { bits = 8, frac = 6 }")
    table = scheme.table(key).only("bits", "frac", "signed")
    bits, frac = table.integer("bits"), _frac(table)
    signed = table.boolean("signed") if "signed" in table else None
    try:
        return FormatSpec(bits, frac, signed)
    except MalformedProblem as error:
        scheme.fail(key, error.what)


def _frac(table: Table) -> int | Auto:
    if table["frac"] == AUTO:
        return AUTO
    if isinstance(table["frac"], str):
        table.fail("frac", f'is {shown(table["frac"])}, neither an integer nor "auto"')
    return table.integer("frac")


# --- [region] -------------------------------------------------------------------------------------------


def _region(table: Table) -> Region:
    table.only("model", "lower", "upper", "center", "radius", "clip")
    model = table.choice("model", InputModel)
    ends = [key for key in ("lower", "upper") if key in table]
    around = [key for key in ("center", "radius", "clip") if key in table]
    if ends and around:
        hint = "give lower and upper, or center and radius"
        table.fail(around[0], f"cannot stand beside {ends[0]}", hint=hint)
    lower, upper = _around_center(table) if around else _ends(table)
    region = Region(model, lower, upper)
    _check_box(table, region, keys=("center", "center") if around else ("lower", "upper"))
    return region


def _ends(table: Table) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    lower, upper = table.numbers("lower"), table.numbers("upper")
    if len(lower) != len(upper):
        table.fail("upper", f"has {len(upper)} numbers, lower has {len(lower)}")
    return lower, upper


def _around_center(table: Table) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    center, radius = table.numbers("center"), table.number("radius")
    if radius < 0:
        table.fail("radius", "is negative")
    lower, upper = tuple(v - radius for v in center), tuple(v + radius for v in center)
    if "clip" not in table:
        return lower, upper
    clip = table.numbers("clip")
    if len(clip) != 2 or clip[0] > clip[1]:
        table.fail("clip", "is not an interval", hint="write [0, 255]")
    return tuple(max(v, clip[0]) for v in lower), tuple(min(v, clip[1]) for v in upper)


def _check_box(table: Table, region: Region, *, keys: tuple[str, str]) -> None:
    hint = 'round it, or let the region be model = "continuous"'
    for i, (low, high) in enumerate(zip(region.lower, region.upper, strict=True)):
        for key, end in zip(keys, (low, high), strict=True):
            if region.model is InputModel.GRID and end.denominator != 1:
                table.fail(f"{key}[{i}]", f"the box ends at {end}, but a grid has integer ends", hint=hint)
        if low > high:
            table.fail(f"{keys[0]}[{i}]", f"the region is empty: input {i} runs from {low} to {high}")


# --- [property] -----------------------------------------------------------------------------------------


def _outputs(claim: Table) -> tuple[int, ...] | None:
    claim.choice("kind", PropertyKind)
    if "outputs" not in claim:
        return None
    outputs = claim.integers("outputs")
    for i, output in enumerate(outputs):
        if output < 0:
            claim.fail(
                f"outputs[{i}]", f"is {shown(output)}, not the index of an output", hint="count from 0"
            )
        if output in outputs[:i]:
            claim.fail(f"outputs[{i}]", f"names output {shown(output)} twice")
    return outputs


def _bound(claim: Table, outputs: tuple[int, ...] | None) -> Fraction | tuple[Fraction, ...]:
    if not isinstance(claim["bound"], list):
        bound = claim.number("bound")
        return bound if bound >= 0 else claim.fail("bound", "is negative")
    bounds = claim.numbers("bound")
    for i, bound in enumerate(bounds):
        if bound < 0:
            claim.fail(f"bound[{i}]", "is negative")
    if outputs is not None and len(bounds) != len(outputs):
        claim.fail(
            "bound", f"has {len(bounds)} numbers for {len(outputs)} outputs", hint="give one, or one each"
        )
    return bounds
