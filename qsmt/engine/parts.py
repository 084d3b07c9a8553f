"""From what a user asks of two networks to the problems that answer it: one, or one per layer.

The user's networks are kept beside each problem, whose own networks compute what the property compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import assert_never

from qsmt.claim import ErrorBound
from qsmt.errors import MalformedProblem
from qsmt.frontend.combined import Cases, OutputInequality, constrained
from qsmt.frontend.layer_ranges import no_overflow, no_saturation
from qsmt.frontend.processing import Processing, processed
from qsmt.frontend.property_kinds import robustness, top_1_agreement
from qsmt.frontend.property_table import (
    Asked,
    AskedAgreement,
    AskedBound,
    AskedConstraint,
    AskedRange,
    AskedRobustness,
    PropertyKind,
    Which,
)
from qsmt.interp.replay import enclosed, replay
from qsmt.ir.network import Network
from qsmt.problem import InputModel, Problem, Region

SIDES = ("reference", "quantized")


@dataclass(frozen=True, slots=True)
class Asking:
    """Two networks and what they read; a network of which nothing is asked may be None, but not both."""

    reference: Network | None
    quantized: Network | None
    region: Region
    input_scale: Fraction
    processing: Mapping[str, Processing] = field(default_factory=dict)
    centre: tuple[Fraction, ...] | None = None  # of the region, where the user gave it

    def done(self, side: str) -> Processing:
        """What is done around the network of this side."""
        return self.processing.get(side, Processing())


@dataclass(frozen=True, slots=True)
class Part:
    """A problem, what it claims in words (None: its error bound), and the networks that the user knows.

    `cases` are those of a constraint in the user's outputs, in the order of the problem's.
    """

    problem: Problem
    statement: str | None = None
    reference: Network | None = None
    quantized: Network | None = None
    cases: Cases = ()

    def executed(self, x: tuple[Fraction, ...]) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
        """The outputs of the user's two networks at x; none of one that is not there."""
        reference = self.reference and _outputs(self.reference, self.problem.reference_input(x))
        quantized = self.quantized and _outputs(self.quantized, self.problem.quantized_input(x))
        return reference or (), quantized or ()


def _outputs(network: Network, x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    """Exact; or, where they are only known to lie in an interval, its middle."""
    return enclosed(network, [x]).middle[0]


def parts_of(asked: Asked, asking: Asking) -> tuple[Part, ...]:
    """The problems whose claims together are what is asked.

    Raises:
        MalformedProblem: it does not fit the networks.
    """
    match asked:
        case AskedBound() if not any(asking.done(side).of_outputs for side in SIDES):
            return (Part(_bounded(asked, asking)),)
        case AskedBound():
            claim = _claim(asked, asking)
            return (
                constraint(_bound_cases(claim), asking, statement="every difference is within its bound"),
            )
        case AskedConstraint(cases=cases):
            return (constraint(cases, asking, statement="every output constraint holds"),)
        case AskedAgreement(margin=margin):
            cases = top_1_agreement(_both(asking)[0].output.size, margin)
            said = f"both networks prefer the same output wherever the reference does by more than {margin}"
            return (constraint(cases, asking, statement=said),)
        case AskedRobustness():
            return (_robust(asked, asking),)
        case AskedRange():
            return tuple(_ranges(asked, asking))
    assert_never(asked)


def constraint(cases: Cases, asking: Asking, *, statement: str) -> Part:
    """No case holds.

    Raises:
        MalformedProblem: a case does not fit the networks.
    """
    both = {"reference": asking.reference, "quantized": asking.quantized}
    sizes = {side: 0 if network is None else network.output.size for side, network in both.items()}
    done = {side: asking.done(side) for side in SIDES}
    own = tuple(tuple(processed(part, done, sizes) for part in case) for case in cases)
    made = constrained(asking.reference, asking.quantized, own)
    problem = Problem(made.reference, made.quantized, asking.region, asking.input_scale, made.claim)
    return Part(problem, statement, asking.reference, asking.quantized, cases)


# --- error bounds -------------------------------------------------------------------------------------------


def _bounded(asked: AskedBound, asking: Asking) -> Problem:
    return Problem(*_both(asking), asking.region, asking.input_scale, _claim(asked, asking))


def _claim(asked: AskedBound, asking: Asking) -> ErrorBound:
    claimed = asked.outputs or tuple(range(_both(asking)[0].output.size))
    bounds = asked.bound if isinstance(asked.bound, tuple) else (asked.bound,) * len(claimed)
    if len(bounds) != len(claimed):
        what = f"{len(bounds)} bounds for {len(claimed)} outputs"
        raise MalformedProblem(what, where="property.bound", hint="give one for all, or one each")
    return ErrorBound(claimed, bounds)


def _bound_cases(claim: ErrorBound) -> Cases:
    return tuple(
        (OutputInequality.of({i: Fraction(-side)}, {i: Fraction(side)}, claim.of(i), strict=True),)
        for i in claim.outputs
        for side in (1, -1)
    )


def _both(asking: Asking) -> tuple[Network, Network]:
    assert asking.reference is not None and asking.quantized is not None, "a file names both"
    return asking.reference, asking.quantized


# --- one network --------------------------------------------------------------------------------------------


def _robust(asked: AskedRobustness, asking: Asking) -> Part:
    network = asking.quantized if asked.network is Which.QUANTIZED else asking.reference
    assert network is not None, "a file names both"
    top = _class_at_centre(asking, asked.network) if asked.top is None else asked.top
    cases = robustness(network.output.size, top, asked.margin, side=asked.network.value)
    over = f" by at least {asked.margin}" if asked.margin else ""
    said = f"output {top} of the {asked.network} network is the largest{over}"
    return constraint(cases, asking, statement=said)


def _class_at_centre(asking: Asking, which: Which) -> int:
    """The first of the largest outputs, at the middle of the region."""
    plain = Problem(*_both(asking), asking.region, asking.input_scale, ErrorBound((0,), (Fraction(0),)))
    region = asking.region
    middle = asking.centre or tuple((a + b) / 2 for a, b in zip(region.lower, region.upper, strict=True))
    if asking.region.model is InputModel.GRID:
        middle = tuple(Fraction(v.numerator // v.denominator) for v in middle)
    found = replay(plain, [middle])[0]
    outputs = found.quantized if which is Which.QUANTIZED else found.reference
    done, size = asking.done(which.value), len(outputs)
    if done.of_outputs:
        raise MalformedProblem("robustness with scaled outputs needs a class", where="property.class")
    return max(range(size), key=lambda i: outputs[i])


def _ranges(asked: AskedRange, asking: Asking) -> Iterator[Part]:
    rule = no_overflow if asked.kind is PropertyKind.NO_OVERFLOW else no_saturation
    what = "overflows" if asked.kind is PropertyKind.NO_OVERFLOW else "saturates"
    for found in rule(_both(asking)[1], asked.layers):
        part = replace(asking, reference=None, quantized=found.network, processing={})
        yield constraint(found.cases, part, statement=f"nothing {what} in layer {found.layer}")
