"""Residual queries: what analysis, falsification and enumeration left open goes to the encodings.

One query per output and side that analysis has not excluded. Satisfiable is never believed before
exact replay; an answer whose replay fails is "unknown". Everything runs in killable children.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from qsmt.encoding import Encoding, Query, QueryAnswer, answer, backend, encodings, load
from qsmt.engine.cost import estimate, size
from qsmt.engine.crosscheck import Comparison, compare
from qsmt.engine.investigation import Investigation
from qsmt.engine.plan import (
    AUTO,
    FIRST_SHARE,
    HEAD_START_S,
    NONE,
    SAMPLED_SECONDS,
    SAMPLED_SHARE,
    CrossCheck,
    Options,
    Trust,
)
from qsmt.errors import BackendError
from qsmt.facts import Facts
from qsmt.interp.replay import replay
from qsmt.problem import Problem
from qsmt.solver.base import Backend, Limits, Status
from qsmt.solver.process import CallFailed, Worker
from qsmt.verdict import Falsified

STOP_AGAIN_S = 0.1
"""How long a solver that was stopped may take to notice."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An encoding with one of its solvers."""

    encoding: Encoding
    backend: Backend[Any]

    def __str__(self) -> str:
        return f"{self.encoding.name}:{self.backend.name}"


def solve_residual(run: Investigation) -> tuple[str, dict[str, Any]]:
    """Stage: put every open query to an encoding; verified when all are unsatisfiable."""
    queries = [query for part in run.residual for query in open_queries(*part)]
    trust, comparisons, asked = ["dra"], list[Comparison](), 0
    with Solvers(run.options) as solvers:
        for number, query in enumerate(queries):
            run.watch.progress(number, len(queries), str(query))
            found = _decide(run, solvers, query, run.remaining_s / (len(queries) - number))
            asked += 1
            comparisons += _cross_check(run, solvers, query, number=number, first=found)
            if found.status is Status.UNSAT:
                trust.append(solvers.backend(found).trust)
            if isinstance(run.verdict, Falsified) or run.remaining_s < 0:
                break
    proved = len(trust) - 1
    if proved == len(queries):
        run.verify([*run.trust, *trust])
    remarks = list(solvers.remarks)
    figures = {"queries": len(queries), "unsat": proved, "cross_checks": [c.figures for c in comparisons]}
    summary = f"asked {asked} of {len(queries)} residual queries, {proved} have no solution"
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
    for output in problem.claim.outputs:
        bound = problem.claim.of(output)
        sides: tuple[tuple[Literal[-1, 1], float], ...] = (
            (1, float(facts.difference.upper[output])),
            (-1, -float(facts.difference.lower[output])),
        )
        for side, reach in sides:
            if not np.isfinite(reach) or Fraction(reach) > bound:
                yield Query(problem, output, side, facts)


class Solvers:
    """The worker processes of one run, one per solver, alive between queries.

    So are the threads that wait for them: a child is killed when the thread that started it ends.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._workers: dict[str, Worker] = {}
        self._stack = ExitStack()
        self._executor = self._stack.enter_context(ThreadPoolExecutor(2))
        self._asked: dict[tuple[str, str], Backend[Any]] = {}
        self.remarks: dict[str, None] = {}  # in order, each once

    def __enter__(self) -> Solvers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, choice: Choice, query: Query, seconds: float) -> QueryAnswer:
        """The replayed answer of one solver to one query; a failure of any kind is "unknown"."""
        begun = time.monotonic()
        limits = Limits(seconds, self._options.memory_mib, seed=self._options.seed)
        arguments = (query, choice.encoding.name, choice.backend.name, limits)
        try:
            found: QueryAnswer = self._worker(str(choice)).call(answer, arguments, timeout_s=seconds + 1)
        except CallFailed as failure:
            names, reason = (choice.encoding.name, choice.backend.name), f"{choice}: {failure}"
            found = QueryAnswer(Status.UNKNOWN, *names, 0.0, reason=reason)
        if found.remark:
            self.remarks[found.remark] = None
        self._asked[choice.encoding.name, found.backend] = backend(choice.encoding, found.backend)
        return replayed(query, replace(found, seconds=time.monotonic() - begun))

    def begin(self, choice: Choice, query: Query, seconds: float) -> Future[QueryAnswer]:
        """`ask`, in another thread."""
        return self._executor.submit(self.ask, choice, query, seconds)

    def stop(self, choice: Choice) -> None:
        """From another thread: end what this solver is doing."""
        self._worker(str(choice)).interrupt()

    def backend(self, found: QueryAnswer) -> Backend[Any]:
        """Whose answer this is."""
        return self._asked[found.encoding, found.backend]

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = self._stack.enter_context(Worker(self._options.memory_mib))
        return self._workers[name]


def replayed(query: Query, found: QueryAnswer) -> QueryAnswer:
    """A satisfiable answer stands only if exact execution confirms it; otherwise nothing is known."""
    if found.status is not Status.SAT:
        return found
    if found.witness is None:
        return replace(found, status=Status.UNKNOWN, reason=f"{found.backend} gave no input with its answer")
    execution = replay(query.problem, [found.witness])[0]
    if (
        query.problem.region.contains(found.witness)
        and execution.reached(query.output, query.side) > query.bound
    ):
        return found
    difference = execution.difference[query.output]
    reason = f"{found.backend} claims a violation; replayed exactly, the difference there is only {float(difference)!r}"
    return replace(found, status=Status.UNKNOWN, witness=None, reason=reason)


def validate(options: Options) -> None:
    """Can the encoding and the solver that the user named be used here at all?

    Raises:
        BackendError: saying what is missing.
    """
    named = [] if options.encoding in (AUTO, NONE) else [load(options.encoding)]
    candidates = named or list(encodings().values() if options.backend else ())
    refusals: list[str] = []
    usable = [candidate for encoding in candidates for candidate in _usable(encoding, options, refusals)]
    if candidates and not usable:
        raise BackendError("; ".join(refusals))


def choices(query: Query, options: Options) -> tuple[list[Choice], str]:
    """The usable solvers for a query, the best first; and why the others are not."""
    offered = encodings() if options.encoding == AUTO else {options.encoding: load(options.encoding)}
    found, refusals = list[Choice](), list[str]()
    for encoding in offered.values():
        refusal = encoding.refuses(query)
        if refusal:
            refusals.append(f"{encoding.name}: {refusal}")
        else:
            found += [Choice(encoding, b) for b in _usable(encoding, options, refusals)]
    bits, neurons = size(query)
    only_exact = options.trust is Trust.EXACT

    def rank(choice: Choice) -> tuple[bool, float]:
        """Exact solvers first where only they count."""
        cost = estimate(choice.backend, input_bits=bits, neurons=neurons)
        return only_exact and not choice.backend.exact, cost

    return sorted(found, key=rank), "; ".join(refusals)


def _usable(encoding: Encoding, options: Options, refusals: list[str]) -> list[Backend[Any]]:
    usable = []
    for candidate in encoding.backends():
        if options.backend not in (None, candidate.name):
            continue
        missing = candidate.available()
        if missing:
            refusals.append(f"{candidate.name}: {missing}")
        else:
            usable.append(candidate)
    if options.backend and options.backend not in [b.name for b in encoding.backends()]:
        known = ", ".join(b.name for b in encoding.backends())
        refusals.append(f"encoding {encoding.name} has no backend {options.backend!r}; it has {known}")
    return usable


def _decide(run: Investigation, solvers: Solvers, query: Query, share: float) -> QueryAnswer:
    """The answer of the best solver, or of its partner."""
    ranked, refusals = choices(query, run.options)
    if not ranked:
        run.reasons.append(refusals)
        return QueryAnswer(Status.UNKNOWN, "none", "none", 0.0, reason=refusals)
    pair = ranked[:2]
    ask = _side_by_side if run.options.jobs > 1 else _in_turn
    found = ask(run, solvers, query, pair, share=share)
    if found.witness is not None:
        run.observe([found.witness])
    return found


def _in_turn(
    run: Investigation, solvers: Solvers, query: Query, pair: Sequence[Choice], *, share: float
) -> QueryAnswer:
    """One solver after the other, if there is another."""
    first = solvers.ask(pair[0], query, max(share * (FIRST_SHARE if len(pair) > 1 else 1), 0.1))
    found = _accept(run, solvers, first)
    if found.status is Status.UNKNOWN and len(pair) > 1:
        found = _accept(run, solvers, solvers.ask(pair[1], query, max(share - first.seconds, 0.1)))
    return found


def _side_by_side(
    run: Investigation, solvers: Solvers, query: Query, pair: Sequence[Choice], *, share: float
) -> QueryAnswer:
    """After a head start of the first, both at once; the first answer that counts ends the other."""
    begun, waiting = time.monotonic(), list(pair)
    under_way: dict[Future[QueryAnswer], Choice] = {}
    found = QueryAnswer(Status.UNKNOWN, "none", "none", 0.0)
    try:
        while waiting or under_way:
            if waiting:
                left, choice = max(share - (time.monotonic() - begun), 0.1), waiting.pop(0)
                under_way[solvers.begin(choice, query, left)] = choice
            done, _ = wait(under_way, HEAD_START_S if waiting else None, FIRST_COMPLETED)
            for future in done:
                del under_way[future]
                found = _accept(run, solvers, future.result())
                if found.status is not Status.UNKNOWN:
                    return found
    finally:
        while wait(under_way, 0).not_done:  # again and again: one may only just be starting
            for choice in under_way.values():
                solvers.stop(choice)
            wait(under_way, STOP_AGAIN_S)
    return found


def _accept(run: Investigation, solvers: Solvers, found: QueryAnswer) -> QueryAnswer:
    """Refuse a numerical solver's "no solution" where only exact answers count; keep unknown's reason."""
    numerical = found.status is Status.UNSAT and not solvers.backend(found).exact
    if numerical and run.options.trust is Trust.EXACT:
        found = replace(
            found, status=Status.UNKNOWN, reason=f"{found.backend} finds no violation, but only numerically"
        )
    if found.status is Status.UNKNOWN:
        run.reasons.append(found.reason or f"{found.backend} does not know")
    return found


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
