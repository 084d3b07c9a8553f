"""The question: for every input of a region, how far apart can two networks be?

One vector x drives both networks. The input relation says what each reads of it:

    grid        x is an integer vector, the codes of the quantized network (counted from its zero
                point, if it has one); the reference reads `input_scale * x`
    continuous  x is a real vector; the reference reads `input_scale * x`, and so does the quantized
                network, through its input quantizer (round half to even, saturate)

Two real networks both read `input_scale * x`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from qsmt.arith.fixed import Format
from qsmt.arith.rounding import Rounding
from qsmt.errors import MalformedProblem
from qsmt.ir.network import Layer, Network, layers
from qsmt.ir.text import print_network
from qsmt.ir.verify import MAX_SCALE

INPUT_ROUNDING = Rounding.HALF_EVEN
"""How a real input becomes a code: as ONNX's QuantizeLinear does it."""


class InputModel(StrEnum):
    """What the inputs of a region are."""

    GRID = "grid"
    CONTINUOUS = "continuous"


@dataclass(frozen=True, slots=True)
class Region:
    """A closed box; under `grid`, its integer points."""

    model: InputModel
    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]

    @property
    def points(self) -> int | None:
        """How many inputs the region holds; None if there are infinitely many."""
        count = 1
        for low, high in zip(self.lower, self.upper, strict=True):
            if self.model is InputModel.CONTINUOUS and low < high:
                return None
            count *= int(high - low) + 1
        return count

    def moved(self, by: int) -> Region:
        """The same region, every coordinate of it larger by this."""
        return Region(self.model, *(tuple(v + by for v in end) for end in (self.lower, self.upper)))

    def contains(self, x: tuple[Fraction, ...]) -> bool:
        integral = self.model is InputModel.CONTINUOUS or all(v.denominator == 1 for v in x)
        inside = all(a <= v <= b for a, v, b in zip(self.lower, x, self.upper, strict=True))
        return integral and inside


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """For all x and each i of `outputs`: |quantized(x)_i - reference(x)_i| <= bound of i."""

    outputs: tuple[int, ...]
    bounds: tuple[Fraction, ...]

    def of(self, output: int) -> Fraction:
        return self.bounds[self.outputs.index(output)]


@dataclass(frozen=True, slots=True)
class Problem:
    """Two networks, a region, and the claim to decide."""

    reference: Network
    quantized: Network
    region: Region
    input_scale: Fraction
    claim: ErrorBound

    def __post_init__(self) -> None:
        _check_sizes(self)
        _check_layers(self)
        _check_region(self)
        _check_claim(self)

    @property
    def input_size(self) -> int:
        return self.reference.input.size

    @property
    def layers(self) -> tuple[tuple[Layer, Layer], ...]:
        """The aligned layers: (reference, quantized), first to last."""
        return tuple(zip(layers(self.reference), layers(self.quantized), strict=True))

    @property
    def sha256(self) -> str:
        """A digest of everything the answer depends on, and of nothing else."""
        digest = hashlib.sha256()
        for part in (print_network(self.reference), print_network(self.quantized), repr(self.region)):
            digest.update(part.encode())
        digest.update(repr((self.input_scale, self.claim)).encode())
        return digest.hexdigest()

    def reference_input(self, x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        """What the reference network reads of x."""
        return tuple(self.input_scale * v for v in x)

    def quantized_input(self, x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        """What the quantized network reads of x: codes, or reals if it is a real network.

        Raises:
            MalformedProblem: the network reads codes, and x is no point of a grid.
        """
        kind = self.quantized.input.type.element
        if not isinstance(kind, Format):
            return self.reference_input(x)
        if self.region.model is InputModel.GRID:
            return _codes(x)
        return tuple(Fraction(kind.read(v)) for v in self.reference_input(x))


def _codes(x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    for i, v in enumerate(x):
        if v.denominator != 1:
            raise MalformedProblem(f"input {i} is {v}, but the points of a grid are integers")
    return x


def _check_sizes(problem: Problem) -> None:
    reference, quantized = problem.reference, problem.quantized
    if not reference.is_real:
        raise MalformedProblem(
            f"the reference network @{reference.name} computes on integers", hint="give a float network"
        )
    for what, a, b in (
        ("inputs", reference.input.size, quantized.input.size),
        ("outputs", reference.output.size, quantized.output.size),
    ):
        if a != b:
            raise MalformedProblem(f"the reference has {a} {what}, the quantized network {b}")
    if len(problem.region.lower) != reference.input.size or len(problem.region.upper) != reference.input.size:
        got = f"{len(problem.region.lower)} lower and {len(problem.region.upper)} upper ends"
        raise MalformedProblem(f"the network has {reference.input.size} inputs, the region {got}")


def _check_layers(problem: Problem) -> None:
    ours, theirs = layers(problem.reference), layers(problem.quantized)
    if len(ours) != len(theirs):
        raise MalformedProblem(f"the reference has {len(ours)} layers, the quantized network {len(theirs)}")
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a.pre.size != b.pre.size:
            raise MalformedProblem(
                f"layer {i} has {a.pre.size} neurons in the reference, {b.pre.size} in the quantized network"
            )


MAX_INPUT = Fraction(2) ** 200
"""No input is larger: inputs, and what is made of them and a unit, stay within the doubles."""


def _check_region(problem: Problem) -> None:
    region, kind = problem.region, problem.quantized.input.type.element
    for i, (low, high) in enumerate(zip(region.lower, region.upper, strict=True)):
        if low > high:
            raise MalformedProblem(f"the region is empty: input {i} runs from {low} to {high}")
        if region.model is InputModel.GRID and not (low.denominator == high.denominator == 1):
            raise MalformedProblem(f"input {i} runs from {low} to {high}, but a grid has integer ends")
        if (
            region.model is InputModel.GRID
            and isinstance(kind, Format)
            and not kind.min <= low <= high <= kind.max
        ):
            raise MalformedProblem(
                f"input {i} runs from {low} to {high}, {kind} from {kind.min} to {kind.max}"
            )
        if max(-low, high) > MAX_INPUT:
            raise MalformedProblem(f"input {i} is not within -2**200 to 2**200")
    if not 1 / MAX_SCALE <= problem.input_scale <= MAX_SCALE:
        raise MalformedProblem("input_scale is not a positive number within 2**-400 to 2**400")


def _check_claim(problem: Problem) -> None:
    wanted, size = problem.claim, problem.reference.output.size
    if not wanted.outputs or len(set(wanted.outputs)) != len(wanted.outputs):
        raise MalformedProblem("outputs must be a list of different indices, at least one")
    if any(not 0 <= i < size for i in wanted.outputs):
        raise MalformedProblem(f"outputs {list(wanted.outputs)} are not all among 0 to {size - 1}")
    if len(wanted.bounds) != len(wanted.outputs):
        raise MalformedProblem(f"{len(wanted.bounds)} bounds for {len(wanted.outputs)} outputs")
    if any(b < 0 for b in wanted.bounds):
        raise MalformedProblem(f"a bound is negative: {min(wanted.bounds)}")
