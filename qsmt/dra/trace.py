"""What an analysis has found so far, layer by layer: all that a domain may build on."""

from __future__ import annotations

from dataclasses import dataclass, field

from qsmt.dra.compiled import CompiledLayer, CompiledProblem
from qsmt.dra.deeppoly import RelaxedLayer, relax
from qsmt.dra.inputs import InputFacts
from qsmt.facts import Interval, LayerFacts


@dataclass(slots=True, eq=False)
class Trace:
    """The layers that are done; `next` is the one to be bounded."""

    problem: CompiledProblem
    inputs: InputFacts
    layers: list[LayerFacts] = field(default_factory=list)
    _relaxed: list[RelaxedLayer] = field(default_factory=list)

    @property
    def next(self) -> CompiledLayer:
        return self.problem.layers[len(self.layers)]

    @property
    def reference(self) -> Interval:
        """What the next layer reads in the reference network."""
        return self.layers[-1].reference_post if self.layers else self.inputs.reference

    @property
    def quantized(self) -> Interval:
        """What the next layer reads in the quantized network, in units of its type."""
        return self.layers[-1].quantized_post if self.layers else self.inputs.quantized

    @property
    def difference(self) -> Interval:
        """Quantized minus reference, of what the next layer reads."""
        return self.layers[-1].difference_post if self.layers else self.inputs.difference

    def relaxed_reference(self) -> list[RelaxedLayer]:
        """The reference's layers so far, between lines; each is relaxed once, when first asked for."""
        for i in range(len(self._relaxed), len(self.layers)):
            side = self.problem.layers[i].reference
            read = self.layers[i - 1].reference_post if i else self.inputs.reference
            pre = self.layers[i].reference_pre
            self._relaxed.append(relax(side.linear, side.activation.limits, read, pre))
        return self._relaxed
