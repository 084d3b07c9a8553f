"""Layers made by hand, our integers against those of LiteRT's three sets of kernels.

    python -m benchmarks.litert            a million random inputs through each of the test suite's layers

Each layer has its sums computed once; every set of kernels is then asked for its codes.
"""

from __future__ import annotations

import time

import numpy as np

from tests.support.tflite import RESOLVERS, random_bytes, random_layer, session, written

LAYERS = 12
POINTS, CHUNK = 1_000_000, 50_000
SIDE = 4
"""Pixels a side: four outputs for each channel."""
HEADER = (
    f"{'layer':<9} {'scales':<11} {'ties':<5}"
    + "".join(f" {name:>17}" for name in RESOLVERS)
    + f" {'outputs':>12} {'s':>6}"
)


def row(seed: int, *, dense: bool) -> tuple[list[int], int, str]:
    """Mismatches of each set of kernels, how many outputs were compared, and the line that says so."""
    begun = time.monotonic()
    layer = random_layer(seed, dense=dense)
    shape = random_bytes(0, layer, CHUNK, side=SIDE).shape
    model = written(layer, shape)
    runs = [(runtime, session(model, runtime)) for runtime in RESOLVERS]
    wrong, outputs = [0] * len(runs), 0
    for chunk in range(POINTS // CHUNK):
        x = random_bytes(chunk, layer, CHUNK, side=SIDE)
        sums = layer.sums(x)
        outputs += sums.size
        for i, (runtime, run) in enumerate(runs):
            wrong[i] += int(np.count_nonzero(run(x) != layer.codes(runtime, sums)))
    scales = "per channel" if len(layer.weight_scales) > 1 else "one"
    said = f"{'dense' if dense else 'conv'} {seed:<3} {scales:<11} {'often' if seed % 3 == 0 else 'rare':<5}"
    counts = "".join(f" {count:>17}" for count in wrong)
    return wrong, outputs, f"{said}{counts} {outputs:>12,} {time.monotonic() - begun:>6.1f}"


def main() -> None:
    """The table."""
    print(HEADER)
    total = wrong = 0
    for dense in (True, False):
        for seed in range(LAYERS):
            mismatches, outputs, line = row(seed, dense=dense)
            total, wrong = total + outputs * len(mismatches), wrong + sum(mismatches)
            print(line, flush=True)
    print(f"all: {wrong} of {total:,} outputs")


if __name__ == "__main__":
    main()
