"""How far a float runtime can be from the real network, over a region.

The runtime evaluates each layer `z = W h + b` in one binary format, rounding to nearest: n products and a bias, summed
in any order, with or without fused multiply-add, or more precisely. Operands and results that are subnormal may be
flushed to zero. With unit roundoff u and smallest normal number eta, by the standard model (Higham, Accuracy and
Stability, section 3.1), what it makes of the values g that it has for h is off by at most

    gamma_{n+1} (|W| |g| + |b|)  +  2 eta (4 (n + 1) + sum |W| + sum |g|),        gamma_k = k u / (1 - k u),

and |g - h| <= e gives |W g - W h| <= |W| e. So with |h| <= M (DeepPoly) the error of the layer is at most

    e' = |W| e + gamma_{n+1} (|W| (M + e) + |b|) + eta (...),

which a ReLU or a clip does not enlarge; where z + e' <= 0, a ReLU makes it zero. Errors are added up by their absolute
values, so what would cancel does not: the bound is crude on deep networks and wide regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qsmt.arith.outward import inflate
from qsmt.arith.real import FloatArray
from qsmt.dra.compiled import compile_network
from qsmt.dra.deeppoly import bounded_layers
from qsmt.dra.domain import Boxes
from qsmt.facts import Interval
from qsmt.ir.network import Network, layers
from qsmt.ir.ops import Affine, Clamp, Relu
from qsmt.problem import InputModel, Region


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary format: rounding to nearest is off by `roundoff` times the result, or by less than `tiny`."""

    roundoff: float
    tiny: float
    largest: float


FORMATS: Mapping[str, FloatFormat] = {
    "float32": FloatFormat(2.0**-24, 2.0**-126, 2.0**127),
    "float64": FloatFormat(2.0**-53, 2.0**-1022, 2.0**1023),
}


def float_error(network: Network, region: Region, kind: FloatFormat) -> FloatArray | None:
    """Bounds of |runtime - exact| of a real network's outputs, (m,), on inputs of the format in a region of reals.

    None where nothing is known: an activation that a runtime approximates, or a sum that may overflow.
    """
    assert region.model is InputModel.CONTINUOUS and network.is_real
    box = Boxes.of_region(region)
    with np.errstate(all="ignore"):
        bounded = bounded_layers(compile_network(network), box.interval)
    values, error = _magnitude(box.interval), np.zeros(network.input.size)
    for layer, found in zip(layers(network), bounded, strict=True):
        if not all(isinstance(op, Relu | Clamp) for op in layer.activation):
            return None
        made = _affine_error(layer.affine, values, error, kind)
        if made is None:
            return None
        values, zero = _magnitude(found.post), found.pre.upper[0] + made <= 0.0
        clips = any(isinstance(op, Relu) for op in layer.activation)
        error = np.where(zero & clips, 0.0, made)
    return error


def _affine_error(op: Affine, values: FloatArray, error: FloatArray, kind: FloatFormat) -> FloatArray | None:
    """e' of the module's text, where what is read is at most `values` in size, and off by `error`."""
    weight, bias = op.weight.reals, op.bias.reals
    terms = weight.shape[1] + 1
    size = inflate(np.abs(weight.nearest) + weight.radius, 1)
    shift = inflate(np.abs(bias.nearest) + bias.radius, 1)
    read = inflate(values + error, 1)
    reach = inflate(size @ read + shift, terms + 4)
    if not (reach < kind.largest).all() or not terms * kind.roundoff < 0.25:
        return None
    flushed = 2 * kind.tiny * (4 * terms + size.sum(axis=1) + read.sum())
    return inflate(size @ error + 1.5 * terms * kind.roundoff * reach + flushed, 2 * terms + 8)


def _magnitude(x: Interval) -> FloatArray:
    size: FloatArray = np.maximum(np.abs(x.lower[0]), np.abs(x.upper[0]))
    return size
