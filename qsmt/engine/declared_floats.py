"""What an answer about exact arithmetic is worth where a query declares float32 or float64.

How far a runtime can be from the exact network is bounded (qsmt.dra.float_error), so what an inequality compares
differs by at most some E from what was proved about. `unsat` stands for every such runtime if each case is proved to
fail by more than its E; `sat` does if a case holds at the witness by more than its E there. Of other answers it is said
what they are about. The numbers of the file are what they say, and what it compares is compared exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from qsmt.arith.outward import inflate
from qsmt.arith.real import FloatArray
from qsmt.dra.float_error import FORMATS, float_error
from qsmt.engine.vnnlib import ROUND, Answer, Found, Question
from qsmt.frontend.combined import OutputInequality, with_sums
from qsmt.frontend.onnx_plain import is_plain
from qsmt.frontend.vnnlib_query import BoxCases, rounded_tensors
from qsmt.problem import InputModel, Region

Errors = tuple[FloatArray, ...]
"""Of each network of the query, how far its outputs can be off."""


def remark(question: Question, found: Found) -> str | None:
    """What the answer is about; None if it stands for the declared types, or if there is nothing to say."""
    tensors = tuple(rounded_tensors(question.file))
    if not tensors or found.answer not in (Answer.SAT, Answer.UNSAT) or not question.parts:
        return None
    kinds = dict.fromkeys(tensor.element for tensor in tensors)
    said = f"the answer is about exact arithmetic; {', '.join(kinds)} is declared"
    pair = _sat(question, found) if found.answer is Answer.SAT else _unsat(question, found)
    if pair is None:
        return f"{said}, and nothing is known of its rounding"
    moved, spare = pair
    if moved < spare:
        return None
    return f"{said}, whose rounding can move what is compared by {moved:.2g}, and {max(spare, 0.0):.2g} is to spare"


def _unsat(question: Question, found: Found) -> tuple[float, float] | None:
    """Of the case that has least to spare: what rounding can do, and by how much the case is proved to fail."""
    if len(question.parts) > 1 or found.result is None:
        return None
    box = question.boxes[0]
    errors = _errors(question, box.lower, box.upper)
    if errors is None or not _in_whole_units(box):
        return None
    pairs = [
        (max(_moved(part, errors) for part in case), -known.certified[1])
        for case, known in zip(with_sums(box.cases), found.result.outputs, strict=True)
    ]
    return min(pairs, key=lambda pair: pair[1] - pair[0])


def _sat(question: Question, found: Found) -> tuple[float, float] | None:
    """Of the case that holds with most to spare: what rounding can do at the witness, and by how much it holds."""
    x, kind = found.inputs, ROUND.get(question.file.networks[0].input.element)
    assert x is not None, "sat comes with inputs"
    if kind is None or any(Fraction(float(kind(float(v)))) != v for v in x):
        return None
    errors = _errors(question, x, x)
    if errors is None:
        return None
    inside = (box for box in question.boxes if _holds(box, x))
    pairs = [
        min(
            ((_moved(part, errors), _excess(part, found.outputs)) for part in case), key=lambda p: p[1] - p[0]
        )
        for box in inside
        for case in box.cases
    ]
    return max(pairs, key=lambda pair: pair[1] - pair[0], default=None)


def _errors(question: Question, lower: Sequence[Fraction], upper: Sequence[Fraction]) -> Errors | None:
    """None where nothing is known of a network."""
    region, found = Region(InputModel.CONTINUOUS, tuple(lower), tuple(upper)), list[FloatArray]()
    if any(part.quantized is not None and not part.quantized.is_real for part in question.parts):
        return None
    for declared, network, file in zip(
        question.file.networks, question.networks, question.files, strict=True
    ):
        kind = FORMATS.get(declared.input.element)
        if kind is None or not network.is_real or not _is_plain(file):
            return None
        error = float_error(network, region, kind)
        if error is None:
            return None
        found.append(error)
    return tuple(found)


def _is_plain(file: Path) -> bool:
    return file.suffix.lower() == ".onnx" and is_plain(file)


def _in_whole_units(box: BoxCases) -> bool:
    """Is a case's measure the excess itself? Inequalities of fractions of the second network are multiplied."""
    terms = (term for case in box.cases for part in case for term in part.quantized)
    return all(c.denominator == 1 for _, c in terms)


def _moved(part: OutputInequality, errors: Errors) -> float:
    """By how much rounding can change the left side."""
    sides = zip((part.reference, part.quantized), errors, strict=False)
    terms = np.array([abs(float(c)) * error[i] for side, error in sides for i, c in side])
    return float(inflate(terms.sum(keepdims=True), 4 * len(terms) + 4)[0])


def _excess(part: OutputInequality, outputs: Sequence[Sequence[Fraction]]) -> float:
    """By how much it holds, rounded down."""
    sides: Iterable[tuple[tuple[tuple[int, Fraction], ...], Sequence[Fraction]]]
    sides = zip((part.reference, part.quantized), outputs, strict=False)
    exact = sum((c * values[i] for side, values in sides for i, c in side), -part.bound)
    return float(np.nextafter(float(exact), -np.inf))


def _holds(box: BoxCases, x: Sequence[Fraction]) -> bool:
    return all(low <= v <= high for low, v, high in zip(box.lower, x, box.upper, strict=True))
