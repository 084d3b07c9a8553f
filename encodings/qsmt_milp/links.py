"""Difference links: what analysis knows of the distance between two hidden neurons, as rows.

    low  <=  unit * q - r  <=  high        for each pair of neurons that both are variables

The rows follow from the others over the integers, but not over the reals: they cut off fractional solutions
in which the two networks drift apart. They are an option, `milp+links`.
"""

from __future__ import annotations

from fractions import Fraction
from math import isfinite

from qsmt.encoding import Query
from qsmt.ir.network import layers
from qsmt.ir.types import Real
from qsmt_milp.model import Builder, Linear


def put_links(builder: Builder, query: Query) -> None:
    """The rows of all hidden layers."""
    found = {v.name: Linear(0, {i: 1}) for i, v in enumerate(builder.variables)}
    hidden = zip(layers(query.problem.quantized)[:-1], query.facts.layers, strict=False)
    for i, (layer, known) in enumerate(hidden):
        kind = layer.post.type.element
        unit = Fraction(1) if isinstance(kind, Real) else kind.scale
        ends = zip(known.difference_post.lower.tolist(), known.difference_post.upper.tolist(), strict=True)
        for k, (low, high) in enumerate(ends):
            pair = found.get(f"q.h{i}.{k}"), found.get(f"r.h{i}.{k}")
            if pair[0] is not None and pair[1] is not None:
                _link(builder, f"link.h{i}.{k}", pair[0] * unit - pair[1], (low, high))


def _link(builder: Builder, name: str, apart: Linear, ends: tuple[float, float]) -> None:
    """Facts are doubles, rounded outward; as they are, they are exact numbers."""
    low, high = ends
    if isfinite(low):
        builder.at_least(f"{name}.low", apart, Fraction(low))
    if isfinite(high):
        builder.at_most(f"{name}.high", apart, Fraction(high))
