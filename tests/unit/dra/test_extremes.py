"""Where doubles end: drifts and limits that no double is near."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qsmt.arith.fixed import Fixed
from qsmt.dra.analysis import analyze
from qsmt.dra.compiled import InputRelation
from qsmt.dra.domain import Boxes, Mode
from qsmt.dra.hexagon import SLACK, vertices
from qsmt.dra.inputs import input_facts
from qsmt.problem import InputModel
from tests.unit.dra.test_hexagon import random_hexagons
from tests.unit.dra.wild import Style, wild_pair

F = Fraction


@pytest.mark.parametrize("off", [F(1, 2**1100), -F(1, 2**1100), F(7, 5 * 2**1073), F(1, 2**1001)])
def test_a_drift_that_is_no_normal_double_is_kept_as_bounds(off: Fraction) -> None:
    relation = InputRelation(InputModel.GRID, 1 + off, Fixed(True, 8, 0))
    found = input_facts(relation, Boxes(np.ones((1, 1)), np.ones((1, 1))))
    assert found.drift == 0.0 and found.rest is not None
    for known in (found.rest, found.difference):
        assert F(float(known.lower[0, 0])) <= -off <= F(float(known.upper[0, 0]))


def test_a_drift_that_is_a_double_is_a_slope() -> None:
    relation = InputRelation(InputModel.GRID, F(1, 255), Fixed(True, 8, 8))
    found = input_facts(relation, Boxes(np.ones((1, 1)), np.ones((1, 1))))
    assert found.drift == float(F(1, 256) - F(1, 255)) and found.rest is None


def test_the_margin_of_a_vertex_never_vanishes() -> None:
    """A limit that is no double is off by up to the smallest one, however small the neuron is."""
    region = random_hexagons(0, clip=True)[0]
    tiny = replace(region, size=region.size * 2.0**-1070)
    assert (SLACK * tiny.size == 0.0).all()
    assert (vertices(tiny).margin >= 32 * 2.0**-1074).all()


@pytest.mark.parametrize("mode", [Mode.DIFFERENCE, Mode.BEST])
@pytest.mark.parametrize("sizes", [(2, 2), (2, 3, 2)])
def test_a_batch_has_a_form_for_every_box(sizes: tuple[int, ...], mode: Mode) -> None:
    corners = np.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    form = analyze(wild_pair(1, Style(sizes, wraps=False)), Boxes(corners, corners + 1), mode).form
    assert form is not None
    assert form.lower.shape == form.upper.shape == (3, 2, 2)
    assert form.lower_constant.shape == form.upper_constant.shape == (3, 2)
