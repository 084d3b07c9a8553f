"""`qsmt verify`: a VNN-LIB query decided by the pipeline of `check`, box by box.

A query asks for a violation: it is satisfiable where a case of the constraint holds. Of one network, the other side of
the problem is zero. A quantized network over a box of reals reads exactly the codes from that of the lower end to that
of the upper one, so its query is one of a grid; a code's input is the real of the box nearest to what it stands for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from qsmt.arith.fixed import Format
from qsmt.engine.check import CheckResult, check_all
from qsmt.engine.investigation import Watch
from qsmt.engine.load import quantized_in_bits
from qsmt.engine.parts import Asking, Part, constraint
from qsmt.engine.plan import Options
from qsmt.errors import MalformedProblem
from qsmt.frontend.align import aligned
from qsmt.frontend.base import load_network
from qsmt.frontend.combined import Cases, OutputInequality
from qsmt.frontend.flags import Box
from qsmt.frontend.onnx import element_types
from qsmt.frontend.vnnlib import read_query
from qsmt.frontend.vnnlib_query import FLOATS, BoxCases, Declared, QueryFile, box_cases
from qsmt.interp.replay import enclosed, replay, violated
from qsmt.ir.network import Network
from qsmt.problem import InputModel, Region
from qsmt.verdict import Falsified, Verified

NEARLY = 0.95
"""Who does not know after this share of his time did not have enough of it."""


ROUND: Mapping[str, type[np.floating[Any]]] = {
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
}
"""The declared types whose numbers can be found here."""


class Answer(StrEnum):
    """The first line that `verify` prints."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True, slots=True)
class Question:
    """A query with its networks: one problem for each box whose cases say anything."""

    file: QueryFile
    networks: tuple[Network, ...]  # in the order of the file; quantized, where that is asked for
    boxes: tuple[BoxCases, ...]
    parts: tuple[Part, ...]
    free: BoxCases | None  # a box with a case that holds everywhere
    files: tuple[Path, ...]  # of the networks


@dataclass(frozen=True, slots=True)
class Found:
    """The answer; if it is `sat`, the inputs and each network's outputs there; why not, if it is no answer."""

    answer: Answer
    inputs: tuple[Fraction, ...] | None = None
    outputs: tuple[tuple[Fraction, ...], ...] = ()
    reason: str | None = None
    result: CheckResult | None = None


def load_question(path: Path, files: Mapping[str, Path], *, bits: int | None = None) -> Question:
    """The query of a file about the networks of other files, by name; a name of a 1.0 file's network is not used.

    Raises:
        InputError: one line with the file or flag, and what is wrong there.
    """
    file = read_query(path)
    networks = _networks(path, file, files)
    try:
        boxes = box_cases(file)
        if bits is not None:
            networks = _in_bits(networks, bits, boxes)
        free = next((box for box in boxes if () in box.cases), None)
        asked = tuple(box for box in boxes if () not in box.cases)
        parts = _parts(networks, asked) if asked else ()
        return Question(file, networks, asked, parts, free, _files(file, files))
    except MalformedProblem as error:
        raise MalformedProblem(error.what, where=error.where or path, hint=error.hint) from None


def answer(question: Question, options: Options, watch: Watch | None = None) -> Found:
    """Decide a query.

    Raises:
        SoundnessError: two answers contradict each other.
    """
    if question.free is not None:
        return _solution(question, _rounded(question, question.free, question.free.lower))
    if not question.parts:
        return Found(Answer.UNSAT)
    begun = time.monotonic()
    index, result = check_all([part.problem for part in question.parts], options, watch)
    if isinstance(result.verdict, Verified):
        return Found(Answer.UNSAT, result=result)
    if isinstance(result.verdict, Falsified):
        x = _real_input(question, index, result.verdict.witness.input)
        if x is None:
            return Found(
                Answer.UNKNOWN, reason="no real input of the box is read as the codes of the violation"
            )
        return replace(_solution(question, _representable(question, index, x)), result=result)
    late = time.monotonic() - begun >= NEARLY * options.timeout_s
    return Found(Answer.TIMED_OUT if late else Answer.UNKNOWN, reason=result.verdict.reason, result=result)


def outputs(network: Network, x: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """What a network makes of a real input: the values that its outputs stand for."""
    return enclosed(network, [_read(network, x)]).middle[0]


def _read(network: Network, x: Sequence[Fraction]) -> tuple[Fraction, ...]:
    kind = network.input.type.element
    return tuple(Fraction(kind.read(v)) if isinstance(kind, Format) else v for v in x)


def _solution(question: Question, x: tuple[Fraction, ...]) -> Found:
    return Found(Answer.SAT, x, tuple(outputs(network, x) for network in question.networks))


def _real_input(question: Question, index: int, x: tuple[Fraction, ...]) -> tuple[Fraction, ...] | None:
    """The input of the query that a witness of a part stands for; None if it is read as something else."""
    problem, box = question.parts[index].problem, question.boxes[index]
    if problem.region.model is InputModel.CONTINUOUS:
        return x
    ends = zip(x, box.lower, box.upper, strict=True)
    found = tuple(min(max(problem.input_scale * code, low), high) for code, low, high in ends)
    return found if _read(problem.quantized, found) == x else None


def _representable(question: Question, index: int, x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """The witness of a part moved to numbers that can be written down, where it still is one; else as it is."""
    rounded = _rounded(question, question.boxes[index], x)
    problem = question.parts[index].problem
    if rounded == x:
        return x
    if problem.region.model is InputModel.GRID:
        same = _read(problem.quantized, rounded) == _read(problem.quantized, x)
        return rounded if same else x
    inside = problem.region.contains(rounded)
    return rounded if inside and violated(problem, replay(problem, [rounded])[0]) is not None else x


def _rounded(question: Question, box: BoxCases, x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Numbers of the inputs' declared type near x, in the box where it has any; of other types, decimals or doubles."""
    element = question.file.networks[0].input.element
    kind, exact = ROUND.get(element, np.float64), element not in ROUND
    return tuple(
        v if exact and _is_decimal(v) else _nearest_within(v, (low, high), kind)
        for v, low, high in zip(x, box.lower, box.upper, strict=True)
    )


def _is_decimal(v: Fraction) -> bool:
    rest = v.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1


def _nearest_within(v: Fraction, ends: tuple[Fraction, Fraction], kind: type[np.floating[Any]]) -> Fraction:
    """A number of the type near v, between the ends if one is."""
    with np.errstate(over="ignore"):
        near = kind(float(v))
        candidates = near, np.nextafter(near, kind(-np.inf)), np.nextafter(near, kind(np.inf))
    found = [Fraction(float(n)) for n in candidates if np.isfinite(n)]
    return next((n for n in found if ends[0] <= n <= ends[1]), v)


# --- networks -----------------------------------------------------------------------------------------------


def _files(file: QueryFile, files: Mapping[str, Path]) -> tuple[Path, ...]:
    """The file of each declared network."""
    if file.version == 1:
        return tuple(files.values())
    return tuple(files[declared.equal_to or declared.name] for declared in file.networks)


def _networks(path: Path, file: QueryFile, files: Mapping[str, Path]) -> tuple[Network, ...]:
    """One network per declared one, of the declared sizes."""
    if file.version == 1:
        if len(files) != 1:
            raise MalformedProblem(f"{len(files)} networks are given, {path} is about one", where="--network")
        files = {file.networks[0].name: next(iter(files.values()))}
    needed = {d.name for d in file.networks if d.equal_to is None}
    for name in files:
        if name not in needed:
            raise MalformedProblem(f"{name} is no network of {path} that needs a file", where="--network")
    for name in needed:
        if name not in files:
            hint = f"give --network {name}=FILE"
            raise MalformedProblem(
                f"no file is given for network {name} of {path}", where="--network", hint=hint
            )
    loaded = {name: load_network(network) for name, network in files.items()}
    found = tuple(loaded[d.equal_to or d.name] for d in file.networks)
    for declared in file.networks:
        _check_types(path, declared, files[declared.equal_to or declared.name])
    for declared, network in zip(file.networks, found, strict=True):
        for tensor, size in ((declared.input, network.input.size), (declared.output, network.output.size)):
            if tensor.size != size:
                what = f"{tensor.name} has {tensor.size} elements, that of @{network.name} {size}"
                raise MalformedProblem(what, where=path)
    return found


def _check_types(path: Path, declared: Declared, file: Path) -> None:
    """A declared type that rounds must be that of the ONNX file (standard, section 5.3.2)."""
    tensors = declared.input, declared.output
    if file.suffix.lower() != ".onnx" or all(tensor.element not in FLOATS for tensor in tensors):
        return
    for tensor, stored in zip(tensors, element_types(file), strict=True):
        if tensor.element in FLOATS and stored not in (tensor.element, "undefined"):
            what = f"{tensor.name} is declared {tensor.element}, that of {file.name} is {stored}"
            raise MalformedProblem(what, where=path, hint="declare what the file has, or real")


def _in_bits(networks: tuple[Network, ...], bits: int, boxes: tuple[BoxCases, ...]) -> tuple[Network, ...]:
    """The only network, in formats for all boxes; of no box there is nothing to ask."""
    if len(networks) > 1:
        raise MalformedProblem(
            "quantizes the network of a query about one; this one is about two", where="--bits"
        )
    (network,) = networks
    if not network.is_real:
        raise MalformedProblem(f"@{network.name} is quantized already", where="--bits")
    return (quantized_in_bits(network, bits, _hull(boxes)),) if boxes else networks


def _parts(networks: tuple[Network, ...], boxes: tuple[BoxCases, ...]) -> tuple[Part, ...]:
    if len(networks) == 1:
        return _of_one(networks[0], boxes)
    first, second = networks
    if not first.is_real and not second.is_real:
        raise MalformedProblem("one of the two networks must be a float network", where="--network")
    swapped = not first.is_real
    real, other = (second, first) if swapped else (first, second)
    pair = (real if other.is_real else aligned(real, other), other)
    return tuple(_continuous(box, *pair, swapped=swapped) for box in boxes)


def _of_one(network: Network, boxes: tuple[BoxCases, ...]) -> tuple[Part, ...]:
    if network.is_real:
        return tuple(_continuous(box, network, None, swapped=False) for box in boxes)
    kind = network.input.type.element
    assert isinstance(kind, Format)
    return tuple(_codes(box, network, kind) for box in boxes)


def _continuous(box: BoxCases, first: Network, second: Network | None, *, swapped: bool) -> Part:
    region = Region(InputModel.CONTINUOUS, box.lower, box.upper)
    cases = _swapped(box.cases) if swapped else box.cases
    return constraint(
        cases, Asking(first, second, region, Fraction(1)), statement="no case of the query holds"
    )


def _codes(box: BoxCases, network: Network, kind: Format) -> Part:
    lower, upper = (tuple(Fraction(kind.read(v)) for v in ends) for ends in (box.lower, box.upper))
    asking = Asking(None, network, Region(InputModel.GRID, lower, upper), kind.scale)
    return constraint(_swapped(box.cases), asking, statement="no case of the query holds")


def _swapped(cases: Cases) -> Cases:
    def other(part: OutputInequality) -> OutputInequality:
        return replace(part, reference=part.quantized, quantized=part.reference)

    return tuple(tuple(map(other, case)) for case in cases)


def _hull(boxes: tuple[BoxCases, ...]) -> Box:
    lower = tuple(map(min, zip(*(box.lower for box in boxes), strict=True)))
    return Box(lower, tuple(map(max, zip(*(box.upper for box in boxes), strict=True))))
