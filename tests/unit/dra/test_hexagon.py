"""The vertices decide: no point of a hexagon, and no rounding there, exceeds what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.real import FloatArray
from qsmt.dra import hexagon
from qsmt.dra.activation import Activation, Before
from qsmt.dra.domain import limits_between
from qsmt.dra.hexagon import Hexagons, Vertices, hexagons, tightened, vertices
from qsmt.dra.planes import planes
from qsmt.facts import Interval

F = Fraction
NEURONS = 24
STEP = F(1, 4)
OBJECTIVES = 6


def random_hexagons(seed: int, *, clip: bool) -> tuple[Hexagons, Before, Activation, Activation]:
    """Neurons of every kind: values round half up to quarters, clamp to [0, 15/4]; the reference is ReLU or Clip."""
    rng = np.random.default_rng(seed)
    z, d, s = (_intervals(rng, scale) for scale in (2.0, 0.5, 2.2))
    z, d, s = tightened(z, d, s)
    quantized = Activation(limits_between(F(0), F(15, 4)), (-0.125, 0.125))
    reference = Activation(limits_between(F(0), F(3, 2) if clip else None), (0.0, 0.0))
    low, high = (np.floor(4 * end + 0.5) / 4 for end in (s.lower, s.upper))
    value = Interval(np.clip(low, 0.0, 3.75), np.clip(high, 0.0, 3.75))
    known = Before(z, s, d, value)
    return hexagons(known, quantized, reference, step=float(STEP)), known, quantized, reference


def _intervals(rng: np.random.Generator, scale: float) -> Interval:
    """Around zero, so that z, d and z + d agree somewhere."""
    reach = rng.choice([0.05, 0.3, 1.0], (2, 1, NEURONS)) * rng.uniform(0, scale, (2, 1, NEURONS))
    return Interval(-reach[0], reach[1])


def samples(rng: np.random.Generator, known: Before, j: int) -> list[tuple[Fraction, Fraction, Fraction]]:
    """Points (z, d) of a hexagon and the value there: along its border, at steps of the rounding, and at kinks."""
    (low, high), (a, c), (q, p) = (
        (F(float(x.lower[0, j])), F(float(x.upper[0, j])))
        for x in (known.reference, known.difference, known.quantized)
    )
    steps = [STEP * int(k) + STEP / 2 for k in rng.integers(-1, 16, 3)]
    inside = [v for v in (*steps, STEP / 2, F(29, 8)) if q <= v <= p]
    levels = [v for t in inside for v in (t, t - F(1, 10**12))] + [q, p]
    columns = [z for z in (low, high, F(0), F(3, 2), p - c, q - a) if low <= z <= high]
    points = [(z, s) for z in columns for s in (min(p, z + c), max(q, z + a), *levels)]
    points += [(z, s) for s in levels for z in (max(low, s - c), min(high, s - a))]
    return [
        (z, s - z, min(max(((s + STEP / 2) // STEP) * STEP, F(0)), F(15, 4)))
        for z, s in points
        if low <= z <= high and a <= s - z <= c and q <= s <= p
    ]


def exceeded(seed: int, *, clip: bool) -> list[str]:
    """Objectives that are greater somewhere than the vertices say."""
    rng = np.random.default_rng(seed + 1000)
    region, known, _, _ = random_hexagons(seed, clip=clip)
    at = vertices(region)
    found = []
    for side, j in np.ndindex(2, NEURONS):
        sign, points = 1 - 2 * side, samples(rng, known, j)
        for _ in range(OBJECTIVES):
            weights = [F(float(v)) for v in rng.choice([-1.0, -0.5, 0.0, 0.25, 1.0], 4)]
            weights[0] = abs(weights[0])
            bound = _bound(at, (side, 0, j), weights)
            for z, d, value in points:
                r = max(z, F(0)) if not clip else min(max(z, F(0)), F(3, 2))
                terms = (sign * (value - r), sign * r, -sign * d, -sign * z)
                exact = sum((w * t for w, t in zip(weights, terms, strict=True)), F(0))
                if exact > bound:
                    found.append(f"neuron {j}, side {side}: {float(exact)} > {float(bound)}")
    return found


def _bound(at: Vertices, index: tuple[int, ...], weights: list[Fraction]) -> Fraction:
    def exact(values: FloatArray) -> list[Fraction]:
        return [F(float(v[index])) for v in values]

    columns = zip(exact(at.phi), exact(at.r), exact(at.d), exact(at.z), strict=True)
    a, b, alpha, beta = weights
    greatest = max(a * phi + b * r - alpha * d - beta * z for phi, r, d, z in columns)
    return greatest + F(float(at.margin[index])) * sum(map(abs, weights), F(0))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_point_of_a_hexagon_exceeds_its_vertices(seed: int, clip: bool) -> None:
    assert exceeded(seed, clip=clip) == []


def _without(k: int) -> Callable[[Hexagons], Vertices]:
    def fewer(region: Hexagons) -> Vertices:
        at = hexagon.vertices(region)
        return replace(
            at, **{name: np.delete(getattr(at, name), k, axis=0) for name in ("z", "d", "phi", "r")}
        )

    return fewer


def test_every_vertex_decides_something() -> None:
    """For each there is an objective that is clearly greatest there and nowhere else: none is there for show."""
    rng = np.random.default_rng(0)
    deciding: set[int] = set()
    for seed in range(20):
        at = vertices(random_hexagons(seed, clip=True)[0])
        for _ in range(200):
            a, b, alpha, beta = rng.uniform(-1, 1, (4, 1, NEURONS))
            values = np.sort(found := np.abs(a) * at.phi + b * at.r - alpha * at.d - beta * at.z, axis=0)
            clear = values[-1] - values[-2] > 1e-3
            deciding |= set(found.argmax(axis=0)[clear].tolist())
    assert deciding == set(range(18))


@pytest.mark.parametrize("k", [0, 3, 5, 8, 10, 14])
def test_a_missing_vertex_is_caught(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "vertices", _without(k))
    assert any(exceeded(seed, clip=True) for seed in range(6))


FAULTS: dict[str, Callable[[Hexagons], Hexagons]] = {
    "the noise is smaller": lambda r: replace(r, noise=0.75 * r.noise),
    "a step is larger": lambda r: replace(r, step=1.5 * r.step),
    "saturation is a step lower": lambda r: replace(r, most=r.most - r.step),
    "the reference is never limited": lambda r: replace(
        r, floor=0 * r.floor - np.inf, ceiling=0 * r.floor + np.inf
    ),
    "the difference is narrower": lambda r: replace(r, d=Interval(0.9 * r.d.lower, 0.9 * r.d.upper)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_hexagon_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "vertices", lambda region: hexagon.vertices(FAULTS[name](region)))
    assert any(exceeded(seed, clip=True) for seed in range(6))


def outside_planes(seed: int, *, clip: bool) -> list[str]:
    """Differences after the activation that are not between the planes."""
    rng = np.random.default_rng(seed)
    region, known, _, _ = random_hexagons(seed, clip=clip)
    with np.errstate(all="ignore"):
        found = planes(region, Interval(np.full((1, NEURONS), -9.0), np.full((1, NEURONS), 9.0)))
    left = []
    for j in range(NEURONS):
        (up, down) = (
            [F(float(v[side, 0, j])) for v in (found.alpha, found.beta, found.gamma)] for side in range(2)
        )
        for z, d, value in samples(rng, known, j):
            phi = value - (max(z, F(0)) if not clip else min(max(z, F(0)), F(3, 2)))
            if not down[0] * d + down[1] * z + down[2] <= phi <= up[0] * d + up[1] * z + up[2]:
                left.append(f"neuron {j}: {float(phi)} at z = {float(z)}, d = {float(d)}")
    return left


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_difference_lies_between_the_planes(seed: int, clip: bool) -> None:
    assert outside_planes(seed, clip=clip) == []


def test_planes_from_too_few_vertices_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qsmt.dra.planes.vertices", _without(8))
    assert any(outside_planes(seed, clip=True) for seed in range(6))
