"""Public networks that nobody here wrote, quantized by onnxruntime: read, aligned, and executed bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import version_converter

from qsmt.frontend.align import aligned
from qsmt.frontend.base import load_network
from qsmt.ir.network import layers
from tests.support.quantized_onnx import Recipe, by_the_batch, executed, quantize_model, random_inputs
from tests.support.shared import shared_data, shared_names

FORMS = {
    "QDQ": Recipe(),
    "QOperator": Recipe(format="QOperator"),
    "per channel": Recipe(options={"per_channel": True}),
}
NETWORKS = [
    *shared_names("acasxu/onnx/*_1_1_*.onnx"),
    *shared_names("vnncomp_rl/*.onnx"),
    *shared_names("qebverif/P1*.onnx"),
    *shared_names("ceg4n/networks/*.onnx"),
    *(name for name in shared_names("arch_controllers/*.onnx") if "tanh" not in name),
]
POINTS = 1000
PER_AXIS = 13
"""The first opset whose DequantizeLinear has an axis."""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_public_network_is_read_as_onnxruntime_runs_it(name: str, form: str, tmp_path: Path) -> None:
    path = shared_data() / name
    if not path.is_file():
        pytest.skip(f"{name} is not there")
    made = onnx.load(path)
    if made.opset_import[0].version < PER_AXIS:
        made = version_converter.convert_version(made, PER_AXIS)
    before, after = quantize_model(made, FORMS[form], tmp_path)
    network = load_network(after)
    inputs = random_inputs(network, POINTS, reach=1.1)
    assert np.count_nonzero(by_the_batch(network, inputs) != executed(after, inputs)) == 0
    pairs = zip(layers(aligned(load_network(before), network)), layers(network), strict=True)
    assert all(ours.pre.size == theirs.pre.size for ours, theirs in pairs)
