"""The example that the project ships: the file is what its script makes, and the controller controls."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from examples.pendulum import table, train

FOLDER = Path(__file__).parents[2] / "examples" / "pendulum"
MODEL = FOLDER / "pendulum.onnx"


@pytest.fixture(scope="module")
def trained() -> train.Layers:
    return train.train()


@pytest.fixture(scope="module")
def shipped() -> train.Layers:
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(MODEL).graph.initializer}
    return [(stored[f"w{i}"].astype(float), stored[f"b{i}"].astype(float)) for i in range(3)]


# --- the file ---------------------------------------------------------------------------------------------


def test_training_again_gives_the_shipped_weights(trained: train.Layers, shipped: train.Layers) -> None:
    assert np.array_equal(train.flat(trained), train.flat(shipped))


def test_training_does_not_depend_on_the_machines_linear_algebra(shipped: train.Layers) -> None:
    """The oldest x86 kernels sum in another order; elsewhere the setting means nothing."""
    program = "import sys; from examples.pendulum import train as t; print(t.flat(t.train()).tobytes().hex())"
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=FOLDER.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert np.array_equal(np.frombuffer(bytes.fromhex(done.stdout.strip())), train.flat(shipped))


def test_the_weights_stand_on_the_grid_that_makes_training_reproducible(shipped: train.Layers) -> None:
    on_grid = train.flat(shipped) / train.GRID
    assert np.array_equal(on_grid, np.rint(on_grid))
    assert np.array_equal(train.flat(shipped), train.flat(shipped).astype(np.float32))


def test_writing_the_file_again_gives_the_same_network(shipped: train.Layers) -> None:
    assert onnx.load_from_string(train.onnx_bytes(shipped)).graph == onnx.load(MODEL).graph


def test_layers_survive_being_flattened(shipped: train.Layers) -> None:
    again = train.layered(train.flat(shipped))
    assert [w.shape for w, _ in again] == [(16, 4), (16, 16), (1, 16)]
    assert all(
        np.array_equal(a, b) for p, q in zip(shipped, again, strict=True) for a, b in zip(p, q, strict=True)
    )


def test_onnxruntime_computes_what_was_trained(shipped: train.Layers) -> None:
    states = np.random.default_rng(1).uniform(-1, 1, (500, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    forces = np.array([session.run(None, {"state": state[None]})[0][0] for state in states])
    assert np.abs(forces - train.forward(shipped, states.astype(float))[-1]).max() < 1e-5


# --- the controller ----------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_loss(shipped: train.Layers) -> None:
    rng = np.random.default_rng(4)
    states = rng.uniform(-1, 1, (64, 4))
    targets = train.law(states)
    vector = train.flat(shipped) + rng.uniform(-0.1, 0.1, train.flat(shipped).shape)
    slope = train.flat(train.gradients(train.layered(vector), states, targets))

    def loss(parameters: train.Array) -> float:
        error = train.forward(train.layered(parameters), states)[-1] - targets
        return float((error**2).sum() / 2 / len(states))

    for i in rng.choice(len(vector), 20, replace=False):
        step = np.zeros_like(vector)
        step[i] = 1e-6
        assert slope[i] == pytest.approx((loss(vector + step) - loss(vector - step)) / 2e-6, abs=1e-6)


def test_the_network_imitates_the_law(shipped: train.Layers) -> None:
    states = np.random.default_rng(2).uniform(-1, 1, (5000, 4))
    error = train.forward(shipped, states)[-1] - train.law(states)
    assert np.sqrt((error**2).mean()) < 0.01


def swing(states: train.Array, force: train.Array) -> train.Array:
    """One step of 20 ms of the cart and pole that `train.linearised` linearises."""
    _, speed, angle, turn = states.T
    cart, pole, half = 1.0, 0.1, 0.5
    push = (force + pole * half * turn**2 * np.sin(angle)) / (cart + pole)
    lever = half * (4 / 3 - pole * np.cos(angle) ** 2 / (cart + pole))
    twist = (9.81 * np.sin(angle) - np.cos(angle) * push) / lever
    shove = push - pole * half * twist * np.cos(angle) / (cart + pole)
    after: train.Array = states + 0.02 * np.stack([speed, shove, turn, twist], axis=1)
    return after


def test_the_linearisation_is_the_derivative_of_the_pendulum() -> None:
    a, b = train.linearised()
    states, force = np.eye(4) * 1e-6, np.array([1e-6])
    assert np.abs(swing(states, np.zeros(4)).T / 1e-6 - a).max() < 1e-6
    assert np.abs(swing(np.zeros((1, 4)), force)[0] / 1e-6 - b[:, 0]).max() < 1e-6


def corners() -> train.Array:
    """The corners of the region of the problem files, as states."""
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T
    states: train.Array = signs * 16 / 64 * train.STATE_RANGE
    return states


def balanced(layers: train.Layers) -> bool:
    """Does the pole stand still after 20 s, from every corner of the region?"""
    states = corners()
    for _ in range(1000):
        output = train.forward(layers, states / train.STATE_RANGE)[-1][:, 0]
        states = swing(states, np.clip(output, -1, 1) * train.FORCE_RANGE)
    return bool(np.abs(states / train.STATE_RANGE).max() < 0.01)


def test_the_controller_balances_the_pendulum(shipped: train.Layers) -> None:
    assert balanced(shipped)


def test_a_controller_with_a_flipped_sign_lets_it_fall(shipped: train.Layers) -> None:
    *below, (weight, bias) = shipped
    assert not balanced([*below, (-weight, -bias)])


# --- the demo ----------------------------------------------------------------------------------------------


def test_the_two_problems_differ_in_their_formats_only() -> None:
    q8, q4 = ((FOLDER / f"pendulum-q{n}.toml").read_text(encoding="utf-8").splitlines() for n in (8, 4))
    different = [(a, b) for a, b in zip(q8, q4, strict=True) if a != b and not a.startswith("#")]
    assert [a.split()[0] for a, _ in different] == ["weights", "bias", "hidden"]


@pytest.mark.parametrize("bits", [4, 8])
def test_the_table_asks_what_the_problem_files_ask(bits: int) -> None:
    shipped = tomllib.loads((FOLDER / f"pendulum-q{bits}.toml").read_text(encoding="utf-8"))
    asked = tomllib.loads(table.problem(bits, Decimal("0.05")))
    for key in ("reference", "quantized"):
        assert Path(asked[key].pop("network")) == FOLDER / shipped[key].pop("network")
    for side in (asked, shipped):
        side["quantized"] = {k: _unsigned_only(v) for k, v in side["quantized"].items()}
    assert asked == shipped


def _unsigned_only(value: Any) -> Any:
    """A format without what is the default anyway."""
    signed = isinstance(value, dict) and value.get("signed") is True
    return {k: v for k, v in value.items() if k != "signed"} if signed else value


def reports(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, list[float], list[float]]) -> list[Decimal]:
    """Let `check` give these verdicts, certified and witnessed intervals; what it is asked for."""
    asked: list[Decimal] = []
    waiting = iter(answers)

    def check(_: int, bound: Decimal) -> dict[str, Any]:
        asked.append(bound)
        return dict(zip(("verdict", "certified", "witnessed"), next(waiting), strict=True))

    monkeypatch.setattr(table, "check", check)
    return asked


def test_the_table_rounds_proofs_up_and_witnesses_down(monkeypatch: pytest.MonkeyPatch) -> None:
    first = "verified", [-0.04, 0.0300001], [-0.01, 0.01]
    second = "verified", [-0.0200001, 0.01], [-0.0199999, 0.01]
    asked = reports(monkeypatch, first, second)
    assert table.row(8).split() == ["8", "0.04001", "0.02001", "0.01999", "0.41", "N"]
    assert asked[0] > 1000 and asked[1] == Decimal("0.03961")


def test_the_table_believes_only_a_bound_that_was_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    first = "verified", [-0.04, 0.03], [-0.01, 0.01]
    second = "falsified", [-0.02, 0.01], [-0.039999, 0.01]
    reports(monkeypatch, first, second)
    assert table.row(8).split()[1:4] == ["0.04001", "0.04001", "0.03999"]


@pytest.mark.parametrize(("q8", "q4", "ends"), [(0, 1, 0), (0, 0, 1), (0, 3, 1), (1, 1, 1)])
def test_the_demo_ends_well_only_if_8_bits_hold_and_4_do_not(
    tmp_path: Path, q8: int, q4: int, ends: int
) -> None:
    shutil.copytree(FOLDER, tmp_path / "pendulum")
    (tmp_path / "pendulum" / "table.py").write_text("print('table')\n", encoding="utf-8")
    fake = tmp_path / "qsmt"
    fake.write_text(f'#!/bin/sh\ncase "$2" in *q8*) exit {q8};; *) exit {q4};; esac\n', encoding="utf-8")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", str(tmp_path / "pendulum" / "demo.sh")],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == ends
    assert ("table" in done.stdout.splitlines()) == (ends == 0)
