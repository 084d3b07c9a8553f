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
    mean = [15000, 0]              # optional, with range: the box is in physical units, x is (v - mean) / range

    [property]
    kind = "error-bound"           # the other kinds: see `property_table`
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

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

from qsmt.arith.rounding import Rounding
from qsmt.errors import MalformedProblem
from qsmt.frontend.formats import AUTO, Auto, FixedPointScheme, FormatSpec
from qsmt.frontend.processing import KEYS, Processing, each, numbers, read_processing
from qsmt.frontend.property_table import Asked, read_property
from qsmt.frontend.runtimes import Runtime
from qsmt.frontend.toml_table import Table, read_toml, shown
from qsmt.problem import InputModel, Region

SCHEMA = "qsmt.problem/1"
FORMATS = ("input", "weights", "bias", "hidden", "output")


class Scheme(StrEnum):
    """What is done to the network of `[quantized]`."""

    FIXED_POINT = "fixed-point"
    FLOAT = "float"


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
class Ball:
    """A region around a centre, in the file's units; `clip` ends, and what normalises them to x."""

    center: tuple[Fraction, ...]
    radius: Fraction
    clip: tuple[Fraction, Fraction] | None
    mean: tuple[Fraction, ...]
    range: tuple[Fraction, ...]

    @property
    def middle(self) -> tuple[Fraction, ...]:
        """The centre as x."""
        return self._as_x(self.center)

    def of(self, radius: Fraction) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
        """The ends as x, with this radius."""
        lower, upper = (tuple(v + r for v in self.center) for r in (-radius, radius))
        if self.clip is not None:
            lower = tuple(max(v, self.clip[0]) for v in lower)
            upper = tuple(min(v, self.clip[1]) for v in upper)
        return self._as_x(lower), self._as_x(upper)

    def distance(self, x: tuple[Fraction, ...]) -> Fraction:
        """The least radius whose ball holds x."""
        raw = (v * r + m for v, r, m in zip(x, self.range, self.mean, strict=True))
        return max(abs(v - c) for v, c in zip(raw, self.center, strict=True))

    def _as_x(self, ends: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        return tuple((v - m) / r for v, m, r in zip(ends, self.mean, self.range, strict=True))


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """What a problem file says, before any network is read."""

    path: Path
    reference: Path
    input_scale: Fraction | None
    quantized: QuantizedSide
    region: Region
    ball: Ball | None  # if the region is given by its centre
    claim: Asked
    processing: Mapping[str, Processing]  # of "reference" and "quantized"


def read_problem_file(path: Path) -> ProblemFile:
    """The problem that a file states.

    Raises:
        MalformedProblem: one line with the file and the key.
    """
    root = read_toml(path)
    if root.text("schema") != SCHEMA:
        root.fail("schema", f"is {shown(root['schema'])}, not {SCHEMA!r}")
    root.only("schema", "reference", "quantized", "region", "property")
    region, ball = _region(root.table("region"))
    reference = root.table("reference").only("network", "input_scale", *KEYS)
    quantized = root.table("quantized")
    return ProblemFile(
        path=path,
        reference=_network(reference, path.parent),
        input_scale=_input_scale(reference),
        quantized=_quantized(quantized, path.parent),
        region=region,
        ball=ball,
        claim=read_property(root.table("property")),
        processing={"reference": read_processing(reference), "quantized": read_processing(quantized)},
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
        return _deployed(table.only("network", "runtime", "scheme", *KEYS), folder)
    match table.choice("scheme", Scheme):
        case Scheme.FLOAT:
            return SecondFloat(_network(table.only("network", "scheme", *KEYS), folder))
        case Scheme.FIXED_POINT:
            table.only("network", "scheme", *FORMATS, "rounding", *KEYS)
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


_Ends: TypeAlias = tuple[Fraction, ...]


# --- [region] -------------------------------------------------------------------------------------------


def _region(table: Table) -> tuple[Region, Ball | None]:
    table.only("model", "lower", "upper", "center", "radius", "clip", "mean", "range")
    model = table.choice("model", InputModel)
    ends = [key for key in ("lower", "upper") if key in table]
    around = [key for key in ("center", "radius", "clip") if key in table]
    if ends and around:
        hint = "give lower and upper, or center and radius"
        table.fail(around[0], f"cannot stand beside {ends[0]}", hint=hint)
    if around:
        ball = _ball(table)
        region = Region(model, *ball.of(ball.radius))
        _check_box(table, region, keys=("center", "center"))
        return region, ball
    region = Region(model, *_normalised(table, *_ends(table)))
    _check_box(table, region, keys=("lower", "upper"))
    return region, None


def _normalised(table: Table, lower: _Ends, upper: _Ends) -> tuple[_Ends, _Ends]:
    """The ends as x: (end - mean) / range, where the file gives physical units."""
    mean, extent = _units(table, len(lower))
    lower, upper = (
        tuple((v - m) / r for v, m, r in zip(ends, mean, extent, strict=True)) for ends in (lower, upper)
    )
    return lower, upper


def _units(table: Table, size: int) -> tuple[_Ends, _Ends]:
    mean, extent = _sized(table, "mean", size, Fraction(0)), _sized(table, "range", size, Fraction(1))
    if min(extent) <= 0:
        table.fail("range", "is not positive")
    return mean, extent


def _sized(table: Table, key: str, size: int, default: Fraction) -> _Ends:
    found = each(numbers(table, key), size) if key in table else (default,) * size
    if len(found) != size:
        table.fail(key, f"has {len(found)} numbers, the box {size}")
    return found


def _ends(table: Table) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    lower, upper = table.numbers("lower"), table.numbers("upper")
    if len(lower) != len(upper):
        table.fail("upper", f"has {len(upper)} numbers, lower has {len(lower)}")
    return lower, upper


def _ball(table: Table) -> Ball:
    center, radius = table.numbers("center"), table.number("radius")
    if radius < 0:
        table.fail("radius", "is negative")
    clip: tuple[Fraction, Fraction] | None = None
    if "clip" in table:
        ends = table.numbers("clip")
        if len(ends) != 2 or ends[0] > ends[1]:
            table.fail("clip", "is not an interval", hint="write [0, 255]")
        clip = ends[0], ends[1]
    return Ball(center, radius, clip, *_units(table, len(center)))


def _check_box(table: Table, region: Region, *, keys: tuple[str, str]) -> None:
    hint = 'round it, or let the region be model = "continuous"'
    for i, (low, high) in enumerate(zip(region.lower, region.upper, strict=True)):
        for key, end in zip(keys, (low, high), strict=True):
            if region.model is InputModel.GRID and end.denominator != 1:
                table.fail(f"{key}[{i}]", f"the box ends at {end}, but a grid has integer ends", hint=hint)
        if low > high:
            table.fail(f"{keys[0]}[{i}]", f"the region is empty: input {i} runs from {low} to {high}")
