"""A neuron on its way through an activation: what will be rounded and clamped, before it is in rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qsmt.arith.requantize import Requantization
from qsmt.arith.rounding import Rounding, round_ratio
from qsmt_milp.model import Exact, Linear

NONNEGATIVE = {
    Rounding.TOWARD_ZERO: Rounding.FLOOR,
    Rounding.AWAY: Rounding.CEIL,
    Rounding.HALF_AWAY: Rounding.HALF_UP,
    Rounding.HALF_TOWARD_ZERO: Rounding.HALF_DOWN,
}
"""What the roundings that look at the sign are on numbers that are not negative."""

NONPOSITIVE = {
    Rounding.TOWARD_ZERO: Rounding.CEIL,
    Rounding.AWAY: Rounding.FLOOR,
    Rounding.HALF_AWAY: Rounding.HALF_DOWN,
    Rounding.HALF_TOWARD_ZERO: Rounding.HALF_UP,
}
"""What they are on numbers that are not positive."""

_TIES = {Rounding.HALF_UP, Rounding.HALF_DOWN, Rounding.HALF_EVEN, *NONNEGATIVE} - {
    Rounding.TOWARD_ZERO,
    Rounding.AWAY,
}


@dataclass(frozen=True, slots=True)
class Neuron:
    """`min(max(rule(form), floor), ceiling)`, where `form` lies in [low, high]; no rule means identity.

    A monotone rule commutes with a clamp, and two clamps compose to one. So a ReLU, a rounding, its
    saturation and another ReLU are together one rounding and one clamp, and cost no more rows than that.
    """

    form: Linear
    low: Exact
    high: Exact
    rule: Requantization | None = None
    floor: Exact | None = None
    ceiling: Exact | None = None

    def clamped(self, floor: Exact | None, ceiling: Exact | None) -> Neuron:
        """`min(max(self, floor), ceiling)`."""
        low = floor if self.floor is None else clamp(self.floor, floor, ceiling)
        high = ceiling if self.ceiling is None else clamp(self.ceiling, floor, ceiling)
        return replace(self, floor=low, ceiling=high)

    def requantized(self, rule: Requantization) -> Neuron:
        """`rule(self)`; the rule is monotone on this neuron's range, and it is the first."""
        assert self.rule is None, "a second rounding needs the first one in rows"
        floor, ceiling = (None if v is None else rule.unbounded(int(v)) for v in (self.floor, self.ceiling))
        least, greatest = (rule.target.overflow(v, rule.overflow) for v in (rule.target.min, rule.target.max))
        return replace(self, rule=rule, floor=floor, ceiling=ceiling).clamped(least, greatest)

    def unclamped(self, value: Exact) -> Exact:
        """The neuron before its clamp, where `form = value`; rounded as its rows round, which is `rounding`.

        Where the clamp hides the difference to the rule's own rounding, the clamp must also be in rows.
        """
        if self.rule is None:
            return value
        kind = self.rule.exact_kind
        if kind is None:
            return self.rule.unbounded(int(value))
        p, q = kind.multiplier.as_integer_ratio()
        return int(round_ratio(int(value) * p, q, self.rounding))

    def __call__(self, value: Exact) -> Exact:
        """The neuron, where `form = value`."""
        return clamp(self.unclamped(value), self.floor, self.ceiling)

    @property
    def rounding(self) -> Rounding:
        """The simplest rounding that agrees with the rule's wherever the clamp does not hide it.

        * Over an odd denominator there are no ties: all roundings to nearest agree.
        * On form >= 0 the sign is known. On form < 0 both roundings of a pair in `NONNEGATIVE` give at most
          0, so that a clamp from below at 0 or more hides the difference. For form <= 0, the mirror image.
        """
        assert self.rule is not None
        rounding, multiplier = self.rule.exact.rounding, self.rule.exact.multiplier
        if rounding in _TIES and multiplier.denominator % 2:
            return Rounding.HALF_UP
        if self.low >= 0 or (self.floor is not None and self.floor >= 0):
            return NONNEGATIVE.get(rounding, rounding)
        if self.high <= 0 or (self.ceiling is not None and self.ceiling <= 0):
            return NONPOSITIVE.get(rounding, rounding)
        return rounding


def clamp(value: Exact, floor: Exact | None, ceiling: Exact | None) -> Exact:
    """`min(max(value, floor), ceiling)`; None means no limit."""
    above = value if floor is None else max(value, floor)
    return above if ceiling is None else min(above, ceiling)
