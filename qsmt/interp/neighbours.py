"""Both networks on inputs that differ from one input in a single coordinate: only a column is added to its sums.

For networks of many inputs, whose first layer is most of the work, that is what makes a walk of many small steps
affordable. The values are those of the batch interpreter, up to the rounding of doubles, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsmt.arith.real import FloatArray
from qsmt.interp.batch import input_codes, values_of_codes
from qsmt.interp.batch_codes import CODE_RULES, EXACT_BITS, Codes, bits_of_sums
from qsmt.interp.batch_reals import REAL_RULES, Enclosure
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Requantize
from qsmt.ir.types import Accumulator, AccumulatorOverflow
from qsmt.problem import Problem

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What the first layers compute before anything is rounded, of some inputs: (k, m) of each network."""

    reference: FloatArray
    quantized: FloatArray

    def __getitem__(self, row: int) -> Sums:
        return Sums(self.reference[row], self.quantized[row])


@dataclass(frozen=True, slots=True)
class _Side:
    """One network: what it reads of x, its first layer's columns and bias, and the rest of it."""

    read: Callable[[FloatArray], FloatArray]
    columns: FloatArray  # (n, m)
    bias: FloatArray  # (m,)
    rest: Callable[[FloatArray], FloatArray]  # of sums, which it overwrites


class Neighbours:
    """A problem's two networks; see `of`."""

    def __init__(self, reference: _Side, quantized: _Side) -> None:
        self._sides = reference, quantized

    @staticmethod
    def of(problem: Problem) -> Neighbours | None:
        """None where a network does not begin with sums that can be taken apart, or doubles do not hold its codes."""
        quantized = _quantized_side(problem)
        if quantized is None or not isinstance(problem.reference.ops[0], Affine):
            return None
        return Neighbours(_real_side(problem, problem.reference), quantized)

    def sums(self, points: FloatArray) -> Sums:
        """Of inputs x (k, n)."""
        reference, quantized = (side.read(points) @ side.columns + side.bias for side in self._sides)
        return Sums(reference, quantized)

    def moved(self, base: Sums, point: FloatArray, coordinates: Indices, values: FloatArray) -> Sums:
        """The sums of k inputs that are `point` (n,) but for one coordinate each: `coordinates` and `values` (k,)."""
        reference, quantized = (
            sums + side.columns[coordinates] * (side.read(values) - side.read(point[coordinates]))[:, None]
            for side, sums in zip(self._sides, (base.reference, base.quantized), strict=True)
        )
        return Sums(reference, quantized)

    def differences(self, sums: Sums) -> FloatArray:
        """Quantized minus reference, (k, outputs)."""
        reference, quantized = self._sides
        with np.errstate(over="ignore", invalid="ignore"):
            difference = quantized.rest(sums.quantized.copy()) - reference.rest(sums.reference.copy())
        return np.nan_to_num(difference, copy=False, posinf=0.0, neginf=0.0)


def _real_side(problem: Problem, network: Network) -> _Side:
    first, scale = network.ops[0], float(problem.input_scale)
    assert isinstance(first, Affine)
    steps = [REAL_RULES[type(op)](op) for op in network.ops[1:]]

    def rest(sums: FloatArray) -> FloatArray:
        value = Enclosure(sums, np.zeros(sums.shape[1]))
        for step in steps:
            value = step(value)
        return value.values

    columns = np.ascontiguousarray(first.weight.reals.nearest.T) * scale
    return _Side(lambda x: x, columns, first.bias.reals.nearest, rest)


def _quantized_side(problem: Problem) -> _Side | None:
    network = problem.quantized
    first = network.ops[0]
    if not isinstance(first, Affine):
        return None
    if network.is_real:
        return _real_side(problem, network)
    kind = first.out.type.element
    wraps = isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP
    bits = max(bits_of_sums(op) for op in network.ops if isinstance(op, Affine | Requantize))
    if wraps or not network.is_exact or bits > EXACT_BITS[-1][1]:
        return None
    steps = [CODE_RULES[type(op)](op, np.float64) for op in network.ops[1:]]

    def rest(codes: FloatArray) -> FloatArray:
        found: Codes = codes
        for step in steps:
            found = step(found)
        return values_of_codes(network, found.astype(np.float64, copy=False)).values

    weight, bias = (part.astype(np.float64) for part in first.integers)
    return _Side(lambda x: input_codes(problem, x), np.ascontiguousarray(weight.T), bias, rest)
