"""A mixed-integer linear program, exact: what the encoding writes before any solver's floats come in.

    maximise  objective   subject to   lower <= a . v <= upper  for each row,   v within its bounds

Every number is an integer or a `Fraction`. Whether the program is feasible is the whole question; the
objective tells a solver where to look, and which solutions are clear of the rows' edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

Exact: TypeAlias = int | Fraction

THRESHOLD = "threshold"
"""The row `objective >= bound`, or a little more or less."""


@dataclass(frozen=True, slots=True)
class Linear:
    """`constant + sum of coefficient * variable`; variables by index, no coefficient is zero."""

    constant: Exact = 0
    terms: Mapping[int, Exact] = field(default_factory=dict)

    def __add__(self, other: Linear | Exact) -> Linear:
        if not isinstance(other, Linear):
            return Linear(self.constant + other, self.terms)
        return combination((1, 1), (self, other))

    def __sub__(self, other: Linear | Exact) -> Linear:
        return self + other * -1

    def __mul__(self, factor: Exact) -> Linear:
        return combination((factor,), (self,))

    @property
    def is_constant(self) -> bool:
        return not self.terms


def combination(weights: Iterable[Exact], forms: Iterable[Linear], constant: Exact = 0) -> Linear:
    """`constant + sum of weight * form`."""
    terms: dict[int, Exact] = {}
    for weight, form in zip(weights, forms, strict=True):
        if not weight:
            continue
        if form.constant:
            constant += weight * form.constant
        for index, coefficient in form.terms.items():
            term = weight if coefficient == 1 else weight * coefficient
            terms[index] = terms[index] + term if index in terms else term
    return Linear(constant, {index: c for index, c in terms.items() if c})


@dataclass(frozen=True, slots=True)
class Variable:
    """A number in [lower, upper]."""

    name: str
    lower: Exact
    upper: Exact
    integer: bool

    @property
    def modulus(self) -> Exact:
        """The largest absolute value."""
        return max(-self.lower, self.upper)


@dataclass(frozen=True, slots=True)
class Row:
    """`lower <= sum of coefficient * variable <= upper`; None means no limit on that side."""

    name: str
    terms: Mapping[int, Exact]
    lower: Exact | None
    upper: Exact | None


@dataclass(frozen=True, slots=True)
class Model:
    """The program. `title` says what a solution of it would be.

    A solver may stop at a solution whose objective is `enough`, or at any solution if that is None.
    Solutions whose objective is at most `bound` are of no interest: the row THRESHOLD keeps solvers in
    doubles from them, and may do so with some room. The first `inputs` variables determine all others, up to
    ties; 0 means that nothing is known of the kind. `start` has values of some variables, from which a search for a
    maximum may begin.
    """

    title: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    objective: Linear
    enough: Exact | None = None
    bound: Exact = 0
    inputs: int = 0
    start: Mapping[int, Exact] = field(default_factory=dict)


class Builder:
    """Collects the variables and rows of a model; hands out expressions."""

    def __init__(self) -> None:
        self._variables: list[Variable] = []
        self._rows: list[Row] = []

    @property
    def variables(self) -> Sequence[Variable]:
        """What has been collected so far."""
        return self._variables

    def variable(self, name: str, lower: Exact, upper: Exact, *, integer: bool) -> Linear:
        """A new variable."""
        self._variables.append(Variable(name, lower, upper, integer))
        return Linear(0, {len(self._variables) - 1: 1})

    def binary(self, name: str) -> Linear:
        """A new variable that is 0 or 1."""
        return self.variable(name, 0, 1, integer=True)

    def at_least(self, name: str, form: Linear, limit: Exact = 0) -> None:
        """The row `form >= limit`."""
        self._row(name, form, limit, None)

    def at_most(self, name: str, form: Linear, limit: Exact = 0) -> None:
        """The row `form <= limit`."""
        self._row(name, form, None, limit)

    def equal(self, name: str, form: Linear, value: Exact = 0) -> None:
        """The row `form = value`."""
        self._row(name, form, value, value)

    def _row(self, name: str, form: Linear, lower: Exact | None, upper: Exact | None) -> None:
        low = None if lower is None else lower - form.constant
        high = None if upper is None else upper - form.constant
        self._rows.append(Row(name, form.terms, low, high))

    def model(
        self,
        title: str,
        objective: Linear,
        enough: Exact | None = None,
        *,
        bound: Exact = 0,
        inputs: int = 0,
        start: Mapping[int, Exact] | None = None,
    ) -> Model:
        """What has been collected."""
        return Model(
            title,
            tuple(self._variables),
            tuple(self._rows),
            objective,
            enough,
            bound=bound,
            inputs=inputs,
            start=start or {},
        )
