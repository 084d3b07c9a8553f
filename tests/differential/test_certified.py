"""Certificates of error queries, checked again: by definition, leaf by leaf, and by execution.

The first check shares the form of a tree with the search, and nothing else. The second trusts the IR and the
interpreters alone: every grid point is executed, and from the values of its neurons, and nothing else, follows the
value of every variable of the program. At each point all rows must hold; the tree must lead it to a leaf; and the
difference there must be within what the leaf is said to prove. Variables are known by their names alone.
"""

from __future__ import annotations

from collections import Counter
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
from qsmt_milp.certified import propagate
from qsmt_milp.certified import search as searching
from qsmt_milp.certified.check import verified
from qsmt_milp.certified.integers import exactly
from qsmt_milp.certified.search import Solution, search
from qsmt_milp.certified.tree import Leaf, Split, Tree, Tried, leaves
from qsmt_milp.model import Model
from tests.support.certificates import Recheck
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


# --- every leaf, by definition --------------------------------------------------------------------------------


def small(seed: int, margin: Fraction) -> tuple[Problem, Model]:
    """A small network whose bound is the maximum and so much more, or less, and its program."""
    recipe = Recipe(sizes=(2, 4, 3, 1), hidden=Fixed(False, 4, 2), radius=3, reference_frac=3)
    problem = proved(random_problem(seed, recipe), margin)
    return problem, MilpEncoding().encode(Query(problem, 0, 1, analyze_region(problem))).model


@pytest.fixture
def _small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few points are tried in a leaf, else one would do for all of a small grid; and at once, where they can be."""
    monkeypatch.setattr(searching, "FEW", 4)
    monkeypatch.setattr(searching, "PATIENCE", 0)


@pytest.mark.usefixtures("_small_leaves")
def test_every_leaf_holds_by_definition() -> None:
    """With points tried in leaves, and (as if nothing were known of inputs) with relaxations alone."""
    seen = Counter[str]()
    for seed, margin, inputs in product(range(6), (Fraction(1, 50), Fraction(1, 10**5)), (2, 0)):
        problem, model = small(seed, margin)
        given = exactly(replace(model, inputs=inputs))
        tree = search(given, 60.0)
        assert not isinstance(tree, Solution) and verified(given, tree)
        again = Recheck(problem, model, given)
        assert again.holds(tree)
        seen += again.count
    assert min(seen[kind] for kind in ("leaf", "tried", "empty")) > 5, seen


@pytest.mark.usefixtures("_small_leaves")
@pytest.mark.parametrize("seed", [0, 2, 5])
def test_a_leaf_of_wrong_weights_does_not_hold(seed: int) -> None:
    """The certificate is the one that was found, but for one leaf."""
    problem, model = small(seed, Fraction(1, 50))
    given = exactly(replace(model, inputs=0))
    tree = search(given, 60.0)
    assert not isinstance(tree, Solution)
    honest = Recheck(problem, model, given)
    assert honest.holds(tree) and honest.count["leaf"]
    refused = [not Recheck(problem, model, given).holds(wrong) for wrong in damages(tree)]
    assert sum(refused) == honest.count["leaf"]  # of the others, nothing is left to be proved


def damages(tree: Tree) -> Iterator[Tree]:
    """The tree with the weights of one leaf turned around."""
    if isinstance(tree, Split):
        yield from (replace(tree, below=part) for part in damages(tree.below))
        yield from (replace(tree, above=part) for part in damages(tree.above))
    elif isinstance(tree, Leaf) and any(tree.weights.values()):
        yield Leaf(tree.objective, {i: -weight for i, weight in tree.weights.items()})


@pytest.mark.usefixtures("_small_leaves")
def test_a_fault_that_search_and_check_share_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Propagation goes a unit too far: the check, which propagates too, believes what is false."""
    honest = propagate._implied

    def eager(problem: Any, i: int, ends: Any) -> Any:
        for j, low, high in honest(problem, i, ends):
            yield j, low, max(low, high - problem.unit) if problem.integer[j] else high

    monkeypatch.setattr(propagate, "_implied", eager)
    believed = 0
    for seed in range(6):
        problem, model = small(seed, Fraction(0))
        model = replace(model, bound=model.bound - Fraction(1, 100), inputs=0)  # which is not true any more
        given = exactly(model)
        tree = search(given, 60.0)
        if not isinstance(tree, Solution) and verified(given, tree):
            believed += 1
            assert not Recheck(problem, model, given).holds(tree)
    assert believed


# --- execution ------------------------------------------------------------------------------------------------


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
