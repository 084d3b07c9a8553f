"""Branch and bound on what neurons do: tighter than any relaxation, as far as a limit of nodes or of time allows.

A node restricts the hexagons of curved neurons (qsmt.dra.multipliers). It is divided at one neuron, into two
nodes that cover it:

    reference    z <= t  or  z >= t, at a limit t of the reference's activation (at any double, as far as
                 soundness goes);
    quantized    value <= k  or  value >= k + step, k any code. With value = clamp(s + r, lower, upper), r between
                 the two noises, value <= k < upper implies s <= k - noise_low, and value >= k + step > lower
                 implies s >= k + step - noise_high. Where the quantized side is real, s <= t or s >= t.

Then the neuron's z, d, s and value are tightened against each other, rounded outward. A node one of whose
intervals is empty contains no execution and is dropped. A node's bound is the least of its parent's and of what
`certified` says of its own multipliers; the bound of a target is the greatest of all its open nodes.
The nodes with the greatest bound come first, many in one batch, each starting from its parent's multipliers.

Which neuron: the one at which the mean point of the search is furthest from what the neuron really does there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

from qsmt.arith.outward import add_down, add_up, times_down, times_up
from qsmt.arith.real import FloatArray, IntArray
from qsmt.dra.ascent import Ascent, Schedule, ascend, closed_form
from qsmt.dra.domain import BoolArray, Deadline, Effort, both
from qsmt.dra.hexagon import Hexagons, tightened
from qsmt.dra.multipliers import D, Dual, Z, certified, points
from qsmt.facts import Interval

ROOT = Schedule(steps=100, rate=0.1, decay=0.96)
CHILD = Schedule(steps=24, rate=0.05, decay=0.9)
LAST = Schedule(steps=300, rate=0.1, decay=0.98)
PROGRESS = 1e-4
"""A node that cannot be divided is done when this share of its bound is not gained any more."""
BATCH, BATCH_COLUMNS = 32, 4096
"""So many nodes are divided at once, and so many curved neurons in all of them."""
INTEGERS = 2.0**52
"""Below, a double's successor among the integers is one more."""

MIDDLE = 0.1
"""How much of what a cut in the middle promises is taken to come true."""

Z_LOW, Z_HIGH, D_LOW, D_HIGH, S_LOW, S_HIGH, LEAST, MOST = range(8)
"""The bounds of a neuron in a node."""
FINAL, NOWHERE, REFERENCE, CODE, SUM = range(-2, 3)
"""How a neuron is divided: at a z, at a code, at an s; or nowhere, until its multipliers are as good as they get."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Where nodes are divided: the column, how, and at which number; arrays (nodes,)."""

    column: IntArray
    kind: IntArray
    at: FloatArray

    def __getitem__(self, which: IntArray | BoolArray) -> Cut:
        return Cut(self.column[which], self.kind[which], self.at[which])


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """Parts of the region, each for one target."""

    target: IntArray  # (nodes,)
    bound: FloatArray  # (nodes,)
    bounds: FloatArray  # (nodes, 8, curved)
    chosen: FloatArray  # (nodes, 2, curved)
    cut: Cut

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, which: IntArray | BoolArray) -> Nodes:
        cut = self.cut[which]
        return Nodes(self.target[which], self.bound[which], self.bounds[which], self.chosen[which], cut)

    def joined(self, other: Nodes) -> Nodes:
        """These nodes, and others after them."""

        def both_of(a: Any, b: Any, name: str) -> Any:
            return np.concatenate([getattr(a, name), getattr(b, name)])

        cut = Cut(*(both_of(self.cut, other.cut, f.name) for f in fields(Cut)))
        target, bound, bounds, chosen = (both_of(self, other, f.name) for f in fields(Nodes)[:-1])
        return Nodes(target, bound, bounds, chosen, cut)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What does not change of the curved neurons; arrays (curved,)."""

    lower_up: FloatArray  # the quantized side's limits, outward
    upper_down: FloatArray
    noise_low: FloatArray
    noise_high: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    integer: BoolArray
    layer: IntArray
    units: tuple[Fraction, ...]

    @staticmethod
    def of(dual: Dual) -> Columns:
        stages, region = dual.stages, dual.region
        sizes = [len(stage.curved) for stage in stages]
        limits = [stage.side.activation.limits for stage in stages]
        return Columns(
            np.repeat([v.lower_up for v in limits], sizes),
            np.repeat([v.upper_down for v in limits], sizes),
            -region.noise[1],
            region.noise[0],
            region.floor[0],
            region.ceiling[0],
            np.repeat([stage.side.is_integer for stage in stages], sizes),
            np.repeat(np.arange(len(stages)), sizes),
            tuple(stage.side.post_unit for stage in stages),
        )

    def __getitem__(self, which: IntArray) -> Columns:
        taken = {f.name: getattr(self, f.name)[which] for f in fields(self)[:-1]}
        return replace(self, **taken)

    def up(self, codes: FloatArray) -> FloatArray:
        """The values of codes, rounded up; a real is its own code."""
        return self._scaled(codes, times_up, self.units)

    def down(self, codes: FloatArray) -> FloatArray:
        return self._scaled(codes, times_down, self.units)

    def code_below(self, values: FloatArray) -> FloatArray:
        """No code of a value that is at most this is greater."""
        found = self._scaled(values, times_up, [1 / unit for unit in self.units])
        return np.where(self.integer, np.floor(found), values)

    def code_above(self, values: FloatArray) -> FloatArray:
        """No code of a value that is at least this is less."""
        return -self.code_below(-values)

    def _scaled(
        self, values: FloatArray, scale: Callable[..., FloatArray], units: Sequence[Fraction]
    ) -> FloatArray:
        found = values
        for i, unit in enumerate(units):
            where = self.integer & (self.layer == i)
            if where.any():
                found = np.where(where, scale(values, unit), found)
        return found


def region_of(dual: Dual, bounds: FloatArray) -> Hexagons:
    """The hexagons (2, nodes, curved) of nodes."""

    def pair(low: int) -> Interval:
        return both(Interval(bounds[:, low], bounds[:, low + 1]))

    value, shape = pair(LEAST), (2, len(bounds), bounds.shape[-1])
    root = dual.region  # which contains those of all nodes, so that no number in them is larger
    rest = (root.noise, root.step, root.floor, root.ceiling, root.limit, root.size)
    return Hexagons(
        pair(Z_LOW),
        pair(D_LOW),
        pair(S_LOW),
        value.lower,
        value.upper,
        *(np.broadcast_to(v[:, None], shape) for v in rest),
    )


def divided(columns: Columns, nodes: Nodes) -> Nodes:
    """The children of nodes, their bounds those of their parents; empty ones are dropped."""
    if not len(nodes):
        return nodes
    rows, j = np.arange(len(nodes)), nodes.cut.column
    neuron = columns[j]
    own = nodes.bounds[rows, :, j].T
    bounds = np.concatenate([nodes.bounds, nodes.bounds])
    below, above = _restricted(neuron, nodes.cut, own)
    pair = np.concatenate([_tightened(neuron, below), _tightened(neuron, above)], axis=1)
    bounds[np.arange(2 * len(nodes)), :, np.concatenate([j, j])] = pair.T
    twice = np.concatenate([rows, rows])
    alive = np.logical_and.reduce(~(pair[Z_LOW::2] > pair[Z_HIGH::2]))
    children = nodes[twice]
    return replace(children, bounds=bounds)[alive]


def _restricted(neuron: Columns, cut: Cut, own: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both parts of the divided neurons, (8, nodes) each."""
    below, above, at = own.copy(), own.copy(), cut.at
    z, s, code = cut.kind == REFERENCE, cut.kind == SUM, cut.kind == CODE
    code_at = np.floor(at)
    next_code = np.where(np.abs(code_at) < INTEGERS, code_at + 1.0, code_at)
    most, least = neuron.up(code_at), neuron.down(next_code)
    s_most = np.where(most < neuron.upper_down, add_up(most, -neuron.noise_low), np.inf)
    s_least = np.where(least > neuron.lower_up, add_down(least, -neuron.noise_high), -np.inf)
    for where, end, value in ((z, Z_HIGH, at), (s, S_HIGH, at), (code, S_HIGH, s_most), (code, MOST, most)):
        below[end] = np.where(where, np.minimum(below[end], value), below[end])
    for where, end, value in ((z, Z_LOW, at), (s, S_LOW, at), (code, S_LOW, s_least), (code, LEAST, least)):
        above[end] = np.where(where, np.maximum(above[end], value), above[end])
    return below, above


def _tightened(neuron: Columns, own: FloatArray) -> FloatArray:
    """Each bound cut to what the others allow."""
    z, d, s = (Interval(own[i], own[i + 1]) for i in (Z_LOW, D_LOW, S_LOW))
    z, d, s = tightened(*tightened(z, d, s))
    most = np.maximum(neuron.lower_up, add_up(s.upper, neuron.noise_high))
    least = np.minimum(neuron.upper_down, add_down(s.lower, neuron.noise_low))
    value = Interval(
        np.maximum(own[LEAST], neuron.down(neuron.code_above(least))),
        np.minimum(own[MOST], neuron.up(neuron.code_below(most))),
    )
    return np.stack([end for x in (z, d, s, value) for end in (x.lower, x.upper)])


def bounded(dual: Dual, nodes: Nodes, schedule: Schedule) -> Nodes:
    """The nodes with multipliers of their own, the bounds that follow, and where to divide them."""
    if not len(nodes):
        return nodes
    at = points(region_of(dual, nodes.bounds))
    found = ascend(dual, at, nodes.target, nodes.chosen.swapaxes(0, 1), schedule)
    bound = np.minimum(nodes.bound, certified(dual, at, nodes.target, found.chosen))
    cut = best_cut(Columns.of(dual), nodes.bounds, found)
    cut = replace(cut, kind=np.where(np.isfinite(bound), cut.kind, FINAL))
    return replace(nodes, bound=bound, chosen=found.chosen.swapaxes(0, 1), cut=cut)


def best_cut(columns: Columns, bounds: FloatArray, found: Ascent) -> Cut:
    """The cut of the greatest score of every node."""
    kinks, room = _kinks(columns, bounds)
    score = np.where(room > 0.0, _gap(columns, found), -np.inf)
    score, cut = _better((score, kinks), _middle(columns, bounds, found))
    rows, column = np.arange(len(score)), score.argmax(axis=1)
    kind = np.where(score[rows, column] > -np.inf, cut.kind[rows, column], NOWHERE)
    return Cut(column, kind, cut.at[rows, column])


_Scored = tuple[FloatArray, Cut]


def _better(one: _Scored, other: _Scored) -> _Scored:
    wins = other[0] > one[0]
    pairs = ((getattr(one[1], f.name), getattr(other[1], f.name)) for f in fields(Cut))
    return np.maximum(one[0], other[0]), Cut(*(np.where(wins, b, a) for a, b in pairs))


def _gap(columns: Columns, found: Ascent) -> FloatArray:
    """What the relaxation of each neuron adds to the bound at the mean point, without its noise."""
    (z, d, phi, r), (a, b), c = found.mean, found.slopes, columns
    theirs = z + d + 0.5 * (c.noise_low + c.noise_high)
    theirs = np.minimum(np.maximum(theirs, c.lower_up), c.upper_down)
    ours = np.minimum(np.maximum(z, c.floor), c.ceiling)
    noise = 0.5 * np.abs(a) * (c.noise_high - c.noise_low)
    gap: FloatArray = a * (phi - theirs + ours) - np.where(theirs > c.lower_up, noise, 0.0) + b * (r - ours)
    return gap


def _kinks(columns: Columns, bounds: FloatArray) -> tuple[Cut, FloatArray]:
    """The kink with most room on both sides, and that room; nowhere if there is none."""
    c, (z_low, z_high, _, _, s_low, s_high, least, most) = columns, bounds.swapaxes(0, 1)
    first, last = c.code_above(least), c.code_below(most) - 1.0
    low, high = c.down(first + 1.0) - c.noise_high, c.up(last) - c.noise_low
    integer = c.integer & (first <= last)
    options = [
        *((np.minimum(t - z_low, z_high - t), REFERENCE, t) for t in (c.floor, c.ceiling)),
        *(
            (np.where(integer, np.minimum(t - s_low, s_high - t), -np.inf), CODE, code)
            for t, code in ((low, first), (high, last))
        ),
        *(
            (np.where(c.integer, -np.inf, np.minimum(t - s_low, s_high - t)), SUM, t)
            for t in (c.lower_up, c.upper_down)
        ),
    ]
    rooms = np.stack([np.nan_to_num(room, nan=-np.inf) for room, _, _ in options])
    best = rooms.argmax(axis=0)
    kinds = np.array([kind for _, kind, _ in options])[best]
    ats = np.stack([np.broadcast_to(at, z_low.shape) for _, _, at in options])
    return Cut(kinds, kinds, np.take_along_axis(ats, best[None], axis=0)[0]), rooms.max(axis=0)


def _middle(columns: Columns, bounds: FloatArray, found: Ascent) -> _Scored:
    """A cut between the code at the mean point and the one that the noise would reach.

    On one side the value loses its noise; on the other s has to move.
    """
    c, least, most = columns, bounds[:, LEAST], bounds[:, MOST]
    first, last = c.code_above(least), c.code_below(most) - 1.0
    a, s = found.slopes[0], found.mean[Z] + found.mean[D]
    step = c.up(np.ones_like(s))
    code = (s + c.noise_high) / step
    share, code = code - np.floor(code), np.floor(code) - (a < 0.0)
    usable = c.integer & (code >= first) & (code <= last)
    score = MIDDLE * np.abs(a) * step * np.minimum(share, 1.0 - share)
    kind = np.full(s.shape, CODE)
    return np.where(usable, score, -np.inf), Cut(kind, kind, np.where(usable, code, 0.0))


def search(dual: Dual, effort: Effort, deadline: Deadline) -> FloatArray:
    """Upper bounds of all targets, from at most about `effort.nodes` nodes each, until the deadline."""
    columns, targets = Columns.of(dual), np.arange(len(dual.rows.constant))
    if not dual.region.step.size:
        nothing = np.zeros((2, len(targets), 0))
        return certified(dual, points(dual.region[:, None]), targets, nothing)
    nodes, done = _root(dual, targets), 0
    while not deadline.passed and done < effort.nodes * len(targets):
        chosen = _urgent(nodes, len(targets)) & (nodes.bound > effort.goal)
        if not chosen.any():
            break
        stuck = nodes.cut.kind == NOWHERE
        children = bounded(dual, divided(columns, nodes[chosen & ~stuck]), CHILD)
        last = _polished(dual, nodes[chosen & stuck])
        nodes, done = nodes[~chosen].joined(children).joined(last), done + len(children) + len(last)
    return np.array([nodes.bound[nodes.target == t].max(initial=-np.inf) for t in targets])


def _polished(dual: Dual, nodes: Nodes) -> Nodes:
    """Better multipliers for nodes that cannot be divided."""
    found = bounded(dual, nodes, LAST)
    gained = nodes.bound - found.bound > PROGRESS * np.abs(nodes.bound)
    return replace(found, cut=replace(found.cut, kind=np.where(gained, NOWHERE, FINAL)))


def _root(dual: Dual, targets: IntArray) -> Nodes:
    region = dual.region
    ends = [end[0] for x in (region.z, region.d, region.s) for end in (x.lower, x.upper)]
    bounds = np.repeat(np.stack([*ends, region.least[0], region.most[0]])[None], len(targets), axis=0)
    start = closed_form(dual, points(region[:, None]), targets).swapaxes(0, 1)
    nothing = Cut(0 * targets, 0 * targets, np.zeros(len(targets)))
    return bounded(dual, Nodes(targets, np.full(len(targets), np.inf), bounds, start, nothing), ROOT)


def _batch(nodes: Nodes) -> int:
    """How many nodes are divided at once."""
    columns = int(nodes.bounds.shape[-1])
    return min(BATCH, max(1, BATCH_COLUMNS // columns))


def _urgent(nodes: Nodes, targets: int) -> BoolArray:
    """The nodes with the greatest bounds of every target, unless the greatest of all is final."""
    order = np.lexsort((-nodes.bound, nodes.target))
    sorted_targets = nodes.target[order]
    rank = np.arange(len(nodes)) - np.searchsorted(sorted_targets, sorted_targets)
    chosen = np.zeros(len(nodes), dtype=np.bool_)
    chosen[order[rank < max(1, _batch(nodes) // targets)]] = True
    stuck = nodes.cut.kind == FINAL
    final = np.isin(nodes.target, nodes.target[order[(rank == 0) & stuck[order]]])
    chosen &= ~stuck & ~final
    return chosen
