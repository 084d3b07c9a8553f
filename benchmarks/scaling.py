"""How far each encoding and solver gets: CPU seconds on random networks of growing size, as a table.

python -m benchmarks.scaling [--repeat N] [--limit S] [--budget S] [--only TEXT] [--configurations NAME,...]

An instance is a random float network, its quantization to Q bits, and a box of a given radius around a
random point. Two queries are put for each. The error query asks whether the difference exceeds 1.15 times the
largest that there is (on grids that are small enough to be run; else, that a random search finds). The range
query asks the same of the quantized network's output alone: it is the error query beside a reference that is
zero everywhere. A proof is needed for either. Seconds are those of the solver's process, medians over
`--repeat` seeds, "-" where the median is beyond the limit; "auto" is what `qsmt check` does with the query on two
cores, and its seconds are those of all solvers together. `--budget` is for the whole table: what was
not begun by then is left empty. The table comes as Markdown, and goes to a file with `--write`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from qsmt.arith.real import RealTensor
from qsmt.frontend.base import load_network
from qsmt.frontend.fixed_point import ActivationRanges, quantize
from qsmt.frontend.flags import scheme_of_bits
from qsmt.frontend.formats import FormatSpec
from qsmt.interp.batch import BatchInterpreter
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Const, Op, Relu, Value
from qsmt.ir.types import Real, TensorType
from qsmt.problem import ErrorBound, InputModel, Problem, Region

ROOT = Path(__file__).parents[1]
MARGIN = Fraction(115, 100)
SAMPLES = 4000
EXECUTED = 100_000
"""Of grids of at most this many points, all are run; of others, this many random ones: SAMPLES."""


CONTROLLER = ROOT / "examples" / "pendulum" / "pendulum.onnx"


@dataclass(frozen=True, slots=True)
class Instance:
    """Sizes of the layers, bits, and radius of the box in codes; of a random network, or of this one.

    `inner` are the bits of weights and hidden values, where they are not those of the input.
    """

    sizes: tuple[int, ...]
    bits: int
    radius: int
    network: Path | None = None
    inner: int | None = None

    def __str__(self) -> str:
        name = f"{self.network.stem} " if self.network else ""
        inner = f"/{self.inner}" if self.inner else ""
        return f"{name}{'-'.join(map(str, self.sizes))}, Q{self.bits}{inner}, r={self.radius}"


INSTANCES = [
    *(Instance((2, 8, 1), bits, radius) for bits, radius in ((4, 2), (6, 8), (8, 32), (10, 128))),
    *(Instance((2, 16, 16, 1), bits, radius) for bits, radius in ((4, 2), (6, 6), (8, 32), (10, 128))),
    *(Instance((4, 16, 16, 1), bits, radius) for bits, radius in ((6, 2), (6, 6), (8, 6))),
    *(Instance((4, 32, 32, 32, 1), bits, radius) for bits, radius in ((6, 2), (8, 2), (10, 2), (10, 128))),
]
"""The corners of one to three layers, 8 to 32 neurons, 4 to 10 bits, radius 2 to 128, and what lies between them."""

MORE = [
    *(Instance((2, 8, 8, 1), bits, radius) for bits in (4, 6, 8) for radius in (2, 8)),
    *(Instance((4, 16, 16, 1), bits, 6, CONTROLLER) for bits in (6, 8)),
    *(Instance((4, 32, 32, 32, 1), bits, 6) for bits in (6, 8)),
]
"""With `--more`."""


def problem(instance: Instance, seed: int, *, of_range: bool = False) -> Problem:
    """The instance's problem, which claims the bound of the error query; or of the range query."""
    rng = np.random.default_rng([seed, *instance.sizes, instance.bits])
    network = _network(rng, instance.sizes) if instance.network is None else load_network(instance.network)
    scheme = scheme_of_bits(instance.inner or instance.bits)
    spec = FormatSpec(instance.bits, instance.bits - 1)
    made = quantize(
        network, type(scheme)(spec, scheme.weights, scheme.bias, scheme.hidden), ranges=_ranges(network)
    )
    top = 2 ** (instance.bits - 1) - 1 - instance.radius
    center = rng.integers(-max(top, 0), max(top, 0), instance.sizes[0], endpoint=True)
    ends = (
        np.clip(center + s * instance.radius, -(2 ** (instance.bits - 1)), 2 ** (instance.bits - 1) - 1)
        for s in (-1, 1)
    )
    lower, upper = (tuple(map(Fraction, end.tolist())) for end in ends)
    region = Region(InputModel.GRID, lower, upper)
    scale = Fraction(1, 2 ** (instance.bits - 1))
    if of_range:
        network = zeroed(network)
    blank = Problem(network, made.network, region, scale, ErrorBound((0,), (Fraction(0),)))
    bound = MARGIN * Fraction(_largest_found(blank, rng)).limit_denominator(1 << 20)
    return Problem(network, made.network, region, scale, ErrorBound((0,), (bound,)))


def zeroed(network: Network) -> Network:
    """A network of the same shape whose every value is zero."""
    ops = tuple(
        replace(op, weight=_zero(op.weight), bias=_zero(op.bias)) if isinstance(op, Affine) else op
        for op in network.ops
    )
    return replace(network, name="zero", ops=ops)


def _zero(parameter: Const) -> Const:
    shape = parameter.type.shape
    return replace(parameter, data=RealTensor.of_floats(np.zeros(shape, dtype=np.float32)))


def _network(rng: np.random.Generator, sizes: Sequence[int]) -> Network:
    x = source = Value("x", TensorType((sizes[0],), Real()))
    ops: list[Op] = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        kind = TensorType((m,), Real())
        weight = (rng.uniform(-1, 1, (m, n)) * 1.5 / np.sqrt(n)).astype(np.float32)
        bias = rng.uniform(-0.3, 0.3, m).astype(np.float32)
        weights = Const(f"w{i}", TensorType((m, n), Real()), RealTensor.of_floats(weight))
        biases = Const(f"b{i}", kind, RealTensor.of_floats(bias))
        ops.append(Affine(Value(f"z{i}", kind), x, weights, biases))
        x = ops[-1].out
        if i < len(sizes) - 2:
            ops.append(Relu(Value(f"h{i}", kind), x))
            x = ops[-1].out
    return Network("scaling", "real", source, tuple(ops))


def _ranges(network: Network) -> ActivationRanges:
    from qsmt.dra.analysis import reference_ranges
    from qsmt.dra.domain import Boxes

    size = network.input.size
    whole = Region(InputModel.CONTINUOUS, (Fraction(-1),) * size, (Fraction(1),) * size)
    found = reference_ranges(network, Boxes.of_region(whole), Fraction(1))
    return ActivationRanges(tuple((float(r.lower.min()), float(r.upper.max())) for r in found), None)


def _largest_found(problem: Problem, rng: np.random.Generator) -> float:
    lower, upper = (np.array([int(v) for v in end]) for end in (problem.region.lower, problem.region.upper))
    if (problem.region.points or 0) <= EXECUTED:
        axes = (np.arange(low, high + 1) for low, high in zip(lower, upper, strict=True))
        points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(lower)).astype(np.float64)
    else:
        points = rng.integers(lower, upper, (SAMPLES, len(lower)), endpoint=True).astype(np.float64)
    return float(np.abs(BatchInterpreter(problem).run(points).difference[:, 0]).max())


if __name__ == "__main__":
    from benchmarks import scaling_table  # workers import functions by the name of their module

    scaling_table.main()
