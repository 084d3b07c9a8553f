"""qsmt: proves how far a quantized neural network can be from its float original, or breaks the bound.

    >>> import qsmt
    >>> pair = qsmt.quantize("pendulum.onnx", bits=8, box="[-0.25,0.25]^4")
    >>> qsmt.check(pair.problem("0.05")).verdict
    Verified(trust=('dra',))
    >>> qsmt.bound(pair.problem()).outputs[0].certified
    (-0.01..., 0.01...)

or, for a problem that a file states exactly,

    >>> result = qsmt.check(qsmt.load_problem("pendulum-q8.toml").problem)
    >>> Path("report.html").write_text(qsmt.render(result, "html"))

The names are imported when they are first used, so that importing qsmt costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsmt.engine.bound import BoundResult, bound
    from qsmt.engine.check import CheckResult, check
    from qsmt.engine.load import load_problem
    from qsmt.engine.notebook import Quantization, quantize
    from qsmt.engine.plan import Options
    from qsmt.errors import InputError, QsmtError, SoundnessError
    from qsmt.problem import Problem
    from qsmt.report.formats import render
    from qsmt.verdict import Falsified, Unknown, Verified, Witness

_HOMES = {
    "BoundResult": "qsmt.engine.bound",
    "CheckResult": "qsmt.engine.check",
    "Falsified": "qsmt.verdict",
    "InputError": "qsmt.errors",
    "Options": "qsmt.engine.plan",
    "Problem": "qsmt.problem",
    "QsmtError": "qsmt.errors",
    "Quantization": "qsmt.engine.notebook",
    "SoundnessError": "qsmt.errors",
    "Unknown": "qsmt.verdict",
    "Verified": "qsmt.verdict",
    "Witness": "qsmt.verdict",
    "bound": "qsmt.engine.bound",
    "check": "qsmt.engine.check",
    "load_problem": "qsmt.engine.load",
    "quantize": "qsmt.engine.notebook",
    "render": "qsmt.report.formats",
}

__all__ = [  # noqa: RUF022 - what is done with a problem comes first
    "check", "bound", "quantize", "load_problem", "render", "Options",
    "Problem", "Quantization", "CheckResult", "BoundResult",
    "Verified", "Falsified", "Unknown", "Witness",
    "QsmtError", "InputError", "SoundnessError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qsmt' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
