"""A problem in the making, for notebooks: a float network, its quantization, a region; the bound comes last.

>>> pair = qsmt.quantize("pendulum.onnx", bits=8, box="[-0.25,0.25]^4")
>>> qsmt.check(pair.problem("0.05")).verdict
Verified(trust=('dra',))
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

from qsmt.engine.load import problem_from_flags
from qsmt.errors import MalformedProblem
from qsmt.frontend.fixed_point import QuantizationReport
from qsmt.frontend.flags import parse_bound
from qsmt.ir.network import Network
from qsmt.ir.text import print_network
from qsmt.problem import ErrorBound, InputModel, Problem, Region


@dataclass(frozen=True, slots=True)
class Quantization:
    """A float network over a region and what became of it in fixed point; `formats` says how."""

    reference: Network
    network: Network
    region: Region
    input_scale: Fraction
    formats: QuantizationReport

    def problem(self, bound: str | int | Fraction = 0, *, outputs: tuple[int, ...] | None = None) -> Problem:
        """The claim that no output differs by more than `bound` (one for all outputs, or "0.05,0.1": one each).

        A float is refused: 0.05 is not the number that a reader takes it for, but "0.05" is.

        Raises:
            MalformedProblem: the bound or the outputs do not fit the network.
        """
        claimed = tuple(range(self.reference.output.size)) if outputs is None else outputs
        if isinstance(bound, float):
            raise MalformedProblem(
                f"{bound!r} is a float", where="bound", hint='give "0.05" or Fraction(1, 20)'
            )
        found = parse_bound(str(bound))
        bounds = found if isinstance(found, tuple) else (found,) * len(claimed)
        claim = ErrorBound(claimed, bounds)
        return Problem(self.reference, self.network, self.region, self.input_scale, claim)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the integer network as a `.qir` file, which loses no digit."""
        Path(path).write_text(print_network(self.network), encoding="utf-8")


def quantize(
    network: str | PathLike[str], *, bits: int, box: str, input_model: str = InputModel.GRID
) -> Quantization:
    """A float network file in fixed point: `bits` for input, weights and activations, formats chosen per layer.

    `box` is the region in real units, such as "[-1,1]^4" or "[0,1],[2,3]"; under `input_model` "grid" its input
    codes, under "continuous" all its reals. The same as the flags of `qsmt check`.

    Raises:
        InputError: one line with the file or the argument, and what is wrong there.
    """
    try:
        model = InputModel(input_model)
    except ValueError:
        what = f"is {input_model!r}, not one of {', '.join(InputModel)}"
        raise MalformedProblem(what, where="input_model") from None
    loaded = problem_from_flags(Path(network), box=box, bound="0", bits=bits, model=model)
    problem, formats = loaded.problem, loaded.quantization
    assert formats is not None, "a network was quantized"
    return Quantization(problem.reference, problem.quantized, problem.region, problem.input_scale, formats)
