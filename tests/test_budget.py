"""The size of functions and files stays small: a reader should see each one whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "qsmt").rglob("*.py"), *(ROOT / "encodings").rglob("*.py")])

FUNCTION_MEDIAN, FUNCTION_P95, FUNCTION_MAX = 8, 35, 60
FILE_P95, FILE_MAX = 400, 600


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and length in lines of every function, nested ones included, without decorators."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def p95(lengths: list[int]) -> float:
    return quantiles(lengths, n=20, method="inclusive")[-1]


@pytest.fixture(scope="module")
def lengths() -> dict[str, int]:
    found = {}
    for path in SOURCES:
        for i, (name, lines) in enumerate(functions(path.read_text(encoding="utf-8"))):
            found[f"{path.relative_to(ROOT)}: {name} (function {i + 1} of the file)"] = lines
    return found


@pytest.fixture(scope="module")
def file_lengths() -> dict[str, int]:
    return {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8").count("\n") for p in SOURCES}


def test_no_function_is_long(lengths: dict[str, int]) -> None:
    assert {name: n for name, n in lengths.items() if n > FUNCTION_MAX} == {}


def test_most_functions_are_short(lengths: dict[str, int]) -> None:
    every = list(lengths.values())
    assert median(every) <= FUNCTION_MEDIAN
    assert p95(every) <= FUNCTION_P95


def test_no_file_is_long(file_lengths: dict[str, int]) -> None:
    assert {name: n for name, n in file_lengths.items() if n > FILE_MAX} == {}


def test_most_files_are_short(file_lengths: dict[str, int]) -> None:
    assert p95(list(file_lengths.values())) <= FILE_P95


def test_the_measure_sees_nested_methods_and_async_functions() -> None:
    source = "class A:\n  @property\n  def f(self):\n    def g():\n      return 1\n    return g\nasync def h(): ...\n"
    assert dict(functions(source)) == {"f": 4, "g": 2, "h": 1}


def test_the_sources_are_found() -> None:
    names = {p.relative_to(ROOT).parts[:2] for p in SOURCES}
    assert {("qsmt", "arith"), ("encodings", "qsmt_bitvector"), ("encodings", "qsmt_milp")} <= names
