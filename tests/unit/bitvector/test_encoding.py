"""The encoding behind its seam: what it says of itself, what it refuses, what its files hold."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import bitwuzla
import pysmt.environment
import pytest
import z3

from qsmt.encoding import Fidelity, Query, load
from qsmt.errors import BackendError, SoundnessError
from qsmt.facts import Facts, Interval
from qsmt.ir.ops import Affine, Clamp, LeakyRelu, Relu, Requantize
from qsmt.problem import InputModel
from qsmt.solver.base import Limits, Status
from qsmt_bitvector import BitVectorEncoding
from qsmt_bitvector.formula import script
from tests.support.networks import Recipe, random_problem
from tests.unit.bitvector.against import ENCODING, queries
from tests.unit.milp.oracle import no_facts, query, tight_facts

PROBLEM = random_problem(11, Recipe(sizes=(2, 4, 1), reference_frac=6, radius=3))
QUERIES = list(queries(PROBLEM, no_facts(PROBLEM)))


def test_it_is_found_by_its_entry_point() -> None:
    found = load("bitvector")
    assert isinstance(found, BitVectorEncoding)
    assert (found.name, found.fidelity, found.suffix) == ("bitvector", Fidelity.EXACT, ".smt2")
    assert found.supported() == {Affine, Relu, Clamp, Requantize, LeakyRelu}


def test_discovery_imports_no_solver() -> None:
    program = "import sys, qsmt_bitvector; print({'pysmt', 'z3', 'bitwuzla'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_its_solvers_are_exact_and_name_what_they_rest_on() -> None:
    backends = ENCODING.backends()
    assert [(b.name, b.trust, b.exact) for b in backends] == [
        ("bitwuzla", "smt:bitwuzla", True),
        ("z3", "smt:z3", True),
        ("cvc5", "smt:cvc5", True),
    ]
    assert [b.available() for b in backends[:2]] == [None, None]


def test_a_refused_query_is_not_encoded() -> None:
    region = replace(PROBLEM.region, model=InputModel.CONTINUOUS)
    asked = Query(replace(PROBLEM, region=region), 0, 1, no_facts(PROBLEM))
    assert ENCODING.refuses(asked) is not None
    with pytest.raises(BackendError, match="the region is continuous"):
        ENCODING.encode(asked)


def test_encoding_leaves_nothing_in_pysmts_global_environment() -> None:
    before = pysmt.environment.get_env()
    symbols = len(before.formula_manager.symbols)
    ENCODING.encode(QUERIES[0][0])
    assert pysmt.environment.get_env() is before
    assert len(before.formula_manager.symbols) == symbols


def test_encoding_is_deterministic() -> None:
    texts = {script(QUERIES[0][0]).body for _ in range(3)}
    assert len(texts) == 1


def test_a_stable_neuron_leaves_no_trace() -> None:
    asked = query(PROBLEM, Fraction(1, 8), 1, tight_facts(PROBLEM))
    free = script(replace(asked, facts=no_facts(PROBLEM))).body
    text = script(asked).body
    low, high = (asked.facts.layers[0].reference_pre.lower, asked.facts.layers[0].reference_pre.upper)
    unstable = {i for i in range(4) if low[i] < 0 < high[i]}
    assert 0 < len(unstable) < 4
    assert {i for i in range(4) if f"define-fun r0.{i}." in text} == unstable
    assert len(text) <= len(free)


def test_a_fact_about_a_code_narrows_its_bits() -> None:
    problem = random_problem(4, Recipe(sizes=(2, 3, 1), radius=3))
    facts = no_facts(problem)
    asked = query(problem, Fraction(1, 8), 1, facts)
    wide = script(asked).body
    code = re.findall(r"define-fun (q0\.\d\.clamp) \(\) \(_ BitVec [3-9]\)", wide)[0]
    post = Interval(facts.layers[0].quantized_post.lower.copy(), facts.layers[0].quantized_post.upper.copy())
    post.upper[int(code.split(".")[1])] = 1.0
    known = Facts((replace(facts.layers[0], quantized_post=post), *facts.layers[1:]))
    narrow = script(replace(asked, facts=known)).body
    assert f"((_ extract 0 0) {code})" in narrow
    assert f"((_ extract 0 0) {code})" not in wide


def test_facts_that_contradict_the_networks_are_an_error() -> None:
    facts = no_facts(PROBLEM)
    absurd = Interval(facts.layers[0].reference_pre.lower + 0.0, facts.layers[0].reference_pre.upper - 0.0)
    absurd.lower[2] = 1e6
    wrong = Facts((replace(facts.layers[0], reference_pre=absurd), *facts.layers[1:]))
    with pytest.raises(SoundnessError, match=r"r0\.2 lies in"):
        ENCODING.encode(query(PROBLEM, Fraction(1), 1, wrong))


def test_a_bound_that_propagation_decides_leaves_nothing_to_solve() -> None:
    for bound, status in ((Fraction(10**6), Status.UNSAT), (Fraction(0), None)):
        encoded = script(query(PROBLEM, bound, 1, no_facts(PROBLEM)))
        assert ("(assert false)" in encoded.body) == (status is Status.UNSAT)


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "broken"), QUERIES)
def test_a_written_file_means_the_same_to_both_solvers(asked: Query, broken: bool, tmp_path: Path) -> None:
    path = tmp_path / "query.smt2"
    ENCODING.encode(asked).write(path)
    expected = "sat" if broken else "unsat"
    solver = z3.Solver(ctx=z3.Context())
    solver.from_file(str(path))
    assert str(solver.check()) == expected
    ran = subprocess.run([sys.executable, "-c", _RUN, str(path)], capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines()[0] == expected


_RUN = """
import sys, bitwuzla
bitwuzla.Parser(bitwuzla.TermManager(), bitwuzla.Options()).parse(sys.argv[1], False, True)
"""


def test_a_file_names_its_query_and_its_logic(tmp_path: Path) -> None:
    path = tmp_path / "query.smt2"
    asked = QUERIES[0][0]
    ENCODING.encode(asked).write(path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"; Is there an input x with {asked},")
    assert asked.problem.sha256 in text
    for command in ("(set-logic QF_BV)", "(check-sat)", "(get-value (x0 x1))"):
        assert text.count(command) == 1


def test_a_files_values_are_the_codes_of_the_witness(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe = Recipe(sizes=(3, 2, 1), radius=0)
    problem = random_problem(8, recipe)
    lower, upper = list(problem.region.lower), list(problem.region.upper)
    lower[0], upper[0] = Fraction(-7), Fraction(5)
    problem = replace(problem, region=replace(problem.region, lower=tuple(lower), upper=tuple(upper)))
    asked = next(asked for asked, broken in queries(problem, no_facts(problem)) if broken)
    path = tmp_path / "query.smt2"
    encoded = ENCODING.encode(asked)
    encoded.write(path)
    bitwuzla.Parser(bitwuzla.TermManager(), bitwuzla.Options()).parse(str(path), False, True)
    printed = capfd.readouterr().out.split()
    codes = [_signed(word.strip("()")[2:]) for word in printed if word.startswith("#b")]
    answer = ENCODING.backends()[0].solve(encoded.model, Limits(10))
    assert answer.assignment is not None
    assert codes[1:] == [int(v) for v in encoded.decode(answer.assignment)[1:]]
    assert lower[0] <= codes[0] <= upper[0]


def _signed(bits: str) -> int:
    return int(bits, 2) - (int(bits[0]) << len(bits))
