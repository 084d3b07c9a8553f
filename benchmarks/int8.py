"""Public float controllers, quantized by onnxruntime.quantization: what is proved about the int8 files.

    python -m benchmarks.int8 [NAME ...]   bounds proved, bounds broken and the tightest bound, with seconds
    python -m benchmarks.int8 bits         a million random inputs through each of the test suite's networks

The witness of a broken bound is given to onnxruntime: the reals that it stands for, to both files. Networks that are
not here are skipped by name.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.registry import ARCH_BOXES, EXAMPLES, PUBLIC
from qsmt.arith.fixed import Quantized
from qsmt.engine.bound import bound
from qsmt.engine.check import check
from qsmt.engine.load import problem_from_flags
from qsmt.engine.plan import Options
from qsmt.errors import QsmtError
from qsmt.frontend.base import load_network
from qsmt.frontend.flags import parse_box
from qsmt.problem import ErrorBound, InputModel, Problem
from qsmt.verdict import Falsified, Unknown, Verdict
from tests.support.quantized_images import Image, write_images
from tests.support.quantized_onnx import Recipe, by_the_batch, executed, random_inputs, write_pair
from tests.unit.frontend.test_onnx_quantized import EXACT, IMAGES

SECONDS = 60.0
"""For each of the three questions."""
MARGINS = (1, 5, 20)
"""Per cent between a bound that is asked about and the tightest one, or what is reached; the first that is decided."""
POINTS, CHUNK = 1_000_000, 50_000
HEADER = (
    f"{'network':<46} {'inputs':<11} {'tightest':>9} {'reached':>9} {'s':>6}  "
    f"{'proved, s':>20}  {'broken, s':>20}  {'onnxruntime says':>16}"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A float network and the box of its inputs."""

    name: str
    path: Path
    box: str


def pairs() -> Iterator[Pair]:
    """The shipped controller; those of ARCH-COMP on their initial sets; those of CEG4N on their first property."""
    yield Pair("pendulum", EXAMPLES / "pendulum" / "pendulum.onnx", "[-0.25,0.25]^4")
    for stem, box in ARCH_BOXES.items():
        yield Pair(stem, PUBLIC / "arch_controllers" / f"{stem}.onnx", box)
    for path in sorted((PUBLIC / "ceg4n" / "networks").glob("*.onnx")):
        properties = json.loads((PUBLIC / "ceg4n" / "properties" / f"{path.stem}.json").read_text())
        first = properties[0]
        ends = zip(np.ravel(first["lower_bounds"]), np.ravel(first["upper_bounds"]), strict=True)
        yield Pair(path.stem, path, ",".join(f"[{float(a)!r},{float(b)!r}]" for a, b in ends))


def quantized(pair: Pair, folder: Path) -> Path:
    """The int8 file that onnxruntime.quantization makes, calibrated on the box."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    graph = onnx.load(pair.path).graph
    parameters = {tensor.name for tensor in graph.initializer}
    value = next(value for value in graph.input if value.name not in parameters)
    shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
    box = parse_box(pair.box)
    low, high = (np.array([float(v) for v in end]) for end in (box.lower, box.upper))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            data = low + rng.random((100, len(low))) * (high - low)
            self._data: Iterator[Any] = iter(data.astype(np.float32))

        def get_next(self) -> dict[str, Any] | None:
            data = next(self._data, None)
            return None if data is None else {value.name: data.reshape(shape)}

    path = folder / f"{pair.path.stem}.int8.onnx"
    quantize_static(pair.path, path, Reader(), quant_format=QuantFormat.QDQ)
    return path


def on_codes(pair: Pair, path: Path) -> Pair:
    """The box whose ends are the codes that the box's ends are rounded to: some boxes hold no code at all."""
    kind = load_network(path).input.type.element
    assert isinstance(kind, Quantized)
    box = parse_box(pair.box)
    ends = zip(*([kind.read(v) * kind.scale for v in end] for end in (box.lower, box.upper)), strict=True)
    return replace(pair, box=",".join(f"[{low},{high}]" for low, high in ends))


def row(pair: Pair, path: Path, model: InputModel) -> str:
    """The tightest bound; then a bound a little above it proved, and one a little below what is reached broken.

    A little is 1 %; or what it takes, which is said then.
    """
    loaded = problem_from_flags(pair.path, path, box=pair.box, bound="0", model=model)
    options = Options(timeout_s=SECONDS, jobs=1)
    tightest = bound(loaded.problem, options)
    certified = max(max(map(abs, output.certified)) for output in tightest.outputs)
    reached = max(
        abs(e.difference[output.index]) for output in tightest.outputs for e in output.witnessed or ()
    )
    _, above = _checked(loaded.problem, Fraction(certified), 1, options)
    broken, below = _checked(loaded.problem, reached, -1, options)
    return (
        f"{pair.name:<46} {model:<11} {certified:9.4g} {float(reached):9.4g} {tightest.seconds:6.1f}  "
        f"{above:>20}  {below:>20}  {_said(pair, path, loaded.problem, broken):>16}"
    )


def _checked(problem: Problem, near: Fraction, side: int, options: Options) -> tuple[Verdict, str]:
    """The verdict on a bound next to this one, as near as can be decided; and how that is written."""
    for percent in MARGINS:
        bound = near * Fraction(100 + side * percent, 100)
        outputs = problem.claim.outputs
        found = check(replace(problem, claim=ErrorBound(outputs, (bound,) * len(outputs))), options)
        if not isinstance(found.verdict, Unknown):
            break
    margin = "" if percent == MARGINS[0] else f" at {side * percent:+} %"
    return found.verdict, f"{type(found.verdict).__name__.lower()}{margin}, {found.seconds:.2f}"


def _said(pair: Pair, path: Path, problem: Problem, verdict: Verdict) -> str:
    """Whether onnxruntime computes the same integers at the witness, and exceeds the bound as well."""
    if not isinstance(verdict, Falsified):
        return "-"
    reals = problem.reference_input(verdict.witness.input)
    inputs = np.array([[float(v) for v in reals]], dtype=np.float32)
    theirs = [_run(file, inputs)[verdict.witness.output] for file in (pair.path, path)]
    same = theirs[1] == np.float32(float(verdict.witness.quantized[verdict.witness.output]))
    exceeds = abs(float(theirs[1]) - float(theirs[0])) > float(verdict.bound)
    return "the same" if same and exceeds else f"{theirs[1]:.6g}, {theirs[0]:.6g}"


def _run(path: Path, inputs: Any) -> Any:
    from tests.support.quantized_onnx import session

    runner = session(path)
    source = runner.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in source.shape]
    return runner.run(None, {source.name: inputs.reshape(shape)})[0].ravel()


def bounds(names: Sequence[str]) -> None:
    """The table, of the named networks or of all."""
    print(HEADER)
    for pair in pairs():
        if names and pair.name not in names:
            continue
        if not pair.path.is_file():
            print(f"{pair.name:<46} skipped, it is not here")
            continue
        with tempfile.TemporaryDirectory() as folder:
            for model in InputModel:
                path = quantized(pair, Path(folder))
                try:
                    asked = on_codes(pair, path) if model is InputModel.GRID else pair
                    print(row(asked, path, model), flush=True)
                except QsmtError as error:
                    print(f"{pair.name:<46} {model:<11} refused    {error}", flush=True)


def bits() -> None:
    """Mismatches among a million inputs, network by network."""
    total = 0
    for name, made in (EXACT | IMAGES).items():
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            _, path = _written(made, Path(folder))
            network = load_network(path)
            wrong = 0
            for seed in range(POINTS // CHUNK):
                inputs = random_inputs(network, CHUNK, seed=seed)
                wrong += int(np.count_nonzero(by_the_batch(network, inputs) != executed(path, inputs)))
        total += POINTS * network.output.size
        seconds = time.monotonic() - begun
        print(
            f"{name:<40} {wrong:>6} of {POINTS * network.output.size:,} outputs {seconds:7.1f} s", flush=True
        )
    print(f"all: {total:,} outputs")


def _written(made: Recipe | Image, folder: Path) -> tuple[Path, Path]:
    return write_images(made, folder) if isinstance(made, Image) else write_pair(made, folder)


def main(arguments: Sequence[str]) -> None:
    bits() if list(arguments) == ["bits"] else bounds(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
