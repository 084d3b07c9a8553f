"""Convolutions and pools as affine rows compute what onnxruntime computes, with no tolerance on small integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto

from qsmt.frontend import windows
from qsmt.frontend.onnx_exact import BeyondLimits
from qsmt.frontend.windows import PADDING, Taps, Window, convolution, counted, dense, pooling, window
from tests.support.onnx_models import model, node

SEEDS = range(120)


@dataclass(frozen=True)
class Case:
    """One operator over one tensor of small integers."""

    op: str
    spatial: tuple[int, ...]
    channels: int
    out: int
    groups: int
    over: Window
    attributes: dict[str, Any]
    x: np.ndarray
    weight: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, *self.spatial)

    @property
    def model(self) -> ModelProto:
        inputs, constants = (["x", "w"], {"w": self.weight}) if self.op == "Conv" else (["x"], {})
        return model(
            [node(self.op, inputs, ["y"], **self.attributes)], x=self.x.shape, constants=constants, opset=19
        )


def case(seed: int, op: str) -> Case | None:
    """A random operator, or None where its window does not fit or has only padding."""
    rng = np.random.default_rng(seed)
    axes, groups = int(rng.integers(1, 3)), int(rng.integers(1, 3)) if op == "Conv" else 1
    spatial, kernel = (tuple(rng.integers(1, n, axes).tolist()) for n in (8, 4))
    strides, dilations = (tuple(rng.integers(1, n, axes).tolist()) for n in (4, 3))
    auto_pad = str(rng.choice(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = tuple(min(int(p), kernel[i % axes] - 1) for i, p in enumerate(rng.integers(0, 3, 2 * axes)))
    channels, out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "auto_pad": auto_pad}
    if auto_pad == "NOTSET":
        attributes["pads"] = pads
    if op == "Conv":
        attributes["group"] = groups
    else:
        attributes |= {"kernel_shape": kernel, "ceil_mode": int(auto_pad == "NOTSET" and rng.integers(2))}
    if op == "AveragePool":
        attributes["count_include_pad"] = int(rng.integers(2))
    try:
        over = window(
            spatial,
            kernel,
            strides=strides,
            dilations=dilations,
            pads=attributes.get("pads"),
            auto_pad=auto_pad,
            ceil_mode=bool(attributes.get("ceil_mode")),
        )
        if op != "Conv":
            pooling((channels, *spatial), over)
    except ValueError:
        return None
    if (
        op != "Conv"
        and auto_pad.startswith("SAME")
        and any(s > k for s, k in zip(strides, kernel, strict=True))
    ):
        return None  # the runtime refuses some of these, depending on the type
    x = rng.integers(-4, 5, (1, channels, *spatial)).astype(np.float32)
    weight = rng.integers(-4, 5, (out, channels // groups, *kernel)).astype(np.float32)
    return Case(op, spatial, channels, out, groups, over, attributes, x, weight)


CASES = {
    op: [c for c in (case(seed, op) for seed in SEEDS) if c] for op in ("Conv", "AveragePool", "MaxPool")
}


def computed(case: Case) -> np.ndarray:
    """What the rows compute."""
    if case.op == "Conv":
        taps = convolution(case.shape, case.weight.shape, case.over, groups=case.groups)
        values = dense(taps, case.weight, case.x.size) @ case.x.ravel()
    else:
        taps = pooling(case.shape, case.over)
        read = case.x.ravel()[taps.columns]
        if case.op == "MaxPool":
            values = np.where(taps.inside, read, -np.inf).max(axis=1)
        else:
            ones = np.ones(taps.columns.shape[1], dtype=np.float32)
            padding = bool(case.attributes["count_include_pad"])
            count = counted(case.shape, case.over, padding=padding)
            values = dense(taps, ones, case.x.size) @ case.x.ravel() / count.astype(np.float32)
    return np.asarray(values.reshape(1, *taps.shape))


def measured(case: Case) -> np.ndarray:
    """What onnxruntime computes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        case.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": case.x})[0])


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference in units in the last place; infinite if the shapes differ."""
    if found.shape != expected.shape:
        return np.inf
    return float((np.abs(found - expected) / np.spacing(np.maximum(np.abs(expected), 2.0**-20))).max())


@pytest.mark.parametrize(("op", "ulps"), [("Conv", 0), ("MaxPool", 0), ("AveragePool", 1)])
def test_rows_compute_what_onnxruntime_computes(op: str, ulps: int) -> None:
    assert len(CASES[op]) > len(SEEDS) / 3
    assert max(worst(computed(c), measured(c)) for c in CASES[op]) <= ulps


@pytest.mark.parametrize("op", CASES)
def test_no_row_reads_a_column_twice(op: str) -> None:
    for c in CASES[op]:
        taps = convolution(c.shape, c.weight.shape, c.over, groups=c.groups)
        for row in taps.columns.tolist():
            inside = [column for column in row if column != PADDING]
            assert len(set(inside)) == len(inside)


def test_the_rows_serve_integers_of_any_size() -> None:
    c = CASES["Conv"][0]
    taps = convolution(c.shape, c.weight.shape, c.over, groups=c.groups)
    huge = c.weight.astype(np.int64).astype(object) * 10**30
    small = dense(taps, c.weight.astype(np.int64), c.x.size)
    assert (dense(taps, huge, c.x.size) == small.astype(object) * 10**30).all()


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("over 1", {"spatial": (4,)}),
        ("not those of 2 axes", {"strides": (1,)}),
        ("below one", {"strides": (0, 1)}),
        ("below one", {"pads": (-1, 0, 0, 0)}),
        ("over axes of sizes", {"kernel": (5, 1)}),
        ("'CENTRE', which is none", {"auto_pad": "CENTRE"}),
        ("do not agree", {"auto_pad": "SAME_UPPER", "dilations": (2, 2)}),
    ],
)
def test_a_window_that_is_none_is_refused(said: str, options: dict[str, Any]) -> None:
    given = {"spatial": (4, 4), "kernel": (2, 2)} | options
    with pytest.raises(ValueError, match=said):
        window(given.pop("spatial"), given.pop("kernel"), **given)


def test_shapes_that_do_not_fit_are_refused() -> None:
    over = window((4,), (2,))
    for channels, weight, groups in ((3, (2, 2, 2), 1), (4, (3, 2, 2), 2), (4, (4, 4, 2), 0)):
        with pytest.raises(ValueError, match="convolves"):
            convolution((channels, 4), weight, over, groups=groups)


def test_a_pool_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="altogether"):
        pooling((1, 2), window((2,), (1,), pads=(1, 0)))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_a_pool_that_would_pad_less_than_nothing_is_refused(auto_pad: str) -> None:
    """onnxruntime fails on floats and starts at the second of six codes, or averages from there on."""
    over = window((6,), (1,), strides=(3,), auto_pad=auto_pad)
    with pytest.raises(ValueError, match="do not agree"):
        pooling((1, 6), over)
    taps = convolution((1, 6), (1, 1, 1), over)
    assert taps.columns.ravel().tolist() == [0, 3]
    assert pooling((1, 6), window((6,), (3,), strides=(3,), auto_pad=auto_pad)).shape == (1, 2)


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    over = window((2**40,), (3,), pads=(1, 1))
    with pytest.raises(BeyondLimits):
        convolution((1, 2**40), (1, 1, 3), over)
    with pytest.raises(BeyondLimits):
        pooling((1, 2**40), over)


# --- planted faults ---------------------------------------------------------------------------------------


def _moved(taps: Taps) -> Taps:
    return replace(taps, columns=np.where(taps.inside, np.roll(taps.columns, 1, axis=1), PADDING))


FAULTS: dict[str, Callable[[Taps], Taps]] = {
    "entries in the wrong order": lambda taps: replace(taps, entries=taps.entries[:, ::-1]),
    "columns moved by one place": _moved,
    "the last place is forgotten": lambda taps: replace(
        taps, columns=np.concatenate([taps.columns[:, :-1], np.full((len(taps.columns), 1), PADDING)], axis=1)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = windows.dense
    monkeypatch.setitem(globals(), "dense", lambda taps, *rest: sound(FAULTS[fault](taps), *rest))
    assert max(worst(computed(c), measured(c)) for c in CASES["Conv"]) > 0
