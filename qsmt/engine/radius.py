"""`qsmt radius`: the largest radius around a centre at which a problem's claim is verified, by bisection.

The networks are those of the file's own radius, which is the largest that is tried; only the region shrinks. A radius
counts as verified if `check` verifies it, and everything inside it is verified with it. A witness breaks the claim at
every radius that reaches it, so what is left to try ends before its distance from the centre.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from qsmt.engine.check import CheckResult, check_all
from qsmt.engine.investigation import Watch
from qsmt.engine.load import Loaded
from qsmt.engine.plan import Options
from qsmt.errors import MalformedProblem
from qsmt.frontend.problem_file import Ball
from qsmt.problem import InputModel, Problem, Region
from qsmt.verdict import Falsified, Verified, Witness, name

FIRST_SHARE = 1 / 3
"""Of the time that is left, what one radius may take."""

STEPS = 60
"""Bisections at most; a gap of zero on reals has no end."""


@dataclass(frozen=True, slots=True)
class Step:
    """One radius that was tried."""

    radius: Fraction
    verdict: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RadiusResult:
    """`verified` None: not even the centre. `broken`: the least radius known to break the claim, with its witness.

    `reason` says why it ended early, and a larger radius may hold: time was up, or a KeyboardInterrupt came.
    """

    verified: Fraction | None
    broken: Fraction | None
    witness: Witness | None
    most: Fraction
    steps: tuple[Step, ...]
    seconds: float
    trust: tuple[str, ...]
    reason: str | None
    counts_codes: bool  # or is the radius in the physical units of a file that has them?


def radius(
    loaded: Loaded, options: Options, watch: Watch | None = None, *, gap: Fraction | None = None
) -> RadiusResult:
    """Bisect, until the radii that are left to try are closer than `gap` (on a grid: none is left).

    Raises:
        MalformedProblem: the region has no centre, or one that is none of its points.
        KeyboardInterrupt: before the first radius was decided; after it, what is known is returned.
    """
    if loaded.ball is None:
        hint = "give center and radius; the radius is the largest that is tried"
        raise MalformedProblem("has no center", where=f"{loaded.sources[0]}, region", hint=hint)
    _check_centre(
        loaded.ball, loaded.parts[0].problem.region.model, where=f"{loaded.sources[0]}, region.center"
    )
    return _Bisection(loaded, options, watch, gap=gap).run()


def _check_centre(ball: Ball, model: InputModel, *, where: str) -> None:
    lower, upper = ball.of(Fraction(0))
    for i, (low, x, high) in enumerate(zip(lower, ball.middle, upper, strict=True)):
        if low > high:
            raise MalformedProblem("lies outside of clip", where=f"{where}[{i}]")
        if model is InputModel.GRID and x.denominator != 1:
            what = f"stands for the code {x}, and a grid is made of integers"
            raise MalformedProblem(what, where=f"{where}[{i}]")


class _Bisection:
    def __init__(
        self, loaded: Loaded, options: Options, watch: Watch | None, *, gap: Fraction | None
    ) -> None:
        assert loaded.ball is not None
        self._ball, self._problems = loaded.ball, [part.problem for part in loaded.parts]
        self._options, self._watch, self._zero = options, watch, loaded.zero_point
        self._grid = self._problems[0].region.model is InputModel.GRID
        most = Fraction(int(self._ball.radius)) if self._grid else self._ball.radius
        self._most, self._gap = most, most / 1000 if gap is None else gap
        self._begun = time.monotonic()
        self._steps: list[Step] = []
        self._trust: dict[str, None] = {}
        self._verified: Fraction | None = None
        self._untried = most  # nothing above is left to try
        self._broken: tuple[Fraction, Witness] | None = None
        self._reason: str | None = None

    def run(self) -> RadiusResult:
        """All steps, or those before an interrupt."""
        try:
            self._bisect()
        except KeyboardInterrupt:
            if not self._steps:
                raise
            self._reason = "interrupted"
        return self._result()

    def _bisect(self) -> None:
        """The largest radius, the centre, then halves of what is between."""
        for first in dict.fromkeys((self._most, Fraction(0))):
            if self._verified is None:
                self._try(first)
        while self._verified is not None and (middle := self._middle()) is not None:
            self._try(middle)

    def _result(self) -> RadiusResult:
        broken, witness = self._broken or (None, None)
        return RadiusResult(
            verified=self._verified,
            broken=broken,
            witness=witness,
            most=self._most,
            steps=tuple(self._steps),
            seconds=time.monotonic() - self._begun,
            trust=tuple(self._trust),
            reason=self._reason,
            counts_codes=self._grid and set(self._ball.range) == {1},
        )

    def _middle(self) -> Fraction | None:
        low, high = self._verified, self._untried
        assert low is not None
        if low >= high or (not self._grid and high - low <= self._gap):
            return None
        if time.monotonic() - self._begun > self._options.timeout_s or len(self._steps) > STEPS:
            self._reason = "time was up"
            return None
        return Fraction(-(-(int(low) + int(high)) // 2)) if self._grid else (low + high) / 2

    def _try(self, size: Fraction) -> None:
        left = self._options.timeout_s - (time.monotonic() - self._begun)
        options = replace(self._options, timeout_s=max(FIRST_SHARE * left, 0.05))
        _, found = check_all([self._at(problem, size) for problem in self._problems], options, self._watch)
        self._steps.append(Step(size, name(found.verdict), found.seconds))
        if isinstance(found.verdict, Verified):
            self._verified = size
            self._trust |= dict.fromkeys(found.verdict.trust)
        else:
            self._lower(size, found)

    def _lower(self, size: Fraction, found: CheckResult) -> None:
        """What is left to try lies below this radius, and below any witness."""
        if isinstance(found.verdict, Falsified):
            witness = found.verdict.witness
            shown = tuple(v + self._zero for v in witness.input)
            size = min(size, self._ball.distance(shown))
            if self._broken is None or size < self._broken[0]:
                self._broken = size, witness
        self._untried = min(self._untried, Fraction(-(-size // 1)) - 1 if self._grid else size)

    def _at(self, problem: Problem, size: Fraction) -> Problem:
        lower, upper = self._ball.of(size)
        if self._grid:  # the codes inside, where a file's units are not those of codes
            lower, upper = tuple(map(Fraction, map(ceil, lower))), tuple(map(Fraction, map(floor, upper)))
        shown = Region(problem.region.model, lower, upper)
        return replace(problem, region=shown.moved(-self._zero))
