"""Faults planted in the bit-vector encoding: the comparison with enumeration must catch every one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import floor
from pkgutil import resolve_name
from typing import Any

import pytest

from qsmt.arith.requantize import Staircase
from qsmt.arith.rounding import Rounding
from qsmt.errors import SoundnessError
from qsmt_bitvector.backends.bitwuzla import Bitwuzla
from tests.unit.bitvector.against import queries, random_case, wrong
from tests.unit.milp.oracle import no_facts, tight_facts

CASES = range(72)  # every rounding and overflow, see `MATRIX`
HALF_EVEN, HALF_AWAY = range(120, 128), range(64, 72)  # ties that decide the maximum are rare


def caught(case: int) -> bool:
    """Does the comparison fail on this problem? A contradiction that the encoding notices counts too."""
    problem = random_case(case)
    facts = (tight_facts if case % 2 else no_facts)(problem)
    try:
        return any(
            wrong(asked, broken=broken, backend=Bitwuzla()) for asked, broken in queries(problem, facts)
        )
    except SoundnessError:
        return True


def one_more(old: Any) -> Any:
    return lambda *arguments: None if (found := old(*arguments)) is None else found + 1


def never(old: Any) -> Any:
    return lambda *arguments, **options: False


def operand(old: Any) -> Any:
    """The operation is left out."""
    return lambda circuit, form, *rest: form


def on_products(change: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any], Any]:
    return lambda old: lambda weight, bias, x, over: old(*change(weight, bias), x, over)


def shifted_bias(weight: Any, bias: Any) -> tuple[Any, Any]:
    changed = bias.copy()
    changed[0] += 1
    return weight, changed


def flipped_weight(weight: Any, bias: Any) -> tuple[Any, Any]:
    changed = weight.copy()
    changed[0, 0] *= -1
    return changed, bias


def rounded_like(other: Rounding) -> Callable[[Any], Any]:
    return lambda old: lambda circuit, form, rounding, name: old(circuit, form, other, name)


def higher_steps(old: Any) -> Any:
    def look(circuit: Any, term: Any, stairs: Staircase) -> Any:
        return old(circuit, term, replace(stairs, thresholds=tuple(t + 1 for t in stairs.thresholds)))

    return look


def unbounded_variable(old: Any) -> Any:
    def variable(circuit: Any, name: str, high: int) -> Any:
        made = old(circuit, name, high)
        circuit.assertions.clear()
        return made

    return variable


def one_bit_less(old: Any) -> Any:
    return lambda low, high: max(old(low, high) - 1, 1)


def other_side(old: Any) -> Any:
    return lambda a, b: old(b, a)


def first_part_only(old: Any) -> Any:
    return lambda circuit, parts, constant, **ends: old(circuit, parts[:1], constant, **ends)


CASES_OF = {"no even at ties": HALF_EVEN, "no sign in half away": HALF_AWAY}
FAULTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "wrong rounding offset": ("qsmt_bitvector.rounding:floor_offset", one_more),
    "every rounding is half up": ("qsmt_bitvector.rounding:rounded", rounded_like(Rounding.HALF_UP)),
    "no sign in half away": ("qsmt_bitvector.rounding:_ties", never),
    "no even at ties": (
        "qsmt_bitvector.widths:Circuit.even_at_ties",
        lambda old: lambda circuit, quotient, term, divisor: quotient,
    ),
    "missing saturation": ("qsmt_bitvector.rounding:overflowed", operand),
    "missing wrap": ("qsmt_bitvector.rounding:wrapped", operand),
    "missing activation": ("qsmt_bitvector.rules:clamped", operand),
    "a step too high": ("qsmt_bitvector.widths:Circuit.lookup", higher_steps),
    "bias shifted by one": ("qsmt_bitvector.rules:_products", on_products(shifted_bias)),
    "weight sign flipped": ("qsmt_bitvector.rules:_products", on_products(flipped_weight)),
    "threshold one too low": ("qsmt_bitvector.formula:least_above", lambda old: floor),
    "threshold one too high": ("qsmt_bitvector.formula:least_above", one_more),
    "width too narrow": ("qsmt_bitvector.widths:bits_for", one_bit_less),
    "region not asserted": ("qsmt_bitvector.widths:Circuit.variable", unbounded_variable),
    "difference reversed": ("qsmt_bitvector.formula:minus", other_side),
    "products dropped": ("qsmt_bitvector.widths:Circuit.sum", first_part_only),
    "input scale of one": (
        "qsmt_bitvector.formula:over_one_denominator",
        lambda old: lambda forms: [replace(f, denominator=1) for f in old(forms)],
    ),
}


def test_without_a_fault_nothing_is_caught() -> None:
    assert not any(caught(case) for case in (*CASES[::9], *HALF_EVEN[::4]))


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, change = FAULTS[name]
    monkeypatch.setattr(target.replace(":", "."), change(resolve_name(target)))
    assert any(caught(case) for case in CASES_OF.get(name, CASES))
