"""What is known so far about a problem, and the evidence for it.

Stages add to it; the verdict is whatever the evidence implies. A violation is believed only as an exact
execution, and a bound only from a stage that says what it rests on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from qsmt.arith.outward import float_up
from qsmt.arith.real import FloatArray
from qsmt.claim import OutputConstraint
from qsmt.engine.alarm import alarm_folder, write_witness
from qsmt.engine.measures import limits, measured
from qsmt.engine.plan import Options
from qsmt.errors import SoundnessError
from qsmt.facts import Facts
from qsmt.interp.replay import Execution, keeps, replay, violated
from qsmt.problem import Problem
from qsmt.verdict import Falsified, Unknown, Verdict, Verified, Witness


class Watch(Protocol):
    """Somebody who is told how the work goes on."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def progress(self, done: float, total: float, note: str) -> None:
        """The stage has done this much."""


class Silence:
    """Nobody is watching."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def progress(self, done: float, total: float, note: str) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage did: a sentence for people, figures for programs."""

    name: str
    seconds: float
    summary: str
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutputRange:
    """What is known of one output's difference (or another measure): every value lies in `certified`.

    `witnessed` are the executions with the least and the greatest one.
    """

    index: int
    certified: tuple[float, float]
    witnessed: tuple[Execution, Execution] | None

    @property
    def extremes(self) -> tuple[Fraction, Fraction] | None:
        """A difference that some input does not exceed, and one that some input does not fall short of."""
        if self.witnessed is None:
            return None
        least, greatest = self.witnessed
        return -least.reached(self.index, -1), greatest.reached(self.index, 1)

    @property
    def reached(self) -> tuple[float, float]:
        """The same as the nearest doubles; (inf, -inf) if nothing is."""
        pair = self.extremes
        return (np.inf, -np.inf) if pair is None else (_nearest(pair[0]), _nearest(pair[1]))


@dataclass(slots=True)
class Extremes:
    """The executions with the least and the greatest difference of one output."""

    least: Execution
    greatest: Execution


@dataclass(slots=True)
class Investigation:
    """The state of one `check`; or of one `bound`, which `decides` nothing."""

    problem: Problem
    options: Options
    watch: Watch = field(default_factory=Silence)
    verdict: Verdict | None = None
    facts: Facts | None = None
    stages: list[Stage] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    residual: list[tuple[Problem, Facts]] = field(default_factory=list)
    trust: list[str] = field(default_factory=list)
    decides: bool = True
    started: float = field(default_factory=time.monotonic)
    _undecided: Execution | None = None
    _certified: dict[int, tuple[float, float]] = field(default_factory=dict)
    _witnessed: dict[int, Extremes] = field(default_factory=dict)

    @property
    def remaining_s(self) -> float:
        return self.options.timeout_s - (time.monotonic() - self.started)

    def perform(self, stage: Callable[[Investigation], tuple[str, dict[str, Any]]], name: str) -> None:
        """Run a stage and record what it did."""
        self.watch.stage(name)
        begun = time.monotonic()
        summary, figures = stage(self)
        self.stages.append(Stage(name, time.monotonic() - begun, summary, figures))

    def observe(self, points: Sequence[tuple[Fraction, ...]]) -> list[Execution]:
        """Execute points of the region exactly; a violation decides the problem.

        Raises:
            SoundnessError: a difference lies outside what has been certified.
        """
        executions = replay(self.problem, points)
        for execution in executions:
            self._remember(execution)
            output = violated(self.problem, execution) if self.decides else None
            if output is not None:
                self._falsify(execution, output)
            elif self.decides and execution.radius and not keeps(self.problem, execution):
                self._undecided = execution
        return executions

    def exact(self, point: FloatArray) -> tuple[Fraction, ...]:
        """A point of doubles as an exact input of the region."""
        region = self.problem.region
        coordinates = zip(point.tolist(), region.lower, region.upper, strict=True)
        return tuple(min(max(Fraction(v), low), high) for v, low, high in coordinates)

    def conclude(self, facts: Facts) -> None:
        """These facts hold on the region: certify what they say, keep them, and verify the claim if they imply it."""
        self.facts, self.residual = facts, [(self.problem, facts)]
        found = measured(self.problem.claim, facts.difference)
        self.certify(found.lower, found.upper)
        if self.decides and self.within_bounds():
            self.verify(["dra"])

    def certify(self, lower: FloatArray, upper: FloatArray, trust: Sequence[str] = ()) -> None:
        """Every measure of the claim lies in these bounds, says analysis, or also whom they rest on.

        Raises:
            SoundnessError: an exact execution lies outside them.
        """
        for i in self.problem.claim.outputs:
            low, high = self._certified.get(i, (-np.inf, np.inf))
            self._certified[i] = (max(low, float(lower[i])), min(high, float(upper[i])))
            self._check_consistent(i, trust)

    def within_bounds(self) -> bool:
        """Do the certified bounds imply the claim?"""
        allowed = limits(self.problem.claim)
        ends = zip(self.problem.claim.outputs, allowed.lower, allowed.upper, strict=True)
        nothing = (-np.inf, np.inf)
        return all(
            low <= self._certified.get(i, nothing)[0] and self._certified.get(i, nothing)[1] <= high
            for i, low, high in ends
        )

    @property
    def is_undecided(self) -> bool:
        """Is there an execution so close to a bound that its enclosure does not tell on which side it is?"""
        return self._undecided is not None

    @property
    def telling(self) -> list[tuple[Fraction, ...]]:
        """The inputs whose executions say what is known of executions: the extremes, and one that is undecided."""
        pairs = [found.witnessed or () for found in self.outputs]
        undecided = () if self._undecided is None else (self._undecided,)
        return list(dict.fromkeys(e.input for pair in (*pairs, undecided) for e in pair))

    def verify(self, trust: Sequence[str]) -> None:
        """The claim holds, resting on `trust`; the certified bounds follow it.

        Not if an execution `is_undecided`.
        """
        if isinstance(self.verdict, Falsified):
            return
        if self._undecided is not None:
            point = ", ".join(map(str, self._undecided.input))
            self.reasons.append(f"at [{point}] the difference is too close to the bound to tell")
            return
        self.verdict = Verified(tuple(dict.fromkeys(trust)))
        claim = self.problem.claim
        for i, bound in zip(claim.outputs, claim.bounds, strict=True):
            low, high = self._certified.get(i, (-np.inf, np.inf))
            least = -float_up(bound) if -1 in claim.sides else -np.inf
            self._certified[i] = (max(low, least), min(high, float_up(bound)))

    @property
    def outcome(self) -> Verdict:
        """The verdict; unknown, with all reasons, when nothing has decided."""
        return self.verdict or Unknown("; ".join(self.reasons) or "no stage could decide it")

    @property
    def outputs(self) -> tuple[OutputRange, ...]:
        return tuple(
            OutputRange(i, self._certified.get(i, (-np.inf, np.inf)), self._pair(i))
            for i in self.problem.claim.outputs
        )

    def _pair(self, output: int) -> tuple[Execution, Execution] | None:
        seen = self._witnessed.get(output)
        return (seen.least, seen.greatest) if seen else None

    def _remember(self, execution: Execution) -> None:
        if not self.problem.region.contains(execution.input):
            return
        for i in self.problem.claim.outputs:
            seen = self._witnessed.setdefault(i, Extremes(execution, execution))
            if execution.value(i) < seen.least.value(i):
                seen.least = execution
            if execution.value(i) > seen.greatest.value(i):
                seen.greatest = execution
            self._check_consistent(i)

    def _check_consistent(self, output: int, trust: Sequence[str] = ()) -> None:
        """Certified bounds contain every execution, so something: where they do not, something in qsmt is wrong."""
        low, high = self._certified.get(output, (-np.inf, np.inf))
        seen = self._witnessed.get(output)
        if low > high:
            folder = alarm_folder(self.problem, f"output-{output}-bounds")
            claimed = f"is certified to lie in [{low}, {high}], where nothing is; see {folder}/"
            raise SoundnessError(f"the difference of output {output} {claimed}")
        if seen is None:
            return
        too_small, too_large = seen.least.range_of(output)[1] < low, seen.greatest.range_of(output)[0] > high
        if not (too_small or too_large):
            return
        folder = alarm_folder(self.problem, f"output-{output}-bounds")
        outside = seen.least if too_small else seen.greatest
        write_witness(self.problem, outside, output, folder, command="check")
        reached = f"[{float(seen.least.value(output))}, {float(seen.greatest.value(output))}]"
        claimed = f"outside the certified [{low}, {high}]"
        claimed += f", which rests on {', '.join(trust)}" if trust else ""
        raise SoundnessError(
            f"output {output} differs by {reached} in exact execution, {claimed}; see {folder}/"
        )

    def _falsify(self, execution: Execution, output: int) -> None:
        worse = isinstance(self.verdict, Falsified) and abs(execution.value(output)) <= abs(
            self.verdict.witness.difference
        )
        if not worse:
            claim = self.problem.claim
            constraint = claim if isinstance(claim, OutputConstraint) else None
            radii = execution.radius or (Fraction(0),)
            radius = max(radii) if constraint else (execution.radius or radii * (output + 1))[output]
            both = execution.reference, execution.quantized
            witness = Witness(execution.input, output, *both, radius, constraint)
            self.verdict = Falsified(witness, claim.of(output))


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
