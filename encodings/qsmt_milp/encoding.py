"""The error query as a mixed-integer linear program.

    exists x in the region:  side * (quantized(x) - reference(x))[output] > bound

Integer networks are encoded exactly, without tolerances (see `steps` and `bigm`); the rows of the reference
network have the exact rationals as coefficients. Solvers then compute in floats: a claim of theirs that no
x exists is a numerical one, and a claimed x is replayed by the caller.

The program has the solutions of the query, except that it may have more of them where a strict bound is too
close to what floats can tell apart (see `gap`), or where real inputs tie between two codes (see `inputs`). `Encoded`
says which holds for a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from qsmt.encoding import Fidelity, Objective, Query
from qsmt.errors import BackendError
from qsmt.ir.ops import Op, label
from qsmt.ir.types import Real
from qsmt.problem import Problem
from qsmt.solver.base import Backend
from qsmt_milp import inputs
from qsmt_milp.backends.gurobi import GurobiBackend, has_full_licence
from qsmt_milp.backends.highs import HighsBackend
from qsmt_milp.backends.scip import ScipBackend
from qsmt_milp.certified.solver import CertifiedBackend
from qsmt_milp.gap import step, uncertainty
from qsmt_milp.links import put_links
from qsmt_milp.model import THRESHOLD, Builder, Exact, Linear, Model
from qsmt_milp.mps import write_mps
from qsmt_milp.ranges import RULES as RANGE_RULES
from qsmt_milp.ranges import Ranges, excess, ranges
from qsmt_milp.rules import RULES, put_output

LINKS = "links"


@dataclass(frozen=True, slots=True)
class MilpEncoded:
    """A query as a program."""

    problem: Problem
    model: Model
    fidelity: Fidelity

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        """The input that a solution describes: always a point of the region."""
        return tuple(
            inputs.recovered(
                self.problem, i, value=assignment[f"x{i}"], code=assignment.get(inputs.code_name(i))
            )
            for i in range(self.problem.input_size)
        )

    def write(self, path: Path) -> None:
        """The program in the free MPS format."""
        write_mps(self.model, path)


class MilpEncoding:
    """Integer rows for the quantized network, big-M rows for the clamps of both."""

    fidelity = Fidelity.EXACT
    suffix = ".mps"

    def __init__(self, option: str | None = None) -> None:
        self.name = "milp" if option is None else f"milp+{option}"
        self.options = {LINKS: "rows that bound the distance between neurons, as analysis does"}
        self._option = option

    def with_option(self, option: str) -> MilpEncoding:
        """The encoding with this option."""
        return MilpEncoding(option)

    def supported(self) -> frozenset[type[Op]]:
        return RULES.supported & RANGE_RULES.supported

    def refuses(self, query: Query) -> str | None:
        """None, or an op without rows, or the value that may overflow where that is not monotone, or grow too large."""
        ops = query.problem.quantized.ops + query.problem.reference.ops
        missing = sorted({label(op) for op in ops if type(op) not in self.supported()})
        if missing:
            return f"there are no rows for {', '.join(missing)}"
        too_large = excess("x", inputs.region_range(query.problem))
        return next(chain(too_large, *(known.obstacles for known in _known(query))), None)

    def encode(self, query: Query) -> MilpEncoded:
        if (obstacle := self.refuses(query)) is not None:
            raise BackendError(f"the milp encoding refuses this query: {obstacle}")
        problem = query.problem
        builder, difference = self._put(query)
        aim = goal(problem, query.bound, difference, uncertainty(difference, builder.variables))
        put_threshold(builder, difference, limit=aim.limit)
        model = builder.model(str(query), difference, aim.enough, bound=aim.bound, inputs=problem.input_size)
        return MilpEncoded(problem, model, aim.fidelity)

    def encode_objective(self, objective: Objective) -> MilpEncoded:
        """The same rows without a threshold: to be maximised, from the given input on."""
        query = objective.query
        if (obstacle := self.refuses(query)) is not None:
            raise BackendError(f"the milp encoding refuses this query: {obstacle}")
        builder, difference = self._put(query)
        start = dict(enumerate(objective.start or ()))
        size = query.problem.input_size
        title = f"difference[{query.output}], side {query.side:+d}"
        model = builder.model(title, difference, bound=objective.limit, inputs=size, start=start)
        return MilpEncoded(query.problem, model, self.fidelity)

    def _put(self, query: Query) -> tuple[Builder, Linear]:
        builder = Builder()
        difference = put_difference(builder, query)
        if self._option == LINKS:
            put_links(builder, query)
        return builder, difference

    def backends(self) -> Sequence[Backend[Any]]:
        """HiGHS first, unless there is a Gurobi without a limit on the size of models."""
        highs, gurobi, scip = HighsBackend(), GurobiBackend(), ScipBackend()
        ranked = (gurobi, highs, scip) if has_full_licence() else (highs, scip, gurobi)
        return (*ranked, CertifiedBackend())


@dataclass(frozen=True, slots=True)
class Goal:
    """The limit of the threshold's row, when to stop, what is of no interest, and what all that means."""

    limit: Exact
    enough: Exact | None
    bound: Exact
    fidelity: Fidelity


def goal(problem: Problem, bound: Fraction, difference: Linear, slack: Fraction) -> Goal:
    """The goal of `difference > bound`, where solvers may be off by `slack`."""
    if difference.is_constant:  # a row without variables is within every tolerance, if its side is small
        holds = difference.constant > bound
        return Goal(difference.constant + (0 if holds else 1), None, bound, Fidelity.EXACT)
    gap = step(problem, bound)
    if gap is None or gap < 2 * slack:
        return Goal(bound - slack, bound + slack, bound, Fidelity.OVER)
    return Goal(bound + gap / 2, None, bound + gap / 2, Fidelity.EXACT)


def put_difference(builder: Builder, query: Query) -> Linear:
    """`side * (quantized - reference)` of the output in question, with all the rows that define it."""
    problem, (r_known, q_known) = query.problem, _known(query)
    x = inputs.variables(builder, problem)
    r_in, q_in = inputs.reals(problem, x), inputs.quantized(builder, problem, x)
    r = put_output(builder, problem.reference, prefix="r", inputs=r_in, known=r_known, output=query.output)
    q = put_output(builder, problem.quantized, prefix="q", inputs=q_in, known=q_known, output=query.output)
    return (q * _unit(problem) - r) * query.side


def put_threshold(builder: Builder, difference: Linear, *, limit: Exact) -> None:
    """The row `difference >= limit`, in the place of `difference > bound`."""
    builder.at_least(THRESHOLD, difference, limit)


def _unit(problem: Problem) -> Fraction:
    """What one unit of the quantized network's output stands for."""
    kind = problem.quantized.output.type.element
    return Fraction(1) if isinstance(kind, Real) else kind.scale


def _known(query: Query) -> tuple[Ranges, Ranges]:
    """Bounds of both networks' values: reference, quantized."""
    problem, facts = query.problem, query.facts.layers
    reference = [(layer.reference_pre, layer.reference_post) for layer in facts]
    quantized = [(layer.quantized_pre, layer.quantized_post) for layer in facts]
    return (
        ranges(problem.reference, inputs.reference_range(problem), reference),
        ranges(problem.quantized, inputs.quantized_range(problem), quantized),
    )
