"""The backend: branch and bound over HiGHS's linear relaxations, every leaf certified in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module

from qsmt.solver.base import Answer, Limits, Optimum, Status
from qsmt_milp.certified.check import verified
from qsmt_milp.certified.integers import exactly
from qsmt_milp.certified.search import GaveUp, Solution, search
from qsmt_milp.model import Model


class CertifiedBackend:
    """Its "no solution" is a proof: it does not rest on any solver, only on `check` and on the model."""

    name = "certified"
    trust = "milp-certified"
    exact = True

    def available(self) -> str | None:
        try:
            import_module("highspy")
        except ImportError as error:
            return f"highspy cannot be imported ({error})"
        return None

    def solve(self, model: Model, limits: Limits) -> Answer:
        reason = self.available()
        if reason is not None:
            return Answer(Status.UNKNOWN, reason=reason)
        problem = exactly(model)
        try:
            found = search(problem, limits.wall_s)
        except GaveUp as why:
            return Answer(Status.UNKNOWN, reason=f"certified branch and bound ended with {why}")
        if isinstance(found, Solution):
            pairs = zip(model.variables, found.values, strict=True)
            return Answer(Status.SAT, {variable.name: Fraction(value) for variable, value in pairs})
        if not verified(problem, found):
            return Answer(Status.UNKNOWN, reason="the certificate does not stand up to its check")
        return Answer(Status.UNSAT)

    def maximize(self, model: Model, limits: Limits) -> Optimum:
        """A proof that nothing exceeds what is of no interest; or a solution that does, for a next attempt."""
        answer = self.solve(model, limits)
        proved = answer.status is Status.UNSAT
        return Optimum(Fraction(model.bound) if proved else None, answer.assignment, answer.reason)
