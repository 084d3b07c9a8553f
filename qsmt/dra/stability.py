"""Which hidden neurons do the same thing over a whole box: the binaries that an encoding saves.

A neuron is ACTIVE if no limit of its activation is ever exceeded (of the quantized network: it only
rounds), INACTIVE or SATURATED if the activation is constant at its lower or upper limit, else UNSTABLE.
All four are read off bounds that are sound, so a stable neuron is stable at every input of the box.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from qsmt.dra.compiled import Side, compile_problem
from qsmt.dra.domain import Limits, scaled
from qsmt.dra.interval import Ranged
from qsmt.dra.shape import Shape
from qsmt.facts import Facts, Interval, LayerFacts, Stability
from qsmt.problem import Problem

StabilityArray: TypeAlias = npt.NDArray[np.object_]  # of Stability


@dataclass(frozen=True, slots=True, eq=False)
class LayerStability:
    """One hidden layer, neuron by neuron, on both sides; shaped like the facts."""

    reference: StabilityArray
    quantized: StabilityArray

    @property
    def counts(self) -> tuple[Counter[Stability], Counter[Stability]]:
        """How many neurons there are of each kind: (reference, quantized)."""
        return Counter(self.reference.ravel().tolist()), Counter(self.quantized.ravel().tolist())


def stability(problem: Problem, facts: Facts) -> tuple[LayerStability, ...]:
    """The hidden layers, first to last."""
    hidden = zip(compile_problem(problem).layers[:-1], facts.layers[:-1], strict=True)
    return tuple(
        LayerStability(
            _of_reference(layer.reference, known),
            _of_quantized(layer.quantized, known),
        )
        for layer, known in hidden
    )


def unstable(problem: Problem, facts: Facts) -> tuple[int, int]:
    """How many hidden neurons are unstable: (reference, quantized)."""
    layers = stability(problem, facts)
    kind = Stability.UNSTABLE
    return sum(layer.counts[0][kind] for layer in layers), sum(layer.counts[1][kind] for layer in layers)


def _of_reference(side: Side, known: LayerFacts) -> StabilityArray:
    if side.shape is not None:
        return _of_shape(side.shape, known.reference_pre)
    return _classified(side.activation.limits, known.reference_pre)


def _of_shape(shape: Shape, values: Interval) -> StabilityArray:
    """What is no clamp is active where its slope is one throughout, and constant where it is zero."""
    slopes = shape.slopes(values)
    constant, active = (
        (slopes.lower == 0.0) & (slopes.upper == 0.0),
        (slopes.lower == 1.0) & (slopes.upper == 1.0),
    )
    return np.asarray(_OBJECTS[np.select([constant, active], [1, 0], 3)])


def _of_quantized(side: Side, known: LayerFacts) -> StabilityArray:
    """By the accumulator after all roundings and before all limits, which commute with them."""
    if side.shape is not None:
        return _of_shape(side.shape, known.quantized_pre)
    rounded = known.quantized_pre
    for rounding in side.roundings:
        rounded = rounding.of_interval(rounded)
    found = _classified(side.activation.limits, scaled(rounded, side.post_unit))
    regular = side.activated(
        Ranged(known.quantized_pre, np.ones(rounded.lower.shape, dtype=np.bool_))
    ).regular
    return np.where(regular, found, _OBJECTS[3])


_OBJECTS = np.array(
    [Stability.ACTIVE, Stability.INACTIVE, Stability.SATURATED, Stability.UNSTABLE], dtype=object
)


def _classified(limits: Limits, values: Interval) -> StabilityArray:
    """What a clamp does on the values."""
    inactive = values.upper <= limits.lower_down
    saturated = values.lower >= limits.upper_up
    active = (values.lower >= limits.lower_up) & (values.upper <= limits.upper_down)
    index = np.select([inactive, saturated, active], [1, 2, 0], 3)
    kinds: StabilityArray = _OBJECTS[index]
    return kinds
