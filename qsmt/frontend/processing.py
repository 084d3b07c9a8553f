"""What is done to a network's inputs before, and to its outputs after: exact rationals, folded in.

    input_mean, input_range     the network reads (x - mean) / range
    output_scale, output_shift  what is compared is scale * y + shift

The first layer takes the normalisation in: in real arithmetic that changes nothing, so a quantization scheme sees, and
rounds, the weights that such a network really has. The scaling of outputs goes into the inequalities that compare
them, so it holds for integer outputs too, whatever the rational.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from qsmt.arith.real import RealTensor
from qsmt.errors import MalformedProblem
from qsmt.frontend.combined import OutputInequality
from qsmt.frontend.toml_table import Table
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const
from qsmt.ir.verify import verify

Numbers: TypeAlias = Fraction | tuple[Fraction, ...]
"""One for all, or one each."""

KEYS = ("input_mean", "input_range", "output_scale", "output_shift")


@dataclass(frozen=True, slots=True)
class Processing:
    """Of one network; the defaults do nothing."""

    input_mean: Numbers = Fraction(0)
    input_range: Numbers = Fraction(1)
    output_scale: Numbers = Fraction(1)
    output_shift: Numbers = Fraction(0)

    @property
    def of_inputs(self) -> bool:
        """Is there something to do before the network?"""
        return self.input_mean != 0 or self.input_range != 1

    @property
    def of_outputs(self) -> bool:
        """Is there something to do behind the network?"""
        return self.output_scale != 1 or self.output_shift != 0


def read_processing(table: Table) -> Processing:
    """The four keys of a table, where they are given.

    Raises:
        MalformedProblem: one line with the file and the key.
    """
    found = Processing(**{key: numbers(table, key) for key in KEYS if key in table})
    for key in ("input_range", "output_scale"):
        if key in table and not all(each(getattr(found, key), 1)):
            table.fail(key, "is zero")
    return found


def numbers(table: Table, key: str) -> Numbers:
    """One number, or a list of them."""
    return table.numbers(key) if isinstance(table[key], list) else table.number(key)


def each(values: Numbers, size: int) -> tuple[Fraction, ...]:
    """One number per element."""
    return values if isinstance(values, tuple) else (values,) * size


def normalised(network: Network, processing: Processing) -> Network:
    """The network that reads x and normalises it.

    Raises:
        MalformedProblem: it is no float network, or has another number of inputs.
    """
    if not processing.of_inputs:
        return network
    if not network.is_real:
        hint = "normalise the region instead: [region] mean and range"
        raise MalformedProblem(f"@{network.name} reads codes, which cannot be normalised", hint=hint)
    first, n = network.ops[0], network.input.size
    assert isinstance(first, Affine)
    mean = _sized(processing.input_mean, n, "input_mean", "inputs")
    factors = [1 / v for v in _sized(processing.input_range, n, "input_range", "inputs")]
    weight = first.weight.reals.fractions * np.array(factors, dtype=object)
    bias = first.bias.reals.fractions - weight @ np.array(mean, dtype=object)
    made = replace(first, weight=_like(first.weight, weight), bias=_like(first.bias, bias))
    return verify(replace(network, ops=(made, *network.ops[1:])))


def processed(
    part: OutputInequality, processing: Mapping[str, Processing], sizes: Mapping[str, int]
) -> OutputInequality:
    """An inequality of processed outputs as one of the networks' own outputs.

    Raises:
        MalformedProblem: there are not as many scales or shifts as outputs.
    """
    bound, terms = part.bound, {"reference": dict(part.reference), "quantized": dict(part.quantized)}
    for side, row in terms.items():
        done = processing[side]
        if not done.of_outputs:
            continue
        scale = _sized(done.output_scale, sizes[side], "output_scale", "outputs")
        shift = _sized(done.output_shift, sizes[side], "output_shift", "outputs")
        for i, coefficient in row.items():
            if not 0 <= i < sizes[side]:
                raise MalformedProblem(f"there is no output {i} of the {side} network: it has {sizes[side]}")
            bound -= coefficient * shift[i]
            row[i] = coefficient * scale[i]
    return OutputInequality.of(terms["reference"], terms["quantized"], bound, strict=part.strict)


def _sized(values: Numbers, size: int, key: str, what: str) -> tuple[Fraction, ...]:
    found = each(values, size)
    if len(found) != size:
        raise MalformedProblem(f"{key} has {len(found)} numbers, the network {size} {what}")
    return found


def _like(const: Const, data: np.ndarray[tuple[int, ...], np.dtype[np.object_]]) -> Const:
    return replace(const, data=RealTensor.of_fractions(data.ravel().tolist(), const.type.shape))
