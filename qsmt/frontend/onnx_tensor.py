"""ONNX tensors as exact constants: floats of every precision as real numbers, integers as integers.

External parameters are read only from regular files inside the model's own folder, wherever links lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from qsmt.arith.real import IntArray, RealTensor, frozen
from qsmt.errors import MalformedModel, UnsupportedOp
from qsmt.ir.verify import MAX_ELEMENTS

Constant: TypeAlias = RealTensor | IntArray

FLOATS: dict[int, str] = {
    TensorProto.FLOAT: "<f4",
    TensorProto.DOUBLE: "<f8",
    TensorProto.FLOAT16: "<f2",
    TensorProto.BFLOAT16: "<u2",  # the upper half of a single
}
INTEGERS: dict[int, str] = {
    TensorProto.INT8: "i1",
    TensorProto.INT16: "<i2",
    TensorProto.INT32: "<i4",
    TensorProto.INT64: "<i8",
    TensorProto.UINT8: "u1",
    TensorProto.UINT16: "<u2",
    TensorProto.UINT32: "<u4",
    TensorProto.UINT64: "<u8",
    TensorProto.BOOL: "?",
}
NIBBLES: dict[int, str] = {TensorProto.INT4: "i1", TensorProto.UINT4: "u1"}
"""Integers of 4 bits, two in a byte, the first in its lower half."""
_FORMATS = FLOATS | INTEGERS | NIBBLES
_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}  # every other type is in int32_data, 16-bit floats by their bits
_ALL_FIELDS = (*sorted({*_FIELDS.values(), "int32_data"}), "raw_data", "string_data")
MAX_AXES = 32
"""No tensor has more; numpy allows 64."""


def quoted(name: str) -> str:
    """A name from a file, safe to print: quoted, control characters escaped, cut to a readable length."""
    return repr(name if len(name) <= 80 else f"{name[:77]}...")


def volume(shape: tuple[int, ...]) -> int:
    """The number of elements, with an empty axis counted as one: numpy needs also that to be small."""
    return prod(max(d, 1) for d in shape)


def type_name(code: int) -> str:
    """ONNX's name of an element type."""
    try:
        return str(TensorProto.DataType.Name(code)).lower()
    except ValueError:
        return f"number {code}, which ONNX does not define"


def read_constant(tensor: TensorProto, path: Path, *, name: str) -> Constant:
    """The numbers of a tensor of the model at `path`.

    Raises:
        InputError: if the tensor is damaged, of a type that is not read, or not made of finite numbers.
    """
    return _Reader(tensor, path, name).constant()


@dataclass(frozen=True, slots=True)
class _Reader:
    """One tensor, and what an error says it is."""

    tensor: TensorProto
    path: Path
    name: str

    def constant(self) -> Constant:
        shape = self._shape()
        values = self._values(prod(shape)).reshape(shape)
        if self.tensor.data_type in FLOATS:
            if not np.isfinite(values).all():
                self._fail("holds a number that is not finite")
            return RealTensor.of_floats(values)
        if values.size and int(values.max()) >= 2**63:
            self._fail("holds an integer of more than 63 bits")
        return frozen(values.astype(np.int64))

    def _shape(self) -> tuple[int, ...]:
        if self.tensor.data_type not in _FORMATS:
            kind = f"element type {type_name(self.tensor.data_type)}"
            raise UnsupportedOp(f"tensor {quoted(self.name)} has {kind}, which is not read", where=self.path)
        shape = tuple(int(d) for d in self.tensor.dims)
        if any(d < 0 for d in shape):
            self._fail(f"has the negative dimension {min(shape)}")
        if len(shape) > MAX_AXES or volume(shape) > MAX_ELEMENTS:
            size = f"{len(shape)} axes" if len(shape) > MAX_AXES else f"{volume(shape)} elements"
            self._fail(f"has {size}; the limits are {MAX_AXES} axes and {MAX_ELEMENTS} elements")
        return shape

    def _values(self, count: int) -> npt.NDArray[Any]:
        """The numbers; floats as doubles or singles, integers in their own type."""
        if self.tensor.data_type in NIBBLES:
            return self._halves(self._stored((count + 1) // 2), count)
        return self._stored(count)

    def _halves(self, stored: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
        pairs = stored.view(np.uint8)
        nibbles = np.stack([pairs & 15, pairs >> 4], axis=-1).ravel()[:count].astype(np.int8)
        return (
            np.where(nibbles > 7, nibbles - 16, nibbles)
            if self.tensor.data_type == TensorProto.INT4
            else nibbles
        )

    def _stored(self, count: int) -> npt.NDArray[Any]:
        """So many numbers of the type, or bytes of halves, as they are stored."""
        if self.tensor.HasField("segment"):
            self._fail("is a segment of a larger tensor")
        kind = np.dtype(_FORMATS[self.tensor.data_type])
        if self.tensor.data_location == TensorProto.EXTERNAL:
            stored = np.frombuffer(self._external(count * kind.itemsize), kind)
        else:
            stored = self._internal(kind, count)
        if self.tensor.data_type == TensorProto.BFLOAT16:
            return (stored.astype(np.uint32) << 16).view(np.float32)
        return stored

    def _internal(self, kind: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        used = [field for field in _ALL_FIELDS if len(getattr(self.tensor, field))]
        expected = _FIELDS.get(self.tensor.data_type, "int32_data")
        if len(used) > 1 or not {"raw_data", expected}.issuperset(used):
            self._fail(f"of type {type_name(self.tensor.data_type)} holds {' and '.join(used)}")
        if used == ["raw_data"]:
            self._check_length(len(self.tensor.raw_data), count * kind.itemsize, "bytes")
            return np.frombuffer(self.tensor.raw_data, kind)
        numbers = getattr(self.tensor, expected)
        self._check_length(len(numbers), count, "elements")
        return self._typed(np.array(numbers), kind)

    def _typed(self, numbers: npt.NDArray[Any], kind: np.dtype[Any]) -> npt.NDArray[Any]:
        """A field's numbers in the tensor's own type, which is often narrower than the field's."""
        is_half = self.tensor.data_type == TensorProto.FLOAT16
        target = np.dtype("<u2") if is_half else kind
        with np.errstate(invalid="ignore"):
            narrow = numbers.astype(target)
        if (
            self.tensor.data_type not in NIBBLES
            and target.kind in "iu"
            and not np.array_equal(narrow, numbers)
        ):
            self._fail(f"holds numbers that do not fit {type_name(self.tensor.data_type)}")
        return narrow.view(np.float16) if is_half else narrow

    def _check_length(self, found: int, expected: int, unit: str) -> None:
        if found != expected:
            self._fail(f"holds {found} {unit}, but its shape {list(self.tensor.dims)} needs {expected}")

    # --- external parameters ---

    def _external(self, length: int) -> bytes:
        entries = {entry.key: entry.value for entry in self.tensor.external_data}
        if any(isinstance(value, bytes) for value in entries.values()):
            self._fail("is stored in a file whose name is not UTF-8 text")
        file = self._external_file(entries.get("location", ""))
        offset, size = self._count(entries.get("offset", "0")), file.stat().st_size
        declared = self._count(entries["length"]) if "length" in entries else size - offset
        if offset + declared > size or declared < 0:
            self._fail(f"lies beyond the end of {quoted(file.name)}, which has {size} bytes")
        self._check_length(declared, length, "bytes")
        with file.open("rb") as stream:
            stream.seek(offset)
            content = stream.read(length)
        self._check_length(len(content), length, "bytes")
        return content

    def _external_file(self, location: str) -> Path:
        """A regular file in the model's folder.

        The name is judged by the rules of both systems, so that a model means the same on each; then what
        it leads to, so that no link leads out.
        """
        posix, windows = PurePosixPath(location), PureWindowsPath(location)
        absolute = posix.is_absolute() or windows.anchor
        if not location or absolute or ".." in (*posix.parts, *windows.parts):
            self._refuse_location(location, "which is not a path inside the model's folder")
        folder = self.path.parent.resolve()
        try:
            file = (folder / location).resolve()
            inside, present = file.is_relative_to(folder), file.is_file()
        except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL character
            self._refuse_location(location, "which cannot be followed")
        if not inside:
            self._refuse_location(location, "which leads out of the model's folder")
        if not present:
            self._refuse_location(location, "which is not a file")
        return file

    def _count(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            self._fail(f"has the external offset or length {quoted(text)}")
        return int(text)

    def _refuse_location(self, location: str, why: str) -> NoReturn:
        self._fail(f"is stored in {quoted(location)}, {why}")

    def _fail(self, what: str) -> NoReturn:
        raise MalformedModel(f"tensor {quoted(self.name)} {what}", where=self.path)
