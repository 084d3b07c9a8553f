"""Certificates of error queries, checked again by execution: only the IR and the interpreters are trusted here.

Every grid point is executed, and from the values of its neurons, and nothing else, follows the value of every
variable of the program. At each point all rows must hold; the tree must lead it to a leaf; and the difference
there must be within what the leaf is said to prove. Variables are known by their names alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from benchmarks.scaling import Instance
from benchmarks.scaling import problem as scaling_problem
from qsmt.arith.fixed import Fixed
from qsmt.dra.analysis import analyze_region
from qsmt.encoding import Query
from qsmt.engine.load import load_problem
from qsmt.engine.trial import executions
from qsmt.interp import quantized
from qsmt.ir.network import Network, layers
from qsmt.ir.types import Real
from qsmt.problem import ErrorBound, InputModel, Problem, Region
from qsmt_milp import MilpEncoding
from qsmt_milp.certified.check import verified
from qsmt_milp.certified.integers import exactly
from qsmt_milp.certified.search import Solution, search
from qsmt_milp.certified.tree import Leaf, Split, Tree, Tried, leaves
from qsmt_milp.model import Model
from tests.support.networks import Recipe, random_problem

PENDULUM = Path(__file__).parents[2] / "examples" / "pendulum" / "pendulum-q8.toml"
Values = dict[str, Fraction]


def traced(network: Network, rules: Any, values: Any, prefix: str) -> Iterator[tuple[str, list[Fraction]]]:
    """The values of each layer before (".pre" follows each neuron's name) and after its activation."""
    of = {network.input.name: values}
    for op in network.ops:
        of[op.out.name] = rules[type(op)](op, of[op.x.name])
    for i, layer in enumerate(layers(network)):
        yield f"{prefix}.h{i}.pre", [Fraction(v) for v in of[layer.pre.name][0]]
        yield f"{prefix}.h{i}", [Fraction(v) for v in of[layer.post.name][0]]


def assignment(problem: Problem, x: tuple[Fraction, ...]) -> Values:
    """What execution says of every variable that may occur."""
    import numpy as np

    codes = np.array([[int(v) for v in x]], dtype=object)
    reals = np.array([list(problem.reference_input(x))], dtype=object)
    found: Values = {f"x{i}": v for i, v in enumerate(x)}
    for name, values in (
        *traced(problem.quantized, quantized.RULES, codes, "q"),
        *traced(problem.reference, EXACT_REALS, reals, "r"),
    ):
        for k, value in enumerate(values):
            if name.endswith(".pre"):
                found[f"{name.removesuffix('.pre')}.{k}.pre"] = value
            else:
                found[f"{name}.{k}"] = value
    return found


class ExactReals:
    """The reference's rules on `Fraction`s: affine maps and clamps, by definition."""

    def __getitem__(self, kind: type) -> Any:
        return {"Affine": self._affine, "Relu": self._relu, "Clamp": self._clamp}[kind.__name__]

    @staticmethod
    def _affine(op: Any, x: Any) -> Any:
        return x @ op.weight.reals.fractions.T + op.bias.reals.fractions

    @staticmethod
    def _relu(_: Any, x: Any) -> Any:
        return x * (x > 0)

    @staticmethod
    def _clamp(op: Any, x: Any) -> Any:
        import numpy as np

        above = x if op.lower is None else np.maximum(x, op.lower)
        return above if op.upper is None else np.minimum(above, op.upper)


EXACT_REALS = ExactReals()


def value(model: Model, known: Values, index: int) -> Fraction:
    """The value of a variable: a neuron's, or the binary that says whether it is off its floor or at its top."""
    variable = model.variables[index]
    name, _, kind = variable.name.rpartition(".")
    if kind in ("on", "full"):
        own = next(v for v in model.variables if v.name == name)
        end = own.lower if kind == "on" else own.upper
        return Fraction((known[name] > end) if kind == "on" else (known[name] >= end))
    return known[variable.name]


def holds_everywhere(model: Model, known: Values) -> bool:
    """Do all rows but the threshold's hold at this point, exactly?"""
    values = [value(model, known, i) for i in range(len(model.variables))]
    for row in model.rows:
        total = sum((Fraction(c) * values[i] for i, c in row.terms.items()), Fraction(0))
        low, high = row.lower, row.upper
        if row.name != "threshold" and not (
            (low is None or low <= total) and (high is None or total <= high)
        ):
            return False
    return True


def leaf_of(tree: Tree, model: Model, known: Values) -> Leaf | Tried:
    """The leaf that a point comes to."""
    while isinstance(tree, Split):
        tree = tree.below if value(model, known, tree.variable) <= tree.at else tree.above
    return tree


def recheck(problem: Problem, tree: Tree, model: Model, *, every: int = 1) -> int:
    """How many leaves are reached by points; every one of them must be within the bound.

    All points are executed; the rows are evaluated at one in `every`.
    """
    ends = zip(problem.region.lower, problem.region.upper, strict=True)
    grid = list(product(*(map(Fraction, range(int(low), int(high) + 1)) for low, high in ends)))
    seen = set()
    for number, x in enumerate(grid):
        known = assignment(problem, x)
        assert number % every or holds_everywhere(model, known), x
        seen.add(id(leaf_of(tree, model, known)))
        assert difference(problem, known) <= problem.claim.bounds[0]
    return len(seen)


def difference(problem: Problem, known: Values) -> Fraction:
    """Of output 0: what the last layers' values say, which have no activation."""
    last, kind = len(layers(problem.quantized)) - 1, problem.quantized.output.type.element
    unit = Fraction(1) if isinstance(kind, Real) else kind.scale
    return known[f"q.h{last}.0"] * unit - known[f"r.h{last}.0"]


def certified(problem: Problem, *, wall_s: float = 60.0) -> tuple[Tree, Model]:
    model = MilpEncoding().encode(Query(problem, 0, 1, analyze_region(problem))).model
    found = search(exactly(model), wall_s)
    assert not isinstance(found, Solution)
    assert verified(exactly(model), found)
    return found, model


def proved(problem: Problem, margin: Fraction) -> Problem:
    """The problem with a bound that holds on the upper side, by a margin."""
    executed = executions(problem)
    assert executed is not None
    worst = max(e.difference[0] for e in executed)
    return replace(problem, claim=ErrorBound((0,), (max(worst, Fraction(0)) + margin,)))


@pytest.mark.parametrize("seed", range(6))
def test_leaves_of_small_networks(seed: int) -> None:
    recipe = Recipe(sizes=(2, 4, 3, 1), hidden=Fixed(False, 4, 2), radius=3, reference_frac=3)
    problem = proved(random_problem(seed, recipe), Fraction(1, 50))
    tree, model = certified(problem)
    assert 1 <= recheck(problem, tree, model) <= leaves(tree)


def test_a_row_that_is_wrong_is_seen() -> None:
    recipe = Recipe(sizes=(2, 4, 3, 1), hidden=Fixed(False, 4, 2), radius=3, reference_frac=3)
    problem = proved(random_problem(1, recipe), Fraction(1, 50))
    tree, model = certified(problem)
    wrong = replace(
        model, rows=tuple(replace(r, upper=None if r.upper is None else r.upper - 1) for r in model.rows)
    )
    with pytest.raises(AssertionError):
        recheck(problem, tree, wrong)


@pytest.mark.slow
def test_leaves_of_the_controller() -> None:
    """4-16-16-1 at 8 bits, radius 2: 625 points."""
    given = load_problem(PENDULUM).problem
    region = Region(InputModel.GRID, (Fraction(-2),) * 4, (Fraction(2),) * 4)
    problem = proved(replace(given, region=region), Fraction(1, 1000))
    tree, model = certified(problem)
    assert recheck(problem, tree, model) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_network_of_the_scaling_table_is_certified_within_a_minute(seed: int) -> None:
    """4-16-16-1 at 6 bits, radius 6, random weights: 28,561 points, every one led to a leaf of the certificate."""
    problem = scaling_problem(Instance((4, 16, 16, 1), 6, 6), seed)
    begun = process_time()
    tree, model = certified(problem, wall_s=600.0)  # what counts are the processor's seconds
    assert process_time() - begun < 60
    if seed == 0:
        assert recheck(problem, tree, model, every=100) > 1
