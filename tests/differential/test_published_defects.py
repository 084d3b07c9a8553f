"""What the published implementation proves and is false: `check` refutes it, or proves only what is true."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from qsmt.engine.check import check
from qsmt.problem import ErrorBound, Problem
from qsmt.verdict import Falsified, Verified
from tests.unit.dra.test_published import acas, exactly, mnist_images, published


def verdict(problem: Problem, output: int, bound: Fraction) -> type:
    return type(check(replace(problem, claim=ErrorBound((output,), (bound,)))).verdict)


def test_an_input_outside_the_clip_is_judged_by_what_the_networks_compute_there() -> None:
    point = [127, 92, 0, 0, -61]
    problem = acas("1_1", 8, point, point)
    truth = abs(exactly(problem, point).difference[0])
    assert verdict(problem, 0, truth) is Verified
    assert verdict(problem, 0, truth - Fraction(1, 10**12)) is Falsified


def test_a_lower_end_that_was_rounded_to_the_hidden_grid_is_not_believed() -> None:
    """Claimed: the difference is at least 0.0195992 on the box. So it would be at most 0.0206124 in size."""
    problem = acas("1_5", 6, [-3] * 5, [3] * 5)
    reached = exactly(problem, [-3, -3, -3, -3, 3]).difference[0]
    found = check(replace(problem, claim=ErrorBound((0,), (Fraction(1, 1000),))))
    assert isinstance(found.verdict, Falsified)
    assert found.outputs[0].certified[0] <= reached


def test_a_bound_that_was_proved_on_a_single_image_is_refuted() -> None:
    image = next([int(v) for v in pixels] for i, _, *pixels in mnist_images() if i == "3236")
    problem = published("qebverif/P1_mnist_784-100-10.onnx", 4, image, image)
    assert verdict(problem, 7, Fraction(9, 10)) is Falsified


def test_a_bound_rounded_to_nearest_is_refuted_by_a_few_billionths() -> None:
    problem = acas("3_3", 4, [113, -61, -105, 28, 82], [118, -56, -100, 33, 87])
    truth = exactly(problem, [118, -61, -100, 33, 82]).difference[0]
    claimed = Fraction(0.020569590851664543)
    assert claimed < truth
    assert verdict(problem, 0, claimed) is Falsified
