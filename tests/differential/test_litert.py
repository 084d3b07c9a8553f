"""The requantizations of TFLite's kernels against LiteRT itself, on layers made by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from qsmt.arith.requantize import RequantKind
from qsmt.arith.runtime_kinds import stacked
from qsmt.frontend.runtimes import Runtime
from tests.support.tflite import IntegerLayer, run, written

pytest.importorskip("ai_edge_litert")

RESOLVERS = {
    Runtime.TFLITE_XNNPACK: "AUTO",
    Runtime.TFLITE_RUY: "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    Runtime.TFLITE_REFERENCE: "BUILTIN_REF",
}
LAYERS = 12
every_runtime = pytest.mark.parametrize("runtime", RESOLVERS, ids=str)


def layer(seed: int, *, dense: bool) -> tuple[IntegerLayer, npt.NDArray[np.int8]]:
    """A layer and inputs; every third has scales that are powers of two, so that ties are frequent."""
    rng = np.random.default_rng(seed)
    ties, channels = seed % 3 == 0, 8
    shape = (channels, 24) if dense else (channels, 3, 3, 2)
    per_channel = not dense and seed % 2 == 1

    def scale(low: float, high: float) -> np.float32:
        exponent = rng.uniform(low, high)
        return np.float32(2.0 ** (round(exponent) if ties else exponent))

    scales = np.array([scale(-8, -6) for _ in range(channels if per_channel else 1)], dtype=np.float32)
    made = IntegerLayer(
        weight=rng.integers(-127, 128, shape).astype(np.int8),
        bias=rng.integers(-4000, 4000, channels).astype(np.int32),
        input=(scale(-7, -5), int(rng.integers(-100, 100))),
        weight_scales=scales,
        output=(scale(-5, -3), int(rng.integers(-60, 60))),
    )
    size = (1024, 24) if dense else (16, 9, 9, 2)
    return made, rng.integers(-128, 128, size).astype(np.int8)


def kinds(runtime: Runtime, made: IntegerLayer) -> list[RequantKind]:
    x, y = Fraction(float(made.input[0])), Fraction(float(made.output[0]))
    scales = [Fraction(float(s)) for s in made.weight_scales]
    found = [runtime.kind(x, s, y, dense=made.is_dense) for s in scales]
    return found * (len(made.bias) // len(found))


def expected(runtime: Runtime, made: IntegerLayer, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    codes = stacked(kinds(runtime, made))(made.sums(x)) + made.output[1]  # type: ignore[arg-type]
    return np.clip(codes, -128, 127)


@every_runtime
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "conv"])
def test_litert_computes_the_same_integers(runtime: Runtime, dense: bool) -> None:
    for seed in range(LAYERS):
        made, x = layer(seed, dense=dense)
        found = run(written(made, x.shape), x, RESOLVERS[runtime])
        assert np.count_nonzero(found != expected(runtime, made, x)) == 0, seed


def test_the_three_sets_of_kernels_are_not_one() -> None:
    """The same file has three meanings: why the runtime is an input of the question."""
    results = []
    for seed in range(LAYERS):
        made, x = layer(seed, dense=False)
        results.append([expected(runtime, made, x) for runtime in RESOLVERS])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert any(not np.array_equal(found[a], found[b]) for found in results)
