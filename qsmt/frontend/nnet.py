"""The frontend of NNet files (`.nnet`; Kyle Julian, Stanford 2016): fully connected ReLU networks as text.

    // comments
    number of layers, inputs, outputs, largest layer
    inputs, sizes of all layers
    a flag that nothing uses
    least inputs; greatest inputs; means of inputs and of the output; ranges of inputs and of the output
    per layer: its weights, a row a line; its biases, one a line

Every number is the decimal that the file spells, exactly. The network that is loaded is the one between the
normalisations, from normalised inputs to normalised outputs, as in the ONNX files that are made of `.nnet` files
and as a chip computes it. `Nnet.physical` is the function of physical quantities: that network with
x -> (x - mean) / range before it and y -> y * range + mean after it, folded into its first and last layer. It does not
clip: inputs beyond the least and the greatest are outside what the file describes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from qsmt.errors import MalformedModel
from qsmt.frontend.base import read_file

if TYPE_CHECKING:
    from qsmt.frontend.runtimes import Runtime
    from qsmt.ir.network import Network

    Matrix = list[list[Fraction]]
    Layer = tuple[Matrix, list[Fraction]]

MAX_LAYERS = 10_000


class NnetFrontend:
    """Reads `.nnet` files."""

    name = "NNet (.nnet)"

    def accepts(self, path: Path) -> bool:
        return path.suffix.lower() == ".nnet"

    def load(self, path: Path, *, runtime: Runtime | None = None) -> Network:  # noqa: ARG002
        return read_nnet(path).network


@dataclass(frozen=True, slots=True)
class Nnet:
    """What a file holds; inputs are one number each, `output_mean` and `output_range` are those of all outputs."""

    name: str
    layers: tuple[Layer, ...]
    minimums: tuple[Fraction, ...]
    maximums: tuple[Fraction, ...]
    means: tuple[Fraction, ...]
    ranges: tuple[Fraction, ...]
    output_mean: Fraction
    output_range: Fraction

    @property
    def network(self) -> Network:
        """From normalised inputs to normalised outputs."""
        return _network(self.name, self.layers)

    @property
    def physical(self) -> Network:
        """From physical inputs to physical outputs, exactly."""
        (weight, bias), *rest = self.layers
        columns = list(zip(self.means, self.ranges, strict=True))
        scaled = [[w / r for w, (_, r) in zip(row, columns, strict=True)] for row in weight]
        moved = [
            b - sum((w * m for w, (m, _) in zip(row, columns, strict=True)), Fraction(0))
            for row, b in zip(scaled, bias, strict=True)
        ]
        *before, (weight, bias) = [(scaled, moved), *rest]
        grown = [[w * self.output_range for w in row] for row in weight]
        return _network(
            self.name, [*before, (grown, [b * self.output_range + self.output_mean for b in bias])]
        )


def _network(name: str, layers: Sequence[Layer]) -> Network:
    from qsmt.arith.real import RealTensor
    from qsmt.frontend.dense import Dense, dense_network

    parts = [
        Dense(
            RealTensor.of_fractions((w for row in weight for w in row), (len(weight), len(weight[0]))),
            RealTensor.of_fractions(bias, (len(bias),)),
            has_relu=i < len(layers) - 1,
        )
        for i, (weight, bias) in enumerate(layers)
    ]
    return dense_network(name, parts)


def read_nnet(path: Path) -> Nnet:
    """What the file holds.

    Raises:
        MalformedModel: one line with the file and the line that is wrong.
    """
    try:
        text = read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedModel(
            f"is not UTF-8 text: byte {error.start} begins no character", where=path
        ) from None
    return _Reader(path, text).nnet()


class _Reader:
    """Takes one line after the other, each a list of so many numbers."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._lines = path, self._numbered(text)
        self._at = 0

    @staticmethod
    def _numbered(text: str) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith("//"):
                yield number, line

    def nnet(self) -> Nnet:
        count, inputs, outputs, _ = self._integers("the number of layers, inputs, outputs, largest layer", 4)
        if not 1 <= count <= MAX_LAYERS:
            self._fail(f"has {count} layers, not 1 to {MAX_LAYERS}")
        sizes = self._integers("the sizes of all layers", count + 1)
        if sizes[0] != inputs or sizes[-1] != outputs:
            self._fail(
                f"sizes run from {sizes[0]} to {sizes[-1]}, but there are {inputs} inputs, {outputs} outputs"
            )
        self._take()  # a flag that nothing uses
        minimums, maximums = (self._numbers(f"{what} inputs", inputs) for what in ("least", "greatest"))
        means, ranges = (self._normalisation(what, inputs) for what in ("means", "ranges"))
        if min(*ranges[:inputs], ranges[-1]) <= 0:
            self._fail("a range is not a positive number")
        layers = tuple(self._layer(i, n, m) for i, (n, m) in enumerate(pairwise(sizes)))
        self._end()
        return Nnet(
            self._path.stem, layers, minimums[:inputs], maximums[:inputs],
            means[:inputs], ranges[:inputs], means[-1], ranges[-1],
        )  # fmt: skip

    def _layer(self, i: int, n: int, m: int) -> Layer:
        weight = [list(self._exactly(f"the weights of neuron {j} of layer {i}", n)) for j in range(m)]
        return weight, [self._exactly(f"the bias of neuron {j} of layer {i}", 1)[0] for j in range(m)]

    def _normalisation(self, what: str, inputs: int) -> tuple[Fraction, ...]:
        """Of every input, and then of the output; files may hold more, of inputs that the network does not read."""
        return self._numbers(f"{what} of the inputs and of the output", inputs + 1)

    def _numbers(self, what: str, least: int) -> tuple[Fraction, ...]:
        found = self._parsed(what)
        if len(found) < least:
            self._fail(f"has {len(found)} numbers for {what}, not {least}")
        return found

    def _exactly(self, what: str, count: int) -> tuple[Fraction, ...]:
        found = self._parsed(what)
        if len(found) != count:
            self._fail(f"has {len(found)} numbers for {what}, not {count}")
        return found

    def _integers(self, what: str, count: int) -> list[int]:
        found = self._exactly(what, count)
        if any(v.denominator != 1 or not 1 <= v <= 2**26 for v in found):
            self._fail(f"holds a number for {what} that is no size")
        return [int(v) for v in found]

    def _parsed(self, what: str) -> tuple[Fraction, ...]:
        from qsmt.frontend.exact_number import exact_number

        line = self._take(what).strip().removesuffix(",")
        try:
            return tuple(exact_number(token.strip()) for token in line.split(","))
        except ValueError as error:
            self._fail(str(error))

    def _take(self, what: str = "a flag") -> str:
        found = next(self._lines, None)
        if found is None:
            raise MalformedModel(f"ends where {what} should be", where=self._path)
        self._at, line = found
        return line

    def _end(self) -> None:
        found = next(self._lines, None)
        if found is not None:
            self._at = found[0]
            self._fail("is more than the layers that the file announces")

    def _fail(self, what: str) -> NoReturn:
        raise MalformedModel(what, where=f"{self._path}, line {self._at}")
