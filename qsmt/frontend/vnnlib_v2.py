"""VNN-LIB 2.0 through the package `vnnlib`: its parser and type checker; the linear arithmetic is done here, exactly.

The package's own linearisation and normal form compute in doubles, so only its syntax tree is used.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING

from qsmt.errors import InputError, MalformedProblem
from qsmt.frontend.exact_number import exact_number
from qsmt.frontend.vnnlib_query import (
    FLOATS,
    REAL,
    Both,
    Declared,
    Either,
    Formula,
    Linear,
    QueryFile,
    Tensor,
    Variable,
    comparison,
)

if TYPE_CHECKING:
    import vnnlib

_SIGNS = {
    "LessThan": "<",
    "LessEqual": "<=",
    "GreaterThan": ">",
    "GreaterEqual": ">=",
    "Equal": "==",
    "NotEqual": "!=",
}


def parse(text: str) -> QueryFile:
    """The query that a 2.0 file states.

    Raises:
        MalformedProblem: it is not well formed, or asks for something that qsmt does not do.
        InputError: the package is not installed.
    """
    try:
        import vnnlib
    except ImportError:
        hint = "pip install vnnlib"
        raise InputError(
            "VNN-LIB 2.0 is read by the package vnnlib, which is not installed", hint=hint
        ) from None
    try:
        query = vnnlib.parse_query_string(text)
    except vnnlib.VNNLibException as error:
        raise MalformedProblem(f"is no VNN-LIB 2.0 query: {_explained(str(error))}") from None
    except IndexError:  # of the package's conversion of numbers
        raise MalformedProblem("is no VNN-LIB 2.0 query: holds a number that is too large") from None
    networks = tuple(map(_network, query.networks))
    if not 1 <= len(networks) <= 2:
        raise MalformedProblem(f"declares {len(networks)} networks; qsmt relates one or two")
    numbers = {network.name: i for i, network in enumerate(networks)}
    if len(numbers) < len(networks):  # the package does not mind, and tells variables by their network's name
        raise MalformedProblem(f"declares two networks of the name {networks[0].name}")
    reader = _Reader(networks, numbers)
    return QueryFile(2, networks, tuple(reader.formula(a.expr) for a in query.assertions))


def _network(network: vnnlib.Network) -> Declared:
    if network.hidden:
        raise MalformedProblem(f"network {network.name} declares hidden nodes, which qsmt does not relate")
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise MalformedProblem(
            f"network {network.name} has several inputs or outputs; qsmt takes one of each"
        )
    tensors = (_tensor(network.inputs[0]), _tensor(network.outputs[0]))
    for tensor in tensors:
        if tensor.element not in (REAL, *FLOATS):
            what = f"{tensor.name} is declared {tensor.element}, and qsmt relates real numbers"
            raise MalformedProblem(what, hint=f"declare it real or one of {', '.join(FLOATS)}")
    return Declared(network.name, *tensors, network.equal_to or None)


def _tensor(declared: vnnlib.InputDefinition | vnnlib.OutputDefinition) -> Tensor:
    return Tensor(declared.name, _TYPES.get(declared.dtype.name, declared.dtype.name), tuple(declared.shape))


_TYPES = {"Real": REAL, "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}


class _Reader:
    """From the package's syntax tree to exact linear forms."""

    def __init__(self, networks: tuple[Declared, ...], numbers: dict[str, int]) -> None:
        self._networks, self._numbers = networks, numbers

    def formula(self, node: vnnlib.BoolExpr) -> Formula:
        """A boolean expression."""
        kind = type(node).__name__
        if kind in _SIGNS:
            left, right = self.linear(node.lhs), self.linear(node.rhs)  # type: ignore[attr-defined]
            return comparison(left, _SIGNS[kind], right)
        parts = tuple(self.formula(part) for part in node.args)  # type: ignore[attr-defined]
        if kind not in ("And", "Or"):
            raise MalformedProblem(f"{kind} is no connective of qsmt's")
        return Both(parts) if kind == "And" else Either(parts)

    def linear(self, node: vnnlib.ArithExpr) -> Linear:
        """An arithmetic expression.

        Raises:
            MalformedProblem: it is not linear.
        """
        import vnnlib

        match node:
            case vnnlib.Var():
                return Linear({self._variable(node): Fraction(1)})
            case vnnlib.Negate():
                return Linear({}).plus(self.linear(node.expr), Fraction(-1))
            case vnnlib.Plus():
                return self._sum(node.args)
            case vnnlib.Minus():
                return self.linear(node.head).plus(self._sum(node.rest), Fraction(-1))
            case vnnlib.Multiply():
                product = Linear({}, Fraction(1))
                for factor in node.args:
                    product = product.times(self.linear(factor))
                return product
        try:
            return Linear({}, exact_number(node.lexeme))  # type: ignore[attr-defined]
        except ValueError as error:
            raise MalformedProblem(str(error)) from None

    def _sum(self, nodes: tuple[vnnlib.ArithExpr, ...]) -> Linear:
        total = Linear({})
        for node in nodes:
            total = total.plus(self.linear(node))
        return total

    def _variable(self, node: vnnlib.Var) -> Variable:
        """The element, counted row by row."""
        number = self._numbers[node.network_name]
        declared = self._networks[number]
        is_input = node.name == declared.input.name
        tensor, index = declared.input if is_input else declared.output, 0
        for extent, at in zip(tensor.shape, node.indices, strict=True):
            if not 0 <= at < extent:  # the package lets negative ones pass
                raise MalformedProblem(
                    f"{node.name}{list(node.indices)} is no element of a tensor of shape {list(tensor.shape)}"
                )
            index = index * extent + at
        return Variable(number, is_input, index, f"{node.name}{list(node.indices)}")


def _explained(report: str) -> str:
    """The first complaint of the package, in one line."""
    try:
        first = json.loads(report)["errors"][0]
        return " ".join(str(first[key]) for key in ("message", "hint") if first.get(key))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return " ".join(report.split())[:300]
