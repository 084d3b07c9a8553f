"""`qsmt doctor`: what works here, and why the rest does not."""

from __future__ import annotations

import sys

import typer


def command() -> None:
    """Show what works here, and why the rest does not.

    Versions, and for each solver whether it is usable: installed, and licensed where it needs a licence.
    """
    from qsmt.engine.health import machine, solvers
    from qsmt.report.model import versions

    found = solvers()
    sys.stdout.write(f"{machine()}\n\n")
    for package, version in versions().items():
        sys.stdout.write(f"  {package:<12} {version}\n")
    sys.stdout.write("\n")
    for health in found:
        state = "usable" if health.missing is None else f"not usable: {health.missing}"
        kind = "exact" if health.exact else "numerical"
        sys.stdout.write(f"  {health.encoding:<10} {health.backend:<9} {kind:<10} {state}\n")
    if not any(health.missing is None for health in found):
        raise typer.Exit(3)
