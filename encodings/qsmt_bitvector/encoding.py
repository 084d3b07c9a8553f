"""The bit-vector encoding of an error query: exact formulas, of integers, for any solver of QF_BV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from qsmt.encoding import Fidelity, Query
from qsmt.errors import BackendError
from qsmt.ir.ops import Op, label
from qsmt.problem import InputModel
from qsmt.solver.base import Backend
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from qsmt_bitvector.backends.cvc5 import Cvc5
from qsmt_bitvector.backends.z3 import Z3
from qsmt_bitvector.formula import script
from qsmt_bitvector.refine import Refinement, Refining
from qsmt_bitvector.rules import INTEGER, REAL
from qsmt_bitvector.smtlib import Script

EXACT = "exact"


@dataclass(frozen=True, slots=True)
class BitVectorModel:
    """A query as a QF_BV script; or one that is refined step by step, and on file is the last of them."""

    query: Query
    model: Script | Refinement

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        """The codes of x; a variable that the solver left open may take any value."""
        return self.model.decode(assignment)

    def write(self, path: Path) -> None:
        """The query as an SMT-LIB 2 file."""
        exact = self.model if isinstance(self.model, Script) else script(self.query)
        path.write_text(exact.file(_title(self.query)), encoding="utf-8")


class BitVectorEncoding:
    """Integers in QF_BV; grid regions only.

    The reference is put in few bits first (see `refine`), which was measured to take a sixth to a half of the
    time where the bound is not next to the maximum; with the option "exact" it is not.
    """

    fidelity = Fidelity.EXACT
    suffix = ".smt2"

    def __init__(self, option: str | None = None) -> None:
        self.name = "bitvector" if option is None else f"bitvector+{option}"
        self.options = {EXACT: "the exact formula at once, not first the reference in few bits"}
        self._option = option

    def with_option(self, option: str) -> BitVectorEncoding:
        """The encoding with this option."""
        return BitVectorEncoding(option)

    def supported(self) -> frozenset[type[Op]]:
        """The ops it has rules for, in one kind of network or the other."""
        return REAL.supported | INTEGER.supported

    def refuses(self, query: Query) -> str | None:
        """Bit-vectors hold integers: a continuous region has inputs that are not."""
        if query.problem.region.model is InputModel.CONTINUOUS:
            return "the region is continuous; bit-vectors encode grids only"
        if not query.problem.quantized.is_exact:
            return "the quantized network is computed in float in part, and known between bounds only"
        ops = query.problem.quantized.ops + query.problem.reference.ops
        missing = sorted({label(op) for op in ops if type(op) not in self.supported()})
        return f"there is no bit-vector rule for {', '.join(missing)}" if missing else None

    def encode(self, query: Query) -> BitVectorModel:
        """The query as text; pysmt's formulas are dropped once they are printed.

        Raises:
            BackendError: when `refuses` gives a reason.
        """
        if (reason := self.refuses(query)) is not None:
            raise BackendError(f"the bit-vector encoding cannot take this query: {reason}")
        return BitVectorModel(query, Refinement(query) if self._option is None else script(query))

    def backends(self) -> Sequence[Backend[Any]]:
        """bitwuzla first: on these formulas it is usually the faster, up to three times."""
        solvers: tuple[Backend[Script], ...] = (Bitwuzla(), Z3(), Cvc5())
        return tuple(map(Refining, solvers)) if self._option is None else solvers


def _title(query: Query) -> tuple[str, ...]:
    problem = query.problem
    return (
        f"Is there an input x with {query}, where difference = quantized - reference?",
        f"reference @{problem.reference.name}, quantized @{problem.quantized.name}, sha256 {problem.sha256}",
        "x<i> is code i of the input, u<i> its distance from the low end; r<l>.<i>... are neuron i of layer l",
        "of the reference, q<l>.<i>... of the quantized network, each an integer in a unit of its own",
    )
