"""`qsmt quantize`: a float network as an 8-bit ONNX file, its ranges from data or from analysis."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite
from pathlib import Path

import numpy as np

from qsmt.arith.real import FloatArray
from qsmt.errors import MalformedProblem
from qsmt.frontend.affine_scheme import AffineScheme, Range, quantize_affine
from qsmt.frontend.base import load_network, read_file
from qsmt.frontend.flags import Box, parse_box
from qsmt.interp.batch_reals import layer_values
from qsmt.ir.network import Network
from qsmt.problem import InputModel, Region

MAX_RANGE = 2.0**127
"""Of the values of a format: their scale is a single."""


def quantized_file(path: Path, scheme: AffineScheme, *, calibrate: Path | None, box: str | None) -> bytes:
    """The bytes of an ONNX file that quantizes the network at `path`.

    The formats hold what the network's values are on the samples of a file (`calibrate`), or what they can be
    anywhere in a box, certified by analysis.

    Raises:
        InputError: one line with the file or the flag, and what is wrong there.
    """
    if (calibrate is None) == (box is None):
        what = "give either samples or a box of inputs: formats need ranges"
        raise MalformedProblem(
            what, where="--calibrate", hint="as in --calibrate data.npy, or --box '[-1,1]^4'"
        )
    network = load_network(path)
    if not network.is_real:
        raise MalformedProblem("computes on integers already", where=path, hint="give a float network")
    if calibrate is not None:
        inputs, outputs = _of_samples(network, _samples(calibrate, network.input.size))
    else:
        inputs, outputs = _of_box(network, parse_box(box or ""))
    from qsmt.frontend.onnx_write import onnx_bytes
    from qsmt.frontend.shapes import shapes_of

    shape, result = shapes_of(path, network)
    made = quantize_affine(network, scheme, inputs=inputs, outputs=outputs)
    return onnx_bytes(made, name=network.name, shape=shape, result=result)


def _samples(path: Path, size: int) -> FloatArray:
    """A `.npy` file of numbers, (samples, ...): one flattened input per sample."""
    content = read_file(path)
    try:
        from io import BytesIO

        samples = np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        hint = "write one with numpy.save"
        raise MalformedProblem("is not a file of numpy numbers", where=path, hint=hint) from None
    if not isinstance(samples, np.ndarray) or samples.dtype.kind not in "fiu" or samples.ndim < 1:
        raise MalformedProblem("does not hold one array of real numbers", where=path)
    if samples.ndim == 1 or len(samples) < 1 or samples.size != len(samples) * size:
        what = f"has shape {list(samples.shape)}, not samples of {size} inputs"
        raise MalformedProblem(what, where=path, hint="the first axis counts the samples")
    flat = samples.reshape(len(samples), size).astype(np.float64)
    if not np.isfinite(flat).all():
        raise MalformedProblem("holds a number that is not finite", where=path)
    return flat


def _of_samples(network: Network, samples: FloatArray) -> tuple[Range, list[Range]]:
    """What the values of the samples, and of the layers on them, are."""
    outputs = [_ends(values) for values in layer_values(network, samples)]
    return _ends(samples), outputs


def _of_box(network: Network, box: Box) -> tuple[Range, list[Range]]:
    """What the values of a box, and of the layers on it, can be."""
    from qsmt.dra.analysis import reference_ranges
    from qsmt.dra.domain import Boxes

    if len(box.lower) != network.input.size:
        what = f"network @{network.name} has {network.input.size} inputs, the region {len(box.lower)}"
        raise MalformedProblem(what, where="--box")
    region = Region(InputModel.CONTINUOUS, box.lower, box.upper)
    found = reference_ranges(network, Boxes.of_region(region), Fraction(1))
    return box.hull, [_finite(float(r.lower.min()), float(r.upper.max())) for r in found]


def _ends(values: FloatArray) -> Range:
    return _finite(float(values.min()), float(values.max()))


def _finite(low: float, high: float) -> Range:
    if not (isfinite(low) and isfinite(high)) or high - low > MAX_RANGE:
        what = "the inputs or a layer's values have no range that single precision holds"
        raise MalformedProblem(what, where="quantize", hint="give a smaller box, or smaller samples")
    return Fraction(low), Fraction(high)


def schemes() -> Sequence[str]:
    """The names of the kinds of scales."""
    return ("affine", "power-of-two")
