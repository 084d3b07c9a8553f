"""Random small problems whose integer network is quantized as ONNX and TFLite do it: scales, zero points, any kind.

Scales have few digits, so that no two differences are closer than solvers can tell apart. The kinds' multipliers are
those of the runtimes' own rules for such scales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from random import Random

import numpy as np

from qsmt.arith.fixed import Overflow, Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.real import RealTensor, frozen
from qsmt.arith.requantize import RequantKind
from qsmt.arith.rounding import Rounding
from qsmt.arith.runtime_kinds import DoubleAway, DoubleUp, F32Mul, F64Mul, Hull, SingleUp
from qsmt.arith.table import Table
from qsmt.frontend.runtimes import fixed_point
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, PerNeuron, Relu, Requantize, Value
from qsmt.ir.types import Accumulator, Channels, Real, TensorType
from qsmt.ir.verify import verify
from qsmt.problem import ErrorBound, InputModel, Problem, Region

BITS = 4
FINER = 8


@dataclass(frozen=True, slots=True)
class Form:
    """How the layers of a problem are requantized."""

    kind: str
    per_channel: bool = False
    adds: bool = False  # biases are codes of their own, added by tables
    turns: bool = field(default=False, repr=False)  # which also fall; the problems are else the same


FORMS = [
    *(Form(kind) for kind in ("f32mul", "f64mul", "double_away", "double_up", "single_up")),
    Form("f32mul", per_channel=True),
    Form("double_away", per_channel=True),
    Form("f32mul", adds=True),
    Form("f32mul", adds=True, turns=True),
    Form("ideal"),
    Form("ideal", per_channel=True),
]
"""All that every encoding can express."""


def kind_of(name: str, ratio: Fraction) -> RequantKind:
    """The kind of this name that multiplies by about this ratio."""
    makers: dict[str, Callable[[], RequantKind]] = {
        "f32mul": lambda: F32Mul(float(np.float32(float(ratio)))),
        "f64mul": lambda: F64Mul(float(ratio)),
        "double_away": lambda: DoubleAway(*fixed_point(float(ratio))),
        "double_up": lambda: DoubleUp(*fixed_point(float(ratio))),
        "hull": lambda: Hull(ratio, Fraction(1, 8)),
        "ideal": lambda: Ideal(ratio, Fraction(ratio.numerator % 7 - 3, 4), Rounding.HALF_EVEN),
        "single_up": lambda: SingleUp(*fixed_point(float(ratio))),
    }
    return makers[name]()


def affine_problem(seed: int, form: Form, *, sizes: tuple[int, ...] = (2, 3, 1)) -> Problem:
    """The problem of this seed; every draw is from one generator. It claims a difference of 0."""
    rng = Random(f"{form}/{seed}")
    reference = _reference(rng, sizes)
    quantized = _quantized(rng, reference, form)
    kind = quantized.input.type.element
    assert isinstance(kind, Quantized)
    if form.adds:
        reference = _with_identities(reference)
    lower = [rng.randint(kind.min, kind.max - 3) for _ in range(sizes[0])]
    region = Region(
        InputModel.GRID,
        tuple(map(Fraction, lower)),
        tuple(Fraction(low + rng.randint(1, 3)) for low in lower),
    )
    outputs = tuple(range(sizes[-1]))
    return Problem(
        reference, quantized, region, kind.scale, ErrorBound(outputs, (Fraction(0),) * len(outputs))
    )


def _reference(rng: Random, sizes: tuple[int, ...]) -> Network:
    value = source = Value("x", TensorType((sizes[0],), Real()))
    ops: list[Op] = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        weight = [Fraction(rng.randint(-6, 6), 4) for _ in range(n * m)]
        bias = [Fraction(rng.randint(-4, 4), 4) for _ in range(m)]
        out = Value(f"z{i}", TensorType((m,), Real()))
        ops.append(Affine(out, value, _real(f"w{i}", weight, (m, n)), _real(f"b{i}", bias, (m,))))
        value = out
        if i < len(sizes) - 2:
            value = Value(f"h{i}", out.type)
            ops.append(Relu(value, out))
    return verify(Network("reference", "real", source, tuple(ops)))


def _real(name: str, values: list[Fraction], shape: tuple[int, ...]) -> Const:
    return Const(name, TensorType(shape, Real()), RealTensor.of_fractions(values, shape))


def _with_identities(network: Network) -> Network:
    """Every affine layer in two: its matrix, and its bias."""
    ops: list[Op] = []
    for op in network.ops:
        if not isinstance(op, Affine):
            ops.append(op)
            continue
        m, middle = op.out.size, Value(f"{op.out.name}.w", op.out.type)
        zeros, eye = [Fraction(0)] * m, [Fraction(int(i == j)) for i in range(m) for j in range(m)]
        ops.append(Affine(middle, op.x, op.weight, _real(f"{op.out.name}.0", zeros, (m,))))
        ops.append(Affine(op.out, middle, _real(f"{op.out.name}.1", eye, (m, m)), op.bias))
    return verify(Network(network.name, network.runtime, network.input, tuple(ops)))


# --- the integer network --------------------------------------------------------------------------------------


def _format(rng: Random, *, from_zero: bool = False) -> Quantized:
    """Four bits with any zero point; or one whose least code is zero, which makes a ReLU."""
    signed = rng.random() < 0.5
    least = -(1 << (BITS - 1)) if signed else 0
    zero = least if from_zero else rng.randint(least + 4, least + 11)
    return Quantized(signed, BITS, Fraction(rng.choice([3, 5, 7]), 32), zero)


def _quantized(rng: Random, reference: Network, form: Form) -> Network:
    kind = _format(rng)
    value = source = Value("x", TensorType(reference.input.type.shape, kind))
    ops: list[Op] = []
    affine = [op for op in reference.ops if isinstance(op, Affine)]
    for i, op in enumerate(affine):
        last = i == len(affine) - 1
        target = _format(rng, from_zero=not last)
        if form.adds:
            middle = _format(rng)
            made = _layer(rng, f"m{i}", value, op, middle, form, with_bias=False)
            ops += [*made, *_addition(rng, f"h{i}", made[-1].out, op, target, turns=form.turns)]
        else:
            ops += _layer(rng, f"h{i}", value, op, target, form, with_bias=True)
        value = ops[-1].out
    return verify(Network("quantized", form.kind, source, tuple(ops)))


def _layer(
    rng: Random, name: str, x: Value, op: Affine, target: Quantized, form: Form, *, with_bias: bool
) -> list[Op]:
    source, m = x.type.element, op.out.size
    assert isinstance(source, Quantized)
    same = Fraction(rng.choice([1, 3]), 8)
    scales = tuple(Fraction(rng.choice([1, 3, 5]), 16) for _ in range(m)) if form.per_channel else (same,) * m
    units = tuple(s * source.scale for s in scales)
    weight = [[round(v / s) for v in row] for row, s in zip(op.weight.reals.fractions, scales, strict=True)]
    bias = [round(v / u) if with_bias else 0 for v, u in zip(op.bias.reals.fractions, units, strict=True)]
    acc = Accumulator(16, units if form.per_channel else units[0])
    pre = Value(f"{name}.acc", TensorType((m,), acc))
    affine = Affine(pre, x, _codes(f"{name}.w", weight, scales), _codes(f"{name}.b", bias, units))
    kinds = [kind_of(form.kind, u / target.scale) for u in units]
    kind: RequantKind | PerNeuron = kinds[0]
    if form.per_channel:
        kind = PerNeuron(tuple(kinds))  # type: ignore[arg-type]
    return [affine, Requantize(Value(name, TensorType((m,), target)), pre, kind, Overflow.SATURATE)]


def _addition(rng: Random, name: str, x: Value, op: Affine, target: Quantized, *, turns: bool) -> list[Op]:
    """The bias, added to codes by a table for each neuron, some of whose entries are off by one; or by more."""
    source, m = x.type.element, op.out.size
    assert isinstance(source, Quantized)
    unit = source.scale / FINER
    bias = [round(v / unit) for v in op.bias.reals.fractions]
    eye = [[FINER * (i == j) for j in range(m)] for i in range(m)]
    pre = Value(f"{name}.acc", TensorType((m,), Accumulator(16, unit)))
    affine = Affine(
        pre, x, _codes(f"{name}.w", eye, (Fraction(1, FINER),) * m), _codes(f"{name}.b", bias, (unit,) * m)
    )
    tables = []
    for b in bias:
        codes = [
            target.saturated(round((FINER * code + b) * unit / target.scale) + rng.choice([0, 0, 0, 1]))
            for code in range(source.min, source.max + 1)
        ]
        if turns:
            codes = [target.saturated(code + rng.randint(-2, 2)) for code in codes]
        tables.append(Table(b + FINER * source.min, FINER, tuple(codes if turns else sorted(codes))))
    out = Value(name, TensorType((m,), target))
    return [affine, Requantize(out, pre, PerNeuron(tuple(tables)), Overflow.SATURATE)]


def _codes(name: str, values: object, units: tuple[Fraction, ...]) -> Const:
    codes = np.array(values, dtype=np.int64)
    return Const(name, TensorType(codes.shape, Channels(16, units)), frozen(codes))
