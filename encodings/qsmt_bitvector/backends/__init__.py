"""The solvers of this encoding. Each reads the query's text, with its own parser and in its own memory."""

from __future__ import annotations

from importlib import import_module

from qsmt.solver.base import Limits

_LONGEST_MS = 2**31 - 1


def missing(module: str, package: str) -> str | None:
    """None, or why this module of this package cannot be used."""
    try:
        import_module(module)
    except ImportError as error:
        return f"the package {package} cannot be imported: {error}"
    return None


def milliseconds(limits: Limits) -> int:
    """The wall time as the solvers want it, at least one."""
    return max(1, int(min(limits.wall_s * 1000, _LONGEST_MS)))
