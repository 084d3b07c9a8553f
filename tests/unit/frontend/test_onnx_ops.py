"""Every operator form that is read means what onnxruntime computes, with no tolerance; wrong rules are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from qsmt.arith.real import RealTensor
from qsmt.errors import InputError
from qsmt.frontend import onnx_affine, onnx_contraction, onnx_graph, onnx_ops, onnx_shape_ops, onnx_windows
from qsmt.frontend.maxima import maxima
from qsmt.frontend.onnx_exact import scalar
from qsmt.frontend.onnx_model import OPERATORS
from qsmt.frontend.windows import Taps
from qsmt.ir.ops import Relu
from tests.support.onnx_forms import FORMS, ROUNDED, agrees, farthest, kinds, load
from tests.support.onnx_models import small


@pytest.mark.parametrize("name", FORMS)
def test_form_means_what_onnxruntime_computes(name: str) -> None:
    form = FORMS[name]
    assert agrees(form.proto)
    assert kinds(load(form.proto)) == form.kinds


@pytest.mark.parametrize("name", ROUNDED)
def test_form_means_what_onnxruntime_computes_up_to_its_rounding(name: str) -> None:
    form = ROUNDED[name]
    assert farthest(form.proto) <= FEW_ROUNDINGS
    assert kinds(load(form.proto)) == form.kinds


FEW_ROUNDINGS = 2.0**-22
"""Four units of single precision."""


@pytest.mark.parametrize("opset", onnx_graph.OPSETS)
def test_every_opset_is_read(opset: int) -> None:
    assert agrees(small(opset=opset))


def test_every_operator_has_a_form() -> None:
    used = {n.op_type for form in (FORMS | ROUNDED).values() for n in form.proto.graph.node}
    assert used >= set(OPERATORS.names)


def test_opsets_end_where_the_definitions_were_last_compared() -> None:
    """A newer onnx may redefine an operator: then compare it with the rule, and raise both numbers."""
    newest = {op: onnx.defs.get_schema(op, OPSETS_END).since_version for op in OPERATORS.names}
    assert max(newest.values()) <= OPSETS_END


OPSETS_END = onnx_graph.OPSETS[-1]

# --- planted faults ---------------------------------------------------------------------------------------------


def without_flag(flag: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A frontend that does not know an integer attribute."""
    sound = onnx_graph.Node.integer

    def integer(self: onnx_graph.Node, name: str, default: int) -> int:
        return default if name == flag else sound(self, name, default)

    return lambda patch: patch.setattr(onnx_graph.Node, "integer", integer)


def without_factor(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A frontend that does not know `alpha` or `beta`."""
    sound = onnx_graph.Node.number

    def number(self: onnx_graph.Node, asked: str) -> float | None:
        return None if asked == name else sound(self, asked)

    return lambda patch: patch.setattr(onnx_graph.Node, "number", number)


def replaced(module: object, name: str, fault: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(module, name, fault)


def first(a: Any, *_: Any) -> Any:
    return a


SOUND_CLIP = onnx_ops._clip


def mirrored(taps: Taps) -> Taps:
    """Windows that read one element to the left of where they are."""
    return replace(taps, columns=np.maximum(taps.columns - 1, 0))


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "transB is ignored": (without_flag("transB"), "Gemm: transB of a square"),
    "transA is ignored": (without_flag("transA"), "Gemm: transA of a square"),
    "alpha is ignored": (without_factor("alpha"), "Gemm: alpha"),
    "beta is ignored": (without_factor("beta"), "Gemm: alpha and beta"),
    "bias is dropped": (replaced(onnx_affine, "total", first), "Gemm: plain"),
    "bias is spread over the wrong axis": (
        replaced(np, "broadcast_to", lambda array, shape: np.resize(array, shape[::-1]).T),
        "Gemm: bias row",
    ),
    "bias of a column is spread as a row": (
        replaced(np, "broadcast_to", np.resize),
        "Gemm: bias column",
    ),
    "c - x is x - c": (replaced(onnx_ops, "negated", first), "arithmetic: x - c"),
    "minus is plus": (
        replaced(onnx_affine.Lowering, "scale", lambda self, x, factor: x),
        "arithmetic: c - x",
    ),
    "division multiplies": (replaced(onnx_ops, "reciprocal", first), "arithmetic: x / c"),
    "constant on the wrong side": (
        replaced(onnx_contraction, "_left", onnx_contraction._right),
        "MatMul: inner rows",
    ),
    "offset before a layer is forgotten": (
        replaced(onnx_affine, "image", lambda w, v: RealTensor.of_floats(np.zeros(w.shape[0]))),
        "exporter: normalisation",
    ),
    "axis is ignored": (without_flag("axis"), "shape: Gather"),
    "permutation is ignored": (
        replaced(onnx_graph.Node, "integers", lambda self, name: None),
        "shape: Transpose by a permutation",
    ),
    "relabelling is ignored": (
        replaced(onnx_affine.Lowering, "_select", lambda self, pending, index: pending),
        "shape: Transpose",
    ),
    "relabelling before a layer is ignored": (
        replaced(onnx_affine.Elementwise, "is_in_order", lambda self, size: True),
        "exporter: channels last",
    ),
    "Clip has no upper limit": (
        replaced(onnx_ops, "_clip", lambda call, low, high: SOUND_CLIP(call, low, None)),
        "activation: Clip",
    ),
    "Clip has no lower limit": (
        replaced(onnx_ops, "_clip", lambda call, low, high: SOUND_CLIP(call, None, high)),
        "activation: Clip",
    ),
    "Clip is Relu": (
        replaced(onnx_ops, "Clamp", lambda out, x, low, high: Relu(out, x)),
        "activation: Clip",
    ),
    "activation commutes with an offset": (
        replaced(onnx_affine.Elementwise, "is_relabelling", True),
        "activation: scaled between activations",
    ),
    "groups are ignored": (without_flag("group"), "window: Conv in groups"),
    "strides, dilations and pads are ignored": (
        replaced(onnx_graph.Node, "integers", lambda self, name: None),
        "window: Conv, dilated",
    ),
    "padding is always given": (
        replaced(onnx_graph.Node, "text", lambda self, name, default: default),
        "window: Conv, padded as needed",
    ),
    "the bias is one number for all": (
        replaced(np, "repeat", lambda array, count: np.resize(array, array.size * count)),
        "window: Conv",
    ),
    "padding is never counted": (
        without_flag("count_include_pad"),
        "window: AveragePool, padding counted",
    ),
    "what a window averages is summed": (
        replaced(onnx_windows, "scaled", lambda call, x, factor: x),
        "window: GlobalAveragePool",
    ),
    "everything is taken to be positive": (
        replaced(onnx_affine.Lowering, "is_nonnegative", lambda self, x: True),
        "window: MaxPool",
    ),
    "windows are one element off": (
        replaced(onnx_windows, "maxima", lambda taps, size, **how: maxima(mirrored(taps), size, **how)),
        "window: MaxPool",
    ),
    "the variance is not rooted": (
        replaced(onnx_windows, "_inverse_root", lambda v: 1 / v),
        "window: BatchNormalization",
    ),
    "the mean is forgotten": (
        replaced(onnx_windows, "negated", lambda v: scalar(0.0)),
        "window: BatchNormalization after a layer",
    ),
    "a slope is 1/100": (without_factor("alpha"), "curve: LeakyRelu"),
    "a shift is 1/2": (without_factor("beta"), "curve: HardSigmoid"),
    "cast does not round": (
        replaced(onnx_shape_ops, "_cast_to_float", lambda call, x, to: x),
        "constant: Cast that rounds",
    ),
}


def caught(proto: ModelProto) -> bool:
    """Does the comparison with onnxruntime tell that the frontend is wrong?"""
    try:
        return not agrees(proto)
    except (InputError, ValueError, IndexError, AssertionError):  # so wrong that it does not even run
        return True


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, form = FAULTS[fault]
    assert not caught(FORMS[form].proto)
    plant(monkeypatch)
    assert caught(FORMS[form].proto)
