"""From what a user wrote, a problem file or flags, to the `Problem` that is decided.

Reads both networks, quantizes where a scheme asks for it, and fixes the input relation. A scheme sees
the certified range of the real network's activations over the region: formats that are `auto` hold
them, and the report says which of the others do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import assert_never

from qsmt.arith.fixed import Fixed, Format
from qsmt.engine.parts import Asking, Part, parts_of
from qsmt.errors import MalformedProblem
from qsmt.frontend.align import aligned
from qsmt.frontend.base import load_network
from qsmt.frontend.fixed_point import ActivationRanges, QuantizationReport, quantize
from qsmt.frontend.flags import (
    Box,
    codes_within,
    parse_bound,
    parse_box,
    parse_center,
    parse_radius,
    scheme_of_bits,
)
from qsmt.frontend.formats import AUTO, FixedPointScheme, FormatSpec, input_format
from qsmt.frontend.problem_file import (
    Ball,
    Deployed,
    ProblemFile,
    QuantizeHere,
    SecondFloat,
    read_problem_file,
)
from qsmt.frontend.processing import normalised
from qsmt.frontend.runtimes import Runtime
from qsmt.frontend.toml_table import shown
from qsmt.ir.network import Network
from qsmt.ir.types import ElementType
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt.verdict import Verdict, Verified


@dataclass(frozen=True, slots=True)
class Loaded:
    """Problems that answer a question together, and where it came from; `quantization` None: nothing was quantized."""

    parts: tuple[Part, ...]
    quantization: QuantizationReport | None
    sources: tuple[Path, ...]
    ball: Ball | None = None
    zero_point: int = 0  # by which the codes of a grid, as the file gives them, are more than x

    def decided(self, index: int, verdict: Verdict) -> Part:
        """What a verdict is about: a part, or what all of them claim if all are verified."""
        part = self.parts[index]
        if not isinstance(verdict, Verified) or len(self.parts) == 1:
            return part
        return replace(part, statement="; ".join(p.statement or "" for p in self.parts))

    @property
    def problem(self) -> Problem:
        """The only problem.

        Raises:
            MalformedProblem: there are several.
        """
        if len(self.parts) > 1:
            what = f"the property is made of {len(self.parts)} problems, which only `check` and `replay` take"
            raise MalformedProblem(what, where="property.layers", hint="name one layer")
        return self.parts[0].problem


@dataclass(frozen=True, slots=True)
class _OtherSide:
    """The network that the reference is compared with, and the input relation."""

    network: Network
    report: QuantizationReport | None
    region: Region
    input_scale: Fraction


# --- the problem file -----------------------------------------------------------------------------------


def load_problem(path: str | PathLike[str]) -> Loaded:
    """The problem that a file states.

    Raises:
        InputError: one line with the file and the key, or the network file, and what is wrong there.
    """
    path = Path(path)
    file = read_problem_file(path)
    runtime = file.quantized.runtime if isinstance(file.quantized, Deployed) else None
    reference, second = _networks(file.reference, file.quantized.network, runtime)
    with _located(str(path)):
        _check_inputs((reference, second), len(file.region.lower), where="region")
        with _located("quantized", mark="."):
            second = normalised(second, file.processing["quantized"])
        with _located("reference", mark="."):
            reference = normalised(reference, file.processing["reference"])
        other = _other_side(file, second)
        reference = _aligned(reference, other.network)
        zero = _zero_point(file.region, other.network)
        centre = None if file.ball is None else tuple(v - zero for v in file.ball.middle)
        scale, region = other.input_scale, other.region
        parts = parts_of(file.claim, Asking(reference, other.network, region, scale, file.processing, centre))
    sources = _distinct(path, file.reference, file.quantized.network)
    return Loaded(parts, other.report, sources, file.ball, zero)


def _other_side(file: ProblemFile, network: Network) -> _OtherSide:
    match file.quantized:
        case QuantizeHere(scheme=scheme):
            scale = _input_scale(file, _input_kind(scheme, file.region.model))
            with _located("quantized", mark="."):
                return _quantize(network, scheme, file.region, input_scale=scale)
        case SecondFloat() if not network.is_real:
            what = "the network computes on integers"
            raise MalformedProblem(what, where="quantized.scheme", hint="leave scheme out")
        case Deployed(runtime=runtime) if runtime is not None and network.is_real:
            hint = 'give scheme = "fixed-point" to quantize it, or scheme = "float"'
            raise MalformedProblem("the network is not quantized", where="quantized.network", hint=hint)
        case SecondFloat() | Deployed():
            kind = network.input.type.element
            return _OtherSide(network, None, _centred(file.region, network), _input_scale(file, kind))
    assert_never(file.quantized)


def _centred(region: Region, network: Network) -> Region:
    """A grid of stored codes, as a file gives it, in codes that are counted from the zero point."""
    return region.moved(-_zero_point(region, network))


def _zero_point(region: Region, network: Network) -> int:
    kind = network.input.type.element
    return kind.zero_point if region.model is InputModel.GRID and isinstance(kind, Format) else 0


def _input_kind(scheme: FixedPointScheme, model: InputModel) -> Fixed | None:
    """The input format of a scheme; None: not known before the region is scaled."""
    if scheme.input.frac != AUTO:
        return input_format(scheme.input, None)
    if model is InputModel.GRID:
        what = 'a grid of codes does not say what a code stands for, so frac cannot be "auto"'
        hint = 'give frac, or use model = "continuous"'
        raise MalformedProblem(what, where="quantized.input.frac", hint=hint)
    return None


def _input_scale(file: ProblemFile, kind: ElementType | None) -> Fraction:
    if file.input_scale is not None:
        return file.input_scale
    return kind.scale if file.region.model is InputModel.GRID and isinstance(kind, Format) else Fraction(1)


# --- flags ----------------------------------------------------------------------------------------------


def problem_from_flags(
    reference: Path,
    quantized: Path | None = None,
    *,
    box: str,
    bound: str,
    bits: int | None = None,
    model: InputModel | None = None,
    runtime: str | None = None,
    flag: str = "--box",
) -> Loaded:
    """The problem that flags state: `reference` against itself in `bits` bits, or against `quantized`.

    Without a `model`, the inputs are those that the second network reads: codes, or of a float network all reals.
    `flag` is what has one number or interval per input.

    Raises:
        InputError: one line with the flag, or the network file, and what is wrong there.
    """
    reals, bounds = parse_box(box), parse_bound(bound)
    _check_flags(quantized, bits=bits, runtime=runtime)
    chosen = None if runtime is None else Runtime(runtime)
    first, second = _networks(reference, quantized or reference, chosen)
    _check_inputs((first, second), len(reals.lower), where=flag)
    if bits is not None:
        other = _of_bits(second, bits, box=reals, model=model or InputModel.GRID)
    else:
        _check_order(first, second, where=quantized)
        other = _of_file(second, box=reals, model=model or _natural(second), runtime=runtime)
    first = _aligned(first, other.network)
    claim = _claim(first, bounds)
    problem = Problem(first, other.network, other.region, other.input_scale, claim)
    return Loaded((Part(problem),), other.report, _distinct(reference, quantized or reference))


def ball_from_flags(
    reference: Path,
    quantized: Path | None = None,
    *,
    center: str,
    radius: str,
    bound: str,
    bits: int | None = None,
    model: InputModel | None = None,
    runtime: str | None = None,
) -> Loaded:
    """The same around a centre. On a grid it is the code nearest to it, and the radius counts codes.

    Raises:
        InputError: one line with the flag, or the network file, and what is wrong there.
    """
    middle, most = parse_center(center), parse_radius(radius)
    box = ",".join(f"[{v - most},{v + most}]" for v in middle)
    loaded = problem_from_flags(
        reference, quantized, box=box, bound=bound, bits=bits, model=model, runtime=runtime, flag="--center"
    )
    part, clip = loaded.parts[0], None
    kind, chosen = part.problem.quantized.input.type.element, part.problem.region.model
    if chosen is InputModel.GRID and isinstance(kind, Format):
        middle = tuple(Fraction(min(max(round(v / kind.scale), kind.min), kind.max)) for v in middle)
        most, clip = Fraction(int(most / kind.scale)), (Fraction(kind.min), Fraction(kind.max))
    ball = Ball(middle, most, clip, (Fraction(0),) * len(middle), (Fraction(1),) * len(middle))
    region = Region(chosen, *ball.of(most))
    return replace(loaded, parts=(replace(part, problem=replace(part.problem, region=region)),), ball=ball)


def _check_flags(quantized: Path | None, *, bits: int | None, runtime: str | None) -> None:
    if (bits is None) == (quantized is None):
        what = "give either a number of bits or a quantized network"
        raise MalformedProblem(what, where="--bits", hint="as in: qsmt check REF.onnx --bits 8")
    if runtime is None:
        return
    if quantized is None or quantized.suffix.lower() == ".qir":
        what = "names whose arithmetic a quantized .onnx file is read with, and none is given"
        raise MalformedProblem(what, where="--runtime", hint="leave it out")
    if runtime not in list(Runtime):
        raise MalformedProblem(f"is {shown(runtime)}, not one of {', '.join(Runtime)}", where="--runtime")


def _of_bits(network: Network, bits: int, *, box: Box, model: InputModel) -> _OtherSide:
    scheme = scheme_of_bits(bits)
    with _located("--bits"):
        kind = input_format(scheme.input, box.hull)
    region, scale = _relation(box, kind, model=model)
    with _located("--bits"):
        return _quantize(
            network, replace(scheme, input=FormatSpec(bits, kind.frac)), region, input_scale=scale
        )


def quantized_in_bits(network: Network, bits: int, box: Box) -> Network:
    """A float network in so many bits, as `--bits` makes it for a real box.

    Raises:
        MalformedProblem: that is no width, or a format cannot hold the network.
    """
    return _of_bits(network, bits, box=box, model=InputModel.CONTINUOUS).network


def _check_order(first: Network, second: Network, *, where: Path | None) -> None:
    if second.is_real and not first.is_real:
        what = f"@{second.name} is a float network, and @{first.name} before it is quantized"
        raise MalformedProblem(what, where=where, hint="give the float network first")


def _natural(network: Network) -> InputModel:
    """What a network reads: codes, or reals."""
    return InputModel.GRID if isinstance(network.input.type.element, Format) else InputModel.CONTINUOUS


def _of_file(network: Network, *, box: Box, model: InputModel, runtime: str | None) -> _OtherSide:
    if runtime is not None and network.is_real:
        what = f"there is no integer arithmetic in @{network.name}, a float network"
        raise MalformedProblem(
            what, where="--runtime", hint="quantize it with --bits, or leave --runtime out"
        )
    region, scale = _relation(box, network.input.type.element, model=model)
    return _OtherSide(network, None, region, scale)


def _relation(box: Box, kind: ElementType, *, model: InputModel) -> tuple[Region, Fraction]:
    """The region of a real box, and the scale with which the reference reads its points."""
    if model is InputModel.CONTINUOUS:
        return Region(model, box.lower, box.upper), Fraction(1)
    if not isinstance(kind, Format):
        what = "two float networks have no grid of input codes"
        raise MalformedProblem(what, where="--input-model", hint="use --input-model continuous")
    return codes_within(box, kind), kind.scale


# --- both -----------------------------------------------------------------------------------------------


def _networks(reference: Path, second: Path, runtime: Runtime | None) -> tuple[Network, Network]:
    first = load_network(reference)
    return first, first if second == reference else load_network(second, runtime=runtime)


def _aligned(reference: Network, quantized: Network) -> Network:
    """The reference, aligned with an integer network; of other pairs `Problem` says what does not match."""
    if reference.is_real and not quantized.is_real and reference.output.size == quantized.output.size:
        return aligned(reference, quantized)
    return reference


def _check_inputs(networks: tuple[Network, ...], size: int, *, where: str) -> None:
    for network in networks:
        if network.input.size != size:
            what = f"network @{network.name} has {network.input.size} inputs, the region {size}"
            raise MalformedProblem(what, where=where)


def _quantize(
    network: Network, scheme: FixedPointScheme, region: Region, *, input_scale: Fraction
) -> _OtherSide:
    """The network in fixed point, with what is known of its real values over the region."""
    ranges = activation_ranges(network, region, input_scale) if network.is_real else None
    made = quantize(network, scheme, ranges=ranges)
    return _OtherSide(made.network, made.report, region, input_scale)


def activation_ranges(network: Network, region: Region, input_scale: Fraction) -> ActivationRanges:
    """Certified ranges of a real network's values over a region, as a scheme wants them."""
    from qsmt.dra.analysis import reference_ranges
    from qsmt.dra.domain import Boxes

    found = reference_ranges(network, Boxes.of_region(region), input_scale)
    ends = input_scale * min(region.lower), input_scale * max(region.upper)
    return ActivationRanges(
        layers=tuple((float(r.lower.min()), float(r.upper.max())) for r in found),
        input=ends if region.model is InputModel.CONTINUOUS else None,
    )


def _claim(reference: Network, bound: Fraction | tuple[Fraction, ...]) -> ErrorBound:
    claimed = tuple(range(reference.output.size))
    bounds = bound if isinstance(bound, tuple) else (bound,) * len(claimed)
    if len(bounds) != len(claimed):
        what = f"{len(bounds)} bounds for {len(claimed)} outputs"
        raise MalformedProblem(what, where="--bound", hint="give one for all, or one each")
    return ErrorBound(claimed, bounds)


def _distinct(*paths: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(paths))


@contextmanager
def _located(place: str, *, mark: str = ", ") -> Iterator[None]:
    """Says of a problem's error in which file or flag it is."""
    try:
        yield
    except MalformedProblem as error:
        where = place if error.where is None else f"{place}{mark}{error.where}"
        raise MalformedProblem(error.what, where=where, hint=error.hint) from None
