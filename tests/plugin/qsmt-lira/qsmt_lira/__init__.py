"""An error query in linear arithmetic over integers and reals, decided by z3.

Every op is written down by its definition: a ReLU is an if, a rounding is the integer part of a sum, wrapping
is a remainder. So the formula has a solution if and only if the query has one. Nothing that analysis knows
is used; that costs time, and makes this encoding independent of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from qsmt.arith.fixed import Fixed, Overflow
from qsmt.arith.rounding import Rounding
from qsmt.encoding import Fidelity, Query
from qsmt.ir.network import Network
from qsmt.ir.ops import Affine, Clamp, Op, Relu, Requantize
from qsmt.ir.rules import Rules
from qsmt.ir.types import Accumulator, AccumulatorOverflow, Real
from qsmt.problem import INPUT_ROUNDING, InputModel
from qsmt.solver.base import Answer, Backend, Limits, Status

Term: TypeAlias = Any  # a z3 expression; z3 is untyped
Rule: TypeAlias = Callable[[Any, list[Term]], list[Term]]
RULES: Rules[Rule] = Rules("the lira encoding")


class LiraEncoding:
    """Linear arithmetic, by the book."""

    name = "lira"
    fidelity = Fidelity.EXACT
    suffix = ".smt2"

    def supported(self) -> frozenset[type[Op]]:
        return RULES.supported

    def refuses(self, query: Query) -> str | None:
        ops = {type(op) for op in query.problem.quantized.ops + query.problem.reference.ops}
        missing = sorted(op.__name__ for op in ops - self.supported())
        if missing:
            return f"there is no rule for {', '.join(missing)}"
        values = (query.problem.quantized.input, *(op.out for op in query.problem.quantized.ops))
        known = all(isinstance(v.type.element, Fixed | Accumulator | Real) for v in values)
        return None if known else "codes with zero points are not written"

    def encode(self, query: Query) -> LiraEncoded:
        import z3

        problem, solver = query.problem, z3.Solver()
        grid = problem.region.model is InputModel.GRID
        x = [(z3.Int if grid else z3.Real)(f"x{i}") for i in range(problem.input_size)]
        for v, low, high in zip(x, problem.region.lower, problem.region.upper, strict=True):
            solver.add(v >= exact(low), v <= exact(high))
        read = [times(problem.input_scale, v) for v in x]
        codes = read if problem.quantized.is_real else x if grid else [_encoded(problem, v) for v in read]
        quantized = run(problem.quantized, codes)[query.output]
        reference = run(problem.reference, read)[query.output]
        kind = problem.quantized.output.type.element
        unit = Fraction(1) if isinstance(kind, Real) else kind.scale
        difference = times(unit, quantized) - reference
        solver.add(times(Fraction(query.side), difference) > exact(query.bound))
        return LiraEncoded(solver.to_smt2(), problem.region.lower)

    def backends(self) -> Sequence[Backend[Any]]:
        return (Z3Arithmetic(),)


@dataclass(frozen=True, slots=True)
class LiraEncoded:
    """The query as SMT-LIB text; `default` is the value of an input that a model leaves open."""

    model: str
    default: tuple[Fraction, ...]

    def decode(self, assignment: Mapping[str, Fraction]) -> tuple[Fraction, ...]:
        return tuple(assignment.get(f"x{i}", v) for i, v in enumerate(self.default))

    def write(self, path: Path) -> None:
        path.write_text(self.model, encoding="utf-8")


class Z3Arithmetic:
    """z3's solver for linear arithmetic."""

    name = "z3-arithmetic"
    trust = "smt:z3-arithmetic"
    exact = True

    def available(self) -> str | None:
        try:
            import z3  # noqa: F401
        except ImportError as error:
            return f"z3-solver cannot be imported: {error}"
        return None

    def solve(self, model: str, limits: Limits) -> Answer:
        import z3

        solver = z3.Solver()
        solver.set("timeout", max(1, int(min(limits.wall_s * 1000, 2**31))))
        solver.set("random_seed", limits.seed % 2**31)
        solver.from_string(model)
        found = solver.check()
        if found == z3.unsat:
            return Answer(Status.UNSAT)
        if found != z3.sat:
            return Answer(Status.UNKNOWN, reason=f"z3 gave up: {solver.reason_unknown()}")
        values = solver.model()
        pairs = ((d.name(), Fraction(str(values[d]))) for d in values.decls() if d.name()[0] == "x")
        return Answer(Status.SAT, dict(pairs))


# --- terms --------------------------------------------------------------------------------------------------


def exact(value: Fraction | int) -> Term:
    """A number, as z3 wants it: an integer where it is one."""
    import z3

    value = Fraction(value)
    return z3.IntVal(value.numerator) if value.denominator == 1 else z3.RealVal(str(value))


def times(factor: Fraction, term: Term) -> Term:
    """`factor * term`, in the sort that holds it."""
    return term if factor == 1 else exact(factor) * term


def floor(term: Term) -> Term:
    import z3

    return z3.ToInt(term) if z3.is_real(term) else term


def ceil(term: Term) -> Term:
    return -floor(-term)


def half_up(term: Term) -> Term:
    return floor(term + exact(Fraction(1, 2)))


def half_down(term: Term) -> Term:
    return ceil(term - exact(Fraction(1, 2)))


def by_sign(positive: Callable[[Term], Term], negative: Callable[[Term], Term]) -> Callable[[Term], Term]:
    """One rounding for terms from 0 on, another one below."""
    import z3

    return lambda term: z3.If(term >= 0, positive(term), negative(term))


def half_even(term: Term) -> Term:
    import z3

    up, down = half_up(term), half_down(term)
    return z3.If(up % 2 == 0, up, down)


def rounded(term: Term, rounding: Rounding) -> Term:
    """The term as an integer; an integer is left as it is."""
    import z3

    if z3.is_int(term):
        return term
    rules: dict[Rounding, Callable[[Term], Term]] = {
        Rounding.FLOOR: floor,
        Rounding.CEIL: ceil,
        Rounding.TOWARD_ZERO: by_sign(floor, ceil),
        Rounding.AWAY: by_sign(ceil, floor),
        Rounding.HALF_UP: half_up,
        Rounding.HALF_DOWN: half_down,
        Rounding.HALF_EVEN: half_even,
        Rounding.HALF_AWAY: by_sign(half_up, half_down),
        Rounding.HALF_TOWARD_ZERO: by_sign(half_down, half_up),
    }
    return rules[rounding](term)


def clamped(term: Term, lower: Fraction | int | None, upper: Fraction | int | None) -> Term:
    import z3

    if lower is not None:
        term = z3.If(term < exact(lower), exact(lower), term)
    return term if upper is None else z3.If(term > exact(upper), exact(upper), term)


def fitted(term: Term, kind: Fixed, overflow: Overflow) -> Term:
    """An integer brought into the range of a format."""
    import z3

    match overflow:
        case Overflow.SATURATE:
            return clamped(term, kind.min, kind.max)
        case Overflow.SATURATE_SYMMETRIC:
            return clamped(term, -kind.max if kind.signed else 0, kind.max)
        case Overflow.WRAP:
            return (term - kind.min) % 2**kind.bits + kind.min
        case Overflow.SATURATE_ZERO:
            return z3.If(z3.And(term >= kind.min, term <= kind.max), term, 0)


def _encoded(problem: Any, read: Term) -> Term:
    """A real input as a code."""
    kind = problem.quantized.input.type.element
    return clamped(rounded(times(1 / kind.scale, read), INPUT_ROUNDING), kind.min, kind.max)


# --- one rule per op ---------------------------------------------------------------------------------------


def run(network: Network, x: list[Term]) -> list[Term]:
    """The network's outputs, as terms of its inputs."""
    for op in network.ops:
        x = RULES[type(op)](op, x)
    return x


@RULES.register(Affine)
def _affine(op: Affine, x: list[Term]) -> list[Term]:
    import z3

    kind = op.out.type.element
    weight, bias = (
        (op.weight.reals.fractions, op.bias.reals.fractions) if isinstance(kind, Real) else op.integers
    )
    sums = [
        z3.Sum([exact(b), *(times(Fraction(w), v) for w, v in zip(row, x, strict=True) if w)])
        for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
    ]
    if isinstance(kind, Accumulator) and kind.overflow is AccumulatorOverflow.WRAP:
        return [(v - kind.min) % 2**kind.bits + kind.min for v in sums]
    return sums


@RULES.register(Relu)
def _relu(_: Relu, x: list[Term]) -> list[Term]:
    return [clamped(v, 0, None) for v in x]


@RULES.register(Clamp)
def _clamp(op: Clamp, x: list[Term]) -> list[Term]:
    return [clamped(v, op.lower, op.upper) for v in x]


@RULES.register(Requantize)
def _requantize(op: Requantize, x: list[Term]) -> list[Term]:
    rule = op.rule
    assert isinstance(rule.target, Fixed)
    return [
        fitted(rounded(times(rule.exact.multiplier, v), rule.exact.rounding), rule.target, rule.overflow)
        for v in x
    ]
