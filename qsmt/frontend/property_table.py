"""The table [property] of a problem file: what is claimed, before any network is read.

kind = "error-bound"         bound, outputs
kind = "output-constraint"   require = ["q[0] <= 1 or q[1] <= 1", ...]   each holds at every x
                             forbid  = ["q[3] < q[0] and q[3] < q[1]", ...]   none holds at any x
kind = "top-1-agreement"     margin (default 0)
kind = "robustness"          network = "quantized" or "reference", class (default: that of the region's
                             centre), margin (default 0)
kind = "no-overflow"         layers (default: all)
kind = "no-saturation"       layers (default: all)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TypeAlias

from qsmt.frontend.combined import Cases, OutputInequality
from qsmt.frontend.inequalities import conjunction, disjunction
from qsmt.frontend.toml_table import Table, shown


class PropertyKind(StrEnum):
    """What is claimed."""

    ERROR_BOUND = "error-bound"
    OUTPUT_CONSTRAINT = "output-constraint"
    TOP_1_AGREEMENT = "top-1-agreement"
    ROBUSTNESS = "robustness"
    NO_OVERFLOW = "no-overflow"
    NO_SATURATION = "no-saturation"


class Which(StrEnum):
    """One of the two networks."""

    REFERENCE = "reference"
    QUANTIZED = "quantized"


@dataclass(frozen=True, slots=True)
class AskedBound:
    """An error bound: one for all outputs, or one each; `outputs` None: all."""

    outputs: tuple[int, ...] | None
    bound: Fraction | tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class AskedConstraint:
    """Cases that may not happen."""

    cases: Cases


@dataclass(frozen=True, slots=True)
class AskedAgreement:
    """Both networks prefer the same class wherever the reference prefers one by more than the margin."""

    margin: Fraction


@dataclass(frozen=True, slots=True)
class AskedRobustness:
    """One class is on top over the whole region; None: the class at the region's centre."""

    network: Which
    top: int | None
    margin: Fraction


@dataclass(frozen=True, slots=True)
class AskedRange:
    """No accumulator overflows, or no activation saturates, in these layers; None: in any."""

    kind: PropertyKind
    layers: tuple[int, ...] | None


Asked: TypeAlias = AskedBound | AskedConstraint | AskedAgreement | AskedRobustness | AskedRange


def read_property(table: Table) -> Asked:
    """What the table asks for.

    Raises:
        MalformedProblem: one line with the file and the key.
    """
    kind = table.choice("kind", PropertyKind)
    match kind:
        case PropertyKind.ERROR_BOUND:
            table.only("kind", "bound", "outputs")
            outputs = _indices(table, "outputs", "an output", "output")
            return AskedBound(outputs, _bound(table, outputs))
        case PropertyKind.OUTPUT_CONSTRAINT:
            return AskedConstraint(_cases(table.only("kind", "require", "forbid")))
        case PropertyKind.TOP_1_AGREEMENT:
            return AskedAgreement(_margin(table.only("kind", "margin")))
        case PropertyKind.ROBUSTNESS:
            table.only("kind", "network", "class", "margin")
            network = table.choice("network", Which) if "network" in table else Which.QUANTIZED
            top = table.integer("class") if "class" in table else None
            return AskedRobustness(network, top, _margin(table))
        case PropertyKind.NO_OVERFLOW | PropertyKind.NO_SATURATION:
            table.only("kind", "layers")
            return AskedRange(kind, _indices(table, "layers", "a layer", "layer"))


def _cases(table: Table) -> Cases:
    if "require" not in table and "forbid" not in table:
        table.fail("require", "is missing, and so is forbid", hint='write require = ["q[0] <= 1"]')
    negated = (tuple(p.negated for p in parts) for parts in _texts(table, "require", disjunction))
    return (*negated, *_texts(table, "forbid", conjunction))


def _texts(table: Table, key: str, parse: Callable[[str], tuple[OutputInequality, ...]]) -> Cases:
    if key not in table:
        return ()
    found: list[tuple[OutputInequality, ...]] = []
    for i, text in enumerate(table.texts(key)):
        try:
            found.append(parse(text))
        except ValueError as error:
            table.fail(f"{key}[{i}]", str(error))
    return tuple(found)


def _margin(table: Table) -> Fraction:
    if "margin" not in table:
        return Fraction(0)
    margin = table.number("margin")
    return margin if margin >= 0 else table.fail("margin", "is negative")


def _indices(claim: Table, key: str, what: str, name: str) -> tuple[int, ...] | None:
    if key not in claim:
        return None
    found = claim.integers(key)
    for i, index in enumerate(found):
        if index < 0:
            claim.fail(f"{key}[{i}]", f"is {shown(index)}, not the index of {what}", hint="count from 0")
        if index in found[:i]:
            claim.fail(f"{key}[{i}]", f"names {name} {shown(index)} twice")
    return found


def _bound(claim: Table, outputs: tuple[int, ...] | None) -> Fraction | tuple[Fraction, ...]:
    if not isinstance(claim["bound"], list):
        bound = claim.number("bound")
        return bound if bound >= 0 else claim.fail("bound", "is negative")
    bounds = claim.numbers("bound")
    for i, bound in enumerate(bounds):
        if bound < 0:
            claim.fail(f"bound[{i}]", "is negative")
    if outputs is not None and len(bounds) != len(outputs):
        claim.fail(
            "bound", f"has {len(bounds)} numbers for {len(outputs)} outputs", hint="give one, or one each"
        )
    return bounds
