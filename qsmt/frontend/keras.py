"""The frontend of Keras files in HDF5 (`.h5`): fully connected networks, as QEBVerif's benchmark has them.

Two kinds of file are read. One holds a model: its layers must be Dense with "relu" or "linear", Flatten, Dropout,
or ReLU behind a linear Dense. The other holds weights alone, and no activations: it is read as QEBVerif reads it,
with a ReLU behind every layer but the last. Every parameter is exactly the float that is stored.

h5py is an extra (`pip install qsmt[keras]`), imported when such a file is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from qsmt.errors import InputError, MalformedModel, UnsupportedOp
from qsmt.frontend.base import read_file

if TYPE_CHECKING:
    from qsmt.arith.real import RealTensor
    from qsmt.frontend.dense import Dense
    from qsmt.frontend.runtimes import Runtime
    from qsmt.ir.network import Network

SILENT = frozenset({"InputLayer", "Flatten", "Dropout"})
"""Layers that do nothing to a vector when a network is used."""


class KerasFrontend:
    """Reads `.h5` files."""

    name = "Keras (.h5)"

    def accepts(self, path: Path) -> bool:
        return path.suffix.lower() == ".h5"

    def load(self, path: Path, *, runtime: Runtime | None = None) -> Network:  # noqa: ARG002
        import io

        try:
            import h5py
        except ImportError:
            hint = "pip install qsmt[keras]"
            raise UnsupportedOp("is an HDF5 file, which needs h5py", where=path, hint=hint) from None
        content = read_file(path)
        try:
            with h5py.File(io.BytesIO(content), "r") as file:
                return _Reader(path, file).network()
        except InputError:
            raise
        except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            said = " ".join(str(error).split())[:120]
            raise MalformedModel(f"is not a Keras file, or is cut short: {said}", where=path) from None


class _Reader:
    """Reads one open file."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._weights = file.get("model_weights", file)

    def network(self) -> Network:
        from qsmt.frontend.dense import dense_network

        parts = list(self._configured() if "model_config" in self._file.attrs else self._bare())
        if not parts:
            self._refuse("has no Dense layer")
        try:
            return dense_network(self._path.stem, parts)
        except MalformedModel as error:
            raise MalformedModel(error.what, where=f"{self._path}, {error.where}") from None

    def _bare(self) -> Iterator[Dense]:
        """Weights alone."""
        from qsmt.frontend.dense import Dense

        names = [_text(name) for name in self._weights.attrs["layer_names"]]
        parametrised = [name for name in names if len(self._weights[name].attrs["weight_names"])]
        for name in parametrised:
            yield Dense(*self._parameters(name), has_relu=name != parametrised[-1])

    def _configured(self) -> Iterator[Dense]:
        """A model that says what its layers are."""
        from qsmt.frontend.dense import Dense

        config = json.loads(_text(self._file.attrs["model_config"]))
        if config["class_name"] != "Sequential":
            self._refuse(f"is a {str(config['class_name'])[:40]} model, not a Sequential one")
        steps = [(str(layer["class_name"]), layer["config"]) for layer in config["config"]["layers"]]
        for kind, own in steps:
            if kind == "Flatten" and own.get("data_format") == "channels_first":
                self._refuse(f"has the layer {own['name']!r} that moves channels first, which is not read")
        steps = [(kind, own) for kind, own in steps if kind not in SILENT]
        for i, (kind, own) in enumerate(steps):
            if kind == "ReLU" and i and steps[i - 1][0] == "Dense" and _is_plain(own):
                continue  # that of the Dense layer before it
            if kind != "Dense":
                self._refuse(f"has the layer {own['name']!r}, a {kind} in a place where none is read")
            follows = i + 1 < len(steps) and steps[i + 1][0] == "ReLU"
            yield Dense(*self._parameters(own["name"]), has_relu=self._activation(own) or follows)

    def _activation(self, own: Mapping[str, Any]) -> bool:
        """Is it a ReLU?"""
        if own["activation"] not in ("relu", "linear"):
            self._refuse(f"has the layer {own['name']!r} with the activation {own['activation']!r}")
        return bool(own["activation"] == "relu")

    def _parameters(self, name: str) -> tuple[RealTensor, RealTensor]:
        """Weight (m, n) and bias (m,) of a Dense layer, whose kernel is (n, m)."""
        from qsmt.arith.real import RealTensor

        group = self._weights[name]
        arrays = {
            _text(n).rsplit("/", 1)[-1].split(":")[0]: group[_text(n)] for n in group.attrs["weight_names"]
        }
        if not {"kernel"} <= set(arrays) <= {"kernel", "bias"} or len(arrays["kernel"].shape) != 2:
            self._refuse(
                f"has the layer {name!r} with {sorted(arrays)}, not the kernel and bias of a Dense layer"
            )
        kernel = self._array(arrays["kernel"], name)
        size = kernel.shape[1]
        bias = self._array(arrays["bias"], name) if "bias" in arrays else [0.0] * size
        return RealTensor.of_floats(kernel.T), RealTensor.of_floats(bias)

    def _array(self, stored: Any, name: str) -> Any:
        """The floats of a data set that lies in this very file, of a size that a network has."""
        from qsmt.ir.verify import MAX_ELEMENTS

        if stored.dtype.kind != "f" or stored.dtype.itemsize > 8 or stored.size > MAX_ELEMENTS:
            self._refuse(f"has the layer {name!r} with {stored.size} numbers of type {stored.dtype}")
        if stored.external or stored.is_virtual or stored.file != self._file:
            self._refuse(f"has the layer {name!r} with numbers that lie in another file")
        return stored[()]

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedOp(what, where=self._path)


def _is_plain(own: Mapping[str, Any]) -> bool:
    """Is a ReLU layer max(x, 0)?"""
    return own.get("max_value") is None and not (own.get("negative_slope") or own.get("threshold"))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
