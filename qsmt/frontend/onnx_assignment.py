"""Values as a serialised ONNX tensor: what VNN-LIB's `--serialise-assignments` writes (section 5.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from qsmt.frontend.vnnlib_query import Tensor


def tensor_bytes(declared: Tensor, values: Sequence[Fraction]) -> bytes:
    """The values, row by row, in the declared shape and type; `real`, which ONNX has not, as float64.

    Each becomes the nearest number of its type.
    """
    from onnx import TensorProto, helper

    kinds = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "bfloat16": TensorProto.BFLOAT16}
    kind = kinds.get(declared.element, TensorProto.DOUBLE)
    made = helper.make_tensor(declared.name, kind, declared.shape, [float(v) for v in values])
    content: bytes = made.SerializeToString(deterministic=True)
    return content
