"""VNN-LIB files: what satisfies the assertions is what lies in a box and in one of its cases; the rest is refused."""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from qsmt.errors import InputError
from qsmt.frontend.combined import OutputInequality
from qsmt.frontend.vnnlib import read_query
from qsmt.frontend.vnnlib_query import Both, BoxCases, QueryFile, box_cases

F = Fraction
ONE = F(1)
HEAD = "".join(f"(declare-const {v} Real)\n" for v in ("X_0", "X_1", "Y_0", "Y_1"))
BOX = "(assert (and (<= 0 X_0) (<= X_0 2) (>= X_1 -1.5) (<= X_1 1e0)))\n"

TWO = """\
(vnnlib-version <2.0>)
(declare-network f (declare-input X real [1,2]) (declare-output Y real [2]))
(declare-network g {relation} (declare-input V real [1,2]) (declare-output W real [2]))
(assert (and (>= X[0,0] 0.0) (<= X[0,0] 2.0) (>= X[0,1] -1.5) (<= X[0,1] 1.0)))
(assert (and (== X[0,0] V[0,0]) (== V[0,1] X[0,1])))
{body}
"""


def query(folder: Path, text: str) -> QueryFile:
    path = folder / "query.vnnlib"
    path.write_text(text)
    return read_query(path)


def cases(folder: Path, text: str) -> tuple[BoxCases, ...]:
    return box_cases(query(folder, text))


def two(body: str, relation: str = "") -> str:
    return TWO.format(body=body, relation=relation)


# --- meaning ------------------------------------------------------------------------------------------------


def test_version_1(tmp_path: Path) -> None:
    text = (
        HEAD
        + BOX
        + "(assert (or (and (<= Y_0 Y_1) (> Y_0 0.25)) (>= (- (* 2 Y_1) 1) (+ Y_0 Y_0)))) ; unsafe\n"
    )
    (box,) = cases(tmp_path, text)
    assert (box.lower, box.upper) == ((F(0), F(-3, 2)), (F(2), F(1)))
    first = OutputInequality.of({0: -ONE, 1: ONE}, {}, F(0), strict=False)
    second = OutputInequality.of({0: ONE}, {}, F(1, 4), strict=True)
    third = OutputInequality.of({0: F(-2), 1: F(2)}, {}, F(1), strict=False)
    assert box.cases == ((first, second), (third,))


def test_boxes_and_cases_go_together(tmp_path: Path) -> None:
    boxes = "(assert (or (and (>= X_0 0) (<= X_0 1)) (and (>= X_0 2) (<= X_0 3))))"
    boxes += "(assert (>= X_1 0))(assert (<= X_1 0))"
    found = cases(tmp_path, HEAD + boxes + "(assert (or (<= Y_0 0) (<= Y_1 0)))")
    assert [(box.lower, len(box.cases)) for box in found] == [((F(0), F(0)), 2), ((F(2), F(0)), 2)]


def test_version_2_of_two_networks(tmp_path: Path) -> None:
    text = two("(assert (or (> (- Y[0] W[0]) 0.05) (!= (* 2.0 W[1]) 1.0)))", "(isomorphic-to f)")
    (box,) = cases(tmp_path, text)
    apart = OutputInequality.of({0: ONE}, {0: -ONE}, F(1, 20), strict=True)
    above, below = (OutputInequality.of({}, {1: s * F(2)}, s * ONE, strict=True) for s in (1, -1))
    assert box == BoxCases((F(0), F(-3, 2)), (F(2), F(1)), ((apart,), (above,), (below,)))
    assert [n.equal_to for n in query(tmp_path, two("", "(equal-to f)")).networks] == [None, "f"]


def test_elements_are_counted_row_by_row(tmp_path: Path) -> None:
    text = """(vnnlib-version <2.0>)
    (declare-network f (declare-input X real [1]) (declare-output Y real [2,3]))
    (assert (and (>= X[0] 0.0) (<= X[0] 1.0) (>= Y[1,2] Y[0,1])))"""
    (box,) = cases(tmp_path, text)
    assert box.cases == ((OutputInequality.of({5: ONE, 1: -ONE}, {}, F(0), strict=False),),)


def test_a_contradiction_leaves_nothing(tmp_path: Path) -> None:
    assert cases(tmp_path, HEAD + BOX + "(assert (>= X_0 3))(assert (<= Y_0 0))") == ()
    assert cases(tmp_path, HEAD + BOX + "(assert (< 1 1))") == ()


def test_nothing_said_of_outputs_is_a_case_that_holds(tmp_path: Path) -> None:
    (box,) = cases(tmp_path, HEAD + BOX)
    assert box.cases == ((),)


@pytest.mark.parametrize("name", ["q.vnnlib.gz", "Q.VNNLIB.GZ"])
def test_a_gzipped_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress((HEAD + BOX).encode()))
    assert len(read_query(tmp_path / name).assertions) == 1


def _random_text(rng: Random, depth: int = 0) -> str:
    kind = rng.choice(["and", "or", "atom"]) if depth < 3 else "atom"
    if kind != "atom":
        return f"({kind} {' '.join(_random_text(rng, depth + 1) for _ in range(rng.randint(1, 3)))})"
    sign = rng.choice(["<=", ">=", "<", ">"])
    if rng.random() < 0.3:
        return f"({rng.choice(['<=', '>='])} X_{rng.randint(0, 1)} {rng.randint(-2, 2)})"
    return f"({sign} (- (* {rng.randint(-2, 2)} Y_0) Y_{rng.randint(0, 1)}) (+ Y_1 {rng.randint(-2, 2)}))"


def _truth(node: object, values: dict[str, Fraction]) -> bool:
    """The assertion at a point, by what the text says."""
    operators = {"<=": F.__le__, ">=": F.__ge__, "<": F.__lt__, ">": F.__gt__}
    assert isinstance(node, list)
    if node[0] in ("and", "or"):
        parts = [_truth(part, values) for part in node[1:]]
        return all(parts) if node[0] == "and" else any(parts)
    return bool(operators[node[0]](_number(node[1], values), _number(node[2], values)))


def _number(node: object, values: dict[str, Fraction]) -> Fraction:
    if isinstance(node, str):
        return values[node] if node in values else F(node)
    assert isinstance(node, list)
    a, b = (_number(part, values) for part in node[1:])
    return {"-": a - b, "+": a + b, "*": a * b}[node[0]]


def _nested(text: str) -> list[object]:
    stack: list[list[object]] = [[]]
    for word in text.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            stack.append([])
        elif word == ")":
            closed = stack.pop()
            stack[-1].append(closed)
        else:
            stack[-1].append(word)
    return stack[0]


def _in_some_case(found: tuple[BoxCases, ...], x: tuple[Fraction, ...], y: tuple[Fraction, ...]) -> bool:
    def holds(part: OutputInequality) -> bool:
        v = sum((c * y[i] for i, c in part.reference), F(0)) - part.bound
        return v > 0 or (v == 0 and not part.strict)

    return any(
        all(a <= v <= b for a, v, b in zip(box.lower, x, box.upper, strict=True))
        and any(all(map(holds, case)) for case in box.cases)
        for box in found
    )


def test_any_formula_is_the_union_of_its_boxes_and_cases(tmp_path: Path) -> None:
    outcomes = []
    for seed in range(60):
        rng = Random(seed)
        texts = [_random_text(rng) for _ in range(rng.randint(1, 2))]
        found = cases(tmp_path, HEAD + BOX + "".join(f"(assert {text})\n" for text in texts))
        for _ in range(40):
            x = F(rng.randint(0, 4), 2), F(rng.randint(-3, 2), 2)
            y = F(rng.randint(-4, 4), 2), F(rng.randint(-4, 4), 2)
            values = dict(zip(("X_0", "X_1", "Y_0", "Y_1"), (*x, *y), strict=True))
            truth = all(_truth(_nested(text)[0], values) for text in texts)
            assert _in_some_case(found, x, y) == truth
            outcomes.append(truth)
    assert 200 < sum(outcomes) < len(outcomes) - 200


# --- refusals -----------------------------------------------------------------------------------------------

REFUSED = {
    "no box": (HEAD + "(assert (<= Y_0 0))", "input 0 of X has no lower bound"),
    "an open box": (HEAD + BOX + "(assert (< X_0 1))", "the bound of input X_0 is strict"),
    "inputs related": (HEAD + BOX + "(assert (<= X_0 X_1))", "relates several inputs (X_0, X_1)"),
    "inputs and outputs": (HEAD + BOX + "(assert (<= X_0 Y_1))", "relates inputs with outputs (X_0, Y_1)"),
    "a product": (HEAD + BOX + "(assert (<= (* Y_0 Y_1) 0))", "is not linear"),
    "an undeclared variable": (HEAD + "(assert (<= Y_7 0))", "'Y_7' is no declared variable"),
    "another variable": ("(declare-const Z Real)", "'Z' is neither an input X_i nor an output Y_i"),
    "a gap": ("(declare-const X_1 Real)(declare-const Y_0 Real)", "not numbered from 0"),
    "an integer": ("(declare-const X_0 Int)", "is no declaration of a Real"),
    "an implication": (HEAD + "(assert (=> (<= Y_0 0) (<= Y_1 0)))", "is not made of and, or"),
    "an open parenthesis": (HEAD + "(assert (<= Y_0 0)", "its parentheses do not match"),
    "one parenthesis too many": (HEAD + ")", "its parentheses do not match (line 5)"),
    "too deep": ("(" * 500, "is nested too deeply (line 1)"),
    "too deep for 2.0": (
        two("(assert " + "(and " * 10**6 + "(<= Y[0] 0.0)" + ")" * 10**6 + ")"),
        "is nested too deeply (line 6)",
    ),
    "a negative index of an input": (two("(assert (<= X[0,-1] 0.0))"), "X[0, -1] is no element"),
    "a negative index of an output": (two("(assert (<= Y[-1] 0.0))"), "Y[-1] is no element"),
    "an index beyond 64 bits": (two(f"(assert (<= Y[{10**20}] 0.0))"), "holds a number that is too large"),
    "two networks of one name": (
        two("").replace("declare-network g", "declare-network f"),
        "declares two networks of the name f",
    ),
    "too many cases": (
        HEAD + BOX + "(assert (or (<= Y_0 0) (<= Y_1 0)))\n" * 14,
        "make more than 10000 conjunctions",
    ),
    "a type of bits": (
        two("").replace("Y real", "Y bool"),
        "Y is declared Bool, and qsmt relates real numbers",
    ),
    "hidden nodes": (
        two("").replace("(declare-output Y", '(declare-hidden H real [1] "h") (declare-output Y'),
        "declares hidden nodes",
    ),
    "other inputs": (
        two("").replace("(== V[0,1] X[0,1])", "(>= V[0,1] X[0,1])"),
        "input 1 of g is not asserted equal to that of f",
    ),
    "three networks": (
        two("(assert (>= Y[0] 0.0))").replace(
            "(assert (and (>= X",
            "(declare-network h (declare-input A real [1,2]) (declare-output B real [2]))\n(assert (and (>= X",
            1,
        ),
        "declares 3 networks",
    ),
    "no query": ("(vnnlib-version <2.0>)\n(assert", "is no VNN-LIB 2.0 query: Parse error"),
    "an undeclared network variable": (two("(assert (>= Z[0] 0.0))"), "is no VNN-LIB 2.0 query"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_handled_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    text, said = REFUSED[name]
    with pytest.raises(InputError) as caught:
        cases(tmp_path, text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.gz").write_bytes(b"\x1f\x8bnonsense")
    (tmp_path / "bad.vnnlib").write_bytes(b"\xff\xfe")
    for name, said in (("no.vnnlib", "no such file"), ("bad.gz", "cannot be read"), ("bad.vnnlib", "UTF-8")):
        with pytest.raises(InputError, match=said):
            read_query(tmp_path / name)


def test_the_pieces_of_a_query_are_formulas(tmp_path: Path) -> None:
    assert all(isinstance(a, Both) for a in query(tmp_path, HEAD + BOX).assertions)
