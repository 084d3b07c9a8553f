"""cvc5 on a QF_BV script, through its own SMT-LIB parser. An extra: `pip install qsmt[cvc5]`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from qsmt.solver.base import Answer, Limits, Status
from qsmt_bitvector.backends import milliseconds, missing
from qsmt_bitvector.smtlib import Script

SEEDS = 2**31
"""Seeds are taken modulo this; larger ones cvc5 refuses."""


class Cvc5:
    """cvc5, from the package of that name."""

    name = "cvc5"
    trust = "smt:cvc5"
    exact = True

    def available(self) -> str | None:
        """None, or that the package is missing."""
        return missing("cvc5", "cvc5")

    def solve(self, model: Script, limits: Limits) -> Answer:
        """Decide the script within cvc5's own time limit."""
        import cvc5

        solver = cvc5.Solver(cvc5.TermManager())
        for option, value in _options(limits).items():
            solver.setOption(option, value)
        symbols = _parsed(solver, f"(set-logic QF_BV)\n{model.body}")
        found = solver.checkSat()
        if found.isSat():
            return Answer(Status.SAT, _values(solver, symbols, model.variables))
        if found.isUnsat():
            return Answer(Status.UNSAT)
        return Answer(Status.UNKNOWN, reason=f"cvc5 gave up: {found.getUnknownExplanation().name.lower()}")


def _options(limits: Limits) -> dict[str, str]:
    seed = str(limits.seed % SEEDS)
    return {
        "produce-models": "true",
        "tlimit-per": str(milliseconds(limits)),
        "seed": seed,
        "sat-random-seed": seed,
    }


def _parsed(solver: Any, text: str) -> Any:
    """Hand the script to the solver; its declared symbols."""
    import cvc5

    symbols = cvc5.SymbolManager(solver.getTermManager())
    parser = cvc5.InputParser(solver, symbols)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "query")
    while not (command := parser.nextCommand()).isNull():
        command.invoke(solver, symbols)
    return symbols


def _values(solver: Any, symbols: Any, names: tuple[str, ...]) -> dict[str, Fraction]:
    terms = {term.getSymbol(): term for term in symbols.getDeclaredTerms()}
    return {
        name: Fraction(int(solver.getValue(terms[name]).getBitVectorValue(10)))
        for name in names
        if name in terms
    }
