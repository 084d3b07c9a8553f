"""The measures of a claim (qsmt.claim), on arrays: bounds of measures from bounds of differences, rounded outward.

For an error bound the measures are the differences. For a constraint, a measure is a minimum: bounds of a minimum
are the minima of the bounds, so what is proved of each inequality (by linear forms) is proved of the case. A box in
which one inequality fails is one in which the case does not hold.
"""

from __future__ import annotations

import numpy as np

from qsmt.arith.outward import SMALLEST, down, float_down, float_up, up
from qsmt.arith.real import FloatArray
from qsmt.claim import Claim, ErrorBound, Inequality
from qsmt.engine.policy import claim_limits
from qsmt.facts import Facts, Interval, LinearForm


def measured(claim: Claim, difference: Interval) -> Interval:
    """Bounds of the measures, (..., measures), from bounds of the outputs' differences, (..., outputs)."""
    if isinstance(claim, ErrorBound):
        return difference
    cases = [[_excess(part, difference) for part in case] for case in claim.cases]
    return Interval(
        np.stack([np.minimum.reduce([low for low, _ in case]) for case in cases], axis=-1),
        np.stack([np.minimum.reduce([high for _, high in case]) for case in cases], axis=-1),
    )


def values(claim: Claim, difference: FloatArray) -> FloatArray:
    """The measures, rounded somehow, (points, measures), from differences (points, outputs)."""
    if isinstance(claim, ErrorBound):
        return difference
    columns = [
        np.minimum.reduce([part.side * difference[:, part.output] - float(part.bound) for part in case])
        for case in claim.cases
    ]
    return np.stack(columns, axis=-1)


def seeds(claim: Claim, difference: FloatArray, measure: int) -> FloatArray:
    """The slopes of a measure by the outputs' differences, at differences (points, outputs); of that shape."""
    found, rows = np.zeros_like(difference), np.arange(len(difference))
    if isinstance(claim, ErrorBound):
        found[:, measure] = 1.0
        return found
    case = claim.cases[measure]
    least = np.argmin([part.side * difference[:, part.output] - float(part.bound) for part in case], axis=0)
    outputs, sides = (np.array(part) for part in zip(*((p.output, p.side) for p in case), strict=True))
    found[rows, outputs[least]] = sides[least]
    return found


def slopes(claim: Claim, facts: Facts) -> tuple[FloatArray, FloatArray] | None:
    """Of linear forms below and above the measures, (..., measures, inputs); None if analysis has none.

    Of a case, those of the inequality whose bound is the least: it is the first to exclude the case.
    """
    form = facts.form
    if form is None or isinstance(claim, ErrorBound):
        return None if form is None else (form.lower, form.upper)
    parts = [[_slope(part, form) for part in case] for case in claim.cases]
    reach = [
        np.stack([_excess(part, facts.difference)[1] for part in case], axis=-1).argmin(axis=-1)
        for case in claim.cases
    ]
    chosen = [
        np.take_along_axis(np.stack(case, axis=-2), at[..., None, None], axis=-2)[..., 0, :]
        for case, at in zip(parts, reach, strict=True)
    ]
    both = np.stack(chosen, axis=-2)
    return both, both


def limits(claim: Claim) -> Interval:
    """Within which the measures keep the claim, as doubles that are not beyond what is allowed."""
    if isinstance(claim, ErrorBound):
        return claim_limits(claim.bounds)
    strict = np.array([claim.is_strict(case) for case in claim.outputs])
    return Interval(np.full(len(strict), -np.inf), np.where(strict, 0.0, -SMALLEST))


def _excess(part: Inequality, difference: Interval) -> tuple[FloatArray, FloatArray]:
    low, high = difference.lower[..., part.output], difference.upper[..., part.output]
    if part.side < 0:
        low, high = -high, -low
    return down(low - float_up(part.bound)), up(high - float_down(part.bound))


def _slope(part: Inequality, form: LinearForm) -> FloatArray:
    """Of a form above the inequality's excess."""
    return form.upper[..., part.output, :] if part.side > 0 else -form.lower[..., part.output, :]
