"""The arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Files: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="A problem file (.toml); or a float network, and perhaps the quantized one that is deployed.",
        show_default=False,
    ),
]
Bits: TypeAlias = Annotated[
    int | None, typer.Option(help="Quantize the network to this many bits, formats chosen automatically.")
]
Box: TypeAlias = Annotated[
    str | None, typer.Option(metavar="BOX", help='The inputs, such as "[-1,1]^4" or "[0,1],[2,3]".')
]
Bound: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NUMBER", help="The claim: |quantized - reference| is at most this.")
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="grid|continuous",
        help="Inputs are the codes in the box, or all its reals.",
        show_default="grid; for two float networks, continuous",
    ),
]
Runtime: TypeAlias = Annotated[
    str | None, typer.Option(help="Whose integer arithmetic a quantized ONNX file means.")
]
Form: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="text|json|junit|html",
        help="Print the report like this; with -o, write it to FILE like this.",
        show_default="text, and json for -o",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Also write the report to FILE, as JSON."),
]

# --- of `analyze` alone ---

DEFAULT_BUDGET = 10.0  # that of the analysis itself (qsmt.dra.domain), which is not imported for `--help`
Budget: TypeAlias = Annotated[
    float,
    typer.Option(min=0.0, metavar="SECONDS", help="What the mode `optimized` may take after `best`."),
]

# --- of `check` and `bound` ---

Timeout: TypeAlias = Annotated[
    float, typer.Option(min=0.001, metavar="SECONDS", help="Give up after this long.")
]
Jobs: TypeAlias = Annotated[int, typer.Option(min=1, max=256, help="Work on this many things at once.")]
Seed: TypeAlias = Annotated[
    int, typer.Option(min=0, max=2**31 - 1, help="Of the random search and of the solvers.")
]
Checkpointed: TypeAlias = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="Keep the state of the search in FILE, now and then."),
]
Resumed: TypeAlias = Annotated[
    bool, typer.Option("--resume", help="Go on from the checkpoint, if it is there already.")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Log each stage to stderr.")]

# --- of `check` alone ---

Encoding: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="auto|bitvector|milp|none", help="Who decides residual queries; a name skips the search."
    ),
]
Backend: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Use this solver only; see `qsmt doctor`.")
]
CrossChecked: TypeAlias = Annotated[
    str,
    typer.Option(metavar="off|sample|all", help="Which residual queries a second encoding answers too."),
]
Trusted: TypeAlias = Annotated[
    str, typer.Option(metavar="any|exact", help="What a proof may rest on; exact refuses numerical solvers.")
]

# --- of `bound` alone ---

Gap: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NUMBER", help="Stop when certified and witnessed ends are this close to each other."
    ),
]
