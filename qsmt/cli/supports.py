"""`qsmt supports`: what of the VNN-LIB standard qsmt can do, one capability at a time (section 5.4)."""

from __future__ import annotations

from typing import Annotated

import typer

from qsmt.cli.output import show
from qsmt.errors import InputError


def _flag(name: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(f"--{name}", help=what)
    return option


def command(
    *,
    onnx_opset_versions: Annotated[
        bool, _flag("onnx-opset-versions", "The least, then the greatest.")
    ] = False,
    onnx_element_types: Annotated[bool, _flag("onnx-element-types", "One a line.")] = False,
    onnx_operators: Annotated[bool, _flag("onnx-operators", "One a line.")] = False,
    vnnlib_versions: Annotated[bool, _flag("vnnlib-versions", "The least, then the greatest.")] = False,
    hidden_node_theories: Annotated[bool, _flag("hidden-node-theories", "NH or H.")] = False,
    multiple_input_output_theories: Annotated[
        bool,
        typer.Option(
            "--multiple-input-output-theories", "--multiple-inputs-output-theories", help="SIO or MIO."
        ),
    ] = False,
    multiple_network_theories: Annotated[
        bool, _flag("multiple-network-theories", "SNET, MNET, MENET, MINET.")
    ] = False,
    multiple_node_comparison_theories: Annotated[
        bool, _flag("multiple-node-comparison-theories", "SNC or MNC.")
    ] = False,
    arithmetic_complexity_theories: Annotated[
        bool, _flag("arithmetic-complexity-theories", "BND, OUTC, LIN, POLY.")
    ] = False,
    optimised_disjunctive_reasoning: Annotated[
        bool, _flag("optimised-disjunctive-reasoning", "true or false.")
    ] = False,
    serialise_assignments: Annotated[bool, _flag("serialise-assignments", "true or false.")] = False,
    unsat_proofs: Annotated[bool, _flag("unsat-proofs", "true or false.")] = False,
    onnx_operators_unsat_proofs: Annotated[
        bool, _flag("onnx-operators-unsat-proofs", "Of proofs, one a line.")
    ] = False,
) -> None:
    """Say what of the VNN-LIB standard is supported: exactly one capability.

    Exit codes: 0 answered, 2 bad usage.
    """
    from qsmt.engine.capabilities import CAPABILITIES

    given = [name.replace("_", "-") for name, value in locals().items() if value is True]
    if len(given) != 1:
        raise InputError(
            f"{len(given)} capabilities are asked for", where="supports", hint="name exactly one"
        )
    show("".join(f"{line}\n" for line in CAPABILITIES[given[0]]()))
