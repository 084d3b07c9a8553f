"""What of the VNN-LIB standard qsmt supports, in the words of section 5.4: the lines to print for each capability."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def _operators() -> tuple[str, ...]:
    from qsmt.frontend.onnx import operators

    return operators()


def _opsets() -> tuple[str, ...]:
    from qsmt.frontend.onnx import opsets

    return tuple(map(str, opsets()))


CAPABILITIES: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "onnx-opset-versions": _opsets,
    "onnx-element-types": lambda: ("real",),
    "onnx-operators": _operators,
    "vnnlib-versions": lambda: ("1.0", "2.0"),
    "hidden-node-theories": lambda: ("NH",),
    "multiple-input-output-theories": lambda: ("SIO",),
    "multiple-network-theories": lambda: ("SNET", "MNET", "MENET", "MINET"),
    "multiple-node-comparison-theories": lambda: ("SNC",),
    "arithmetic-complexity-theories": lambda: ("BND", "OUTC"),
    "optimised-disjunctive-reasoning": lambda: ("false",),
    "serialise-assignments": lambda: ("true",),
    "unsat-proofs": lambda: ("false",),
    "onnx-operators-unsat-proofs": lambda: (),
}
"""Only what is supported in full: linear inequalities are read of outputs, not of inputs, so LIN is not; no inequality
of inputs with outputs of one network is, so MNC is not. Floats round and qsmt does not, so no float type is."""
