"""A VNN-LIB query as boxes of inputs, and cases of inequalities of outputs, one of which is asked for.

A query asks: are there inputs and outputs that meet all assertions? As a disjunction of conjunctions, each conjunction
is a box of the inputs and a case of the outputs; those of one box go together. Then there is a solution if, and only
if, in one of the boxes one of the cases holds: the constraint that qsmt decides (qsmt.claim).

What has no such form is refused in one line: inequalities of several inputs, of inputs together with outputs, strict
ones of inputs, inputs without bounds, and two networks that do not read the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from qsmt.errors import MalformedProblem
from qsmt.frontend.combined import Cases, OutputInequality

MAX_CONJUNCTIONS, MAX_ATOMS = 10_000, 4_000_000


@dataclass(frozen=True, slots=True)
class Variable:
    """One element of a network's input or output tensor."""

    network: int
    is_input: bool
    index: int
    name: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Linear:
    """`sum of coefficient * variable + constant`."""

    terms: Mapping[Variable, Fraction]
    constant: Fraction = Fraction(0)

    def plus(self, other: Linear, factor: Fraction = Fraction(1)) -> Linear:
        """This and `factor` times the other."""
        terms = dict(self.terms)
        for variable, c in other.terms.items():
            terms[variable] = terms.get(variable, Fraction(0)) + factor * c
        return Linear({v: c for v, c in terms.items() if c}, self.constant + factor * other.constant)

    def times(self, other: Linear) -> Linear:
        """The product, one factor of which must be constant.

        Raises:
            MalformedProblem: neither is.
        """
        if other.terms and self.terms:
            raise MalformedProblem("a product of two variables is not linear")
        form, factor = (other, self.constant) if not self.terms else (self, other.constant)
        return Linear({}, Fraction(0)).plus(form, factor)


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """`form > 0`; or `form >= 0`, unless it is `strict`."""

    form: Linear
    strict: bool


@dataclass(frozen=True, slots=True, eq=False)
class Both:
    """All parts hold."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Either:
    """One part holds."""

    parts: tuple[Formula, ...]


Formula: TypeAlias = Atom | Both | Either

SIGNS = ("<", "<=", ">", ">=", "==", "!=")


def comparison(left: Linear, sign: str, right: Linear) -> Formula:
    """`left sign right`; an equality is two inequalities, and so is its opposite."""
    more, less = left.plus(right, Fraction(-1)), right.plus(left, Fraction(-1))
    match sign:
        case ">" | ">=":
            return Atom(more, strict=sign == ">")
        case "<" | "<=":
            return Atom(less, strict=sign == "<")
        case "==":
            return Both((Atom(more, strict=False), Atom(less, strict=False)))
    return Either((Atom(more, strict=True), Atom(less, strict=True)))


REAL = "real"
"""The element type whose arithmetic is exact: what qsmt analyses, whatever is declared (ADR 13)."""

FLOATS = ("float16", "float32", "float64", "bfloat16")
"""ONNX's names of the types that round."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A declared input or output: its type and shape as the file has them."""

    name: str
    element: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True, slots=True)
class Declared:
    """A network of the file, with one input and one output; `equal_to` another of the file, or None."""

    name: str
    input: Tensor
    output: Tensor
    equal_to: str | None = None


@dataclass(frozen=True, slots=True)
class QueryFile:
    """What a file says; `version` 1 has a single network without a name."""

    version: int
    networks: tuple[Declared, ...]
    assertions: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class BoxCases:
    """A box, and the cases of which one is asked for; a case without inequalities holds everywhere."""

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    cases: Cases


def box_cases(query: QueryFile) -> tuple[BoxCases, ...]:
    """The boxes of a query, each with its cases; none at all if the assertions contradict each other.

    `reference` terms of an inequality are of the first network, `quantized` ones of the second.

    Raises:
        MalformedProblem: the query has no such form; one line says why.
    """
    size = query.networks[0].input.size
    if any(network.input.size != size for network in query.networks):
        raise MalformedProblem("its networks have inputs of different sizes")
    found: dict[
        tuple[tuple[Fraction, ...], tuple[Fraction, ...]], dict[tuple[OutputInequality, ...], None]
    ] = {}
    for atoms in _conjunctions(Both(query.assertions)):
        made = _box_case(atoms, query, size)
        if made is not None:
            lower, upper, case = made
            found.setdefault((lower, upper), {})[case] = None
    return tuple(BoxCases(*ends, tuple(cases)) for ends, cases in found.items())


def _conjunctions(formula: Formula) -> list[tuple[Atom, ...]]:
    """The disjunctive normal form."""
    match formula:
        case Atom():
            return [(formula,)]
        case Either(parts=parts):
            return _limited([atoms for part in parts for atoms in _conjunctions(part)])
        case Both(parts=parts):
            plain = tuple(part for part in parts if isinstance(part, Atom))
            product = [plain]
            for part in parts:
                if not isinstance(part, Atom):
                    others = _conjunctions(part)
                    if len(product) * len(others) > MAX_CONJUNCTIONS:
                        _too_many()
                    product = _limited([a + b for a in product for b in others])
            return product


def _limited(found: list[tuple[Atom, ...]]) -> list[tuple[Atom, ...]]:
    if len(found) > MAX_CONJUNCTIONS or sum(map(len, found)) > MAX_ATOMS:
        _too_many()
    return found


def _too_many() -> None:
    raise MalformedProblem(f"its assertions make more than {MAX_CONJUNCTIONS} conjunctions")


# --- one conjunction ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Ends:
    """Of one network's inputs, as far as they are bounded."""

    lower: dict[int, Fraction] = field(default_factory=dict)
    upper: dict[int, Fraction] = field(default_factory=dict)

    def bound(self, index: int, coefficient: Fraction, constant: Fraction) -> None:
        """`coefficient * x + constant >= 0`"""
        end = -constant / coefficient
        if coefficient > 0:
            self.lower[index] = max(self.lower.get(index, end), end)
        else:
            self.upper[index] = min(self.upper.get(index, end), end)

    def meet(self, other: _Ends) -> None:
        for index, end in other.lower.items():
            self.bound(index, Fraction(1), -end)
        for index, end in other.upper.items():
            self.bound(index, Fraction(-1), end)


def _box_case(
    atoms: Iterable[Atom], query: QueryFile, size: int
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...], tuple[OutputInequality, ...]] | None:
    """The box and the case; None if nothing meets them."""
    ends = [_Ends() for _ in query.networks]
    links: set[tuple[int, int]] = set()  # (index, sign): x1 - x0 >= 0, and <= 0
    case: dict[OutputInequality, None] = {}
    for atom in atoms:
        variables = list(atom.form.terms)
        if not variables:
            if atom.form.constant < 0 or (atom.form.constant == 0 and atom.strict):
                return None
        elif not any(v.is_input for v in variables):
            case[_inequality(atom)] = None
        elif len(variables) == 1:
            _bound(atom, ends)
        else:
            links.add(_link(atom))
    joined = _joined(ends, links, query, size)
    box = _box(joined, query.networks[0].input, size)
    return None if box is None else (*box, tuple(case))


def _inequality(atom: Atom) -> OutputInequality:
    first, second = (
        {v.index: c for v, c in atom.form.terms.items() if v.network == network} for network in (0, 1)
    )
    return OutputInequality.of(first, second, -atom.form.constant, strict=atom.strict)


def _bound(atom: Atom, ends: list[_Ends]) -> None:
    ((variable, c),) = atom.form.terms.items()
    if atom.strict:
        raise MalformedProblem(
            f"the bound of input {variable.name} is strict; qsmt takes closed boxes", hint="use <="
        )
    ends[variable.network].bound(variable.index, c, atom.form.constant)


def _link(atom: Atom) -> tuple[int, int]:
    """Half of an equality of two networks' inputs; nothing else relates inputs."""
    variables = sorted(
        atom.form.terms.items(), key=lambda entry: (entry[0].network, not entry[0].is_input, entry[0].index)
    )
    names = ", ".join(v.name for v, _ in variables[:4])
    if not all(v.is_input for v, _ in variables):
        raise MalformedProblem(
            f"an assertion relates inputs with outputs ({names}); qsmt takes boxes of inputs"
        )
    (a, c), (b, d) = variables[0], variables[-1]
    if (
        len(variables) != 2
        or a.network == b.network
        or a.index != b.index
        or c + d
        or atom.form.constant
        or atom.strict
    ):
        raise MalformedProblem(f"an assertion relates several inputs ({names}); qsmt takes boxes of inputs")
    return a.index, 1 if d > 0 else -1


def _place(variable: Variable) -> tuple[int, bool, int]:
    return variable.network, not variable.is_input, variable.index


def _joined(ends: list[_Ends], links: set[tuple[int, int]], query: QueryFile, size: int) -> _Ends:
    """The bounds of the common input of all networks."""
    first = ends[0]
    for network, other in zip(query.networks[1:], ends[1:], strict=True):
        pinned = (i for i in range(size) if not _is_common(i, links, first, other))
        if (loose := next(pinned, None)) is not None:
            name = query.networks[0].name
            what = f"input {loose} of {network.name} is not asserted equal to that of {name}"
            raise MalformedProblem(
                what, hint="qsmt runs both networks on the same inputs: assert == for each"
            )
        first.meet(other)
    return first


def _is_common(index: int, links: set[tuple[int, int]], a: _Ends, b: _Ends) -> bool:
    """Are the two inputs equal: because it is asserted, or because both are the same constant?"""
    if (index, 1) in links and (index, -1) in links:
        return True
    points = {side.get(index) for ends in (a, b) for side in (ends.lower, ends.upper)}
    return len(points) == 1 and None not in points


def _box(
    ends: _Ends, declared: Tensor, size: int
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]] | None:
    for i in range(size):
        for side, what in ((ends.lower, "lower"), (ends.upper, "upper")):
            if i not in side:
                raise MalformedProblem(f"input {i} of {declared.name} has no {what} bound")
        if ends.lower[i] > ends.upper[i]:
            return None
    return tuple(ends.lower[i] for i in range(size)), tuple(ends.upper[i] for i in range(size))


def rounded_tensors(query: QueryFile) -> Iterator[Tensor]:
    """The declared tensors of a type that rounds, in the order of the file."""
    for network in query.networks:
        yield from (tensor for tensor in (network.input, network.output) if tensor.element in FLOATS)
