"""`qsmt doctor`: what works here, and why the rest does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from qsmt.cli.output import show

if TYPE_CHECKING:
    from qsmt.engine.health import SolverHealth


def command() -> None:
    """Show what works here, and why the rest does not.

    Versions, and for each solver whether it is usable: installed, and licensed where it needs a licence.
    """
    from qsmt.engine.health import machine, solvers
    from qsmt.report.model import versions

    found = solvers()
    packages = "".join(f"  {package:<12} {version}\n" for package, version in versions().items())
    show(f"{machine()}\n\n{packages}\n{''.join(map(_line, found))}")
    if not any(health.missing is None for health in found):
        raise typer.Exit(3)


def _line(health: SolverHealth) -> str:
    state = "usable" if health.missing is None else f"not usable: {health.missing}"
    kind = "exact" if health.exact else "numerical"
    return f"  {health.encoding:<10} {health.backend:<9} {kind:<10} {state}\n"
