"""bitwuzla on a QF_BV script, through its own SMT-LIB parser."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from qsmt.solver.base import Answer, Limits, Status
from qsmt_bitvector.backends import milliseconds, missing
from qsmt_bitvector.smtlib import Script


class Bitwuzla:
    """bitwuzla, from the package of that name."""

    name = "bitwuzla"
    trust = "smt:bitwuzla"
    exact = True

    def available(self) -> str | None:
        """None, or that the package is missing."""
        return missing("bitwuzla", "bitwuzla")

    def solve(self, model: Script, limits: Limits) -> Answer:
        """Decide the script within bitwuzla's own time and memory limits."""
        import bitwuzla

        parser = bitwuzla.Parser(bitwuzla.TermManager(), _options(limits))
        parser.parse(f"(set-logic QF_BV)\n{model.body}", True, False)
        solver = parser.bitwuzla()
        found = solver.check_sat()
        if found == bitwuzla.Result.SAT:
            return Answer(Status.SAT, _values(solver, parser.get_declared_funs(), model.variables))
        if found == bitwuzla.Result.UNSAT:
            return Answer(Status.UNSAT)
        return Answer(Status.UNKNOWN, reason="bitwuzla reached its time or memory limit")


def _options(limits: Limits) -> Any:
    import bitwuzla

    options = bitwuzla.Options()
    options.set(bitwuzla.Option.PRODUCE_MODELS, True)
    options.set(bitwuzla.Option.SEED, limits.seed)
    options.set(bitwuzla.Option.TIME_LIMIT_PER, milliseconds(limits))
    options.set(bitwuzla.Option.MEMORY_LIMIT, limits.memory_mib)
    # All products are by constants: refining abstractions of them, and normalizing sums, cost twice the time.
    options.set(bitwuzla.Option.ABSTRACTION, False)
    options.set(bitwuzla.Option.PP_NORMALIZE, False)
    return options


def _values(solver: Any, declared: list[Any], names: tuple[str, ...]) -> dict[str, Fraction]:
    terms = {term.symbol(): term for term in declared}
    return {name: Fraction(int(solver.get_value(terms[name]).value(10))) for name in names}
