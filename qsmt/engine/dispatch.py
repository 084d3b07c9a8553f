"""Residual queries: what analysis, falsification and enumeration left open goes to the encodings.

One query per output and side that analysis has not excluded, and a share of them to a second encoding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from qsmt.encoding import Query, QueryAnswer
from qsmt.engine.choice import Choice, choices
from qsmt.engine.crosscheck import Comparison, compare
from qsmt.engine.investigation import Investigation
from qsmt.engine.measures import limits, measured
from qsmt.engine.plan import AUTO, SAMPLED_SECONDS, SAMPLED_SHARE, CrossCheck
from qsmt.engine.portfolio import Solvers, decide
from qsmt.facts import Facts
from qsmt.problem import Problem
from qsmt.solver.base import Status
from qsmt.verdict import Falsified


def solve_residual(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: put every open query to an encoding; verified when all are unsatisfiable."""
    queries = [query for part in run.residual for query in open_queries(*part)]
    proofs, comparisons, asked = Counter[str](), list[Comparison](), 0
    with Solvers(run.options) as solvers:
        for number, query in enumerate(queries):
            run.watch.progress(number, len(queries), str(query))
            found = decide(run, solvers, query, run.remaining_s / (len(queries) - number))
            asked += 1
            comparisons += _cross_check(run, solvers, query, number=number, first=found)
            if found.status is Status.UNSAT:
                proofs[solvers.backend(found).trust] += 1
            if isinstance(run.verdict, Falsified) or run.remaining_s < 0:
                break
    proved = proofs.total()
    if proved == len(queries):
        run.verify([*run.trust, "dra", *proofs])
    remarks = list(solvers.remarks)
    figures = {"queries": len(queries), "unsat": proved, "proofs": dict(proofs)}
    figures["cross_checks"] = [c.figures for c in comparisons]
    by = ", ".join(f"{count} by {label}" for label, count in proofs.items())
    summary = f"asked {asked} of {len(queries)} residual queries, {proved} have no solution"
    summary += f" ({by})" * bool(by)
    return "; ".join([summary + said(comparisons), *remarks]), figures | {"remarks": remarks}


def said(comparisons: Sequence[Comparison]) -> str:
    """What cross-checking added, as the end of a sentence."""
    agree = sum(c.agrees for c in comparisons)
    silent = len(comparisons) - agree
    parts = [f"{agree} confirmed by a second encoding"] * bool(agree)
    parts += [f"{silent} put to a second encoding that did not know"] * bool(silent)
    return "".join(f"; {part}" for part in parts)


def open_queries(problem: Problem, facts: Facts) -> Iterator[Query]:
    """One query per output and side whose violation the facts do not exclude."""
    claim = problem.claim
    found, allowed = measured(claim, facts.difference), limits(claim)
    for output, low, high in zip(claim.outputs, allowed.lower, allowed.upper, strict=True):
        for side in claim.sides:
            kept = found.upper[output] <= high if side > 0 else found.lower[output] >= low
            if not kept:
                yield Query(problem, output, side, facts)


def _other_encoding(ranked: Sequence[Choice], found: QueryAnswer) -> Choice | None:
    return next((c for c in ranked if c.encoding.name != found.encoding), None)


def _cross_check(
    run: Investigation, solvers: Solvers, query: Query, *, number: int, first: QueryAnswer
) -> list[Comparison]:
    """Put the query to another encoding too, where the options ask for it."""
    mode = run.options.cross_check
    sampled = mode is CrossCheck.SAMPLE and number % SAMPLED_SHARE == run.options.seed % SAMPLED_SHARE
    if first.status is Status.UNKNOWN or not (mode is CrossCheck.ALL or sampled):
        return []
    ranked, _ = choices(query, replace(run.options, encoding=AUTO, backend=None))
    other = _other_encoding(ranked, first)
    if other is None:
        return []
    seconds = (
        max(run.remaining_s, 1.0)
        if mode is CrossCheck.ALL
        else min(SAMPLED_SECONDS, max(run.remaining_s, 0.1))
    )
    return [compare(query, first, solvers.ask(other, query, seconds))]
