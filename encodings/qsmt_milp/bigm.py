"""Activations as rows: a clamp costs one binary for each of its limits that the neuron may cross.

For `y = min(max(v, floor), ceiling)`, where rows `below <= unit * v <= above` pin v:

    unit * y <= above + M (1 - on)         y <= floor + (high - floor) on
    unit * y >= below - M' full            y >= low + (ceiling - low) full

If on = 0, then y = floor, and the row `unit * y >= below` says v <= floor. If on = 1, the first row says
v >= y >= floor. At v = floor both hold and give the same y. `full` is the mirror image. M and M' are the
least constants for which a binary frees its row, from the extreme values of `above` and `below`.

Where y is an integer, two rows more make `on` say y > floor, and `full` y = ceiling, as functions of v alone:
else both values of `on` would do at y = floor, and no single row would tell y.

    on = 1:  above >= unit (floor + 1)       full = 0:  below <= unit (ceiling - 1)
"""

from __future__ import annotations

from qsmt_milp.model import Builder, Exact, Linear
from qsmt_milp.steps import Window

Bounds = tuple[Exact, Exact]


def activation(window: Window, *, floor: Exact | None = None, ceiling: Exact | None = None) -> Bounds:
    """The least M and M' for a floor and a ceiling that may be crossed; 0 for one that is not."""
    down = 0 if floor is None else window.unit * floor - window.least_above
    up = 0 if ceiling is None else window.greatest_below - window.unit * ceiling
    return down, up


def confine(
    builder: Builder,
    name: str,
    *,
    value: Linear,
    window: Window,
    bounds: Bounds,
    crossed: tuple[bool, bool],
    integer: bool,
) -> None:
    """The rows that make `value` the window's value, clamped.

    `bounds` are those of the variable `value`; `crossed` says whether the window's value may be below
    the first, which is then the floor, or above the second, which is then the ceiling; `integer` whether it is one.
    """
    (low, high), (floor, ceiling) = bounds, crossed
    down, up = activation(window, floor=low if floor else None, ceiling=high if ceiling else None)
    too_high, too_low = window.above - value * window.unit, window.below - value * window.unit
    if floor:
        on = builder.binary(f"{name}.on")
        too_high = too_high - on * down + down
        builder.at_most(f"{name}.off", value - on * (high - low), low)
        if integer:
            least = window.least_above
            builder.at_least(f"{name}.on.if", window.above - on * (window.unit * (low + 1) - least), least)
    if ceiling:
        full = builder.binary(f"{name}.full")
        too_low = too_low - full * up
        builder.at_least(f"{name}.cap", value - full * (high - low), low)
        if integer:
            most = window.unit * (high - 1)
            builder.at_most(f"{name}.full.if", window.below - full * (window.greatest_below - most), most)
    builder.at_least(f"{name}.le", too_high)
    builder.at_most(f"{name}.ge", too_low)
