"""Sums of products on their way to a QuantizeLinear: moved by constants, and rounded as a runtime does it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import numpy as np

from qsmt.arith import single
from qsmt.arith.fixed import Quantized
from qsmt.arith.ideal import Ideal
from qsmt.arith.requantize import Rational, RequantKind
from qsmt.arith.rounding import Rounding, round_fraction
from qsmt.arith.runtime_kinds import F32Mul, Hull
from qsmt.arith.units import each
from qsmt.frontend.onnx_code_tensors import Codes, Floats, Sums
from qsmt.frontend.onnx_quantized_rules import QuantizedCall, Tensor
from qsmt.frontend.runtimes import Runtime

_ZERO = Fraction(0)


def unit_of(sums: Sums) -> Fraction:
    """The unit of the codes that are summed."""
    kind = sums.value.type.element
    assert isinstance(kind, Quantized)
    return kind.scale


def as_sums(call: QuantizedCall, x: Tensor) -> Sums:
    """Dequantized codes as sums of one term each."""
    if not isinstance(x, Floats) or not x.is_plain:
        call.node.refuse("is applied to something else than a tensor that was just quantized")
    index, value = x.index.ravel(), x.codes.value
    call.lowering.spend(index.size * value.size)
    weight = np.zeros((index.size, value.size), dtype=np.int64)
    weight[np.arange(index.size), index] = 1
    return Sums(value, weight, np.zeros(index.size, dtype=np.int64), Fraction(1), x.shape, dense=True)


def loosened(call: QuantizedCall, sums: Sums, why: str) -> Sums:
    """The same sums, computed by an integer kernel, or in float, or by one that leaves the result in float.

    All of these lie within the hull: an integer kernel rounds its multiplier and its product, which the hull's
    terms allow for, and its sum fits 32 bits.
    """
    check_range(call, sums)
    check_word(call, sums)
    return replace(sums, in_float=sums.in_float or why)


# --- constants --------------------------------------------------------------------------------------------


def moved_sums(
    call: QuantizedCall,
    sums: Sums,
    factors: list[Fraction],
    offsets: list[Fraction],
    *,
    roundings: int = 3,
    sizes: list[Fraction] | None = None,
) -> Sums:
    """`factor * sum + offset`, row by row; exact if `ideal`, else in so many more float operations.

    `sizes` bound what each offset is made of, where it is a float sum itself.
    """
    if call.runtime not in (Runtime.IDEAL, Runtime.ONNXRUNTIME, Runtime.ONNXRUNTIME_UNFUSED):
        call.node.refuse(f"is applied to sums, which {call.runtime} does in a way that is not known")
    if sums.limits != (-inf, inf):
        call.node.refuse("follows an activation of sums, which is not read")
    if call.runtime is not Runtime.IDEAL:
        sums = loosened(call, sums, "constants follow its sums")
    count, scale = len(sums.weight), unit_of(sums)
    units = [u * (abs(f) or 1) for u, f in zip(each(sums.scales, count), factors, strict=True)]
    signs = np.array([(f > 0) - (f < 0) for f in factors], dtype=np.int64)
    added, size = (
        [o / (u * scale) for o, u in zip(v, units, strict=True)] for v in (offsets, sizes or offsets)
    )
    old = [int(b) + r for b, r in zip(sums.bias.tolist(), sums.rest or (_ZERO,) * count, strict=True)]
    moved = replace(
        sums,
        weight=sums.weight * signs[:, None],
        scales=units[0] if len(set(units)) == 1 else tuple(units),
    )
    moved = with_exact_bias(moved, [int(s) * b + a for s, b, a in zip(signs, old, added, strict=True)])
    if call.runtime is Runtime.IDEAL:
        return moved
    mass = sums.mass or (_ZERO,) * count
    return replace(
        moved,
        mass=tuple(m + abs(b) + abs(a) for m, b, a in zip(mass, old, size, strict=True)),
        roundings=sums.roundings + roundings,
    )


def with_exact_bias(sums: Sums, values: list[Fraction]) -> Sums:
    """The sums with this bias, in their units: an integer, and what it has beyond that."""
    whole = [round(v) for v in values]
    rest = tuple(v - w for v, w in zip(values, whole, strict=True))
    return replace(sums, bias=np.array(whole, dtype=np.int64), rest=rest if any(rest) else ())


def check_word(call: QuantizedCall, sums: Sums, *, more: Fraction = _ZERO) -> None:
    """Should an integer kernel compute them, then no sum leaves 32 bits."""
    kind = sums.value.type.element
    assert isinstance(kind, Quantized)
    products = np.abs(sums.weight).sum(axis=1) * max(-kind.min, kind.max)
    largest = max(p + abs(b) for p, b in zip(products.tolist(), sums.bias.tolist(), strict=True))
    if largest + more >= 2**31:
        call.node.refuse("has a bias that does not fit 32 bits in units of its sums, and may wrap")


def check_reach(call: QuantizedCall, sums: Sums, target: Quantized) -> None:
    """No scaled sum is so large that one of TFLite's kernels, which saturate after they add the zero point, wraps."""
    if not call.runtime.runs_tflite:
        return
    kind = sums.value.type.element
    assert isinstance(kind, Quantized)
    products = np.abs(sums.weight).sum(axis=1) * max(-kind.min, kind.max)
    reach = (min(p + abs(b), 2**31) for p, b in zip(products.tolist(), sums.bias.tolist(), strict=True))
    if any(r * m >= 2**31 - 2**9 for r, m in zip(reach, multipliers(sums, target), strict=True)):
        call.node.refuse(f"has sums that {call.runtime} may scale beyond 32 bits, where they wrap")


# --- rounding ---------------------------------------------------------------------------------------------


def rounded_sums(
    call: QuantizedCall,
    sums: Sums,
    target: Quantized,
    name: str,
    *,
    rounding: Rounding = Rounding.HALF_EVEN,
) -> Codes:
    """The sums, quantized; `rounding` is that of the ideal."""
    if call.runtime is Runtime.IDEAL:
        return _ideally(call, sums, target, name, rounding)
    source = sums.value.type.element
    assert isinstance(source, Quantized)
    if call.runtime is Runtime.ONNXRUNTIME and max(source.bits, target.bits) != 8:
        what = "has activations of more than 8 bits, which some kernels of onnxruntime quantize again, to 8"
        call.node.refuse(what, hint="--runtime onnxruntime-unfused is known: it computes in float")
    if call.runtime.runs_tflite and (source.bits, target.bits) != (8, 8):
        call.node.refuse(
            f"has activations that are not of 8 bits, which {call.runtime} rounds in another way"
        )
    if not covers(sums.limits, target):
        call.refuse_float(
            "an activation stands between the layer and its QuantizeLinear, which does not cover it"
        )
    if sums.in_float is not None:
        if call.runtime.runs_tflite and target != source:
            call.node.refuse(f"averages into another format, which {call.runtime} rounds twice")
        return call.lowering.matrix(sums, name, target, _hulls(call, sums, target))
    check_reach(call, sums, target)
    scales = each(sums.scales, len(sums.weight))
    try:
        made = {s: _kind(call, sums, s, target) for s in set(scales)}
    except (ValueError, OverflowError) as error:
        call.node.refuse(f"needs a multiplier that {call.runtime} does not have: {error}")
    return call.lowering.matrix(sums, name, target, [made[s] for s in scales])


def _ideally(call: QuantizedCall, sums: Sums, target: Quantized, name: str, rounding: Rounding) -> Codes:
    """Exactly; what limits a sum limits its code, because roundings rise."""
    factors = multipliers(sums, target)
    kinds: list[RequantKind] = [Rational(m, rounding) for m in factors]
    if sums.rest or len(set(factors)) > 1:
        rest = sums.rest or (_ZERO,) * len(factors)
        kinds = [Ideal(m, r, rounding) for m, r in zip(factors, rest, strict=True)]
    found = call.lowering.matrix(sums, name, target, kinds)
    low, high = (_limit(limit, target, rounding) for limit in sums.limits)
    if (low, high) == (target.min, target.max):
        return found
    return call.lowering.clamp(found, low, high, f"{name}.limited")


def multipliers(sums: Sums, target: Quantized) -> list[Fraction]:
    """The unit of each sum in units of the target."""
    return [u * unit_of(sums) / target.scale for u in each(sums.scales, len(sums.weight))]


def _limit(limit: float, target: Quantized, rounding: Rounding) -> int:
    if limit in (inf, -inf):
        return target.max if limit > 0 else target.min
    return target.saturated(round_fraction(Fraction(limit) / target.scale, rounding))


MARGIN = 1 - 2.0**-20
"""Limits that are closer to the ends of a format than this may be compared either way."""


def covers(limits: tuple[float, float], target: Quantized) -> bool:
    """Does saturation in this format do what a clip to these limits does, by so much that a runtime sees it too?"""
    least, most = float(target.min * target.scale), float(target.max * target.scale)
    return limits[0] <= least * MARGIN and limits[1] * MARGIN >= most


OVERFLOW = Fraction(2) ** 126
"""No number of a float execution may come near the largest single, 2**128."""


def check_range(call: QuantizedCall, sums: Sums) -> None:
    """No number that a float execution of these sums may form is beyond single precision."""
    source = sums.value.type.element
    assert isinstance(source, Quantized)
    most = max(-source.min, source.max) * source.scale
    heaviest = np.abs(sums.weight).max(axis=1, initial=0).tolist()
    units = each(sums.scales, len(sums.weight))
    for unit, weight, size in zip(units, heaviest, _sizes(sums), strict=True):
        if max(most, weight * unit, size * unit * source.scale) >= OVERFLOW:
            call.node.refuse("has numbers so large that their sum may overflow in single precision")


def _sizes(sums: Sums) -> list[Fraction]:
    """A bound of all terms of each sum together, in its units."""
    source, count = sums.value.type.element, len(sums.weight)
    assert isinstance(source, Quantized)
    products = np.abs(sums.weight).sum(axis=1) * max(-source.min, source.max) + np.abs(sums.bias)
    nothing = (_ZERO,) * count
    more = zip(products.tolist(), sums.apart or nothing, sums.mass or nothing, strict=True)
    return [p + a + m + (1 if sums.rest else 0) for p, a, m in more]


def _hulls(call: QuantizedCall, sums: Sums, target: Quantized) -> list[RequantKind]:
    """Of each sum, everything that a float execution may give.

    With K terms of at most |x - z| |w| and a bias, K + 6 roundings cover those of the operands, the products, the
    sum in any order, and the division by the scale of the result: gamma_n = n u / (1 - n u), u = 2**-24 (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1).
    """
    check_range(call, sums)
    nothing = (_ZERO,) * len(sums.weight)
    terms = Fraction(int((sums.weight != 0).sum(axis=1).max()) + 6 + sums.roundings, 2**24)
    gamma = terms / (1 - terms)
    slacks = zip(_sizes(sums), sums.apart or nothing, sums.rest or nothing, strict=True)
    return [
        Hull(multiplier, (gamma * size + off + abs(rest)) * multiplier)
        for multiplier, (size, off, rest) in zip(multipliers(sums, target), slacks, strict=True)
    ]


def _kind(call: QuantizedCall, sums: Sums, scale: Fraction, target: Quantized) -> RequantKind:
    source = unit_of(sums)
    if sums.averages is not None:
        return F32Mul(
            single.quotient(float(source), single.product(float(target.scale), float(sums.averages)))
        )
    several = isinstance(sums.scales, tuple)
    return call.runtime.kind(source, scale, target.scale, dense=sums.dense, per_channel=several)
