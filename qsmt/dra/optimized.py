"""The domain of the mode `optimized`: multipliers that are searched for, and nodes that are divided.

Hidden layers: bounds of d, z and s = z + d of the neurons that may turn out curved, each by the best multipliers of
the layers before it (qsmt.dra.ascent). Outputs: branch and bound as well (qsmt.dra.splitting). Everything is met
with what was known, so no bound is ever looser than in the mode `best`, which runs first.

s is bounded by the row (V, G + W), whose sum is off by a rounding; the errors of d's row and z's row, which
it also carries, allow for many.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import add_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra.ascent import Schedule, ascend, closed_form
from qsmt.dra.domain import BoolArray, Deadline, Effort, outward, scaled
from qsmt.dra.held import Held, held
from qsmt.dra.multipliers import Dual, Hidden, certified, dual, points
from qsmt.dra.pairs import Form, Maps
from qsmt.dra.splitting import search
from qsmt.dra.trace import Pre, Trace
from qsmt.facts import Interval

HIDDEN = Schedule(steps=40, rate=0.1, decay=0.93)
ROW_COLUMNS = 2**13
"""So many curved neurons are in the rows that are searched at once."""


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Tightens a layer before its activation; from the outputs only some, within a limit of time for all.

    Hidden layers take at most half of the time.
    """

    outputs: Sequence[int] | None
    effort: Effort
    halfway: Deadline
    deadline: Deadline

    @staticmethod
    def begun(outputs: Sequence[int] | None, effort: Effort) -> Optimizer:
        now = time.monotonic()
        halfway, end = (Deadline(now + share * effort.seconds, effort.stop) for share in (0.5, 1.0))
        return Optimizer(outputs, effort, halfway, end)

    def __call__(self, trace: Trace, known: Pre) -> Pre:
        if not trace.layers or self.deadline.passed:
            return known
        hidden, last = _layers(trace)
        if len(trace.layers) == len(trace.problem.layers) - 1:
            return self._outputs(trace, known, hidden, last)
        return self._hidden(trace, known, hidden, last)

    def _outputs(self, trace: Trace, known: Pre, hidden: Sequence[Hidden], last: Maps) -> Pre:
        m = len(last.bias)
        chosen = np.arange(m) if self.outputs is None else np.unique(np.array(self.outputs, dtype=np.int64))
        below = dual(hidden, last, _form(*_difference(last), chosen), trace.inputs)
        upper = search(below, self.effort, self.deadline)
        return known.meet_difference(_interval(upper, chosen, m))

    def _hidden(self, trace: Trace, known: Pre, hidden: Sequence[Hidden], last: Maps) -> Pre:
        m, which, side = len(last.bias), np.flatnonzero(_undecided(trace, known)), trace.next.quantized
        if not len(which) or self.halfway.passed:
            return known
        forms = [_form(*rows, which) for rows in (_difference(last), _reference(last), _quantized(last))]
        rows = Form(*(np.concatenate([getattr(f, name) for f in forms]) for name in Form.__slots__))
        upper = _ascended(dual(hidden, last, rows, trace.inputs), self.halfway)
        d, z, s = (_interval(part, which, m) for part in np.split(upper, 3))
        known = known.meet_difference(d).meet_reference(z)
        return known.meet_quantized(s, unit=side.pre_unit, integral=side.is_integer)


def _layers(trace: Trace) -> tuple[list[Hidden], Maps]:
    """The hidden layers so far, and the maps of the next one."""
    trace.relaxed_pairs()
    layers = enumerate(zip(trace.layers, trace.regular, trace.problem.layers, strict=False))
    hidden = [
        Hidden(trace.maps(i), trace.hexagons(i), facts, regular, layer.quantized, _held(trace, i))
        for i, (facts, regular, layer) in layers
    ]
    return hidden, trace.maps(len(trace.layers))


def _held(trace: Trace, i: int) -> Held | None:
    """How a layer that is no clamp is held."""
    if not trace.problem.layers[i].is_curved:
        return None
    return held(
        trace.planes(i), trace.reference_lines(i), trace.known[i].difference, trace.known[i].reference
    )


def _undecided(trace: Trace, known: Pre) -> BoolArray:
    """The neurons that may cross a limit of their activation in either network; all, if it is no clamp."""
    layer = trace.next
    if layer.is_curved:
        return np.ones(known.reference.lower.shape[-1], dtype=np.bool_)
    ours, theirs = layer.reference.activation, layer.quantized.activation
    s = scaled(known.quantized.interval, layer.quantized.pre_unit)
    noisy = Interval(s.lower + theirs.noise[0], s.upper + theirs.noise[1])
    crossing = np.zeros(s.lower.shape, dtype=np.bool_)
    for x, limits in ((known.reference, ours.limits), (noisy, theirs.limits)):
        crossing |= (x.lower < limits.lower_up) & (x.upper > limits.lower_down)
        crossing |= (x.lower < limits.upper_up) & (x.upper > limits.upper_down)
    found: BoolArray = crossing[0]
    return found


_Rows = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def _difference(last: Maps) -> _Rows:
    return last.weight, last.gap, last.gap_bias, last.d_error[0]


def _reference(last: Maps) -> _Rows:
    return 0.0 * last.weight, last.reference, last.bias, last.z_error[0]


def _quantized(last: Maps) -> _Rows:
    error = add_up(last.d_error[0], last.z_error[0])
    bias = last.gap_bias + last.bias
    return last.weight, last.gap + last.reference, bias, add_up(error, np.spacing(np.abs(bias)))


def _form(delta: FloatArray, h: FloatArray, constant: FloatArray, error: FloatArray, which: IntArray) -> Form:
    """Chosen rows and their negations."""
    delta, h, constant, error = delta[which], h[which], constant[which], error[which]
    constants = add_up(np.concatenate([constant, -constant]), np.concatenate([error, error]))
    return Form(np.concatenate([delta, -delta]), np.concatenate([h, -h]), constants)


def _interval(upper: FloatArray, which: IntArray, m: int) -> Interval:
    """Bounds (1, m) from those of chosen rows and of their negations."""
    ends = np.full((2, 1, m), np.inf)
    ends[0, 0, which], ends[1, 0, which] = upper[: len(which)], upper[len(which) :]
    return outward(-ends[1], ends[0])


def _ascended(below: Dual, deadline: Deadline) -> FloatArray:
    """Upper bounds of all rows by good multipliers, without dividing anything."""
    at, rows = points(below.region[:, None]), len(below.rows.constant)
    found, several = np.full(rows, np.inf), max(1, ROW_COLUMNS // max(1, at.margin.shape[-1]))
    for first in range(0, rows, several):
        if deadline.passed:
            break
        some = np.arange(first, min(first + several, rows))
        start = closed_form(below, at, some)
        found[some] = certified(below, at, some, ascend(below, at, some, start, HIDDEN).chosen)
    return found
