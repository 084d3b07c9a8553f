"""What the search's steps cost: how many boxes to take at once, and when running points is cheaper.

Everything follows from counting multiplications; one short measurement corrects the count where this
machine disagrees with it by a lot. A little noise therefore changes nothing, and a search takes the same
course every time. No cost has any influence on what is true, only on how soon it is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import log2

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.dra.domain import Boxes
from qsmt.engine.pieces import Prepared, bounds_on
from qsmt.ir.network import layers
from qsmt.problem import Problem

BATCH_PRODUCTS = 2.0**33
"""Multiplications of one worker in one step: about a quarter of a second. Between steps, time limits and
interrupts are noticed."""

PRODUCT_SECONDS = 4e-11
"""About what one multiplication takes within a matrix product."""

MAX_BATCH = 1024

BATCH_BYTES = 2**28
"""All bounds of all layers of one batch stay below this."""

BOUNDS = 24
"""Arrays as large as a layer that an analysis keeps, with what it needs meanwhile."""

SUBSTITUTIONS = 36
"""Products per weight and row in a substitution back through a layer, and all that is done around them."""

BOX_NEURON, POINT_NEURON = 200_000, 50
"""What is done neuron by neuron, as so many multiplications in a matrix product, of which a point's are half
in single precision."""

DISAGREEMENT = 4.0
"""The count is off where the measurement differs by more than this factor."""

TIMED_BOXES, TIMED_POINTS = 8, 1024

MAX_TIMED_SECONDS = 0.05
"""An analysis that takes longer than this is not timed again in a batch."""


@dataclass(frozen=True, slots=True)
class Costs:
    """`ratio`: points enumerated in the time that analysing one box takes; `batch`: boxes per worker and step."""

    ratio: float
    batch: int


def estimate(prepared: Prepared) -> Costs:
    """By counting, and by measuring for some hundredths of a second if the region is a grid."""
    box, point = _box_products(prepared.problem), point_products(prepared.problem)
    ratio = box / point
    if prepared.grid:
        measured = _measured_ratio(prepared)
        if not 1 / DISAGREEMENT < measured / ratio < DISAGREEMENT:
            ratio = 4.0 ** round(log2(measured) / 2)
    values = sum(ours.pre.size for ours, _ in prepared.problem.layers) + prepared.problem.input_size
    fits = BATCH_BYTES // (8 * BOUNDS * values)
    return Costs(ratio, int(max(1, min(BATCH_PRODUCTS / box, MAX_BATCH, fits))))


def seconds_per_point(problem: Problem) -> float:
    """About how long running both networks on one input takes."""
    return PRODUCT_SECONDS * point_products(problem)


def point_products(problem: Problem) -> float:
    """Multiplications, or what takes as long, in running both networks on one input."""
    sides = [*layers(problem.reference), *layers(problem.quantized)]
    return float(sum(side.affine.weight.type.size / 2 + POINT_NEURON * side.pre.size for side in sides))


def _box_products(problem: Problem) -> float:
    """Every layer is substituted back through all layers below it."""
    below, total = 0.0, 0.0
    for ours, _ in problem.layers:
        rows, columns = ours.affine.weight.type.shape
        below += rows * columns
        total += SUBSTITUTIONS * rows * below + BOX_NEURON * rows
    return total


def _measured_ratio(prepared: Prepared) -> float:
    root = prepared.root
    box = _seconds(lambda: bounds_on(prepared, root))
    if box < MAX_TIMED_SECONDS:
        several = Boxes(_copies(root.lower, TIMED_BOXES), _copies(root.upper, TIMED_BOXES))
        box = _seconds(lambda: bounds_on(prepared, several)) / TIMED_BOXES
    points = _copies(root.lower, TIMED_POINTS)
    return box / (_seconds(lambda: prepared.interpreter.run(points)) / TIMED_POINTS)


def _seconds(work: Callable[[], object]) -> float:
    """The shorter of two runs: the first one also warms caches up."""
    spent = []
    for _ in range(2):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return max(min(spent), 1e-7)


def _copies(row: FloatArray, count: int) -> FloatArray:
    return np.repeat(row, count, axis=0)
