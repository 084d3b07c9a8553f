"""Where a problem comes from: a file, or flags. Kept in reports, so that a witness can be replayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qsmt.engine.load import Loaded, load_problem, problem_from_flags
from qsmt.errors import MalformedProblem
from qsmt.frontend.base import load_network
from qsmt.frontend.exact_number import quoted
from qsmt.frontend.fixed_point import LayerFormats, QuantizationReport
from qsmt.frontend.runtimes import remarks
from qsmt.ir.types import Accumulator
from qsmt.problem import InputModel


@dataclass(frozen=True, slots=True)
class Source:
    """A problem file alone; or a network, perhaps a second one, and flags."""

    files: tuple[Path, ...]
    bits: int | None = None
    box: str | None = None
    bound: str | None = None
    input_model: InputModel | None = None
    runtime: str | None = None

    def load(self) -> Loaded:
        """The problem.

        Raises:
            InputError: naming the file or flag at fault.
        """
        first = self.files[0]
        if first.suffix.lower() == ".toml":
            self._refuse_flags(first)
            return load_problem(first)
        if len(self.files) > 2:
            raise MalformedProblem(
                f"{len(self.files)} files were given", hint="give a network, or two to compare"
            )
        if interval := next((str(path) for path in self.files if str(path).startswith("[")), None):
            hint = 'write the whole box in one argument: "[0,1],[2,3]"'
            raise MalformedProblem(f"{quoted(interval)} is no network file", hint=hint)
        if self.box is None:
            size = load_network(first).input.size
            hint = f'it has {size} inputs: give --box "[-1,1]^{size}" or one interval each, or a problem file (.toml)'
            raise MalformedProblem(f"is needed with {first.name}", where="--box", hint=hint)
        if self.bound is None:
            hint = "give --bound, or a problem file that ends in .toml; or ask qsmt bound what can be proved"
            raise MalformedProblem("is needed with a network file", where="--bound", hint=hint)
        return problem_from_flags(
            first,
            self.files[1] if len(self.files) > 1 else None,
            box=self.box or "",
            bound=self.bound or "",
            bits=self.bits,
            model=self.input_model,
            runtime=self.runtime,
        )

    def as_json(self) -> dict[str, Any]:
        """For a report: absolute paths, and the flags that were given."""
        flags = {key: value for key, value in asdict(self).items() if key != "files" and value is not None}
        return {"files": [str(path.absolute()) for path in self.files], **flags}

    @staticmethod
    def of_json(found: Mapping[str, Any]) -> Source:
        """The inverse of `as_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not of this form.
        """
        files, bits, model = found["files"], found.get("bits"), found.get("input_model")
        if not files or not all(isinstance(path, str) and "\0" not in path for path in files):
            raise TypeError("files is not a list of paths")
        if not (bits is None or type(bits) is int):
            raise TypeError("bits is not an integer")
        texts = {flag: found.get(flag) for flag in ("box", "bound", "runtime")}
        if not all(text is None or isinstance(text, str) for text in texts.values()):
            raise TypeError("box, bound and runtime are not texts")
        paths = tuple(Path(path) for path in files)
        return Source(paths, bits=bits, input_model=InputModel(model) if model else None, **texts)

    def beside(self, report: Path) -> Source:
        """The same files, where a report that names them by relative paths is meant to lie beside them."""
        return replace(self, files=tuple(report.parent / path for path in self.files))

    def _refuse_flags(self, file: Path) -> None:
        flags = ("bits", "box", "bound", "input_model", "runtime")
        given = [f"--{flag.replace('_', '-')}" for flag in flags if getattr(self, flag) is not None]
        if given:
            raise MalformedProblem(
                f"a problem file says it all; it cannot be combined with {', '.join(given)}", where=file
            )
        if len(self.files) > 1:
            raise MalformedProblem(
                "a problem file was given together with other files", where=file, hint="give one file"
            )


def one_each(source: Source) -> tuple[Source, ...]:
    """Several problem files are a problem each; anything else is one problem."""
    if len(source.files) < 2 or any(path.suffix.lower() != ".toml" for path in source.files):
        return (source,)
    return tuple(replace(source, files=(path,)) for path in source.files)


def notes(loaded: Loaded) -> tuple[str, ...]:
    """What a user should know of how the network was quantized here, or how its quantized ONNX file was read.

    Nothing of a `.qir` file, which spells its arithmetic out.
    """
    if loaded.quantization is not None:
        return tuple(_notes(loaded.quantization))
    first = loaded.parts[0]
    network = first.quantized or first.problem.quantized
    return remarks(network) if loaded.sources[-1].suffix.lower() == ".onnx" else ()


def _notes(report: QuantizationReport) -> Iterator[str]:
    yield f"input is {report.input}" + (", and saturates on this region" if report.input_may_saturate else "")
    for i, layer in enumerate(report.layers):
        kind = layer.activation
        result = f"exact {kind.bits}-bit accumulator" if isinstance(kind, Accumulator) else str(kind)
        yield f"layer {i}: weights {layer.weights}, biases {layer.bias}, result {result}{_saturated(layer)}"


def _saturated(layer: LayerFormats) -> str:
    parts = []
    if layer.saturated_weights:
        parts.append(f"{layer.saturated_weights} weights saturated")
    if layer.saturated_biases:
        parts.append(f"{layer.saturated_biases} biases saturated")
    if layer.may_saturate:
        parts.append("activations can saturate")
    return f"; {', '.join(parts)}" if parts else ""
