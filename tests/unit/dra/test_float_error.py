"""What single precision adds to a network: held against execution in single precision, in every order of summation."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from qsmt.arith.real import FloatArray
from qsmt.dra import float_error as subject
from qsmt.dra.float_error import FORMATS, FloatFormat, float_error
from qsmt.interp import reference
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Clamp
from qsmt.problem import InputModel, Region
from tests.support.any_network import curved_network
from tests.support.networks import reference_network

F = Fraction
SINGLE = FORMATS["float32"]
Layers = list[tuple[np.ndarray, np.ndarray]]


def around(x: np.ndarray, radius: float) -> Region:
    low, high = (tuple(F(float(v + r)) for v in x) for r in (-radius, radius))
    return Region(InputModel.CONTINUOUS, low, high)


def summed(terms: Any, how: int, rng: np.random.Generator) -> Any:
    """The sum over the last axis in single precision: by pairs, more precisely, one by one, or in any order."""
    if how == 0:
        return np.add.reduce(terms, axis=-1, dtype=np.float32)
    if how == 1:
        return terms.astype(np.float64).sum(axis=-1).astype(np.float32)
    shuffled = terms if how == 2 else terms[..., rng.permutation(terms.shape[-1])]
    total = np.zeros(terms.shape[:-1], np.float32)
    for i in range(terms.shape[-1]):
        total = total + shuffled[..., i]
    return total


def executed(network: Network, x: np.ndarray, how: int, rng: np.random.Generator) -> FloatArray:
    """What a runtime in single precision may compute."""
    h = x.astype(np.float32)
    for layer in layers(network):
        weight, bias = (c.reals.nearest.astype(np.float32) for c in (layer.affine.weight, layer.affine.bias))
        products = weight * h
        h = summed(np.concatenate([bias[:, None], products, -0.0 * bias[:, None]], axis=1), how, rng)
        for op in layer.activation:
            low, high = (op.lower, op.upper) if isinstance(op, Clamp) else (F(0), None)
            h = np.clip(h, None if low is None else float(low), None if high is None else float(high))
    return np.asarray(h, dtype=np.float64)


def off(network: Network, x: np.ndarray, found: FloatArray) -> list[Fraction]:
    (exact,) = reference.run(network, [tuple(F(float(v)) for v in x.astype(np.float32))])
    return [abs(F(float(a)) - b) for a, b in zip(found, exact, strict=True)]


def random_layers(seed: int) -> Layers:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 24, rng.integers(2, 5))
    scale = 10.0 ** rng.integers(-3, 4)
    return [
        ((scale * rng.normal(size=(m, n))).astype(np.float32), rng.normal(size=m).astype(np.float32))
        for n, m in pairwise(sizes)
    ]


def holds(seed: int) -> bool:
    made, rng = random_layers(seed), np.random.default_rng(seed)
    network = reference_network(made, clip=F(2) if seed % 3 == 0 else None)
    center = rng.normal(size=made[0][0].shape[1:]).astype(np.float32)
    bound = float_error(network, around(center, 0.5), SINGLE)
    assert bound is not None
    points = [(center + rng.uniform(-0.5, 0.5, len(center)) * 0.99).astype(np.float32) for _ in range(4)]
    return all(
        all(
            e <= F(b)
            for e, b in zip(off(network, x, executed(network, x, how, rng)), bound.tolist(), strict=True)
        )
        for x in points
        for how in range(4)
    )


@pytest.mark.parametrize("start", range(0, 120, 20))
def test_no_execution_is_further_off(start: int) -> None:
    assert all(holds(seed) for seed in range(start, start + 20))


COUNT = 200


def lossy(*behind: float) -> Network:
    """A sum that loses nearly a unit roundoff with every term, one after the other; then factors, each a layer."""
    first = np.ones((1, COUNT + 1)), np.zeros(1)
    return reference_network([first, *((np.array([[factor]]), np.zeros(1)) for factor in behind)])


def loses(behind: tuple[float, ...]) -> tuple[Fraction, Fraction]:
    """What one execution loses, and the bound."""
    x = np.array([1.0, *[2.0**-24 * (1 - 2.0**-20)] * COUNT])
    network, rng = lossy(*behind), np.random.default_rng(0)
    bound = float_error(network, around(x, 0.0), SINGLE)
    assert bound is not None
    return off(network, x, executed(network, x, 2, rng))[0], F(float(bound[0]))


@pytest.mark.parametrize("behind", [(), (4.0,), (0.5, 8.0)])
def test_the_bound_is_nearly_reached(behind: tuple[float, ...]) -> None:
    lost, bound = loses(behind)
    assert bound / 2 < lost <= bound


def test_planted_faults_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the rounding; the error of the layers before; underflow."""
    honest = subject._affine_error

    def half(op: Affine, values: FloatArray, error: FloatArray, kind: FloatFormat) -> FloatArray | None:
        return honest(op, values, error, replace(kind, roundoff=kind.roundoff / 2))

    monkeypatch.setattr(subject, "_affine_error", half)
    assert loses(())[0] > loses(())[1]
    monkeypatch.setattr(subject, "_affine_error", lambda op, v, e, k: honest(op, v, 0 * e, k))
    assert loses((4.0,))[0] > loses((4.0,))[1]
    monkeypatch.setattr(subject, "_affine_error", honest)
    tiny = reference_network([(np.array([[2.0**-100]]), np.zeros(1)), (np.array([[2.0**100]]), np.zeros(1))])
    x = np.array([2.0**-100])
    lost = off(tiny, x, executed(tiny, x, 0, np.random.default_rng(0)))[0]
    bound = float_error(tiny, around(x, 0.0), SINGLE)
    blind = float_error(tiny, around(x, 0.0), replace(SINGLE, tiny=0.0))
    assert bound is not None and blind is not None and F(float(blind[0])) < lost <= F(float(bound[0]))


def test_neurons_that_stay_off_add_nothing() -> None:
    network = reference_network([(np.ones((1, 3)), np.array([-9.0])), (np.array([[1000.0]]), np.zeros(1))])
    bound = float_error(network, around(np.ones(3), 1.0), SINGLE)
    assert bound is not None and bound[0] < 1e-30


def test_where_nothing_is_known_nothing_is_said() -> None:
    huge = reference_network([(np.full((1, 2), 2.0**120), np.zeros(1))])
    assert float_error(huge, around(np.full(2, 2.0**10), 1.0), SINGLE) is None
    curved = curved_network(3)
    box = around(np.zeros(curved.input.size), 1.0)
    assert float_error(curved, box, SINGLE) is None
