"""Which layer is to blame, and for what: the certified error, split into parts that add up to it.

The certificate of joint back-substitution (qsmt.dra.pairs) is a chain of linear inequalities, and its bound a sum of
numbers, each of which has one place of origin. With the form `A . delta + B . h` over what a layer puts out,

    d = W' delta + (W' - W) h + (b' - b)      (W' - W) h is the weights' doing, (b' - b) the biases'
    delta <= alpha d + beta z + gamma         gamma and beta z: rounding, saturation, relaxation (below)
    delta = drift x, or bounded               at the input: the input's doing

`A` is one chain. `B` is a sum with a summand for each origin; all summands are substituted through the lines that
the sign of their sum selects, which is linear, so that every summand keeps its origin down to the input, where
all are evaluated at the one x at which the certificate is greatest.

A plane's constant gamma is the greatest value of the difference after the activation, less `alpha d + beta z`, on
the neuron's hexagon. Here it is computed thrice with these slopes: without rounding and without the format's
limits; with rounding; with both. The steps between them are what rounding and saturation add. The rest is
relaxation: what is lost because unstable neurons are held between planes, no fault of the quantization.

**What holds.** A part is a number, not a bound: parts may be negative, where one fault makes up for another. Their
exact sum is at least the certified bound, which does not rest on them. Besides parts of layers there are two: what
outward rounding of the analysis itself adds ("arithmetic"), and what the other domains take off the bound of
this one ("intersection", never positive). The first is tiny unless a part is missing; the tests hold it to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

import numpy as np

from qsmt.arith.outward import float_up
from qsmt.arith.real import FloatArray
from qsmt.dra.activation import Activation, Before
from qsmt.dra.analysis import PLANS, analyze, run
from qsmt.dra.compiled import CompiledLayer, compile_problem
from qsmt.dra.domain import Boxes, Mode, plus, select
from qsmt.dra.domains import output_form
from qsmt.dra.hexagon import Hexagons, hexagons, vertices
from qsmt.dra.inputs import InputFacts, input_facts
from qsmt.dra.pairs import greatest
from qsmt.dra.planes import Planes
from qsmt.dra.trace import Trace
from qsmt.facts import Interval
from qsmt.problem import Problem


class Cause(StrEnum):
    """What a part of the error comes from."""

    WEIGHTS = "weights"
    BIAS = "bias"
    ROUNDING = "rounding"  # of activations
    SATURATION = "saturation"  # of activations, at the ends of their format
    INPUT = "input"
    RELAXATION = "relaxation"  # the analysis, at unstable neurons
    ARITHMETIC = "arithmetic"  # the analysis, rounded outward
    INTERSECTION = "intersection"  # other analyses bound it more tightly


@dataclass(frozen=True, slots=True)
class Part:
    """What one cause in one layer contributes; `layer` None: it belongs to none."""

    layer: int | None
    cause: Cause
    amount: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """`side` times the difference of an output is at most `certified`, which is at most the sum of the parts."""

    output: int
    side: int
    certified: float
    parts: tuple[Part, ...]

    @property
    def total(self) -> Fraction:
        """The exact sum of all parts."""
        return sum((Fraction(part.amount) for part in self.parts), Fraction(0))

    def amount(self, cause: Cause, layer: int | None) -> float:
        """The part of a cause in a layer (None: in none); zero if there is none."""
        return sum(part.amount for part in self.parts if (part.cause, part.layer) == (cause, layer))


@dataclass(slots=True)
class _Tally:
    """Amounts per place of origin, one number per row."""

    amounts: dict[tuple[int | None, Cause], FloatArray] = field(default_factory=dict)

    def add(self, layer: int | None, cause: Cause, amount: FloatArray) -> None:
        found = self.amounts.get((layer, cause))
        self.amounts[layer, cause] = amount if found is None else found + amount


@dataclass(frozen=True, slots=True, eq=False)
class _Summand:
    """A part of the form over the reference's values, and where it comes from."""

    layer: int
    cause: Cause
    rows: FloatArray


def attribute(problem: Problem) -> tuple[Attribution, ...]:
    """The upper and the lower end of every claimed output's difference over the region, each split into its parts.

    An end that is not bounded has no parts, and is left out.
    """
    compiled, boxes = compile_problem(problem), Boxes.of_region(problem.region)
    best = analyze(problem, boxes, Mode.BEST)
    with np.errstate(all="ignore"):
        inputs = input_facts(compiled.inputs, boxes)
        trace = run(compiled, inputs, PLANS[Mode.DIFFERENCE], best.layers)[0]
        tally, bound = split(trace, problem.claim.outputs), _bound(trace, problem.claim.outputs)
    ends = trace.layers[-1].difference_post
    found = []
    for row, (output, side) in enumerate(_rows(problem.claim.outputs)):
        certified = float(ends.upper[0, output] if side > 0 else -ends.lower[0, output])
        parts = [Part(*origin, float(values[row])) for origin, values in tally.amounts.items()]
        found.append(_closed(Attribution(output, side, certified, tuple(parts)), float(bound[row])))
    return tuple(a for a in found if a is not None)


def _rows(outputs: Sequence[int]) -> list[tuple[int, int]]:
    return [(output, side) for side in (1, -1) for output in outputs]


def _closed(found: Attribution, bound: float) -> Attribution | None:
    """With the two parts that make the sum reach the certified bound; None if it is not finite."""
    amounts = [part.amount for part in found.parts]
    if not np.isfinite([bound, found.certified, *amounts]).all():
        return None
    arithmetic = float_up(Fraction(bound) - found.total)
    intersection = float_up(Fraction(found.certified) - Fraction(bound))
    closing = (
        Part(None, Cause.ARITHMETIC, arithmetic),
        Part(None, Cause.INTERSECTION, min(intersection, 0.0)),
    )
    return replace(found, parts=found.parts + closing)


def _bound(trace: Trace, outputs: Sequence[int]) -> FloatArray:
    """What joint back-substitution by itself certifies: upper ends, then negated lower ends."""
    form, chosen = output_form(trace), list(outputs)
    rows = np.concatenate([form.upper[:, chosen], -form.lower[:, chosen]], axis=1)
    constant = np.concatenate([form.upper_constant[:, chosen], -form.lower_constant[:, chosen]], axis=1)
    bound: FloatArray = greatest(rows, constant, trace.inputs)[0]
    return bound


def split(trace: Trace, outputs: Sequence[int]) -> _Tally:
    """The parts of the forms of some outputs and of their negations, in doubles, rounded to nearest."""
    tally, last = _Tally(), len(trace.layers) - 1
    one = np.eye(trace.layers[-1].difference_post.lower.shape[-1])[list(outputs)]
    delta, summands = np.concatenate([one, -one]), list[_Summand]()
    for i in range(last, -1, -1):
        layer = trace.problem.layers[i]
        if i < last or layer.is_active or not trace.regular[i].all():
            delta, summands = _through_activation(trace, i, tally, delta, summands)
        tally.add(i, Cause.BIAS, delta @ layer.gap.bias)
        for summand in summands:
            tally.add(summand.layer, summand.cause, summand.rows @ layer.reference.linear.bias)
        weights = _Summand(i, Cause.WEIGHTS, delta @ layer.gap.weight)
        summands = [replace(s, rows=s.rows @ layer.reference.linear.weight) for s in summands]
        delta, summands = delta @ layer.weight.weight, [*summands, weights]
    _at_input(trace.inputs, tally, delta, summands)
    return tally


def _through_activation(
    trace: Trace, i: int, tally: _Tally, delta: FloatArray, summands: list[_Summand]
) -> tuple[FloatArray, list[_Summand]]:
    """From what a layer puts out to what its activation reads."""
    planes, lines = trace.planes(i), trace.reference_lines(i)
    for cause, gamma in _constants(trace, i, planes).items():
        tally.add(i, cause, _dot(delta, _selected(delta, gamma)))
    total = np.add.reduce([s.rows for s in summands]) if summands else np.zeros_like(delta)
    slope = _selected(total, lines.slope)
    intercept = _selected(total, np.stack([lines.intercept[0], -lines.intercept[1]]))
    for s in summands:
        tally.add(s.layer, s.cause, _dot(s.rows, intercept))
    through = [replace(s, rows=s.rows * slope) for s in summands]
    relaxed = _Summand(i, Cause.RELAXATION, delta * _selected(delta, planes.beta))
    return delta * _selected(delta, planes.alpha), [*through, relaxed]


def _selected(rows: FloatArray, pair: FloatArray) -> FloatArray:
    """The upper of two (2, 1, m) where a row is positive, the lower elsewhere."""
    chosen: FloatArray = np.where(rows > 0, pair[0], pair[1])
    return chosen


def _dot(rows: FloatArray, values: FloatArray) -> FloatArray:
    """The products of rows with rows; nothing times infinity is nothing."""
    products: FloatArray = np.where(rows == 0, 0.0, rows * values)
    return np.asarray(products.sum(axis=-1))


def _at_input(inputs: InputFacts, tally: _Tally, delta: FloatArray, summands: Sequence[_Summand]) -> None:
    """All that is left is linear over x, and evaluated where its sum is greatest."""
    drift = inputs.drift
    rows = np.add.reduce([s.rows for s in summands]) * inputs.scale + delta * drift
    x = np.where(rows > 0, inputs.x.upper, inputs.x.lower)
    for s in summands:
        tally.add(s.layer, s.cause, _dot(s.rows, inputs.scale * x))
    error = drift * x
    if inputs.rest is not None:
        error = error + np.where(delta > 0, inputs.rest.upper, inputs.rest.lower)
    tally.add(None, Cause.INPUT, _dot(delta, error))


# --- what a plane's constant consists of ------------------------------------------------------------------


def _constants(trace: Trace, i: int, planes: Planes) -> dict[Cause, FloatArray]:
    """The constants of a layer's planes, (2, 1, m), as what rounding, saturation and relaxation put into them."""
    layer, regular = trace.problem.layers[i], trace.regular[i]
    if layer.is_curved or not layer.quantized.is_integer:
        return {Cause.RELAXATION: planes.gamma}
    actual = trace.hexagons(i)
    ideal, rounded = _without_limits(layer, trace.known[i], step=float(actual.step.flat[0]))
    levels = [_least_constant(region, planes) for region in (ideal, rounded, actual)]
    rounding, saturation = (
        np.where(np.isfinite(later - earlier) & regular, later - earlier, 0.0)
        for earlier, later in pairwise(levels)
    )
    wrapped = np.where(
        regular, 0.0, planes.gamma
    )  # an accumulator that overflows is a format that is too small
    rest = np.where(regular, planes.gamma - rounding - saturation, 0.0)
    return {Cause.ROUNDING: rounding, Cause.SATURATION: saturation + wrapped, Cause.RELAXATION: rest}


def _without_limits(layer: CompiledLayer, known: Before, *, step: float) -> tuple[Hexagons, Hexagons]:
    """The activation clamped as the reference's is and by nothing else: without rounding, and with it."""
    ours, theirs = layer.reference.activation, layer.quantized.activation
    limits, noise = ours.limits, Interval(*(np.array(v) for v in theirs.noise))
    exact, noisy = limits.of(known.quantized), limits.of(plus(known.quantized, noise))
    free = (known.quantized_post.upper < theirs.limits.upper_down) & (
        (known.quantized_post.lower > theirs.limits.lower_up) | (theirs.limits.lower_up <= limits.lower_up)
    )
    rounded = replace(known, quantized_post=select(free, known.quantized_post, noisy))
    return (
        hexagons(replace(known, quantized_post=exact), Activation(limits, (0.0, 0.0)), ours, step=0.0),
        hexagons(rounded, Activation(limits, theirs.noise), ours, step=step),
    )


def _least_constant(region: Hexagons, planes: Planes) -> FloatArray:
    """The least constants that put planes of these slopes around the difference on the hexagons, (2, 1, m)."""
    at = vertices(region)
    upper, lower = (at.phi - planes.alpha * at.d - planes.beta * at.z).max(axis=0)
    return np.stack([upper, -lower])
