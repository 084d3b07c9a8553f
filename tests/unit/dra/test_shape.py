"""Images, slopes and lines of activations that are no clamps hold at every magnitude; wrong ones are caught.

Values are held against the rational enclosures of qsmt.arith.curves, and lines against exact rational arithmetic.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import isfinite

import numpy as np
import pytest

from qsmt.arith.curves import Bounds, Function, bounds, enclosure, slope_bounds
from qsmt.dra import shape as shapes
from qsmt.dra.shape import Shape, shape_of
from qsmt.facts import Interval
from qsmt.ir.ops import Curve, LeakyRelu, Value
from qsmt.ir.types import Real, TensorType

V = Value("v", TensorType((1,), Real()))
OPS: dict[str, LeakyRelu | Curve] = {
    **{str(f): Curve(V, V, f) for f in Function},
    "leaky": LeakyRelu(V, V, Fraction(1, 100)),
    "leaky, one third": LeakyRelu(V, V, Fraction(1, 3)),
    "leaky, nearly flat": LeakyRelu(V, V, Fraction(1, 10**400)),
}
COUNT = 250


def intervals(seed: int) -> Interval:
    """Intervals of all widths and places: points, tiny and huge ones, on one side and across every kink."""
    rng = np.random.default_rng(seed)
    center = rng.normal(size=COUNT) * 10.0 ** rng.uniform(-3, 2, COUNT)
    half = 10.0 ** rng.uniform(-12, 2, COUNT)
    some = rng.integers(0, 8, COUNT)
    center = np.where(some == 0, 0.0, np.where(some == 1, rng.choice([-3.0, 3.0, -1.5], COUNT), center))
    half = np.where(some == 2, 0.0, np.where(some == 3, 10.0 ** rng.uniform(2, 30, COUNT), half))
    lower, upper = center - half, center + half
    lower = np.where(some == 4, 0.0, np.where(some == 5, -3.0, lower))
    return Interval(np.minimum(lower, upper), np.maximum(lower, upper))


def value(op: LeakyRelu | Curve, x: Fraction) -> tuple[Fraction, Fraction]:
    if isinstance(op, LeakyRelu):
        return max(x, op.slope * x), max(x, op.slope * x)
    return enclosure(op.function, x)


def samples(low: float, high: float) -> list[Fraction]:
    """The ends, the kinks between them, and points in between, near both ends too."""
    a, b = Fraction(low), Fraction(high)
    shares = (0, 1, Fraction(1, 2), Fraction(1, 10), Fraction(9, 10), Fraction(1, 1000), Fraction(2, 3))
    kinks = [Fraction(k, 2) for k in (-6, -3, 0, 6, 1, -1) if a <= Fraction(k, 2) <= b]
    return sorted({a + (b - a) * share for share in shares} | set(kinks))


def wrong(op: LeakyRelu | Curve, seed: int) -> list[str]:
    """What does not hold of a shape on random intervals."""
    z, shape, found = intervals(seed), shape_of(op), list[str]()
    with np.errstate(all="ignore"):
        image, slopes, (slope, intercept) = shape.image(z), shape.slopes(z), shape.lines(z)
    for i in range(COUNT):
        xs = samples(z.lower[i], z.upper[i])
        values = [value(op, x) for x in xs]
        if any(v[1] < image.lower[i] or v[0] > image.upper[i] for v in values):
            found.append(f"image of {z[i]}")
        for (x, v), (y, w) in pairwise(zip(xs, values, strict=True)):
            if not Fraction(slopes.lower[i]) * (y - x) <= w[1] - v[0] or not (
                w[0] - v[1] <= Fraction(slopes.upper[i]) * (y - x)
            ):
                found.append(f"slope of {z[i]}")
        for side, sign in enumerate((1, -1)):
            s, t = Fraction(slope[side, i]), intercept[side, i]
            if isfinite(t) and any(
                min(sign * e for e in v) > s * sign * x + Fraction(t) for x, v in zip(xs, values, strict=True)
            ):
                found.append(f"line {side} of {z[i]}")
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OPS)
def test_images_slopes_and_lines_hold(name: str, seed: int) -> None:
    assert wrong(OPS[name], seed) == []


@pytest.mark.parametrize("name", OPS)
def test_beyond_all_numbers_nothing_is_claimed(name: str) -> None:
    ends = np.array([-np.inf, -np.inf, 0.0, 5.0, -4.0])
    z = Interval(ends, np.array([np.inf, 1.0, np.inf, np.inf, np.inf]))
    with np.errstate(all="ignore"):
        shape = shape_of(OPS[name])
        image, (slope, intercept) = shape.image(z), shape.lines(z)
    assert (slope == 0.0).all()
    assert (intercept == np.stack([image.upper, -image.lower])).all()
    for i, at in enumerate((0.0, -7.0, 50.0, 6.0, -1.5)):
        low, high = value(OPS[name], Fraction(at))
        assert image.lower[i] <= low <= high <= image.upper[i]


def area(shape: Shape, z: Interval) -> float:
    """What two lines enclose in the middle, as a share of what the image does, on the mean."""
    slope, intercept = shape.lines(z)
    middle = 0.5 * z.lower + 0.5 * z.upper
    gap = intercept.sum(axis=0) + (slope[0] - slope[1]) * middle
    image = shape.image(z)
    return float((gap / (image.upper - image.lower)).mean())


@pytest.mark.parametrize(
    ("name", "share"),
    [("tanh", 0.3), ("sigmoid", 0.3), ("hard_swish", 0.5), ("leaky", 0.3)],
)
def test_lines_are_tight(name: str, share: float) -> None:
    rng = np.random.default_rng(0)
    center, half = rng.uniform(-2, 2, 200), rng.uniform(0.01, 1.5, 200)
    assert area(shape_of(OPS[name]), Interval(center - half, center + half)) <= share


def test_a_narrow_interval_costs_next_to_nothing() -> None:
    z = Interval(np.array([0.7, -0.7, 2.0]), np.array([0.7001, -0.6999, 2.0001]))
    for op in OPS.values():
        slope, intercept = shape_of(op).lines(z)
        assert (intercept.sum(axis=0) + (slope[0] - slope[1]) * z.lower <= 1e-8).all()


def test_only_the_same_function_is_the_same() -> None:
    found = [shape_of(op) for op in OPS.values()]
    assert [[a.equals(b) for b in found] for a in found] == np.eye(len(found), dtype=bool).tolist()
    assert not found[0].equals(None)


# --- planted faults ---------------------------------------------------------------------------------------

BOUNDS, SLOPES = bounds, slope_bounds
FAULTS: dict[str, tuple[str, object]] = {
    "the greatest value is that of an end": (
        "_of_concave",
        lambda shape, _, z, slope, sign: shapes._value(shape, z.lower, slope, sign),
    ),
    "values are rounded down": ("raised", lambda v: v - 1e-9 * np.abs(v)),
    "every piece is convex": ("CONCAVE", 7),
    "bounds are swapped": (
        "bounds",
        lambda f, z: Bounds(BOUNDS(f, z).upper + 1e-12, BOUNDS(f, z).lower - 1e-12),
    ),
    "slopes are a little too flat": (
        "slope_bounds",
        lambda f, z: Bounds(0.9 * SLOPES(f, z).lower, 0.9 * SLOPES(f, z).upper),
    ),
    "the least slope is that of the middle": (
        "slope_bounds",
        lambda f, z: Bounds(SLOPES(f, 0.5 * z).lower, SLOPES(f, z).upper),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, what = FAULTS[fault]
    monkeypatch.setattr(shapes, name, what)
    assert any(wrong(op, seed) for op in OPS.values() for seed in range(2))


def test_a_forgotten_turn_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shape, "image", _image_of_ends)
    assert wrong(OPS["hard_swish"], 0)


def _image_of_ends(shape: Shape, z: Interval) -> Interval:
    low, high = shape.bounds(z.lower), shape.bounds(z.upper)
    return Interval(np.minimum(low.lower, high.lower), np.maximum(low.upper, high.upper))
