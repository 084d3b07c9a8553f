"""Exact arithmetic on arrays of real parameters: doubles where they suffice, rationals where they do not.

Folding a graph's constants must not round, or the network that is proved about is not the one in the
file. Two tests tell, without rationals, that an elementwise result is exact in doubles:

* a product of two numbers of single precision needs at most 48 significant bits, and its magnitude is
  between 2**-298 and 2**256: it is a double. So is a product with 0, 1 or -1;
* the rounding error of a sum is itself a double, which six additions compute (Knuth's TwoSum; Higham,
  Accuracy and Stability of Numerical Algorithms, section 4.3). It is zero if and only if the sum is exact.

Everything else goes through `Fraction`, up to `MAX_EXACT` numbers at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from qsmt.arith.real import ExactArray, IntArray, RealTensor, frozen

MAX_EXACT = 2**22
"""So many parameters can be folded through rationals in one step, in seconds and below a gigabyte."""

_PRODUCTS_HELD = 2**14

Array: TypeAlias = npt.NDArray[Any]


class BeyondLimits(Exception):
    """The constants of a model are too large, or too many, to be folded."""


def scalar(value: float) -> RealTensor:
    """One finite float."""
    return RealTensor.of_floats(value)


def rearranged(tensor: RealTensor, how: Callable[[Array], Array]) -> RealTensor:
    """The numbers in another arrangement; `how` moves or repeats elements and computes nothing."""
    rationals = None if tensor.rationals is None else frozen(np.asarray(how(tensor.rationals)))
    return RealTensor(frozen(np.asarray(how(tensor.nearest))), rationals)


def concatenated(tensors: Sequence[RealTensor]) -> RealTensor:
    """The numbers one after the other along the first axis."""
    nearest = frozen(np.concatenate([tensor.nearest for tensor in tensors]))
    if all(tensor.rationals is None for tensor in tensors):
        return RealTensor(nearest, None)
    return RealTensor(nearest, frozen(np.concatenate([tensor.fractions for tensor in tensors])))


def is_filled(tensor: RealTensor, value: float) -> bool:
    """Are all the numbers this one?"""
    return tensor.rationals is None and bool((tensor.nearest == value).all())


def nonzero(tensor: RealTensor) -> npt.NDArray[np.bool_]:
    """Which of the numbers are not zero."""
    numbers: Array = tensor.nearest if tensor.rationals is None else tensor.rationals
    return np.asarray(numbers != 0, dtype=np.bool_)


def product(a: RealTensor, b: RealTensor) -> RealTensor:
    """Elementwise, with broadcasting."""
    doubles = a.rationals is None and b.rationals is None
    if doubles and (_is_trivial(a) or _is_trivial(b) or (is_single(a) and is_single(b))):
        return RealTensor(frozen(np.asarray(a.nearest * b.nearest)))
    return _rational(a, b, lambda x, y: x * y)


def total(a: RealTensor, b: RealTensor) -> RealTensor:
    """The elementwise sum, with broadcasting."""
    if a.rationals is None and b.rationals is None:
        with np.errstate(all="ignore"):
            result = np.asarray(a.nearest + b.nearest)
            back = result - a.nearest
            error = (a.nearest - (result - back)) + (b.nearest - back)
        if not np.any(error):  # an overflow makes it NaN, which is not zero either
            return RealTensor(frozen(result))
    return _rational(a, b, lambda x, y: x + y)


def negated(tensor: RealTensor) -> RealTensor:
    return rearranged(tensor, lambda numbers: -numbers)


def reciprocal(tensor: RealTensor) -> RealTensor:
    """One over each number; none may be zero."""
    return _rational(scalar(1.0), tensor, lambda x, y: x / y)


def image(weight: RealTensor, vector: RealTensor) -> RealTensor:
    """`weight @ vector` for a matrix; zeros cost nothing, and few products are held at a time."""
    rows, columns = np.nonzero(nonzero(weight) & nonzero(vector)[None, :])
    if rows.size > MAX_EXACT:
        raise BeyondLimits(f"{rows.size} products of weights and input offsets; the limit is {MAX_EXACT}")
    weights, weight_unit = rearranged(weight, lambda w: w[rows, columns]).scaled
    factors, factor_unit = vector.scaled
    sums = np.zeros(weight.shape[0], dtype=object)
    for start in range(0, rows.size, _PRODUCTS_HELD):
        some = slice(start, start + _PRODUCTS_HELD)
        np.add.at(sums, rows[some], weights[some] * factors[columns[some]])
    unit = Fraction(1, weight_unit * factor_unit)
    return _checked([s * unit for s in sums.tolist()], sums.shape)


def scattered(shape: tuple[int, ...], at: tuple[IntArray, ...], tensor: RealTensor) -> RealTensor:
    """Zeros of this shape, with the numbers at the given places, which are distinct."""

    def place(numbers: Array) -> Array:
        zero = Fraction(0) if numbers.dtype == object else 0.0
        out = np.full(shape, zero, dtype=numbers.dtype)
        out[at] = numbers
        return out

    return rearranged(tensor, place)


def _is_trivial(tensor: RealTensor) -> bool:
    magnitudes = np.abs(tensor.nearest)
    return bool(((magnitudes == 0) | (magnitudes == 1)).all())


def is_single(tensor: RealTensor) -> bool:
    """Are all the numbers of single precision (or nearest to such)?"""
    with np.errstate(over="ignore", under="ignore"):
        single = tensor.nearest.astype(np.float32)
    return bool((single == tensor.nearest).all())


def _rational(a: RealTensor, b: RealTensor, rule: Callable[[Any, Any], Any]) -> RealTensor:
    size = np.broadcast(a.nearest, b.nearest).size
    if size > MAX_EXACT:
        raise BeyondLimits(f"{size} folded parameters that are not doubles; the limit is {MAX_EXACT}")
    numbers: ExactArray = np.asarray(rule(a.fractions, b.fractions), dtype=object)
    return _checked(numbers.ravel().tolist(), numbers.shape)


def _checked(numbers: list[Fraction], shape: tuple[int, ...]) -> RealTensor:
    try:
        return RealTensor.of_fractions(numbers, shape)
    except ValueError:
        raise BeyondLimits("a folded parameter beyond the largest double, which is not read") from None
