"""Random properties of random small networks, and their truth by running both networks at every point.

The truth is computed from the user's networks, not from those into whose last layers the property was put.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from random import Random

from qsmt.engine.parts import Asking, Part, constraint, parts_of
from qsmt.engine.random_affine import FORMS, affine_problem
from qsmt.errors import MalformedProblem
from qsmt.frontend.combined import Cases, OutputInequality
from qsmt.frontend.property_table import AskedAgreement, AskedRobustness, Which
from qsmt.interp import quantized, reference
from qsmt.problem import Problem
from tests.support.networks import Recipe, random_problem
from tests.support.truth import all_points

F = Fraction
Outputs = tuple[Fraction, ...]

RECIPES = (
    Recipe(sizes=(2, 3, 3)),
    Recipe(sizes=(2, 4, 2), input_scale=F(1, 7)),
    Recipe(sizes=(1, 3, 2, 3), rational=True),
    Recipe(sizes=(2, 3, 2), clip=F(3, 4)),
)
COEFFICIENTS = (F(1), F(-1), F(0), F(2), F(1, 3))


@dataclass(frozen=True)
class Example:
    """What is asked, of which networks, and whether it holds at every input."""

    asking: Asking
    part: Part
    holds: bool

    @property
    def problem(self) -> Problem:
        return self.part.problem


def base(seed: int) -> Problem:
    """Every third one as ONNX and TFLite quantize, whose outputs are codes: the others' are exact sums."""
    if seed % 3 == 2:
        return affine_problem(seed, FORMS[seed // 3 % len(FORMS)], sizes=(2, 3, 3))
    return random_problem(seed, RECIPES[seed % len(RECIPES)])


@cache
def executed(seed: int) -> tuple[tuple[Outputs, Outputs], ...]:
    """Both networks' outputs at every point of the region."""
    problem = base(seed)
    points = all_points(problem)
    ours = reference.run(problem.reference, [problem.reference_input(x) for x in points])
    theirs = quantized.run(problem.quantized, [problem.quantized_input(x) for x in points])
    return tuple(zip(ours, theirs, strict=True))


def asking_of(seed: int) -> Asking:
    problem = base(seed)
    return Asking(problem.reference, problem.quantized, problem.region, problem.input_scale)


def value(part: OutputInequality, ours: Outputs, theirs: Outputs) -> Fraction:
    """The left side of an inequality, minus its bound."""
    terms = [(c, ours[i]) for i, c in part.reference] + [(c, theirs[i]) for i, c in part.quantized]
    return sum((c * v for c, v in terms), F(0)) - part.bound


def happens(cases: Cases, outputs: Sequence[tuple[Outputs, Outputs]]) -> bool:
    """Does some case hold somewhere?"""

    def holds(part: OutputInequality, ours: Outputs, theirs: Outputs) -> bool:
        v = value(part, ours, theirs)
        return v > 0 or (v == 0 and not part.strict)

    return any(all(holds(part, *pair) for part in case) for case in cases for pair in outputs)


def random_cases(seed: int) -> Cases:
    """One or two cases of one to three inequalities, whose bounds are values that occur, or next to them."""
    rng, outputs = Random(f"cases/{seed}"), executed(seed)
    return tuple(
        tuple(_random_inequality(rng, outputs) for _ in range(rng.randint(1, 3)))
        for _ in range(rng.randint(1, 2))
    )


def _random_inequality(rng: Random, outputs: Sequence[tuple[Outputs, Outputs]]) -> OutputInequality:
    size, sides = len(outputs[0][0]), rng.choice(["r", "q", "rq"])
    rows = [{i: rng.choice(COEFFICIENTS) for i in range(size)} if s in sides else {} for s in "rq"]
    if not any(v for row in rows for v in row.values()):
        rows[1] = {0: F(1)}
    plain = OutputInequality.of(rows[0], rows[1], F(0), strict=rng.random() < 0.5)
    values = sorted(value(plain, *pair) for pair in outputs)
    at = values[len(values) - 1 - int(rng.random() ** 2 * len(values))]
    bound = at + rng.choice([F(0), F(0), F(1, 2**12), F(-1, 2**12)])
    return OutputInequality.of(rows[0], rows[1], bound, strict=plain.strict)


@cache
def example(seed: int) -> Example:
    """A random constraint."""
    asking, cases = asking_of(seed), random_cases(seed)
    part = constraint(cases, asking, statement="a random constraint")
    return Example(asking, part, not happens(cases, executed(seed)))


@cache
def examples(count: int) -> tuple[Example, ...]:
    return tuple(example(seed) for seed in range(count))


def agreement(seed: int, margin: Fraction) -> Example:
    """Top-1 agreement, by its definition."""
    asking = asking_of(seed)
    (part,) = parts_of(AskedAgreement(margin), asking)
    return Example(asking, part, all(_agree(*pair, margin) for pair in executed(seed)))


def _agree(ours: Outputs, theirs: Outputs, margin: Fraction) -> bool:
    top = max(range(len(ours)), key=lambda i: ours[i])
    decided = all(ours[top] - v > margin for i, v in enumerate(ours) if i != top)
    return not decided or theirs[top] == max(theirs)


def robust(seed: int, which: Which, margin: Fraction) -> Example:
    """The class that is on top at one of the points, if it is there by the margin everywhere."""
    asking, pairs = asking_of(seed), executed(seed)
    outputs = [pair[which is Which.QUANTIZED] for pair in pairs]
    top = max(range(len(outputs[0])), key=lambda i: outputs[len(outputs) // 2][i])
    (part,) = parts_of(AskedRobustness(which, top, margin), asking)
    holds = all(v[top] - w >= margin for v in outputs for i, w in enumerate(v) if i != top)
    return Example(asking, part, holds)


def refused(cases: Cases, asking: Asking) -> str:
    """Why a constraint is refused."""
    try:
        constraint(cases, asking, statement="")
    except MalformedProblem as error:
        return error.what
    raise AssertionError("it is not refused")
