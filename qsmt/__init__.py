"""qsmt: proves how far a quantized neural network can be from its float original, or breaks the bound.

    >>> import qsmt
    >>> loaded = qsmt.load_problem(Path("pendulum-q8.toml"))
    >>> qsmt.check(loaded.problem).verdict
    Verified(trust=('dra',))

The names are imported when they are first used, so that importing qsmt costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsmt.engine.bound import bound
    from qsmt.engine.check import check
    from qsmt.engine.load import load_problem
    from qsmt.engine.plan import Options
    from qsmt.problem import Problem
    from qsmt.verdict import Falsified, Unknown, Verified

__all__ = ["Falsified", "Options", "Problem", "Unknown", "Verified", "bound", "check", "load_problem"]

_HOMES = {
    "bound": "qsmt.engine.bound",
    "check": "qsmt.engine.check",
    "load_problem": "qsmt.engine.load",
    "Options": "qsmt.engine.plan",
    "Problem": "qsmt.problem",
    "Falsified": "qsmt.verdict",
    "Unknown": "qsmt.verdict",
    "Verified": "qsmt.verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qsmt' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
