"""Smaller versions of a problem, the boldest first: what a failing case is shrunk with.

Each is a problem in its own right (the IR checker says so): fewer inputs, points, neurons or outputs, or
rounder numbers. Both networks are cut alike, so that they stay aligned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain

import numpy as np
import numpy.typing as npt

from qsmt.arith.real import RealTensor, frozen
from qsmt.errors import QsmtError
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Const, Op, PerNeuron, Requantize, Value
from qsmt.ir.types import Accumulator, Channels, ElementType, TensorType
from qsmt.ir.verify import verify
from qsmt.problem import ErrorBound, Problem, Region

Keep = list[int]


def smaller(problem: Problem, output: int) -> Iterator[tuple[Problem, int]]:
    """Smaller problems, each with the index that `output` has in it. Those that are no problems are left out."""
    for made in chain(
        _fewer_outputs(problem, output),
        _fewer_points(problem),
        _fewer_neurons(problem),
        _fewer_inputs(problem),
    ):
        if made is not None:
            yield made, 0 if made.reference.output.size == 1 else output
    for made in _rounder(problem):
        if made is not None:
            yield made, output


def _fewer_outputs(problem: Problem, output: int) -> Iterator[Problem | None]:
    if problem.reference.output.size > 1:
        claim = ErrorBound((0,), (Fraction(0),))
        last, both = len(problem.layers) - 1, (problem.reference, problem.quantized)
        yield _made(problem, *(_without(network, last, [output]) for network in both), claim=claim)


def _fewer_neurons(problem: Problem) -> Iterator[Problem | None]:
    """Without half of a hidden layer, then without one neuron."""
    for i, (layer, _) in enumerate(problem.layers[:-1]):
        every = list(range(layer.pre.size))
        if len(every) > 3:
            yield _cut(problem, i, every[: len(every) // 2])
            yield _cut(problem, i, every[len(every) // 2 :])
        for gone in every if len(every) > 1 else []:
            yield _cut(problem, i, [k for k in every if k != gone])


def _fewer_inputs(problem: Problem) -> Iterator[Problem | None]:
    """Without one input: both networks then lack its weights."""
    for gone in range(problem.input_size if problem.input_size > 1 else 0):
        keep = [i for i in range(problem.input_size) if i != gone]
        region = problem.region
        box = replace(
            region, lower=tuple(region.lower[i] for i in keep), upper=tuple(region.upper[i] for i in keep)
        )
        yield _made(problem, _reading(problem.reference, keep), _reading(problem.quantized, keep), region=box)


def _fewer_points(problem: Problem) -> Iterator[Problem | None]:
    """Half of the box in one dimension, or without one of its faces."""
    for i, (low, high) in enumerate(zip(problem.region.lower, problem.region.upper, strict=True)):
        if low == high:
            continue
        middle = (low + high) // 2
        for a, b in ((low, middle), (middle + 1, high), (low, high - 1), (low + 1, high)):
            yield replace(
                problem,
                region=replace(
                    problem.region,
                    lower=_with(problem.region.lower, i, Fraction(a)),
                    upper=_with(problem.region.upper, i, Fraction(b)),
                ),
            )


def _with(values: tuple[Fraction, ...], i: int, value: Fraction) -> tuple[Fraction, ...]:
    return (*values[:i], value, *values[i + 1 :])


# --- the networks ---------------------------------------------------------------------------------------


def _made(
    problem: Problem,
    reference: Network,
    quantized: Network,
    *,
    region: Region | None = None,
    claim: ErrorBound | None = None,
) -> Problem | None:
    """The problem with these networks; None if they are not well-formed."""
    try:
        return replace(
            problem,
            reference=verify(reference),
            quantized=verify(quantized),
            region=region or problem.region,
            claim=claim or problem.claim,
        )
    except QsmtError:
        return None


def _cut(problem: Problem, layer: int, keep: Keep) -> Problem | None:
    """The problem with these neurons of a layer only."""
    return _made(problem, *(_without(n, layer, keep) for n in (problem.reference, problem.quantized)))


def _without(network: Network, layer: int, keep: Keep) -> Network:
    """The network with these neurons of a layer only."""
    found = layers(network)
    size, ours = len(keep), found[layer]
    ops: list[Op] = []
    for op in network.ops:
        if op is ours.affine:
            assert isinstance(op, Affine)
            rows = replace(op, weight=_taken(op.weight, keep, 0), bias=_taken(op.bias, keep, 0))
            ops.append(replace(rows, out=_kept(op.out, keep)))
        elif op in ours.activation:
            ops.append(_activation(op, keep))
        elif op.x == ours.post and isinstance(op, Affine):
            ops.append(replace(op, x=_sized(op.x, size), weight=_taken(op.weight, keep, 1)))
        else:
            ops.append(op)
    return replace(network, ops=tuple(ops))


def _reading(network: Network, keep: Keep) -> Network:
    """The network with these inputs only."""
    first, *others = network.ops
    assert isinstance(first, Affine)
    x = _sized(network.input, len(keep))
    return replace(network, input=x, ops=(replace(first, x=x, weight=_taken(first.weight, keep, 1)), *others))


def _activation(op: Op, keep: Keep) -> Op:
    """An elementwise op on these neurons only, with the rules of its own that they have."""
    smaller = replace(op, x=_kept(op.x, keep), out=_kept(op.out, keep))
    if isinstance(smaller, Requantize) and isinstance(smaller.kind, PerNeuron):
        return replace(smaller, kind=PerNeuron(tuple(smaller.kind.kinds[k] for k in keep)))
    return smaller


def _kept(value: Value, keep: Keep) -> Value:
    """These neurons of a value."""
    return Value(value.name, TensorType((len(keep),), _units_of(value.type.element, keep)))


def _units_of(kind: ElementType, keep: Keep) -> ElementType:
    """The type of these neurons, or rows: its units, if each has one of its own."""
    if isinstance(kind, Accumulator | Channels) and isinstance(kind.units, tuple):
        return replace(kind, units=tuple(kind.units[k] for k in keep))
    return kind


def _sized(value: Value, size: int) -> Value:
    return Value(value.name, TensorType((size,), value.type.element))


def _taken(const: Const, keep: Keep, axis: int) -> Const:
    if isinstance(const.data, RealTensor):
        return _of_reals(const, const.reals.fractions.take(keep, axis))
    kept = _of_codes(const, const.codes.take(keep, axis))
    kind = const.type.element
    return kept if axis else replace(kept, type=TensorType(kept.type.shape, _units_of(kind, keep)))


def _of_reals(const: Const, values: npt.NDArray[np.object_]) -> Const:
    return Const(
        const.name,
        TensorType(values.shape, const.type.element),
        RealTensor.of_fractions(values.ravel().tolist(), values.shape),
    )


def _of_codes(const: Const, values: npt.NDArray[np.int64]) -> Const:
    return Const(const.name, TensorType(values.shape, const.type.element), frozen(values.copy()))


# --- rounder numbers ------------------------------------------------------------------------------------


def _rounder(problem: Problem) -> Iterator[Problem | None]:
    """With one parameter zero, or truncated to an integer."""
    for made in _rounder_networks(problem.reference):
        yield _made(problem, made, problem.quantized)
    for made in _rounder_networks(problem.quantized):
        yield _made(problem, problem.reference, made)


def _rounder_networks(network: Network) -> Iterator[Network]:
    for k, op in enumerate(network.ops):
        if isinstance(op, Affine):
            changed = [replace(op, weight=weight) for weight in _rounded(op.weight)]
            changed += [replace(op, bias=bias) for bias in _rounded(op.bias)]
            for made in changed:
                yield replace(network, ops=(*network.ops[:k], made, *network.ops[k + 1 :]))


def _rounded(const: Const) -> Iterator[Const]:
    if not isinstance(const.data, RealTensor):
        for place, code in np.ndenumerate(const.codes):
            codes = const.codes.copy()
            codes[place] = 0
            if code:
                yield _of_codes(const, codes)
        return
    for index, value in np.ndenumerate(const.reals.fractions):
        for simple in {0, int(value)} - {value}:
            reals = const.reals.fractions.copy()
            reals[index] = Fraction(simple)
            yield _of_reals(const, reals)
