"""Lowers a quantized graph to a chain of `Affine` and `Requantize` on codes (the tensors: onnx_code_tensors)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from qsmt.arith.fixed import Overflow, Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.real import IntArray, frozen
from qsmt.arith.requantize import ExactKind, Rational, RequantKind, Shift
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import Hull, RuntimeKind
from qsmt.arith.table import Table
from qsmt.arith.units import Unit, each
from qsmt.frontend.onnx_affine import legal_name
from qsmt.frontend.onnx_code_tensors import Codes, Floats, Sums
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Const, Op, PerNeuron, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Channels, TensorType
from qsmt.ir.verify import MAX_ELEMENTS, accumulator_range, verify

WORD = 32
"""Accumulators have 32 bits, and wrap."""

UNBOUNDED = (Hull, Rational, Ideal)
"""What rounds sums that no word holds: those of floats, and of the ideal."""

LARGEST_SUM = 2**40
"""No parameter of a sum that is an output may be larger; the sum then fits 62 bits."""

FINER = 2**12
"""A constant that is added to a code is held in units this much finer than the code's: what that rounds off is
part of the noise of the table that follows."""


class CodeLowering:
    """The network under construction: one chain of ops."""

    def __init__(self, name: str, runtime: str, *, source: str, size: int) -> None:
        self._name, self._runtime = legal_name(name), runtime
        self._input_name, self._input_size = source, size
        self._ops: list[Op] = []
        self._source: Value | None = None
        self._taken: set[str] = set()
        self._spent = 0

    @property
    def last(self) -> Value | None:
        return self._ops[-1].out if self._ops else self._source

    def input(self, kind: Quantized) -> Value:
        """The network's input, as an input quantizer of this format leaves it."""
        if self._source is None:
            self._source = Value(self._unique(self._input_name), TensorType((self._input_size,), kind))
        elif self._source.type.element != kind:
            raise Branches("quantizes the input a second time, in another way")
        return self._source

    # --- emission ---

    def matrix(self, sums: Sums, name: str, target: Quantized, kinds: list[RequantKind]) -> Codes:
        """The sums, each rounded by its kind to the target format."""
        self._continues(sums.value)
        source = sums.value.type.element
        assert isinstance(source, Quantized)
        unit = _times(sums.scales, source.scale)
        out = self._affine(sums, name, unit, wraps=not any(isinstance(kind, UNBOUNDED) for kind in kinds))
        self._requantize(out, name, target, kinds)
        return Codes(self._ops[-1].out, sums.index)

    def relu_layer(self, value: Value, matrix: IntArray, name: str, kind: Quantized) -> Value:
        """`max(matrix @ value, 0)` in codes of the unit of `kind`, exactly."""
        self._continues(value)
        sums = Sums(
            value, matrix, np.zeros(len(matrix), dtype=np.int64), Fraction(1), (len(matrix),), dense=True
        )
        out = self._affine(sums, name, kind.scale)
        wide = out.type.element
        assert isinstance(wide, Accumulator)
        clamped = Value(self._unique(f"{name}.max"), out.type)
        self._ops.append(Relu(clamped, out))
        target = Quantized(False, max(wide.bits, 2), kind.scale)
        self._requantize(clamped, name, target, [Shift(0, Rounding.FLOOR)])
        return self._ops[-1].out

    def is_nonnegative(self, value: Value) -> bool:
        """Can no element of a value of codes be negative?"""
        last = self._ops[-1] if self._ops and self._ops[-1].out == value else None
        kind = value.type.element
        assert isinstance(kind, Quantized)
        return kind.min >= 0 or (isinstance(last, Requantize) and last.limits[0] >= 0)

    def clamp(self, x: Codes, low: int, high: int, name: str) -> Codes:
        """The codes of the last layer, brought into a narrower range."""
        self._continues(x.value)
        out = Value(self._unique(name), x.value.type)
        self._ops.append(Clamp(out, x.value, Fraction(low), Fraction(high)))
        return Codes(out, x.index)

    def table(self, floats: Floats, name: str, target: Quantized, codes: IntArray) -> Codes:
        """What quantizing floats gives; `codes` has a row for each of their tables, centred.

        Each element is an accumulator in units FINER than its code's, times its factor; a table that turns needs one
        too, to read sums themselves (qsmt.ir.verify): the codes.
        """
        value, kind = floats.codes.value, floats.codes.format
        self._continues(value)
        alike = floats.factor is None and floats.offset is None and len(codes) == 1
        if alike and value != self._source and (np.diff(codes[0]) >= 0).all():
            self._requantize(value, name, target, [_table(kind.min, 1, codes[0])])
            return Codes(self._ops[-1].out, floats.index)
        count, finer = floats.index.size, 1 if alike else FINER
        factors = floats.factor or (Fraction(1),) * count
        offsets = floats.offset or (Fraction(0),) * count
        scales = tuple((abs(f) or Fraction(1)) / finer for f in factors)
        steps = [(f > 0) * finer - (f < 0) * finer for f in factors]
        bias = np.array(
            [round(o / s / kind.scale) for o, s in zip(offsets, scales, strict=True)], dtype=np.int64
        )
        weight = np.zeros((count, value.size), dtype=np.int64)
        weight[np.arange(count), floats.index.ravel()] = steps
        sums = Sums(value, weight, bias, _one_if_equal(scales), floats.shape, dense=True)
        out = self._affine(sums, name, _times(sums.scales, kind.scale), wraps=False)  # a sum of floats
        rows = np.broadcast_to(codes, (count, codes.shape[1]))
        tables: list[RequantKind] = [
            _table(int(b) + s * kind.min, s, row) if s else _table(int(b), 1, row[:1])
            for b, s, row in zip(bias, steps, rows, strict=True)
        ]
        self._requantize(out, name, target, tables)
        return Codes(self._ops[-1].out, sums.index)

    def accumulator(self, sums: Sums, name: str) -> Codes:
        """The sums as they are, exactly, in one unit of which all products and biases are multiples."""
        self._continues(sums.value)
        source = sums.value.type.element
        assert isinstance(source, Quantized)
        count = len(sums.weight)
        units = [u * source.scale for u in each(sums.scales, count)]
        rest = sums.rest or (Fraction(0),) * count
        bias = [(int(b) + r) * u for b, r, u in zip(sums.bias, rest, units, strict=True)]
        unit = _common_unit([*units, *filter(None, bias)])
        factors = [int(u / unit) for u in units]
        widest = max(
            f * max(1, abs(w))
            for f, w in zip(factors, np.abs(sums.weight).max(axis=1, initial=0).tolist(), strict=True)
        )
        if max(widest, *(abs(int(b / unit)) for b in bias)) >= LARGEST_SUM:
            raise BeyondLimits("a unit so small, for all its sums to be multiples, that they leave 62 bits")
        weight = sums.weight * np.array(factors, dtype=np.int64)[:, None]
        whole = np.array([int(b / unit) for b in bias], dtype=np.int64)
        exact = Sums(sums.value, weight, whole, unit / source.scale, sums.shape, dense=True)
        return Codes(self._affine(exact, name, unit, wraps=False), sums.index)

    def _affine(self, sums: Sums, name: str, unit: Unit, *, wraps: bool = True) -> Value:
        """The sums as an accumulator of 32 bits that wraps; of floats, it has as many as it needs."""
        m, n = sums.weight.shape
        self.spend(m * n)
        scales = sums.scales if isinstance(sums.scales, tuple) else (sums.scales,) * m
        units = unit if isinstance(unit, tuple) else (unit,) * m
        wide = Value(self._unique(f"{name}.acc"), TensorType((m,), Accumulator(WORD, unit)))
        weight = _const(f"{wide.name}.weight", sums.weight, scales)
        bias = _const(f"{wide.name}.bias", sums.bias, units)
        op = Affine(wide, sums.value, weight, bias)
        kind = sums.value.type.element
        assert isinstance(kind, Quantized)
        bits = _width(*accumulator_range(op, kind.min, kind.max))
        fits = bits <= WORD or not wraps
        overflow = AccumulatorOverflow.EXACT if fits else AccumulatorOverflow.WRAP
        out = Value(wide.name, TensorType((m,), Accumulator(bits if fits else WORD, unit, overflow)))
        self._ops.append(replace(op, out=out))
        return out

    def _requantize(self, x: Value, name: str, target: Quantized, kinds: list[RequantKind]) -> None:
        kind: RequantKind | PerNeuron = kinds[0]
        if any(other != kinds[0] for other in kinds):
            kind = PerNeuron(tuple(_of_runtime(k) for k in kinds))
        out = Value(self._unique(name), TensorType(x.type.shape, target))
        self._ops.append(Requantize(out, x, kind, Overflow.SATURATE))

    def network(self, output: Codes) -> Network:
        """The network that ends with this tensor, verified."""
        if self._source is None or not self._ops:
            raise Branches("has no integer layer")
        if output.value != self.last:
            raise Branches("is not what the last layer computes")
        if not np.array_equal(output.index.ravel(), np.arange(output.value.size)):
            raise Branches("is a rearrangement of what the last layer computes")
        return verify(Network(self._name, self._runtime, self._source, tuple(self._ops)))

    # --- limits and names ---

    def _continues(self, value: Value) -> None:
        if value != self.last:
            raise Branches("reads a tensor that another node reads as well; branches are not read")

    def spend(self, elements: int) -> None:
        """Count the elements of a matrix that is about to be formed."""
        self._spent += elements
        if self._spent > MAX_ELEMENTS:
            raise BeyondLimits(f"more than {MAX_ELEMENTS} elements in all its matrices together")

    def _unique(self, name: str) -> str:
        base = candidate = legal_name(name)
        count = 1
        while candidate in self._taken:
            count += 1
            candidate = f"{base}.{count}"
        self._taken.add(candidate)
        return candidate


class Branches(Exception):
    """The graph is not one chain."""


def _of_runtime(kind: RequantKind) -> RuntimeKind:
    assert not isinstance(kind, ExactKind), "each neuron has a kind of a runtime, or an ideal one"
    return kind


def _one_if_equal(units: tuple[Fraction, ...]) -> Unit:
    return units[0] if len(set(units)) == 1 else units


def _common_unit(numbers: list[Fraction]) -> Fraction:
    """The largest number of which all are multiples."""
    over = lcm(*(v.denominator for v in numbers))
    return Fraction(gcd(*(int(v * over) for v in numbers)), over)


def _table(first: int, step: int, codes: IntArray) -> Table:
    return Table(first, step, tuple(codes.tolist()))


def _times(units: Unit, factor: Fraction) -> Unit:
    return tuple(u * factor for u in units) if isinstance(units, tuple) else units * factor


def _const(name: str, codes: IntArray, scales: tuple[Fraction, ...]) -> Const:
    kind = Channels(_width(int(codes.min()), int(codes.max())), scales)
    return Const(name, TensorType(codes.shape, kind), frozen(codes.copy()))


def _width(low: int, high: int) -> int:
    """The bits of the narrowest signed integer that holds both."""
    return max((v if v >= 0 else ~v).bit_length() + 1 for v in (low, high))
