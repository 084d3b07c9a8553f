"""`qsmt quantize`: an 8-bit ONNX file of a float network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qsmt.cli.arguments import Box
from qsmt.cli.output import check_writable, show, write_whole


def command(
    network: Annotated[Path, typer.Argument(metavar="FILE", help="A float network.", show_default=False)],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .onnx file to write.")],
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DATA.npy", help="Inputs, one per row: formats hold what happens on them."),
    ] = None,
    box: Box = None,
    scheme: Annotated[
        str, typer.Option(metavar="affine|power-of-two", help="Scales are any numbers, or powers of two.")
    ] = "affine",
    per_channel: Annotated[
        bool, typer.Option("--per-channel", help="A scale for each neuron's weights.")
    ] = False,
) -> None:
    """Quantize a float network to 8 bits, as a QDQ ONNX file.

    onnxruntime executes the file with exactly the integers that qsmt proves about. The ranges of the formats come
    from samples, or from analysis of a box of inputs.
    """
    from qsmt.engine.quantize import quantized_file, schemes
    from qsmt.errors import MalformedProblem
    from qsmt.frontend.affine_scheme import AffineScheme

    if scheme not in schemes():
        raise MalformedProblem(f"is {scheme[:40]!r}, not one of {', '.join(schemes())}", where="--scheme")
    if output.suffix.lower() != ".onnx":
        raise MalformedProblem("does not end in .onnx", where="--output")
    check_writable(output, read=(network,))
    wanted = AffineScheme(power_of_two=scheme != "affine", per_channel=per_channel)
    write_whole(output, quantized_file(network, wanted, calibrate=calibrate, box=box))
    show(f"{output}\n")
