"""An encoding with a planted fault: it encodes a subtly different query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qsmt.encoding import Encoding, Query
from qsmt.engine import faults

FAULTS: dict[str, Callable[[Query], Query]] = {
    "wrong rounding": faults.wrong_rounding,
    "missing saturation": faults.missing_saturation,
    "shifted bias": faults.shifted_bias,
    "weight sign": faults.weight_sign,
    "off-by-one threshold": faults.off_by_one_threshold,
    "lenient bound": faults.lenient_bound,
}


@dataclass(frozen=True)
class Faulty:
    """An encoding that encodes a subtly different query."""

    inner: Encoding
    fault: Callable[[Query], Query]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def refuses(self, query: Query) -> str | None:
        return self.inner.refuses(self.fault(query))

    def encode(self, query: Query) -> Any:
        return self.inner.encode(self.fault(query))

    def backends(self) -> Sequence[Any]:
        return self.inner.backends()
