"""VNN-LIB 1.0: SMT-LIB declarations X_i and Y_i of one network, and assertions of linear arithmetic.

The package `vnnlib` reads version 2.0 only, so this is a reader of the little that 1.0 files consist of:

    (declare-const X_0 Real)   (assert F)   with F of and, or, <=, >=, <, >, =, +, -, *, numbers and variables
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NoReturn, TypeAlias

from qsmt.errors import MalformedProblem
from qsmt.frontend.exact_number import exact_number, quoted
from qsmt.frontend.vnnlib_query import (
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

Node: TypeAlias = "str | list[Node]"

_TOKEN = re.compile(r"\s+|;[^\n]*|([()])|([^\s();]+)")
_NAME = re.compile(r"([XY])_([0-9]{1,7})")
_SIGNS = {"<=": "<=", ">=": ">=", "<": "<", ">": ">", "=": "=="}


def parse(text: str) -> QueryFile:
    """The query that a 1.0 file states.

    Raises:
        MalformedProblem: saying what is wrong with the text.
    """
    declared: dict[str, Variable] = {}
    assertions: list[Formula] = []
    for node in _nodes(text):
        match node:
            case ["declare-const", str(name), "Real"] | ["declare-fun", str(name), [], "Real"]:
                declared[name] = _declared(name)
            case ["assert", body]:
                assertions.append(_formula(body, declared))
            case ["set-logic" | "check-sat" | "exit" | "set-info", *_]:
                continue
            case _:
                raise MalformedProblem(f"{_shown(node)} is no declaration of a Real, and no assertion")
    return QueryFile(1, (_network(declared),), tuple(assertions))


def _network(declared: dict[str, Variable]) -> Declared:
    tensors = []
    for letter, is_input in (("X", True), ("Y", False)):
        indices = sorted(v.index for v in declared.values() if v.is_input == is_input)
        if not indices or indices != list(range(len(indices))):
            raise MalformedProblem(f"the variables {letter}_i are not numbered from 0 on, without a gap")
        tensors.append(Tensor(letter, "Real", (len(indices),)))
    return Declared("network", tensors[0], tensors[1])


def _declared(name: str) -> Variable:
    found = _NAME.fullmatch(name)
    if not found:
        raise MalformedProblem(f"{quoted(name)} is neither an input X_i nor an output Y_i")
    return Variable(0, found[1] == "X", int(found[2]), name)


def _formula(node: Node, declared: dict[str, Variable]) -> Formula:
    match node:
        case ["and", *parts] if parts:
            return Both(tuple(_formula(part, declared) for part in parts))
        case ["or", *parts] if parts:
            return Either(tuple(_formula(part, declared) for part in parts))
        case [str(sign), left, right] if sign in _SIGNS:
            return comparison(_linear(left, declared), _SIGNS[sign], _linear(right, declared))
    raise MalformedProblem(f"{_shown(node)} is not made of and, or, <=, >=, <, >, =")


def _linear(node: Node, declared: dict[str, Variable]) -> Linear:
    match node:
        case str():
            return _leaf(node, declared)
        case ["+", *parts] if parts:
            return _sum(parts, Fraction(1), declared)
        case ["-", only]:
            return Linear({}).plus(_linear(only, declared), Fraction(-1))
        case ["-", first, *parts]:
            return _linear(first, declared).plus(_sum(parts, Fraction(1), declared), Fraction(-1))
        case ["*", left, right]:
            return _linear(left, declared).times(_linear(right, declared))
    raise MalformedProblem(f"{_shown(node)} is no linear expression")


def _sum(parts: list[Node], factor: Fraction, declared: dict[str, Variable]) -> Linear:
    total = Linear({})
    for part in parts:
        total = total.plus(_linear(part, declared), factor)
    return total


def _leaf(text: str, declared: dict[str, Variable]) -> Linear:
    if text in declared:
        return Linear({declared[text]: Fraction(1)})
    try:
        return Linear({}, exact_number(text))
    except ValueError as error:
        raise MalformedProblem(f"{quoted(text)} is no declared variable, and no number: {error}") from None


def _nodes(text: str) -> list[Node]:
    """The expressions of the file."""
    stack: list[list[Node]] = [[]]
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found, "every character is one of a token"
        at = found.end()
        if found[1] == "(":
            stack.append([])
        elif found[1] == ")":
            if len(stack) == 1:
                _unbalanced(text, at)
            closed = stack.pop()
            stack[-1].append(closed)
        elif found[2]:
            stack[-1].append(found[2])
    if len(stack) > 1:
        _unbalanced(text, at)
    return stack[0]


def _unbalanced(text: str, at: int) -> NoReturn:
    line = text.count("\n", 0, at) + 1
    raise MalformedProblem(f"its parentheses do not match (line {line})")


def _shown(node: Node) -> str:
    def flat(part: Node) -> str:
        return part if isinstance(part, str) else f"({' '.join(map(flat, part[:4]))})"

    return quoted(flat(node))
