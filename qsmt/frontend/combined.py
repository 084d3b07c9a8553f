"""Networks whose outputs are what a property compares: linear combinations of outputs, put into the last layer.

A property of two networks' outputs r = reference(x) and q = quantized(x) is made of inequalities

    sum_i a_i r_i + sum_i b_i q_i > c        (or >= c)

With the rows -a put into the last layer of the reference and the rows b into that of the quantized network, the left
side is one output's `quantized - reference`. So the difference analysis bounds it by linear forms through both
networks, and every other part of qsmt takes it as it is. Both changes are exact: in rationals, and in integers (an
inequality is multiplied by the denominators of b first).

Where nothing is said of one network's outputs, zeros take its place: a network of the same layers, all weights zero,
which costs nothing to analyse, to run or to encode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import gcd, lcm

import numpy as np

from qsmt.arith.fixed import Format
from qsmt.arith.real import ExactArray, FloatArray, IntArray, RealTensor, frozen
from qsmt.arith.units import each
from qsmt.claim import Inequality, OutputConstraint, Side
from qsmt.errors import MalformedProblem
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Const, Value
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Channels, Real, TensorType
from qsmt.ir.verify import accumulator_range, verify

Terms = tuple[tuple[int, Fraction], ...]
"""Coefficients of outputs, by index; none is zero."""

Row = dict[int, Fraction]

MAX_ROWS, MAX_CODE_BITS = 4096, 63

MAX_SUMS = 256
"""More sums than this are not worth their rows."""


@dataclass(frozen=True, slots=True)
class OutputInequality:
    """`sum of reference terms + sum of quantized terms > bound`; or `>= bound`, unless it is `strict`."""

    reference: Terms
    quantized: Terms
    bound: Fraction
    strict: bool

    @staticmethod
    def of(
        reference: Mapping[int, Fraction], quantized: Mapping[int, Fraction], bound: Fraction, *, strict: bool
    ) -> OutputInequality:
        """From coefficients, of which some may be zero."""
        return OutputInequality(_terms(reference), _terms(quantized), bound, strict)

    @property
    def negated(self) -> OutputInequality:
        """What holds exactly where this one does not."""
        reference, quantized = (
            tuple((i, -c) for i, c in terms) for terms in (self.reference, self.quantized)
        )
        return OutputInequality(reference, quantized, -self.bound, not self.strict)


Cases = tuple[tuple[OutputInequality, ...], ...]
"""A disjunction of conjunctions: what may not happen."""


@dataclass(frozen=True, slots=True)
class Constrained:
    """Two networks, and a constraint of their outputs' differences."""

    reference: Network
    quantized: Network
    claim: OutputConstraint


def constrained(reference: Network | None, quantized: Network | None, cases: Cases) -> Constrained:
    """The two networks with the rows that the cases read; a network that none reads may be None.

    Raises:
        MalformedProblem: a case reads an output that is not there, or one that cannot be combined with others.
    """
    parts = [part for case in cases for part in case]
    ours = reference if any(part.reference for part in parts) else None
    theirs = quantized if any(part.quantized for part in parts) else None
    shape = ours or theirs or reference or quantized
    assert shape is not None, "there is a network"
    for terms, network in [(p.reference, ours) for p in parts] + [(p.quantized, theirs) for p in parts]:
        if network is not None:
            _check_indices(terms, network)
    rows, claim = _numbered(cases)
    if ours is not None and theirs is not None and _are_plain(rows):
        plain = {row: next(iter(q)) for row, (_, q) in enumerate(rows)}
        found = (tuple(replace(p, output=plain[p.output]) for p in case) for case in claim.cases)
        return Constrained(ours, theirs, OutputConstraint(tuple(found)))
    rows, claim = _numbered(with_sums(cases))
    if len(rows) > MAX_ROWS:
        raise MalformedProblem(f"the property compares outputs in {len(rows)} ways, more than {MAX_ROWS}")
    appended = theirs is not None and not isinstance(theirs.ops[-1], Affine)
    appended |= ours is not None and not isinstance(ours.ops[-1], Affine)
    first = None if ours is None else with_rows(ours, [_negated(r) for r, _ in rows], appended=appended)
    second = None if theirs is None else with_rows(theirs, [q for _, q in rows], appended=appended)
    return Constrained(first or silent(_of(second)), second or silent(_of(first)), claim)


def with_sums(cases: Cases) -> Cases:
    """The same cases, with sums of their inequalities: of two, and of all.

    A sum holds wherever its terms do, so a case stays what it is. But analysis bounds each inequality by itself, and a
    box in which none of them fails everywhere is often one in which a sum does: of property 3 of ACAS Xu, network 1_1,
    a search closes all in 222 boxes with these sums, and is far from the end after 3,000 without.
    """
    sums = {
        case: [*combinations(case, 2), case] if len(case) > 2 else [case] * (len(case) > 1) for case in cases
    }
    if sum(map(len, sums.values())) > MAX_SUMS:
        return cases
    return tuple((*case, *(s for s in map(_sum, sums[case]) if s.reference or s.quantized)) for case in cases)


def _sum(parts: Iterable[OutputInequality]) -> OutputInequality:
    reference, quantized, bound, strict = dict[int, Fraction](), dict[int, Fraction](), Fraction(0), False
    for part in parts:
        for total, terms in ((reference, part.reference), (quantized, part.quantized)):
            for i, c in terms:
                total[i] = total.get(i, Fraction(0)) + c
        bound, strict = bound + part.bound, strict or part.strict
    return OutputInequality.of(reference, quantized, bound, strict=strict)


def with_rows(network: Network, rows: Sequence[Row], *, appended: bool) -> Network:
    """The network with these combinations of its outputs as outputs, in its last affine op or in one more.

    Raises:
        MalformedProblem: its outputs cannot be combined in exact integers.
    """
    if appended:
        return verify(_appended(network, rows))
    last = network.ops[-1]
    assert isinstance(last, Affine)
    made = _fused_reals(last, rows) if network.is_real else _fused_codes(network, last, rows)
    return verify(replace(network, ops=(*network.ops[:-1], made)))


def silent(network: Network) -> Network:
    """A real network of the same layers, all of whose values are zero."""
    value = Value("x", TensorType((network.input.size,), Real()))
    begin, ops = value, []
    for i, layer in enumerate(layers(network)):
        out = Value(f"z{i}", TensorType((layer.pre.size,), Real()))
        ops.append(_real_affine(out, value, f"zero{i}", np.zeros((out.size, value.size)), np.zeros(out.size)))
        value = out
    return verify(Network(f"zero.{network.name}", "real", begin, tuple(ops)))


def _of(network: Network | None) -> Network:
    assert network is not None, "one of the two is there"
    return network


# --- rows -------------------------------------------------------------------------------------------------


def _numbered(cases: Cases) -> tuple[list[tuple[Row, Row]], OutputConstraint]:
    """The rows that the cases read, and the cases as inequalities of these rows."""
    rows, numbered = _rows(part for case in cases for part in case)
    return rows, OutputConstraint(tuple(tuple(numbered[part] for part in case) for case in cases))


def _rows(
    parts: Iterable[OutputInequality],
) -> tuple[list[tuple[Row, Row]], dict[OutputInequality, Inequality]]:
    """The different combinations, each with a leading coefficient that is positive; and what reads which."""
    index: dict[tuple[Terms, Terms], int] = {}
    numbered: dict[OutputInequality, Inequality] = {}
    for part in parts:
        factor = Fraction(lcm(*(c.denominator for _, c in part.quantized)))
        leading = [c for _, c in (*part.quantized, *part.reference)]
        if not leading:
            raise MalformedProblem("an inequality reads no output")
        side: Side = 1 if leading[0] > 0 else -1
        key = tuple(tuple((i, c * factor * side) for i, c in t) for t in (part.reference, part.quantized))
        row = index.setdefault((key[0], key[1]), len(index))
        numbered[part] = Inequality(row, side, part.bound * factor, part.strict)
    return [(dict(r), dict(q)) for r, q in index], numbered


def _are_plain(rows: Sequence[tuple[Row, Row]]) -> bool:
    """Is each of them q_i - r_i for some i?"""
    return all(
        len(q) == 1 and set(q) == set(r) and set(q.values()) == {1} and set(r.values()) == {-1}
        for r, q in rows
    )


def _terms(coefficients: Mapping[int, Fraction]) -> Terms:
    return tuple(sorted((i, Fraction(c)) for i, c in coefficients.items() if c))


def _negated(row: Row) -> Row:
    return {i: -c for i, c in row.items()}


def _check_indices(terms: Terms, network: Network) -> None:
    for i, _ in terms:
        if not 0 <= i < network.output.size:
            size = network.output.size
            raise MalformedProblem(f"there is no output {i}: network @{network.name} has {size}, from 0 on")


# --- layers -----------------------------------------------------------------------------------------------


def _fused_reals(last: Affine, rows: Sequence[Row]) -> Affine:
    weight, bias = last.weight.reals.fractions, last.bias.reals.fractions
    n = last.x.size
    made: list[Fraction] = []
    for row in rows:
        made += sum((c * weight[i] for i, c in row.items()), np.full(n, Fraction(0), dtype=object)).tolist()
    shifts = [sum((c * bias[i] for i, c in row.items()), Fraction(0)) for row in rows]
    return replace(
        last,
        out=Value(last.out.name, TensorType((len(rows),), Real())),
        weight=_reals(f"{last.weight.name}.rows", made, (len(rows), n)),
        bias=_reals(f"{last.bias.name}.rows", shifts, (len(rows),)),
    )


def _fused_codes(network: Network, last: Affine, rows: Sequence[Row]) -> Affine:
    acc, x = last.out.type.element, last.x.type.element
    if not isinstance(acc, Accumulator) or acc.overflow is AccumulatorOverflow.WRAP:
        raise MalformedProblem(f"the outputs of @{network.name} may wrap around, so they cannot be combined")
    assert isinstance(x, Format)
    units = each(acc.units, last.out.size)
    unit = _divisor(units)
    multiples = np.array([int(u / unit) for u in units], dtype=object)
    matrix, (weight, bias) = _matrix(rows, last.out.size) * multiples, last.integers
    codes = matrix @ weight, matrix @ bias
    return _on_codes(last.out.name, last.x, codes, unit=unit, names=(last.weight.name, last.bias.name))


def _appended(network: Network, rows: Sequence[Row]) -> Network:
    """One more affine op behind the network's output."""
    y = network.output
    name = f"{y.name}.rows"
    if network.is_real:
        out = Value(name, TensorType((len(rows),), Real()))
        values = [row.get(i, Fraction(0)) for row in rows for i in range(y.size)]
        weight = _reals(f"{y.name}.weight", values, (len(rows), y.size))
        bias = _reals(f"{y.name}.bias", [Fraction(0)] * len(rows), (len(rows),))
        return replace(network, ops=(*network.ops, Affine(out, y, weight, bias)))
    kind = y.type.element
    if not isinstance(kind, Format):
        raise MalformedProblem(
            f"the outputs of @{network.name} are no codes of a format, so they cannot be combined"
        )
    codes = _matrix(rows, y.size), np.zeros(len(rows), dtype=object)
    names = f"{y.name}.weight", f"{y.name}.bias"
    return replace(network, ops=(*network.ops, _on_codes(name, y, codes, unit=kind.scale, names=names)))


def _matrix(rows: Sequence[Row], size: int) -> ExactArray:
    return np.array([[int(row.get(i, 0)) for i in range(size)] for row in rows], dtype=object)


def _divisor(units: Iterable[Fraction]) -> Fraction:
    """The largest number of which all are multiples."""
    found = list(units)
    over = lcm(*(u.denominator for u in found))
    return Fraction(gcd(*(int(u * over) for u in found)), over)


def _on_codes(
    name: str, x: Value, codes: tuple[ExactArray, ExactArray], *, unit: Fraction, names: tuple[str, str]
) -> Affine:
    """The op that makes these sums of the codes of x, each in the same unit, with as many bits as that needs."""
    kind = x.type.element
    assert isinstance(kind, Format)
    rows = len(codes[0])
    weight = _codes(names[0], codes[0], unit / kind.scale)
    bias = _codes(names[1], codes[1], unit)

    def made(bits: int) -> Affine:
        return Affine(Value(name, TensorType((rows,), Accumulator(bits, unit))), x, weight, bias)

    low, high = accumulator_range(made(2), kind.min, kind.max)
    return made(max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0, 1) + 1)


def _codes(name: str, data: ExactArray, unit: Fraction) -> Const:
    """Integers as codes of one unit, in the least width that holds them."""
    widest = max((abs(int(v)) for v in data.ravel()), default=0)
    bits = widest.bit_length() + 1
    if bits > MAX_CODE_BITS:
        raise MalformedProblem(
            f"the property's numbers make weights of {bits} bits, more than {MAX_CODE_BITS}"
        )
    held: IntArray = frozen(data.astype(np.int64))
    kind = Channels(bits, (unit,) * data.shape[0])
    return Const(f"{name}.rows", TensorType(tuple(data.shape), kind), held)


def _reals(name: str, values: Sequence[Fraction], shape: tuple[int, ...]) -> Const:
    return Const(name, TensorType(shape, Real()), RealTensor.of_fractions(values, shape))


def _real_affine(out: Value, x: Value, name: str, weight: FloatArray, bias: FloatArray) -> Affine:
    constants = [
        Const(f"{name}.{kind}", TensorType(data.shape, Real()), RealTensor.of_floats(data))
        for kind, data in (("weight", weight), ("bias", bias))
    ]
    return Affine(out, x, *constants)
