"""`qsmt tune`: the bits that each layer needs so that the bound can be proved, and no more.

Every layer has up to three widths: of its weights, its biases, and its activations. What a network costs is the
bits of all three together. The search begins with one width for all, the least that is proved, and then takes
a bit away where that saves most per certified error it adds (the difference analysis says how much), as
long as `check` proves what is left. What it ends with is a local minimum: no single width can be lowered any
further, because then the claim is false or not proved in time. The next wider uniform widths are begun with too, since
they lead elsewhere, and the cheapest result counts.

Nothing here has to be right for a result to hold: each accepted choice is a problem of its own that `check` has
verified, and the last of them is written to files that anybody can check again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import inf

from qsmt.arith.fixed import Fixed
from qsmt.claim import error_bound
from qsmt.dra.analysis import analyze_region
from qsmt.engine.check import check
from qsmt.engine.investigation import Silence, Watch
from qsmt.engine.load import activation_ranges
from qsmt.engine.plan import Options
from qsmt.engine.source import Source
from qsmt.errors import MalformedProblem
from qsmt.frontend.base import load_network
from qsmt.frontend.fixed_point import ActivationRanges, quantize
from qsmt.frontend.flags import scheme_of_bits
from qsmt.frontend.formats import AUTO, FixedPointScheme, FormatSpec
from qsmt.frontend.problem_file import QuantizeHere, read_problem_file
from qsmt.ir.network import Network, layers
from qsmt.problem import Problem
from qsmt.verdict import Verdict, Verified, name

LEAST_BITS, MOST_BITS = 2, 24
"""Uniform widths that are tried."""

EACH_S = 10.0
"""What one choice may take to be proved."""

SHORTEST_S, LEAST_ERROR = 1e-3, 1e-12
"""Neither a time limit nor an added error is nothing."""

STRIDES = (4, 2)
"""So many bits are taken away at once before one at a time: what is far too wide costs fewer choices."""

STARTS = 3
"""How many uniform widths are begun with: the least that is proved, and those after it."""


@dataclass(frozen=True, slots=True)
class LayerWidths:
    """Bits of one layer; `activation` None: it puts out its exact accumulator."""

    weights: int
    bias: int
    activation: int | None

    def lowered(self, knob: str, stride: int) -> LayerWidths | None:
        """With so many bits less somewhere; None if there are not as many to take."""
        bits = getattr(self, knob)
        return None if bits is None or bits <= stride else replace(self, **{knob: bits - stride})


Widths = tuple[LayerWidths, ...]
KNOBS = ("weights", "bias", "activation")


@dataclass(frozen=True, slots=True)
class Tunable:
    """What is tuned: a problem whose quantized network is `network`, quantized by `scheme` but for the widths."""

    problem: Problem
    network: Network
    scheme: FixedPointScheme
    ranges: ActivationRanges

    @staticmethod
    def of(source: Source) -> Tunable:
        """From a problem file with a scheme, or from a float network and flags.

        Raises:
            InputError: naming the file or flag at fault.
        """
        network, scheme = _scheme(source)
        problem = source.load().problem
        error_bound(problem.claim)
        kind = problem.quantized.input.type.element
        assert isinstance(kind, Fixed), "a scheme has an input format"
        scheme = replace(scheme, input=FormatSpec(kind.bits, kind.frac, kind.signed))
        ranges = activation_ranges(network, problem.region, problem.input_scale)
        return Tunable(problem, network, scheme, ranges)

    def uniform(self, bits: int) -> Widths:
        """Weights and activations of so many bits, biases of twice as many, as `--bits` does it."""
        count = len(layers(self.network))
        hidden = LayerWidths(bits, 2 * bits, bits)
        return (hidden,) * (count - 1) + (replace(hidden, activation=bits if self.scheme.output else None),)

    def with_widths(self, widths: Widths) -> Problem:
        """The problem of these widths, every format the finest that its bits allow."""
        schemes = [self._of_layer(own) for own in widths]
        made = quantize(self.network, self.scheme, ranges=self.ranges, layerwise=schemes)
        return replace(self.problem, quantized=made.network)

    def cost(self, widths: Widths) -> int:
        """The bits of all weights, biases and activations."""
        return sum(
            own.weights * layer.affine.weight.type.size + (own.bias + (own.activation or 0)) * layer.pre.size
            for own, layer in zip(widths, layers(self.network), strict=True)
        )

    def _of_layer(self, own: LayerWidths) -> FixedPointScheme:
        scheme, bits = self.scheme, own.activation or 1
        return replace(
            scheme,
            weights=FormatSpec(own.weights, AUTO, scheme.weights.signed),
            bias=FormatSpec(min(own.bias, 64), AUTO, scheme.bias.signed),
            hidden=FormatSpec(bits, AUTO, scheme.hidden.signed),
            output=scheme.output and FormatSpec(bits, AUTO, scheme.output.signed),
        )


def _scheme(source: Source) -> tuple[Network, FixedPointScheme]:
    """The network that is quantized, and the scheme."""
    first = source.files[0]
    if first.suffix.lower() != ".toml":
        if source.bits is None:
            raise MalformedProblem("is needed: the bits of the input", where="--bits")
        return load_network(first), scheme_of_bits(source.bits)
    stated = read_problem_file(first).quantized
    if not isinstance(stated, QuantizeHere):
        what = "the network is not quantized here, so it has no widths to be tuned"
        raise MalformedProblem(what, where=f"{first}, quantized", hint='give scheme = "fixed-point"')
    return load_network(stated.network), stated.scheme


@dataclass(frozen=True, slots=True)
class Choice:
    """Widths that `check` was asked about: what it said, and what it certifies of the largest difference."""

    widths: Widths
    cost: int
    problem: Problem
    verdict: Verdict
    certified: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TuneResult:
    """Every choice that was proved, in order, up to the cheapest; and what stands against each cheaper neighbour.

    `uniform` is the least uniform width that was proved. Both are None if none was; `reason` says why it ended early,
    time or a KeyboardInterrupt.
    """

    tunable: Tunable
    uniform: Choice | None
    accepted: tuple[Choice, ...]
    refused: tuple[Choice, ...]
    tried: int
    seconds: float
    reason: str | None

    @property
    def best(self) -> Choice | None:
        return self.accepted[-1] if self.accepted else None


def tune(
    tunable: Tunable, options: Options | None = None, watch: Watch | None = None, *, each_s: float = EACH_S
) -> TuneResult:
    """The cheapest widths that are found to be provable, within the options' time limit and `each_s` per choice.

    A KeyboardInterrupt ends it as the time limit does, once a uniform width is proved.

    Raises:
        SoundnessError: two answers contradict each other.
    """
    run = _Tuning(tunable, options or Options(), each_s, watch or Silence())
    uniform = run.uniform()
    if uniform is None:
        why = "time was up" if run.remaining_s <= 0 else f"no uniform width up to {MOST_BITS} bits was proved"
        return TuneResult(tunable, None, (), (), len(run.asked), run.elapsed_s, why)
    found, reason = [_Descent([uniform])], None
    try:
        run.descend(found[0])
        for more in range(1, STARTS):
            start = run.ask(tunable.uniform(uniform.widths[0].weights + more))
            if isinstance(start.verdict, Verified) and run.remaining_s > 0:
                found.append(_Descent([start]))
                run.descend(found[-1])
    except KeyboardInterrupt:
        reason = "interrupted"
    if reason is None and run.remaining_s <= 0:
        reason = "time was up"
    best = min(found, key=lambda descent: descent.accepted[-1].cost)
    return TuneResult(
        tunable, uniform, tuple(best.accepted), tuple(best.refused), len(run.asked), run.elapsed_s, reason
    )


def neighbours(widths: Widths, stride: int = 1) -> dict[tuple[int, str], Widths]:
    """All widths with so many bits less in one place, by place: layer and what of it."""
    found = {}
    for i, own in enumerate(widths):
        for knob in KNOBS:
            lowered = own.lowered(knob, stride)
            if lowered is not None:
                found[i, knob] = (*widths[:i], lowered, *widths[i + 1 :])
    return found


@dataclass(slots=True)
class _Descent:
    """From a proved choice down: all that were accepted, and the neighbours of the last that were refused."""

    accepted: list[Choice]
    refused: list[Choice] = field(default_factory=list)


@dataclass(slots=True)
class _Tuning:
    """One run of `tune`."""

    tunable: Tunable
    options: Options
    each_s: float
    watch: Watch
    started: float = field(default_factory=time.monotonic)
    asked: dict[Widths, Choice] = field(default_factory=dict)
    errors: dict[Widths, float | None] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    @property
    def remaining_s(self) -> float:
        return self.options.timeout_s - self.elapsed_s

    def ask(self, widths: Widths) -> Choice:
        """What `check` says; nothing is asked twice."""
        if widths not in self.asked:
            problem, cost = self.tunable.with_widths(widths), self.tunable.cost(widths)
            limit = max(min(self.each_s, self.remaining_s), SHORTEST_S)
            result = check(problem, replace(self.options, timeout_s=limit))
            certified = max(max(-o.certified[0], o.certified[1]) for o in result.outputs)
            self.asked[widths] = Choice(widths, cost, problem, result.verdict, certified, result.seconds)
            self.watch.progress(len(self.asked), inf, f"{cost:,} bits {name(result.verdict)}")
        return self.asked[widths]

    def uniform(self) -> Choice | None:
        """The least uniform width that is proved."""
        self.watch.stage("uniform widths")
        for bits in range(LEAST_BITS, MOST_BITS + 1):
            if self._error(self.tunable.uniform(bits)) is None:
                continue
            choice = self.ask(self.tunable.uniform(bits))
            if isinstance(choice.verdict, Verified):
                return choice
            if self.remaining_s <= 0:
                return None
        return None

    def descend(self, descent: _Descent) -> None:
        """Take bits away until every neighbour is refused, or time is up.

        A place where no bit could be taken is tried again at the end: what was refused had other widths elsewhere.
        """
        self.watch.stage(f"from {descent.accepted[0].widths[0].weights} bits down")
        for stride in STRIDES:
            self._pass(descent.accepted, stride)
        while True:
            before, descent.refused = len(descent.accepted), []
            descent.refused = self._pass(descent.accepted, 1)
            if len(descent.accepted) == before or self.remaining_s <= 0:
                return

    def _pass(self, accepted: list[Choice], stride: int) -> list[Choice]:
        """Take so many bits away at once, again and again, until every place has refused once."""
        refused: dict[tuple[int, str], Choice] = {}
        while self.remaining_s > 0:
            current = accepted[-1]
            near = neighbours(current.widths, stride)
            gains = {
                place: gain
                for place, lowered in near.items()
                if place not in refused and (gain := self._gain(current, lowered)) is not None
            }
            if not gains:
                break
            place = max(gains, key=gains.__getitem__)
            choice = self.ask(near[place])
            if isinstance(choice.verdict, Verified):
                accepted.append(choice)
            else:
                refused[place] = choice
        return list(refused.values())

    def _gain(self, current: Choice, widths: Widths) -> float | None:
        """Bits that are saved per certified error that is added; None if there are no such formats."""
        after, before = self._error(widths), self._error(current.widths)
        if after is None or before is None:
            return None
        added = after - before
        return (current.cost - self.tunable.cost(widths)) / max(added, LEAST_ERROR)

    def _error(self, widths: Widths) -> float | None:
        """The largest difference that analysis alone certifies, as a share of its bound.

        None if there are no such formats: one signed bit holds nothing above zero that is rounded up.
        """
        if widths not in self.errors:
            try:
                problem = (
                    self.asked[widths].problem if widths in self.asked else self.tunable.with_widths(widths)
                )
            except MalformedProblem:
                self.errors[widths] = None
            else:
                self.errors[widths] = _certified_share(problem)
        return self.errors[widths]


def _certified_share(problem: Problem) -> float:
    difference, claim = analyze_region(problem).difference, problem.claim
    return max(
        max(-float(difference.lower[i]), float(difference.upper[i])) / max(float(b), LEAST_ERROR)
        for i, b in zip(claim.outputs, claim.bounds, strict=True)
    )
