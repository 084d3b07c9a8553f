"""Maxima by differences and ReLUs are the maxima, exactly, for any windows; and they are no larger than promised."""

from __future__ import annotations

import numpy as np
import pytest

from qsmt.frontend import maxima as module
from qsmt.frontend.maxima import Maxima, maxima
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.frontend.windows import PADDING, Taps, pooling, window


def windows_of(seed: int) -> tuple[Taps, int]:
    """Random windows over a vector: of all sizes, overlapping, some of it padding."""
    rng = np.random.default_rng(seed)
    size, rows, places = (int(v) for v in rng.integers(1, 9, 3))
    columns = np.stack([rng.permutation(max(size, places))[:places] for _ in range(rows)])
    columns[(columns >= size) | (rng.random(columns.shape) < 0.2)] = PADDING
    columns[:, 0] = np.where((columns == PADDING).all(axis=1), rng.integers(0, size, rows), columns[:, 0])
    return Taps((rows,), columns, np.zeros_like(columns)), size


def value(found: Maxima, x: np.ndarray) -> np.ndarray:
    for layer in found.layers:
        x = np.maximum(layer.astype(np.int64) @ x, 0)
    return np.asarray(found.last.astype(np.int64) @ x)


def right(seed: int, *, nonnegative: bool) -> bool:
    taps, size = windows_of(seed)
    found = maxima(taps, size, nonnegative=nonnegative)
    for x in np.random.default_rng(seed).integers(0 if nonnegative else -50, 50, (5, size)):
        expected = np.where(taps.inside, x[taps.columns], -(10**9)).max(axis=1)
        if not np.array_equal(value(found, x), expected):
            return False
    return True


@pytest.mark.parametrize("nonnegative", [False, True])
def test_the_maxima_are_right(nonnegative: bool) -> None:
    assert [seed for seed in range(300) if not right(seed, nonnegative=nonnegative)] == []


def test_one_layer_halves_every_window() -> None:
    taps = pooling((2, 4, 4), window((4, 4), (2, 2), strides=(2, 2)))
    found = maxima(taps, 32, nonnegative=True)
    assert [layer.shape for layer in found.layers] == [(32, 32), (16, 32)]
    assert [len(layer) for layer in maxima(taps, 32, nonnegative=False).layers] == [48, 24]


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    columns = np.arange(2**14).reshape(-1, 2)
    with pytest.raises(BeyondLimits):
        maxima(Taps((2**13,), columns, columns), 2**14, nonnegative=True)


@pytest.mark.parametrize("fault", ["the loser", "no negative part", "padding counts"])
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    halved, compact = module._halved, module._compact
    if fault == "the loser":
        monkeypatch.setattr(module, "_halved", lambda rows, w, **how: halved(-rows, w, **how))
    elif fault == "no negative part":
        monkeypatch.setattr(module, "_halved", lambda rows, w, **_: halved(rows, w, nonnegative=True))
    else:
        monkeypatch.setattr(module, "_compact", lambda columns: compact(np.maximum(columns, 0)))
    assert not all(right(seed, nonnegative=False) for seed in range(60))
